"""The answers of `deployfit fit` and `table`, as a user gets them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import engine_rows, run

from deployfit.catalog import models, recipes

Rows = Callable[..., list[dict[str, Any]]]

FIELDS = [
    "model",
    "recipe",
    "runtime",
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
    "vision_bytes",
    "mtp_bytes",
    "total_bytes",
    "gpu_limit_bytes",
    "reserve_bytes",
    "headroom_bytes",
    "verdict",
    "max_context_tokens",
    "basis",
]
TEXTS = {"model", "recipe", "runtime", "mac", "kv_type_k", "kv_type_v", "verdict"}


def test_json_rows_have_the_promised_fields_and_bytes_are_integers(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32")
    assert set(FIELDS) <= set(row)
    for field in FIELDS:
        kind = str if field in TEXTS else dict if field == "basis" else int
        assert type(row[field]) is kind, field
    assert set(row["basis"].values()) <= {"exact", "derived", "measured", "assumed"}


def test_the_numbers_behind_the_main_answer_are_the_engines(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32", "--context", "32k")
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
    rows = fit_rows("Qwen3.5-9B", *words.split())
    assert sorted(row["recipe"] for row in rows) == sorted(recipes())
    for row in rows:
        parts = ("weights", "kv_cache", "recurrent_state", "compute_buffer", "vision", "mtp")
        assert row["total_bytes"] == sum(row[part + "_bytes"] for part in parts)
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


def test_what_does_not_fit_comes_with_what_would(fit_rows: Rows) -> None:
    (row,) = fit_rows("Qwen3.5-27B", "--quant", "Q5_K_M", "--mac", "32", "--context", "256k")
    assert row["verdict"] == "does_not_fit"
    options = [text.split(":")[0] for text in row["advice"]]
    assert f"--context {row['max_context_tokens']}" in options
    assert any(option.startswith("--quant ") for option in options)
    for option in options:
        flag, value = option.split(" ")
        words = {"--quant": "Q5_K_M", "--context": "256k", flag: value}
        (better,) = fit_rows("Qwen3.5-27B", "--mac", "32", *(word for pair in words.items() for word in pair))
        assert better["verdict"] == "fits", option


def test_the_sysctl_line_that_is_advised_makes_it_fit(fit_rows: Rows) -> None:
    words = ("Qwen3.5-27B", "--quant", "Q6_K", "--mac", "32", "--context", "64k")
    (row,) = fit_rows(*words)
    assert row["verdict"] == "needs_raised_limit"
    (line,) = [text for text in row["advice"] if "sysctl" in text]
    assert "kernel panics" in line
    mib = line.split("iogpu.wired_limit_mb=")[1].split(":")[0]
    (raised,) = fit_rows(*words, "--wired-limit", f"{mib}m")
    assert raised["verdict"] == "fits"
    assert raised["gpu_limit_bytes"] == int(mib) * 2**20


def test_exit_code_3_only_when_asked_for() -> None:
    words = ("fit", "Qwen3.5-397B-A17B", "--quant", "Q4_K_M", "--mac", "32")
    assert run(*words).returncode == 0
    assert run(*words, "--exit-code").returncode == 3
    assert run("fit", "Qwen3.5-0.8B", "--mac", "8", "--exit-code").returncode == 0


def test_csv_has_the_fields_of_json_and_one_line_per_recipe() -> None:
    done = run("fit", "Qwen3.5-4B", "--mac", "16", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(recipes())
    assert set(FIELDS) <= set(rows[0])
    assert all(int(row["total_bytes"]) > 0 for row in rows)


def test_text_is_plain_in_a_pipe_and_its_columns_align() -> None:
    done = run("fit", "Qwen3.5-35B-A3B", "--mac", "32")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("recipe"))
    table = lines[start : start + 1 + len(recipes())]
    assert len({line.rindex("  ") for line in table if line.endswith("  fits")}) <= 1
    assert done.stderr == ""


def test_markdown_is_a_table() -> None:
    done = run("fit", "Qwen3.5-4B", "--mac", "16", "--quant", "Q8_0", "--format", "markdown")
    assert "| recipe | bits/weight | file GB |" in done.stdout
    assert "| Q8_0 | 8.5" in done.stdout


def test_the_size_table_has_every_model_and_recipe() -> None:
    report = json.loads(run("table", "--format", "json").stdout)
    assert report["schema"] == "deployfit/table/1"
    assert {(row["model"], row["recipe"]) for row in report["rows"]} == {(m, r) for m in models() for r in recipes()}
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


@pytest.mark.parametrize("command", [[], ["fit"], ["table"]])
def test_every_command_has_help(command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [("--mac 64 --quant BF16", "--quant Q8_0"), ("--mac 16 --macos 15 --quant Q2_0", "--quant TQ1_0")],
)
def test_the_smaller_recipe_that_is_advised_can_be_made_as_asked(words: str, expected: str, fit_rows: Rows) -> None:
    """Q8_0 rather than the MXFP4_MOE of the same size; none that needs an importance matrix without one."""
    (row,) = fit_rows("Qwen3.5-27B", *words.split())
    assert any(text.startswith(expected + ":") for text in row["advice"]), row["advice"]
