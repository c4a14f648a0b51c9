"""`deployfit hub` and `fit hub:...` against a server that behaves as the Hub, with the real client in front."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import numpy as np
import pytest
from conftest import run
from fake_hub import HTML_PAGE, MALFORMED_JSON, SERVER_ERROR, FakeHub, Fault, SparseFile, rate_limited, redirect
from gguf import GGMLQuantizationType, GGUFWriter

from deployfit.catalog import mlx_recipes, models, recipes
from deployfit.formats.gguf import gguf_tensors
from deployfit.formats.gguf_recipes import tensor_sizes, tensor_types
from deployfit.formats.mlx import MLX_VLM, stored_tensors
from deployfit.models import Model
from deployfit.quants.gguf import gguf_weights
from deployfit.units import ceil_to

REPO = "unsloth/Qwen3.5-27B-GGUF"
MLX_REPO = "mlx-community/Qwen3.5-9B-4bit"
VOCABULARY = 20_000
PUBLISHED_SIZES = (Path(__file__).parent.parent / "data" / "published_sizes.csv").read_bytes()


def gguf_numbers(model: Model, *, mtp: bool) -> dict[str, int]:
    config = model.config
    return {
        "block_count": config.num_hidden_layers + (config.mtp_num_hidden_layers if mtp else 0),
        "nextn_predict_layers": config.mtp_num_hidden_layers if mtp else 0,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "ssm.state_size": config.linear_key_head_dim,
        "ssm.group_count": config.linear_num_key_heads,
        "ssm.time_step_rank": config.linear_num_value_heads,
        "full_attention_interval": config.full_attention_interval,
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_feed_forward_length": config.shared_expert_intermediate_size,
    }


def gguf_file(folder: Path, name: str, recipe: str, *, mtp: bool = False, architecture: str = "") -> SparseFile:
    """The header of a file as llama.cpp's own writer writes it, before a data part that is a hole."""
    model = models()[name]
    config = model.config
    tensors = gguf_tensors(config, mtp=mtp)
    gqa = config.num_attention_heads // config.num_key_value_heads
    types = tensor_types(recipes()[recipe], tensors, gqa=gqa, experts=config.num_experts, imatrix=False)
    path = folder / "header.gguf"
    writer = GGUFWriter(path, architecture or ("qwen35moe" if config.is_moe else "qwen35"))
    writer.add_array("tokenizer.ggml.tokens", [f"token-{number}" for number in range(VOCABULARY)])
    for key, value in gguf_numbers(model, mtp=mtp).items():
        if value:
            writer.add_uint32(f"{writer.arch}.{key}", value)
    sizes = tensor_sizes(tensors, types)
    for tensor, tensor_type, size in zip(tensors, types, sizes, strict=True):
        kind = GGMLQuantizationType[tensor_type.name]
        writer.add_tensor_info(tensor.name, tensor.shape[::-1], np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.read_bytes()
    header += b"\0" * (-len(header) % 32)
    return SparseFile(header, len(header) + sum(ceil_to(size, 32) for size in sizes))


def safetensors_file(entries: Sequence[tuple[str, str, tuple[int, ...], int]]) -> SparseFile:
    records: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, dtype, shape, nbytes in entries:
        records[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    header = json.dumps(records).encode()
    return SparseFile(struct.pack("<Q", len(header)) + header, 8 + len(header) + offset)


def mlx_files(name: str, recipe: str, shards: int) -> dict[str, SparseFile]:
    model = models()[name]
    stored = list(stored_tensors(model.config, mlx_recipes()[recipe], model.float32_tensors, tool=MLX_VLM))
    entries = [(each.name, each.dtype, each.shape, each.nbytes) for each in stored]
    ends = [len(entries) * number // shards for number in range(shards + 1)]
    parts = [entries[start:stop] for start, stop in pairwise(ends)]
    return {
        f"model-{number:05}-of-{len(parts):05}.safetensors": safetensors_file(part)
        for number, part in enumerate(parts, start=1)
    }


def config_json(name: str, **more: object) -> bytes:
    model = models()[name]
    text = model.config._asdict()
    vision = text.pop("vision")._asdict()
    fields = {key: value for key, value in text.items() if value or key == "tie_word_embeddings"}
    kind = "qwen3_5_moe" if model.config.is_moe else "qwen3_5"
    return json.dumps({"model_type": kind, "text_config": fields, "vision_config": vision, **more}).encode()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(tokens={"hf_ann": "ann"}) as hub:
        yield hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, SparseFile | bytes]:
    return {
        "README.md": b"# card\n",
        "Qwen3.5-27B-Q4_K_M.gguf": gguf_file(tmp_path, "Qwen3.5-27B", "Q4_K_M"),
        "Qwen3.5-27B-Q8_0.gguf": gguf_file(tmp_path, "Qwen3.5-27B", "Q8_0"),
        "mmproj-F16.gguf": SparseFile(b"GGUF", 927_000_000),
    }


class Asking:
    """Runs deployfit with the fake Hub as its Hub, and a cache of its own."""

    def __init__(self, hub: FakeHub, home: Path) -> None:
        self.hub = hub
        self.home = home

    def env(self, token: str | None = None) -> dict[str, str]:
        return self.hub.environment(self.home, token) | {"DEPLOYFIT_CACHE": str(self.home / "cache")}

    def __call__(self, *words: str, token: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return run(*words, env=self.env(token) | more, timeout=60)

    def rows(self, *words: str, **more: str) -> list[dict[str, Any]]:
        done = self(*words, "--format", "json", **more)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
        return found


@pytest.fixture
def ask(hub: FakeHub, tmp_path: Path) -> Asking:
    return Asking(hub, tmp_path)


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
    assert "GB (10^9 bytes) in 4 files" in ask("hub", REPO).stdout


def test_a_header_is_read_in_a_few_range_requests_and_then_from_the_cache(
    hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    hub.add_repo(REPO, files, xet=["Qwen3.5-27B-Q4_K_M.gguf"])
    (row,) = [row for row in ask.rows("hub", REPO, "--file", "*Q4_K_M*") if row["tensor_bytes"]]
    weights = gguf_weights(models()["Qwen3.5-27B"], recipes()["Q4_K_M"], imatrix=False, mtp=False)
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
    assert seeing["vision_bytes"] == 927_000_000


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
    hub.fault("", Fault(delay=0.02), host="cdn", times=None)
    terminal, end = os.openpty()
    words = [sys.executable, "-m", "deployfit", "hub", MLX_REPO, "--file", "*"]
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(all_of, terminal)
        done = subprocess.run(words, env=ask.env(), stdout=subprocess.PIPE, stderr=end, text=True)
        os.close(end)
        shown = reading.result()
    assert done.returncode == 0, shown
    assert "reading headers" in shown
    assert "100%" in shown
    assert re.search(r"model.safetensors  model +94 ", done.stdout)
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
    assert (first.returncode, first.stdout) == (3, "")
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
    assert "from the cache, the Hub was not asked" in done.stdout


def test_a_commit_is_asked_for_once(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    repo = hub.add_repo(REPO, files)
    for _ in range(2):
        assert ask("hub", REPO, "--revision", repo.sha).returncode == 0
    assert len(hub.requests) == 1


def test_the_token_goes_to_the_hub_only_and_is_never_printed(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files, gated="manual", readers=["ann"])
    refused = ask("hub", REPO, "--file", "*Q4_K_M*")
    assert (refused.returncode, refused.stdout) == (2, "")
    hub.requests.clear()
    done = ask("hub", REPO, "--file", "*Q4_K_M*", token="hf_ann", HF_DEBUG="1", HF_HUB_VERBOSITY="debug")
    assert (done.returncode, done.stderr) == (0, "")
    tokens = {request.host: "authorization" in request.headers for request in hub.requests}
    assert tokens == {"hub": True, "cdn": False}
    assert "hf_ann" not in done.stdout + done.stderr + refused.stderr


GIB = 2**30
FAULTS = {
    "no such repository": ("hub nobody/nothing", None, 2, "no such repository, or a private one"),
    "no such revision": (f"hub {REPO} --revision nowhere", None, 2, "no such revision; leave out --revision"),
    "not a name": ("hub a/b/c", None, 2, "not a repository's name; give owner/name"),
    "a path": ("hub ../../etc/passwd", None, 2, "not a repository's name"),
    "no such file": (f"hub {REPO} --file *Q9*", None, 2, "no model file matches '*Q9*'; it has: Qwen3.5-27B-Q4_K_M"),
    "several files": (f"fit hub:{REPO} --mac 32", None, 2, "2 models; choose one with --file '*PATTERN*'"),
    "an html page": (f"hub {REPO}", HTML_PAGE, 3, "the Hub's answer cannot be read; is HF_ENDPOINT right?"),
    "malformed json": (f"hub {REPO}", MALFORMED_JSON, 3, "the Hub's answer cannot be read"),
    "json without end": (f"hub {REPO}", Fault(200, body=b"[" * 200_000), 3, "the Hub's answer cannot be read"),
    "a list": (f"hub {REPO}", Fault(200, body=b"[]"), 3, "the Hub's answer cannot be read"),
    "no commit": (f"hub {REPO}", Fault(200, body=b'{"id":"a","siblings":[]}'), 3, "is not a list of files with sizes"),
    "no sizes": (
        f"hub {REPO}",
        Fault(200, body=b'{"id":"a","sha":"%s","siblings":[{"rfilename":"a","size":-1}]}' % (b"0" * 40)),
        *(3, "is not a list of files with sizes"),
    ),
    "a cut answer": (f"hub {REPO}", Fault(cut_after=30), 3, "the Hub cannot be reached; check the network"),
    "an answer without end": (f"hub {REPO}", Fault(200, body=b" " * 2**26), 3, "answer is far too slow or too long"),
    "a wrong length": (f"hub {REPO}", Fault(length_error=-50), 3, "the Hub's answer cannot be read"),
    "forbidden": (f"hub {REPO}", Fault(403, body=b"{}"), 2, "access denied (HTTP 403); log in, or check HF_TOKEN"),
    "quant with hub": (f"fit hub:{REPO} --quant Q4_K_M --mac 32", None, 2, "--quant is for models of the catalogue"),
    "wrong runtime": (f"fit hub:{REPO} --file *Q4_K_M* --runtime mlx --mac 32", None, 2, "which mlx does not load"),
    "file without hub": ("fit Qwen3.5-27B --file x --mac 32", None, 2, "--file, --revision and --offline are for hub:"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_goes_wrong_is_one_clear_line(case: str, hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    words, fault, code, said = FAULTS[case]
    hub.add_repo(REPO, files)
    if fault is not None:
        hub.fault("/api/models", fault, times=None)
    done = ask(*words.split())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("deployfit: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_architecture_is_sized_but_not_fitted(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0", architecture="llama")})
    assert [row["tensor_bytes"] for row in ask.rows("hub", REPO, "--file", "a.gguf")] == [
        gguf_weights(models()["Qwen3.5-0.8B"], recipes()["Q4_0"], imatrix=False, mtp=False).tensor_bytes
    ]
    done = ask("fit", f"hub:{REPO}", "--mac", "16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "architecture 'llama'; memory is known for qwen35 and qwen35moe only" in done.stderr


# What the second host does to a file's bytes, how often, and what comes of it: an answer, or one line.
FILE_FAULTS = {
    "rate limited for long": (rate_limited(300, retry_after=True), None, "too many requests (HTTP 429)"),
    "rate limited for a second": (rate_limited(1, retry_after=True), 1, ""),
    "an error": (SERVER_ERROR, None, "the Hub answered HTTP 500; try again later"),
    "an error once": (SERVER_ERROR, 1, ""),
    "cut": (Fault(cut_after=1000), None, "the Hub cannot be reached"),
    "cut once": (Fault(cut_after=1000), 1, ""),
    "no answer": (Fault(hang_up=True), None, "the Hub cannot be reached"),
    "slow": (Fault(drip=100_000, drip_pause=0.01), None, ""),
    "fewer bytes than asked for": (Fault(length_error=-100), None, "bytes, got "),
    "the whole file": (Fault(ignore_range=True), None, ""),
    "an html page": (HTML_PAGE, None, "bytes, got 52; try again later"),
    "another host in a circle": (redirect("/again"), None, "'a.gguf': "),
}


@pytest.mark.parametrize("case", FILE_FAULTS)
def test_a_second_host_that_fails_is_asked_again_or_said_in_one_line(
    case: str, hub: FakeHub, ask: Asking, tmp_path: Path
) -> None:
    fault, times, said = FILE_FAULTS[case]
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    hub.fault("", fault, times=times, host="cdn")
    done = ask("hub", REPO, "--file", "a.gguf")
    if said:
        assert (done.returncode, done.stdout) in ((2, ""), (3, "")), done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    else:
        assert done.returncode == 0, done.stderr
        assert "tensors (text)" in done.stdout
    assert len([request for request in hub.requests if request.host == "cdn"]) <= 24


HOSTILE = {
    "not gguf": SparseFile(b"PK\x03\x04" + b"\0" * 100, 1000),
    "a count of tensors": SparseFile(struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0), 10**9),
    "a count of keys": SparseFile(struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), 10**9),
    "an old version": SparseFile(struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), 10**9),
    "empty": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(case: str, hub: FakeHub, ask: Asking) -> None:
    hub.add_repo(REPO, {"a.gguf": HOSTILE[case]})
    done = ask("hub", REPO, "--file", "a.gguf")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("deployfit: 'a.gguf': ")
    assert done.stderr.count("\n") == 1


def test_what_is_refused_is_not_kept(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    """A page of a captive portal, as long as what was asked for, in place of the file: the next time all is well."""
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    hub.fault("", Fault(200, {"Content-Type": "text/html"}, b"<html>" + b" " * 300_000), host="cdn")
    first, second = ask("hub", REPO, "--file", "a.gguf"), ask("hub", REPO, "--file", "a.gguf")
    assert (first.returncode, second.returncode) == (2, 0), second.stderr


def test_names_from_the_hub_never_become_paths_or_escapes(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    evil = "../../../evil\x1b[31m.gguf"
    hub.add_repo(REPO, {evil: gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    done = ask("hub", REPO)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "evil" in done.stdout
    ask("hub", REPO, "--file", "*evil*")
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "cache" in path.parts]
    assert kept
    assert all(len(path.name) == 64 and set(path.name) <= set("0123456789abcdef") for path in kept)
    assert not list(tmp_path.parent.glob("evil*"))


def test_two_processes_share_a_cache(hub: FakeHub, ask: Asking, files: dict[str, Any], tmp_path: Path) -> None:
    hub.add_repo(REPO, files)
    words = ("hub", REPO, "--file", "*Q4_K_M*", "--format", "json")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: ask(*words), range(4)))
    assert {each.returncode for each in done} == {0}
    assert len({each.stdout for each in done}) == 1
    assert not list((tmp_path / "cache").rglob("tmp*"))


def test_a_cache_that_cannot_be_written_is_no_error(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    done = ask("hub", REPO, "--file", "*Q4_K_M*", DEPLOYFIT_CACHE="/dev/null/nowhere")
    assert done.returncode == 0, done.stderr


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


def test_check_online_takes_todays_sizes_and_says_what_differs(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    right = gguf_file(tmp_path, "Qwen3.5-27B", "Q8_0")
    hub.add_repo(REPO, {"Qwen3.5-27B-Q8_0.gguf": SparseFile(right.header, 28_595_763_104)})
    official = config_json("Qwen3.5-27B").replace(b'"head_dim": 256', b'"head_dim": 128')
    hub.add_repo("Qwen/Qwen3.5-27B", {"config.json": official})
    done = ask("check", "--online", "--model", "Qwen3.5-27B", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["review"]["differences"] == ["Qwen3.5-27B: head_dim is 128 on the Hub, 256 in the catalogue"]
    (row,) = report["rows"]
    assert (row["file"], row["published_bytes"], row["exact"]) == ("unsloth:Q8_0", 28_595_763_104, True)
    assert "differences: Qwen3.5-27B: head_dim is 128 on the Hub, 256 in the catalogue\n" in done.stderr
    assert "not asked: 'bartowski/Qwen_Qwen3.5-27B-GGUF' at 'main': no such repository" in done.stderr
    assert "gone: unsloth:Q4_K_M of Qwen3.5-27B, written down 2026-08-21\n" in done.stderr
    assert not any("unsloth:Q8_0" in line or "bartowski" in line for line in report["review"]["gone"])
    hub.repos[REPO].commit({"Qwen3.5-27B-Q8_0.gguf": SparseFile(right.header, 30_000_000_000)})
    done = ask("check", "--online", "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert done.returncode == 1
    assert "not written down: unsloth:Q8_0 of Qwen3.5-27B: 30,000,000,000 bytes today" in done.stderr
    assert "FAILED" in done.stdout


def test_check_online_without_a_hub_is_exit_code_3(hub: FakeHub, ask: Asking) -> None:
    done = ask("check", "--online", "--model", "Qwen3.5-27B", HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (3, "")
    assert "the Hub cannot be reached" in done.stderr
    assert ask("check", "--model", "Qwen3.5-27B", HF_ENDPOINT="http://127.0.0.1:9").returncode == 0


def test_refresh_appends_dated_rows_and_never_overwrites(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    path = tmp_path / "published_sizes.csv"
    before = (Path(__file__).parent.parent / "data" / "published_sizes.csv").read_text(encoding="utf-8")
    path.write_text(before, encoding="utf-8")
    hub.add_repo(
        REPO,
        {
            "Qwen3.5-27B-Q8_0.gguf": SparseFile(b"GGUF", 28_595_763_104),  # as written down
            "Qwen3.5-27B-Q6_K.gguf": SparseFile(b"GGUF", 22_000_000_000),  # uploaded anew
            "Qwen3.5-27B-UD-Q9_K.gguf": SparseFile(b"GGUF", 33_000_000_000),  # a new name
            "mmproj-F16.gguf": SparseFile(b"GGUF", 927_000_000),
        },
    )
    words = ("refresh", str(path), "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    dry = ask(*words, "--dry-run")
    assert path.read_text(encoding="utf-8") == before
    done = ask(*words)
    assert (dry.returncode, done.returncode) == (0, 0), done.stderr
    assert done.stdout.startswith("3 sizes on the Hub, 2 of them new or changed; 2 rows appended.")
    after = path.read_text(encoding="utf-8")
    assert after.startswith(before)
    added = after[len(before) :].splitlines()
    assert [line.split(",")[3] for line in added] == ["Q6_K", "UD-Q9_K"]
    assert all("unsloth,unsloth/Qwen3.5-27B-GGUF,Qwen3.5-27B," in line and ",high," in line for line in added)
    from deployfit.quants.publishers import parse_published_sizes

    assert len(parse_published_sizes(after, "sizes")) == len(parse_published_sizes(before, "sizes")) + 2


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


def test_the_token_is_not_taken_to_where_a_next_page_or_a_redirect_points(
    hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    hub.add_repo(REPO, files, info={"siblings": []})
    hub.fault("/tree/", Fault(headers={"Link": f'<{hub.third}/next>; rel="next"'}))
    done = ask("hub", REPO, token="hf_ann")
    assert (done.returncode, done.stdout) == (3, "")
    assert "the next page of its files is on another host" in done.stderr
    assert {request.host for request in hub.requests} == {"hub"}
    hub.fault("/api/models", redirect(hub.third + "/elsewhere"))
    done = ask("hub", REPO, token="hf_ann")
    assert (done.returncode, done.stdout) == (3, "")
    assert hub.requests[-1].host == "third"
    assert "authorization" not in hub.requests[-1].headers


# A variable that is wrong, and what is said of it.
VARIABLES = {
    "no address": ({"HF_ENDPOINT": "foo"}, 2, "HF_ENDPOINT is no address such as https://huggingface.co"),
    "no port": ({"HF_ENDPOINT": "http://a:b:c"}, 2, "HF_ENDPOINT, or another variable of huggingface_hub"),
    "half an address": ({"HF_ENDPOINT": "http://["}, 2, "HF_ENDPOINT, or another variable of huggingface_hub"),
    "an escape": ({"HF_ENDPOINT": "http://a\x1b31m"}, 2, "HF_ENDPOINT is no address such as https://huggingface.co"),
    "no number": ({"HF_HUB_ETAG_TIMEOUT": "soon"}, 2, "or another variable of huggingface_hub, cannot be read"),
    "no hub there": ({"HF_ENDPOINT": "http://127.0.0.1:9"}, 3, "the Hub cannot be reached; check the network"),
    "a token with accents": ({"HF_TOKEN": "hf_\u00e9\u00e9"}, 2, "HF_TOKEN is no token; it has letters that none has"),
    "a wrong token": ({"HF_TOKEN": "hf_nobody"}, 2, "access denied (HTTP 401); log in, or check HF_TOKEN"),
    "a SOCKS proxy": ({"HTTP_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": ""}, 2, "for a SOCKS proxy install socksio"),
    "no certificates": (
        {"SSL_CERT_FILE": "/nowhere", "HF_ENDPOINT": "https://127.0.0.1:9"},
        *(3, "No such file or directory; check the network, SSL_CERT_FILE"),
    ),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_a_variable_that_is_wrong_is_said_in_one_line(
    case: str, hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    more, code, said = VARIABLES[case]
    hub.add_repo(REPO, files)
    done = ask("hub", REPO, **more)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("deployfit: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any(value in done.stderr for name, value in more.items() if name == "HF_TOKEN")


def test_ctrl_c_does_not_wait_for_hosts_that_hang(hub: FakeHub, ask: Asking) -> None:
    hub.add_repo(MLX_REPO, mlx_files("Qwen3.5-0.8B", "bf16", 24))
    hub.fault("", Fault(delay=600), host="cdn", times=None)
    process = subprocess.Popen(
        [sys.executable, "-m", "deployfit", "hub", MLX_REPO, "--file", "*"],
        env=ask.env() | {"HF_HUB_DOWNLOAD_TIMEOUT": "600"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while hub.most_busy.get("cdn", 0) < 8:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error.strip()) == (130, b"", b"")


@pytest.mark.parametrize(("host", "pattern"), [("hub", "/api/models"), ("cdn", "")])
def test_a_host_that_does_not_answer_in_time(
    host: str, pattern: str, hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    """huggingface_hub's own variables say how long that is."""
    hub.add_repo(REPO, files, info={"siblings": []})
    hub.fault(pattern, Fault(delay=60), host=host, times=None)
    soon = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    done = ask("hub", REPO, "--file", "*Q4_K_M*", **soon)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the Hub did not answer in time; try again later" in done.stderr
    assert done.stderr.count("\n") == 1


class Dripping(httpx2.SyncByteStream):
    """A body that goes on for ever, and counts how much of it was wanted."""

    wanted = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.wanted += 1
            yield b"x" * 10


@pytest.mark.parametrize(("most_bytes", "most_seconds", "wanted"), [(95.0, 1000.0, 10), (1e9, -1.0, 1)])
def test_an_answer_is_bounded_in_bytes_and_in_seconds(most_bytes: float, most_seconds: float, wanted: int) -> None:
    from deployfit.hub.client import _BoundedStream, _TooMuchError

    dripping = Dripping()
    with pytest.raises(_TooMuchError):
        list(_BoundedStream(dripping, most_bytes, most_seconds))
    assert dripping.wanted == wanted


def test_the_hub_s_own_limits_are_kept_to(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    hub.fault("/api/models", rate_limited(1))
    assert ask("hub", REPO).returncode == 0
    assert [request.status for request in hub.requests] == [429, 200]
    hub.fault("/api/models", rate_limited(300), times=None)
    done = ask("hub", "my/other")
    assert (done.returncode, done.stdout) == (3, "")
    assert "too many requests (HTTP 429); wait 300 s, or log in for a higher limit" in done.stderr
    assert len(hub.requests) == 3


@pytest.mark.parametrize("damage", [lambda kept: kept[:-1], lambda kept: kept[:50] + b"!" + kept[51:]])
def test_a_damaged_cache_is_as_good_as_none(
    damage: Callable[[bytes], bytes], hub: FakeHub, ask: Asking, files: dict[str, Any], tmp_path: Path
) -> None:
    hub.add_repo(REPO, files)
    words = ("hub", REPO, "--file", "*Q4_K_M*")
    first = ask(*words)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(kept) == 3  # the branch, its commit, a header
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    offline = ask(*words, "--offline")
    assert (offline.returncode, offline.stdout) == (3, "")
    assert "is not in the cache" in offline.stderr
    assert ask(*words).stdout == first.stdout
    assert ask(*words, "--offline").returncode == 0


def test_what_the_hub_says_of_a_repository_is_listed(hub: FakeHub, ask: Asking) -> None:
    shards = mlx_files("Qwen3.5-0.8B", "q4_g64", 2)
    files = {
        "pytorch_model.bin": SparseFile(b"PK", 1_740_000_000),
        "x-MMPROJ-bf16.gguf": SparseFile(b"GGUF", 200_000_000),
    }
    counts = {"parameters": {"BF16": 123_456, "U32": 78_901_234}, "total": 79_024_690}
    hub.add_repo(MLX_REPO, {"README.md": b"#", **shards, **files}, info={"safetensors": counts}, xet=list(shards))
    text = ask("hub", MLX_REPO).stdout
    assert "Parameters of the safetensors files as the Hub counts them: BF16 123,456, U32 78,901,234." in text
    assert "GGUF 0.20, PyTorch 1.74, other 0.00, safetensors 0." in text
    assert re.search(r"x-MMPROJ-bf16.gguf +mmproj +1 +0.20 +200,000,000", text)
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
    assert "architecture 'clip'; memory is known for" in done.stderr
    done = ask("hub", REPO, "--file", "F16")
    assert "no model file matches 'F16' (a pattern: '*F16*'); it has: mmproj-F16.gguf" in done.stderr


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
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    twice_row, once_row = (ask.rows("fit", f"hub:{repo}", "--mac", "16")[0] for repo in ("my/twice", "my/once"))
    assert twice_row["weights_bytes"] == once_row["weights_bytes"] > 1_500_000_000
    assert twice_row["file_bytes"] == whole.size


def test_key_values_of_another_type_are_no_traceback(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    honest = gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")
    key = b"qwen35.block_count"
    nan = honest.header.replace(key + struct.pack("<II", 4, 24), key + struct.pack("<If", 6, float("nan")))
    assert nan != honest.header
    hub.add_repo(REPO, {"a.gguf": SparseFile(nan, honest.size)})
    assert ask("hub", REPO, "--file", "a.gguf").returncode == 0
    done = ask("fit", f"hub:{REPO}", "--mac", "16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "qwen35.block_count: expected a whole number, got 'nan'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_online_means_today_and_the_cache_does_not_answer(
    hub: FakeHub, ask: Asking, files: dict[str, Any], tmp_path: Path
) -> None:
    hub.add_repo(REPO, files)
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(PUBLISHED_SIZES)
    mine = ("--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert ask("check", "--online", *mine).returncode == 1
    before = len(hub.requests)
    for words in (("check", "--online", *mine), ("refresh", str(path), *mine)):
        done = ask(*words, HF_HUB_OFFLINE="1")
        assert (done.returncode, done.stdout) == (3, "")
        assert "offline by HF_HUB_OFFLINE; unset it to ask the Hub" in done.stderr
        hub.fault("/api/models", Fault(404, body=b"{}"))
        done = ask(*words)
        assert (done.returncode, done.stdout) == (3, "")
    assert len(hub.requests) == before + 2
    assert path.read_bytes() == PUBLISHED_SIZES


def test_what_could_not_be_asked_is_exit_code_3_beside_the_answer(hub: FakeHub, ask: Asking) -> None:
    hub.add_repo(REPO, {"Qwen3.5-27B-Q8_0.gguf": SparseFile(b"GGUF", 28_595_763_104)})
    words = ("check", "--online", "--model", "Qwen3.5-27B")
    assert ask(*words).returncode == 0
    hub.fault("/api/models/bartowski", SERVER_ERROR, times=None)
    done = ask(*words)
    assert done.returncode == 3
    assert "1 published sizes: 1 exact" in done.stdout
    assert "not asked: 'bartowski/Qwen_Qwen3.5-27B-GGUF' at 'main': the Hub answered HTTP 500" in done.stderr
    hub.repos[REPO].commit({"Qwen3.5-27B-Q8_0.gguf": SparseFile(b"GGUF", 30_000_000_000)})
    assert ask(*words).returncode == 1


def test_a_file_s_name_does_not_get_into_tables_by_its_escapes(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    evil = SparseFile(b"GGUF", 5_000_000_000)
    names = ("Qwen3.5-27B-\x1b[31mQ4.gguf", "Qwen3.5-27B-a\nb,c.gguf", "Qwen3.5-27B-|.gguf", "Qwen3.5-27B-Q5_K_S.gguf")
    hub.add_repo(REPO, dict.fromkeys(names, evil))
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(PUBLISHED_SIZES)
    mine = ("--model", "Qwen3.5-27B", "--publisher", "unsloth")
    done = ask("check", "--online", *mine, "--format", "junit")
    ElementTree.fromstring(done.stdout.encode())
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stderr.count("not written down: ") == 1
    assert ask("refresh", str(path), *mine).returncode == 0
    assert path.read_bytes().removeprefix(PUBLISHED_SIZES).count(b"\n") == 1
    assert "\x1b" not in "".join(
        ask("hub", REPO, "--format", name).stdout for name in ("text", "json", "csv", "markdown")
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("at_the_end", [True, False])
def test_refresh_adds_nothing_twice_whatever_the_day_and_keeps_the_ends_of_lines(
    end: bytes, at_the_end: bool, hub: FakeHub, ask: Asking, tmp_path: Path
) -> None:
    from deployfit.quants.publishers import parse_published_sizes

    hub.add_repo(REPO, {"Qwen3.5-27B-UD-Q9_K.gguf": SparseFile(b"GGUF", 33_000_000_000)})
    before = PUBLISHED_SIZES.replace(b"\n", end).removesuffix(b"" if at_the_end else end)
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(before)
    words = ("refresh", str(path), "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert "1 rows appended" in ask(*words).stdout
    after = path.read_bytes()
    assert after.startswith(before)
    (size,) = parse_published_sizes(after.decode(), "sizes")[-1:]
    assert (size.recipe, size.nbytes, size.of) == ("UD-Q9_K", 33_000_000_000, "file")
    assert after.count(b"\n") == after.count(end)
    yesterday = after.replace(size.date.encode(), b"2026-09-30")
    path.write_bytes(yesterday)
    assert "0 rows appended" in ask(*words).stdout
    assert path.read_bytes() == yesterday


def test_refresh_appends_all_or_nothing(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"Qwen3.5-27B-UD-Q9_K.gguf": SparseFile(b"GGUF", 33_000_000_000)})
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(PUBLISHED_SIZES)
    most = len(PUBLISHED_SIZES) + 10
    words = [
        sys.executable,
        "-m",
        "deployfit",
        "refresh",
        str(path),
        "--model",
        "Qwen3.5-27B",
        "--publisher",
        "unsloth",
    ]
    done = subprocess.run(
        words,
        env=ask.env(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "No space left on device; nothing was appended" in done.stderr
    assert path.read_bytes() == PUBLISHED_SIZES
    for other, said in (("/dev/zero", "not a text file"), (str(tmp_path), "not a text file")):
        done = ask("refresh", other)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_the_readme_s_commands_work_as_they_stand_there(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ deployfit ((?:hub|fit hub:).*?)(?:  +#.*)?$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        done = ask(*shlex.split(command))
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_a_renamed_repository_is_followed(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    hub.renamed["old/name"] = REPO
    assert [row["file"] for row in ask.rows("hub", "old/name")] == [row["file"] for row in ask.rows("hub", REPO)]


def test_refresh_wants_a_publisher_that_exists_and_a_file_of_sizes(ask: Asking, tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("publisher,model\n", encoding="utf-8")
    for words, said in (
        (("refresh", str(tmp_path / "nowhere.csv")), "No such file or directory; give data/published_sizes.csv"),
        (("refresh", str(path)), "sizes.csv:1: no column repo, recipe"),
    ):
        done = ask(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
