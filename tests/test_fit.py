"""The answers of `deployfit fit` and `table`, as a user gets them."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import engine_rows, one_line, run
from hub_files import gguf_file
from test_local_files import put

from deployfit.catalogue import models
from deployfit.estimate import COLUMNS
from deployfit.quants.shelf import recipes
from deployfit.questions import MODULES

Rows = Callable[..., list[dict[str, Any]]]
BENCH = ("--app", "llama-bench")  # as the engine's library starts, which is what its figures are of

FIELDS = [
    "model",
    "recipe",
    "runtime",
    "format",
    "mac",
    "macos",
    "memory_bytes",
    "context_tokens",
    "kv_type_k",
    "kv_type_v",
    "parallel",
    "ubatch",
    "tensor_bytes",
    "file_bytes",
    "weights_bytes",
    "kv_cache_bytes",
    "recurrent_state_bytes",
    "compute_buffer_bytes",
    "compute_buffer_upper_bytes",
    "output_bytes",
    "vision_bytes",
    "mtp_bytes",
    "total_bytes",
    "gpu_limit_bytes",
    "reserve_bytes",
    "headroom_bytes",
    "verdict",
    "max_context_tokens",
    "parts",
    "basis",
]
TEXTS = {"model", "recipe", "runtime", "format", "mac", "kv_type_k", "kv_type_v", "verdict"}
KINDS = {"basis": dict, "parts": list} | dict.fromkeys(TEXTS, str)
PART_KINDS = {"name": str, "machine": int, "where": str, "bytes": int, "upper_bytes": int, "basis": str}


def test_json_rows_have_the_promised_fields_and_bytes_are_integers(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32")
    assert set(FIELDS) <= set(row)
    for field in FIELDS:
        assert type(row[field]) is KINDS.get(field, int), field
    assert set(row["basis"].values()) <= {"exact", "derived", "measured", "assumed"}
    # Of every column that is a sum of parts, there or not; nothing of what was not asked for is exact.
    assert {*COLUMNS, "file_bytes", "gpu_limit_bytes"} <= set(row["basis"])
    assert (row["vision_bytes"], row["mtp_bytes"]) == (0, 0)
    assert (row["basis"]["vision_bytes"], row["basis"]["mtp_bytes"]) == ("exact", "exact")


def test_parts_are_objects_whose_sums_are_the_columns(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "64", "--mtp", "--vision", *BENCH)
    for part in row["parts"]:
        assert {name: type(value) for name, value in part.items()} == PART_KINDS
        assert part["machine"] == 0
        assert part["where"] in ("device", "host")
        assert part["bytes"] <= part["upper_bytes"]
    names = [part["name"] for part in row["parts"]]
    assert {"weights", "kv_cache", "recurrent_state", "compute", "vision"} <= set(names)
    assert any(name.startswith("draft_") for name in names)
    for column, of in COLUMNS.items():
        assert row[column] == sum(part["bytes"] for part in row["parts"] if part["name"] in of)
    (device,) = [part for part in row["parts"] if (part["name"], part["where"]) == ("compute", "device")]
    (memory,) = [
        each
        for each in engine_rows("llamacpp_memory_device.csv")
        if (each["origin"], each["model"], each["n_ctx"], each["type_k"], each["n_ubatch"], each["n_parallel"])
        == ("handed over", "27B", "32768", "f16", "512", "1")
        and each["mtp_in_file"] == "0"
    ]
    assert device["bytes"] == int(memory["dev_compute"])


def test_the_numbers_behind_the_main_answer_are_the_engines(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32", "--context", "32k", *BENCH)
    (quantized,) = [
        each
        for each in engine_rows("llamacpp_quantize.csv")
        if (each["model"], each["ftype"], each["mtp"], each["imatrix"]) == ("27B", "Q4_K_M", "0", "0")
    ]
    (memory,) = [
        each
        for each in engine_rows("llamacpp_memory_device.csv")
        if (each["origin"], each["model"], each["n_ctx"], each["type_k"], each["n_ubatch"], each["n_parallel"])
        == ("handed over", "27B", "32768", "f16", "512", "1")
        and each["mtp_in_file"] == "0"
    ]
    assert row["tensor_bytes"] == row["weights_bytes"] == int(quantized["tensor_bytes"])
    assert row["kv_cache_bytes"] + row["recurrent_state_bytes"] == int(memory["dev_context"])
    assert row["compute_buffer_bytes"] == int(memory["dev_compute"]) + int(memory["host_compute"])
    assert row["gpu_limit_bytes"] == 26_800_603_136
    assert row["verdict"] == "fits"


def test_the_two_generations_of_macos_can_disagree_and_the_answer_says_so(fit_rows: Rows) -> None:
    words = ("Qwen3.5-35B-A3B", "--quant", "Q4_K_M", "--mac", "32")
    (new,), (old,) = fit_rows(*words), fit_rows(*words, "--macos", "15")
    assert (new["verdict"], old["verdict"]) == ("fits", "tight")
    assert any("macOS 15 and earlier" in note and "tight" in note for note in new["notes"])
    assert any("macOS 26 and later" in note for note in old["notes"])


def test_a_limit_that_was_never_observed_is_said_to_be_assumed(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-122B-A10B", "--quant", "Q4_K_M", "--mac", "M3 Ultra 96")
    assert row["basis"]["gpu_limit_bytes"] == "assumed"
    assert any("never observed" in note for note in row["notes"])


@pytest.mark.parametrize("words", ["--mac 32", "--mac 64 --mtp --vision", "--mac 8 --macos 15"])
def test_every_recipe_has_one_row_whose_parts_add_up(words: str, fit_rows: Rows) -> None:
    rows = fit_rows("Qwen3.5-9B", "--own", "--runtime", "llama.cpp", *words.split())
    assert sorted(row["recipe"] for row in rows) == sorted(recipes())
    for row in rows:
        assert row["total_bytes"] == sum(row[column] for column in COLUMNS)
        assert row["headroom_bytes"] == row["gpu_limit_bytes"] - row["reserve_bytes"] - row["total_bytes"]
        assert (row["verdict"] == "fits") == (row["headroom_bytes"] >= 0)


def test_mtp_and_vision_are_counted_when_asked_for_and_named_when_left_out(fit_rows: Rows) -> None:
    words = ("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "64")
    (plain,), (full,) = fit_rows(*words), fit_rows(*words, "--mtp", "--vision")
    assert plain["vision_bytes"] == plain["mtp_bytes"] == 0
    assert any("--vision" in text for text in plain["not_counted"])
    assert any("--mtp" in text for text in plain["not_counted"])
    (with_mtp,) = [
        each
        for each in engine_rows("llamacpp_quantize.csv")
        if (each["model"], each["ftype"], each["mtp"], each["imatrix"]) == ("27B", "Q4_K_M", "1", "0")
    ]
    assert full["tensor_bytes"] == int(with_mtp["tensor_bytes"])
    assert full["mtp_bytes"] > full["tensor_bytes"] - full["weights_bytes"] > 0
    assert full["vision_bytes"] > 2 * 460_000_000


def asked(advice: str) -> list[str]:
    """The words of the command that an advice begins with."""
    return shlex.split(advice.split(": ")[0])


@pytest.mark.parametrize(
    "words",
    [
        ("Qwen3.5-27B", "--quant", "Q5_K_M", "--mac", "32", "--context", "256k"),
        ("Qwen3.5-27B", "--quant", "BF16", "--mac", "64"),
        ("Qwen3.5-27B", "--quant", "8bit", "--mac", "M2 Pro 32", "--macos", "15"),
        ("Qwen3.5-9B", "--quant", "unsloth:Q8_0", "--mac", "8"),
    ],
)
def test_what_does_not_fit_comes_with_what_would(words: tuple[str, ...], fit_rows: Rows) -> None:
    """Each way is a command, and its answer is that it fits."""
    (row,) = fit_rows(*words)
    assert row["verdict"] in ("does_not_fit", "needs_raised_limit", "tight")
    assert 1 <= len(row["advice"]) <= 3
    for advice in row["advice"]:
        program, command, *rest = asked(advice)
        if program == "deployfit":
            assert command == "fit"
            (better,) = fit_rows(*rest)
            assert better["verdict"] == "fits", advice
            assert better["context_tokens"] >= row["context_tokens"] // 4


def test_the_smaller_recipe_that_is_advised_is_the_plainer_of_two(fit_rows: Rows) -> None:
    """Q8_0 rather than the MXFP4_MOE of the same size; the settings that were typed are kept."""
    (row,) = fit_rows("Mixtral-8x7B", "--mac", "64", "--quant", "BF16", "--ubatch", "1024")
    (way,) = [asked(advice) for advice in row["advice"] if "smaller file" in advice]
    assert way[way.index("--quant") + 1] == "Q8_0"
    assert way[way.index("--ubatch") + 1] == "1024"


@pytest.mark.parametrize(
    ("words", "start", "said"),
    [
        # what can be downloaded before what one would have to make
        (("Qwen3.5-27B", "--quant", "BF16", "--mac", "64"), "Qwen3.5-27B --quant unsloth:", "smaller file"),
        # models whose published count nobody saw are smaller ones too, and so are those without a known file
        (("Gemma-3-27B", "--quant", "Q4_K_M", "--mac", "16"), "Gemma-3-12B --quant Q", "smaller model"),
        (("Llama-3.3-70B", "--quant", "Q4_K_M", "--mac", "32"), "Llama-3.1-8B --quant Q8_0", "smaller model"),
    ],
)
def test_what_an_expert_would_name_first(words: tuple[str, ...], start: str, said: str, fit_rows: Rows) -> None:
    (row,) = fit_rows(*words)
    (way,) = [advice for advice in row["advice"] if said in advice]
    assert way.startswith(f"deployfit fit {start}")


def test_experts_that_are_shipped_quantized_stay_so(fit_rows: Rows) -> None:
    recipes = [row["recipe"] for row in fit_rows("gpt-oss-20b", "--runtime", "mlx", "--mac", "32")]
    assert len(recipes) == 4
    assert all(recipe.startswith("mxfp4_experts") for recipe in recipes)


def test_a_name_of_a_file_whose_experts_stay_as_they_are_is_not_that_of_the_quantizers(fit_rows: Rows) -> None:
    for name in ("unsloth/gpt-oss-20b-GGUF:Q4_K_M", "unsloth/gpt-oss-20b-GGUF:F16"):
        (row,) = (row for row in fit_rows(name, "--mac", "64") if row["runtime"] == "llama.cpp")
        assert row["recipe"] == "ggml-org:MXFP4"


def test_what_lost_much_is_no_choice_and_nothing_to_seek_a_way_for(fit_rows: Rows) -> None:
    """Below 3 bits the cited tests found a large loss: a smaller cache, another model or Mac come before that."""
    for words in (("Llama-3.3-70B", "--mac", "48"), ("Qwen3.5-27B", "--mac", "8"), ("DeepSeek-V3", "--mac", "256")):
        rows = [row for row in fit_rows(*words) if row["runtime"] == "llama.cpp"]
        assert not any(row["choice"] for row in rows)
        (wanted,) = (row for row in rows if row["advice"])
        assert 8 * wanted["tensor_bytes"] / models()[wanted["model"]].row.total_params > 3
        assert all("smaller file" not in advice for advice in wanted["advice"])
    said = one_line(run("fit", "Llama-3.3-70B", "--mac", "48", "--runtime", "llama.cpp").stdout)
    assert "What fits lost much in the cited tests, so that none of it is our choice. IQ3_S: what would help:" in said
    brief = run("fit", "Llama-3.3-70B", "--mac", "48", "--runtime", "llama.cpp", "--brief").stdout
    assert brief.startswith("needs raised limit")
    assert "IQ3_S" in brief


def test_a_context_that_nobody_typed_is_no_longer_than_the_trained_one(fit_rows: Rows) -> None:
    rows = {row["runtime"]: row["context_tokens"] for row in fit_rows("Phi-4", "--quant", "Q4_K_M,4bit", "--mac", "32")}
    assert rows == {"llama.cpp": 32_768, "mlx": 16_384}  # of four sequences, of one
    refused = run("fit", "Phi-4", "--quant", "4bit", "--mac", "32", "--context", "32k")
    assert "--context: 32,768 tokens; choose from 1 to the trained 16,384" in refused.stderr


def test_a_list_of_which_one_engine_makes_nothing(fit_rows: Rows) -> None:
    assert {row["runtime"] for row in fit_rows("Phi-4", "--imatrix", "--mac", "32")} == {"llama.cpp"}


def test_the_limit_is_among_the_ways_where_raising_it_is_enough(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q6_K", "--mac", "32", "--context", "64k")
    assert row["verdict"] == "needs_raised_limit"
    assert [advice.split()[0] for advice in row["advice"]] == ["deployfit", "deployfit", "sudo"]


def test_the_sysctl_line_that_is_advised_makes_it_fit(fit_rows: Rows) -> None:
    own = ("--catalog", str(Path(__file__).parent.parent / "data" / "configs" / "Qwen3.5-27B.json"))
    words = ("Mine", "--quant", "Q5_K_S", "--mac", "24", "--context", "4k", *own)
    (row,) = fit_rows(*words)
    assert row["verdict"] == "needs_raised_limit"
    (line,) = [text for text in row["advice"] if "sysctl" in text]
    assert "kernel panics" in line
    mib = line.split("iogpu.wired_limit_mb=")[1].split(":")[0]
    (raised,) = fit_rows(*words, "--wired-limit", f"{mib}m")
    assert raised["verdict"] == "fits"
    assert raised["gpu_limit_bytes"] == int(mib) * 2**20
    assert fit_rows(*words, "--wired-limit", mib) == [raised]  # as sysctl prints it


def test_exit_code_3_only_when_asked_for() -> None:
    words = ("fit", "Qwen3.5-397B-A17B", "--quant", "Q4_K_M", "--mac", "32")
    assert run(*words).returncode == 0
    assert run(*words, "--exit-code").returncode == 3
    assert run("fit", "Qwen3.5-0.8B", "--mac", "8", "--exit-code").returncode == 0


def test_csv_has_the_fields_of_json_and_one_line_per_recipe() -> None:
    done = run("fit", "Qwen3.5-4B", "--mac", "16", "--own", "--runtime", "llama.cpp", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(recipes())
    assert set(FIELDS) <= set(rows[0])
    assert all(int(row["total_bytes"]) > 0 for row in rows)


def test_without_a_quant_every_file_that_can_be_downloaded_is_answered(fit_rows: Rows) -> None:
    rows = fit_rows("Qwen3.5-9B", "--mac", "16")
    assert {row["runtime"] for row in rows} == {"llama.cpp", "mlx"}
    assert all(":" in row["recipe"] for row in rows)
    for runtime in ("llama.cpp", "mlx"):
        (choice,) = [row for row in rows if row["choice"] and row["runtime"] == runtime]
        assert choice["verdict"] == "fits"
    listed = fit_rows("Qwen3.5-9B", "--mac", "16", "--publisher", "unsloth")
    theirs = [row | {"choice": None} for row in rows if row["recipe"].startswith("unsloth:")]
    assert theirs == [row | {"choice": None} for row in listed]


def test_several_macs_are_answered_one_by_one(fit_rows: Rows) -> None:
    words = ("Qwen3.5-27B", "--quant", "Q4_K_M")
    both = fit_rows(*words, "--mac", "16", "--mac", "M4 Max 64")
    assert both == [*fit_rows(*words, "--mac", "16"), *fit_rows(*words, "--mac", "M4 Max 64")]


def test_text_is_plain_in_a_pipe_and_its_columns_align() -> None:
    done = run("fit", "Qwen3.5-35B-A3B", "--mac", "32", "--own")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    tables = [lines[index:] for index, line in enumerate(lines) if line.split()[:2] == ["verdict", "GiB"]]
    assert len(tables) == 2  # one per runtime
    for table in tables:
        rows = table[: table.index("")]
        ends = rows[0].index("GiB") + len("GiB")
        assert len(rows) > 5
        assert all(row[ends - 1].isdigit() and row[ends] == " " for row in rows[1:])
    assert done.stderr == ""


def test_the_answer_comes_first() -> None:
    lines = run("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "M4 Max 64").stdout.splitlines()
    assert "Qwen3.5-27B on an M4 Max 64 GB Mac" in lines[0]
    assert "Fits, 32.6 GiB to spare" in one_line("\n".join(lines[:5]))
    assert "tokens/s" in one_line("\n".join(lines[:12]))


def test_markdown_is_a_table() -> None:
    done = run(
        "fit", "Qwen3.5-4B", "--mac", "16", "--quant", "Q8_0", "--quant", "Q4_K_M", "--format", "markdown", *BENCH
    )
    (header,) = [line for line in done.stdout.splitlines() if line.startswith("|  | verdict")]
    assert [cell.strip() for cell in header.split("|")][2:6] == ["verdict", "GiB", "to spare", "context"]
    assert "\n| --- | --- | ---: |" in done.stdout
    assert "\n| Q8_0 | fits | 5.77 |" in done.stdout


def test_the_size_table_has_every_model_and_recipe() -> None:
    report = json.loads(run("table", "--format", "json").stdout)
    assert report["schema"] == "deployfit/table/1"
    listed = [(row["model"], row["recipe"]) for row in report["rows"]]
    assert len(set(listed)) == len(listed)
    ours = {name for name in models() if name.startswith("Qwen3.5-")}
    assert {pair for pair in listed if pair[0] in ours} == {(model, recipe) for model in ours for recipe in recipes()}
    assert {model for model, _ in listed} == set(models())
    expected = {
        (each["model"], each["ftype"]): int(each["tensor_bytes"])
        for each in engine_rows("llamacpp_quantize.csv")
        if each["mtp"] == each["imatrix"] == "0"
    }
    got = {(row["model"].removeprefix("Qwen3.5-"), row["recipe"]): row["tensor_bytes"] for row in report["rows"]}
    assert expected.items() <= got.items()


def test_repeated_quants_give_a_row_each(fit_rows: Rows) -> None:
    rows = fit_rows("Qwen3.5-4B", "--mac", "16", "--quant", "q8_0", "--quant", "Q4_K")
    assert [row["recipe"] for row in rows] == ["Q8_0", "Q4_K_M"]


@pytest.mark.parametrize("command", [[], *([name] for name in MODULES)])
def test_every_command_has_help(command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_a_file_is_said_to_be_downloaded_made_or_here(tmp_path: Path) -> None:
    put(tmp_path, {"m.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q8_0")})
    for words, said in (
        (("Qwen3.5-9B", "--quant", "unsloth:Q8_0"), "unsloth:Q8_0, 9.5 GB to download"),
        (("Qwen3.5-9B", "--quant", "Q8_0"), "Q8_0, a file of 9.5 GB"),
        ((str(tmp_path / "m.gguf"),), "m.gguf, 0.8 GB on disk"),
    ):
        assert said in one_line(run("fit", *words, "--mac", "32").stdout)


def test_a_line_names_a_file_before_its_speed(tmp_path: Path) -> None:
    put(tmp_path, {"a-model-of-mine-with-a-long-name-Q8_0.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q8_0")})
    (path,) = tmp_path.iterdir()
    brief = run("fit", str(path), "--mac", "M4 Max 64", "--brief").stdout
    assert f"  {path.name}  262,144 tokens\n" in brief


def test_the_name_of_a_gguf_file_means_no_mlx(fit_rows: Rows) -> None:
    """MXFP4 by itself is MLX's; a file that ends in .gguf is not, and one of Ollama's library is for Ollama alone."""
    (row,) = fit_rows("gpt-oss-20b-mxfp4.gguf", "--mac", "24")
    assert (row["recipe"], row["runtime"]) == ("ggml-org:MXFP4", "llama.cpp")
    (row,) = fit_rows("gpt-oss-20b", "--quant", "MXFP4", "--runtime", "llama.cpp", "--mac", "24")
    assert row["recipe"] == "ggml-org:MXFP4"
