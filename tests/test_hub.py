"""`deployfit hub` and `fit hub:...` against a server that behaves as the Hub, with the real client in front."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conftest import Asking
from fake_hub import FakeHub, Fault, SparseFile, redirect
from hub_files import MLX_REPO, REPO, config_json, gguf_file, mlx_files, safetensors_file

from deployfit.catalogue import models
from deployfit.quants.gguf import gguf_recipes, gguf_weights


def test_a_repository_s_files_are_listed_with_one_request(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    rows = {row["file"]: row for row in ask.rows("hub", REPO)}
    assert {name: row["role"] for name, row in rows.items()} == {
        "Qwen3.5-27B-Q4_K_M.gguf": "model",
        "Qwen3.5-27B-Q8_0.gguf": "model",
        "mmproj-F16.gguf": "mmproj",
    }
    assert rows["Qwen3.5-27B-Q8_0.gguf"]["file_bytes"] == files["Qwen3.5-27B-Q8_0.gguf"].size
    assert len(hub.requests) == 1
    assert "46.05 GB in 4 files" in one_line(ask("hub", REPO).stdout)


def test_a_header_is_read_in_a_few_range_requests_and_then_from_the_cache(
    hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    hub.add_repo(REPO, files, xet=["Qwen3.5-27B-Q4_K_M.gguf"])
    (row,) = [row for row in ask.rows("hub", REPO, "--file", "*Q4_K_M*") if row["tensor_bytes"]]
    weights = gguf_weights(models()["Qwen3.5-27B"], gguf_recipes()["Q4_K_M"], imatrix=False, mtp=False)
    assert (row["tensor_bytes"], row["params"]) == (weights.tensor_bytes, weights.params)
    ranges = [request.headers["range"] for request in hub.requests if "range" in request.headers]
    hub_ranges = [request for request in hub.requests if request.host == "hub" and "range" in request.headers]
    assert 1 <= len(hub_ranges) <= 3
    assert all(int(each.rpartition("-")[2]) < 16 * 2**20 for each in ranges)
    before = len(hub.requests)
    assert [row for row in ask.rows("hub", REPO, "--file", "*Q4_K_M*") if row["tensor_bytes"]] == [row]
    assert len(hub.requests) == before + 1  # the list of files is asked for again, the header is not


def test_fit_answers_from_the_real_tensor_table(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    (row,) = ask.rows("fit", f"hub:{REPO}", "--file", "*Q4_K_M*", "--mac", "32")
    (own,) = ask.rows("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32")
    same = ["weights_bytes", "kv_cache_bytes", "recurrent_state_bytes", "compute_buffer_bytes", "total_bytes"]
    same += ["verdict", "max_context_tokens", "headroom_bytes"]
    assert {name: row[name] for name in same} == {name: own[name] for name in same}
    assert row["basis"]["weights_bytes"] == "measured"
    assert row["file_bytes"] == files["Qwen3.5-27B-Q4_K_M.gguf"].size
    assert "the tensor table of 'Qwen3.5-27B-Q4_K_M.gguf' at " in row["notes"][0]
    (seeing,) = ask.rows("fit", f"hub:{REPO}", "--file", "*Q4_K_M*", "--mac", "32", "--vision")
    assert any("header cannot be read: its size stands for it" in note for note in seeing["notes"])


def test_a_file_with_an_mtp_layer_drafts(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-9B", "Q6_K", mtp=True)})
    (plain,), (drafting,) = (ask.rows("fit", f"hub:{REPO}", "--mac", "32", *more) for more in ((), ("--mtp",)))
    (own,) = ask.rows("fit", "Qwen3.5-9B", "--quant", "Q6_K", "--mac", "32", "--mtp")
    assert plain["weights_bytes"] == own["weights_bytes"]
    assert drafting["mtp_bytes"] == own["mtp_bytes"]


def test_an_mlx_repository_of_many_shards_is_read_in_parallel(hub: FakeHub, ask: Asking) -> None:
    config = config_json("Qwen3.5-9B", quantization={"group_size": 64, "bits": 4, "mode": "affine"})
    hub.add_repo(MLX_REPO, {"config.json": config, **mlx_files("Qwen3.5-9B", "q4_g64", 12)})
    (row,) = ask.rows("fit", f"hub:{MLX_REPO}", "--mac", "16")
    (own,) = ask.rows("fit", "Qwen3.5-9B", "--quant", "mlx-community:4bit", "--mac", "16")
    same = ["runtime", "tensor_bytes", "weights_bytes", "kv_cache_bytes", "total_bytes", "verdict"]
    assert {name: row[name] for name in same} == {name: own[name] for name in same}
    (listed,) = ask.rows("hub", MLX_REPO, "--file", "*")
    assert listed["params"] == 8_953_803_264 + 456_010_480  # text and vision, as published


def test_routers_at_other_bits_are_counted_as_what_they_stand_for(hub: FakeHub, ask: Asking) -> None:
    routers = {
        f"language_model.model.layers.{layer}.mlp.{gate}": {"group_size": 64, "bits": 8}
        for layer in range(40)
        for gate in ("gate", "shared_expert_gate")
    }
    config = config_json("Qwen3.5-35B-A3B", quantization={"group_size": 64, "bits": 4, **routers})
    hub.add_repo(MLX_REPO, {"config.json": config, **mlx_files("Qwen3.5-35B-A3B", "q4_g64", 5)})
    (listed,) = ask.rows("hub", MLX_REPO, "--file", "*")
    assert listed["params"] == 34_660_610_688 + 446_571_248


def one_line(text: str) -> str:
    """Text without the ends of lines that a screen's width makes."""
    return " ".join(text.split())


def all_of(terminal: int) -> str:
    """Return what is written to a terminal until nobody can write to it any more."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            shown += file.read(4096)
    return shown.decode()


def test_many_shards_are_read_a_few_at_a_time_with_a_bar_on_a_terminal_only(hub: FakeHub, ask: Asking) -> None:
    shards = mlx_files("Qwen3.5-397B-A17B", "bf16", 94)
    hub.add_repo(MLX_REPO, {"config.json": config_json("Qwen3.5-397B-A17B"), **shards})
    hub.fault("", Fault(delay=0.25), host="cdn", times=None)
    terminal, end = os.openpty()
    words = [sys.executable, "-m", "deployfit", "hub", MLX_REPO, "--file", "*"]
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(all_of, terminal)
        done = subprocess.run(words, env=ask.env(), stdout=subprocess.PIPE, stderr=end, text=True)
        os.close(end)
        shown = reading.result()
    assert done.returncode == 0, shown
    assert re.search("reading headers: [0-9]+ of 94", shown)
    assert re.search(r"model.safetensors +793.60 +model +94 ", done.stdout)
    assert 2 <= hub.most_busy["cdn"] <= 8
    assert len([request for request in hub.requests if request.host == "cdn"]) == 94
    again = ask("hub", MLX_REPO, "--file", "*")
    assert (again.stdout, again.stderr) == (done.stdout, "")


def test_offline_answers_come_from_the_cache_and_nothing_is_asked(
    hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    hub.add_repo(REPO, files)
    question = ("fit", f"hub:{REPO}", "--file", "*Q4_K_M*", "--mac", "32")
    first = ask(*question, "--offline")
    assert (first.returncode, first.stdout) == (4, "")
    assert "is not in the cache; ask once without --offline" in first.stderr
    (online,) = ask.rows(*question)
    before = len(hub.requests)
    (offline,) = ask.rows(*question, "--offline")
    (by_variable,) = ask.rows(*question, HF_HUB_OFFLINE="1")
    assert len(hub.requests) == before
    assert offline["total_bytes"] == by_variable["total_bytes"] == online["total_bytes"]
    assert "from the cache, the Hub was not asked" in offline["notes"][0]


def test_a_hub_that_fails_is_answered_for_by_the_cache(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    assert ask("hub", REPO).returncode == 0
    hub.fault("/api/models", redirect("{hub}/api/models/x"), times=None)
    done = ask("hub", REPO)
    assert done.returncode == 0, done.stderr
    assert "from the cache, the Hub was not asked" in one_line(done.stdout)


def test_a_commit_is_asked_for_once(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    repo = hub.add_repo(REPO, files)
    for _ in range(2):
        assert ask("hub", REPO, "--revision", repo.sha).returncode == 0
    assert len(hub.requests) == 1


def test_an_architecture_that_nobody_wrote_is_weighed(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-27B", "Q4_0", architecture="newthing")})
    weights = gguf_weights(models()["Qwen3.5-27B"], gguf_recipes()["Q4_0"], imatrix=False, mtp=False)
    assert [row["tensor_bytes"] for row in ask.rows("hub", REPO, "--file", "a.gguf")] == [weights.tensor_bytes]
    for mac, verdict in (("8", "does_not_fit"), ("32", "unknown")):
        (row,) = ask.rows("fit", f"hub:{REPO}", "--mac", mac)
        assert (row["weights_bytes"], row["verdict"]) == (weights.tensor_bytes, verdict)
        assert any("the caches of architecture newthing are not known" in note for note in row["notes"])


def test_two_processes_share_a_cache(hub: FakeHub, ask: Asking, files: dict[str, Any], tmp_path: Path) -> None:
    hub.add_repo(REPO, files)
    words = ("hub", REPO, "--file", "*Q4_K_M*", "--format", "json")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: ask(*words), range(4)))
    assert {each.returncode for each in done} == {0}
    assert len({each.stdout for each in done}) == 1
    assert not list((tmp_path / "cache").rglob("tmp*"))


def test_shards_are_one_model_and_missing_ones_are_said(hub: FakeHub, ask: Asking) -> None:
    shards = mlx_files("Qwen3.5-0.8B", "q4_g64", 4)
    hub.add_repo(MLX_REPO, {"config.json": config_json("Qwen3.5-0.8B"), **shards})
    (row,) = ask.rows("hub", MLX_REPO)
    assert (row["file"], row["shards"], row["missing_shards"]) == ("model.safetensors", 4, 0)
    assert row["file_bytes"] == sum(file.size for file in shards.values())
    shards.popitem()
    hub.add_repo("mlx-community/broken", {"config.json": config_json("Qwen3.5-0.8B"), **shards})
    done = ask("fit", "hub:mlx-community/broken", "--mac", "16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "1 of 4 shards are missing" in done.stderr


def test_a_long_list_of_files_is_read_page_by_page(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    """The list beside model_info may be cut short; the tree never is."""
    names = {f"data/{number:04}.txt": b"x" for number in range(2500)}
    first = [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in list(names)[:1000]]
    repo = hub.add_repo("my/many", names | {"z.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")}, private=True)
    repo.readers, repo.info = ["ann"], {"siblings": first}
    done = ask("hub", "my/many", "--file", "z.gguf", token="hf_ann")
    assert done.returncode == 0, done.stderr
    assert "in 2,501 files" in done.stdout
    assert [request.query.get("cursor") for request in hub.requests if "/tree/" in request.path] == [
        *(None, ["1000"], ["2000"])
    ]
    repo.info = {"siblings": None}
    assert "in 2,501 files" in ask("hub", "my/many", token="hf_ann").stdout


def test_what_the_hub_says_of_a_repository_is_listed(hub: FakeHub, ask: Asking) -> None:
    shards = mlx_files("Qwen3.5-0.8B", "q4_g64", 2)
    files = {
        "pytorch_model.bin": SparseFile(b"PK", 1_740_000_000),
        "x-MMPROJ-bf16.gguf": SparseFile(b"GGUF", 200_000_000),
    }
    counts = {"parameters": {"BF16": 123_456, "U32": 78_901_234}, "total": 79_024_690}
    hub.add_repo(MLX_REPO, {"README.md": b"#", **shards, **files}, info={"safetensors": counts}, xet=list(shards))
    text = one_line(ask("hub", MLX_REPO).stdout)
    assert "Parameters of the safetensors files as the Hub counts them: BF16 123,456, U32 78,901,234." in text
    assert "GGUF 0.20, PyTorch 1.74, other 0.00, safetensors 0." in text
    assert "x-MMPROJ-bf16.gguf 0.20 mmproj 1 200,000,000" in text
    report = json.loads(ask("hub", MLX_REPO, "--format", "json").stdout)
    assert report["params"] == counts["parameters"]
    total = sum(file.size for file in shards.values())
    assert report["bytes_by_format"] == {
        "other": 1,
        "safetensors": total,
        "PyTorch": 1_740_000_000,
        "GGUF": 200_000_000,
    }


def test_an_mmproj_can_be_looked_into_and_is_no_model(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"mmproj-F16.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0", architecture="clip")})
    assert ask.rows("hub", REPO, "--file", "mmproj*")[0]["tensor_bytes"] > 0
    done = ask("fit", f"hub:{REPO}", "--mac", "16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a vision tower, no model of its own (deployfit hub shows what is in it)" in done.stderr
    assert ask("hub", REPO, "--file", "F16").returncode == 0
    done = ask("hub", REPO, "--file", "Q8_0")
    assert "no model file matches 'Q8_0'; it has: mmproj-F16.gguf" in done.stderr


def test_a_part_of_a_model_is_no_model(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    config = config_json("Qwen3.5-0.8B")
    lora = [
        (f"base.model.layers.{layer}.self_attn.q_proj.lora_A.weight", "F32", (8, 1024), 32768) for layer in range(24)
    ]
    whole = mlx_files("Qwen3.5-0.8B", "bf16", 1)["model-00001-of-00001.safetensors"]
    twice = {"model.safetensors": whole, "consolidated.safetensors": safetensors_file(lora)}
    hub.add_repo("my/adapter", {"config.json": config, "adapter_model.safetensors": safetensors_file(lora)})
    hub.add_repo("my/head", {"config.json": config, "model.safetensors": safetensors_file(lora[:1])})
    hub.add_repo("my/twice", {"config.json": config, **twice})
    hub.add_repo("my/once", {"config.json": config, "model.safetensors": whole})
    for repo, said in (("my/adapter", "the embedding table is missing"), ("my/head", "of 23 of 24 layers are missing")):
        done = ask("fit", f"hub:{repo}", "--mac", "16")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert said in done.stderr
    twice_row, once_row = (ask.rows("fit", f"hub:{repo}", "--mac", "16")[0] for repo in ("my/twice", "my/once"))
    assert twice_row["weights_bytes"] == once_row["weights_bytes"] > 1_500_000_000
    assert twice_row["file_bytes"] == whole.size


def test_the_readme_s_commands_work_as_they_stand_there(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    root = Path(__file__).parent.parent
    texts = [path.read_text(encoding="utf-8") for path in (root / "README.md", *sorted(root.glob("docs/*.md")))]
    pattern = r"^(?:\$ )?deployfit ((?:hub|fit hub:).*?)(?:  +#.*)?$"
    commands = [command for text in texts for command in re.findall(pattern, text, re.MULTILINE)]
    assert commands
    for command in commands:
        done = ask(*shlex.split(command))
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_a_renamed_repository_is_followed(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    hub.renamed["old/name"] = REPO
    assert [row["file"] for row in ask.rows("hub", "old/name")] == [row["file"] for row in ask.rows("hub", REPO)]
