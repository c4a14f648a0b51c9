"""`deployfit validate`: figures of others, and what becomes of them; the bars hold on what is shipped."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit import catalogue
from deployfit.catalogue import models
from deployfit.hardware.gpu_limit import LIMITS
from deployfit.hardware.mac import MACS
from deployfit.lookup import find_quant
from deployfit.measured.engines.llamacpp import read_kv_types
from deployfit.measured.engines.mlx import read_prompt
from deployfit.measured.free_text import RULES, NotJudged, read_tokens
from deployfit.measured.memory import MemoryRow, judged_logs, read_figure
from deployfit.measured.speeds import SpeedRow, judged_speeds
from deployfit.measured.verdicts import VERDICT_COLUMNS, VerdictRow, judged_reports, read_runs

MEMORY_COLUMNS = MemoryRow._fields
DATA = Path(__file__).parent.parent / "data"
SPEED_COLUMNS = "chip,ram_gb,bandwidth_gbs,model,quant,runtime,context,pp_tps,tg_tps,source,note"
FEW = settings(max_examples=60, deadline=None, derandomize=True)


def rows_of(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def report_of(*words: str) -> dict[str, Any]:
    done = run("validate", *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["schema"] == "deployfit/validate/1"
    return report


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return report_of()


def written(folder: Path, header: str, *lines: str) -> str:
    path = folder / "given.csv"
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return str(path)


def memory_file(folder: Path, **cells: str) -> str:
    known = {"runtime": "llama.cpp Metal", "model": "Qwen3.5-9B", "quant": "Q4_0", "source": "a log", "ubatch": "512"}
    row = dict.fromkeys(MEMORY_COLUMNS, "") | known | cells
    return written(folder, ",".join(row), ",".join(row.values()))


def verdict_file(folder: Path, **cells: str) -> str:
    known = {"ram_gb": "16", "model": "Qwen3.5-27B", "quant_or_size": "Q4_K_M", "runtime": "llama.cpp", "source": "-"}
    row = dict.fromkeys(VERDICT_COLUMNS, "") | known | cells
    return written(folder, ",".join(row), ",".join(row.values()))


def test_the_bars_hold_on_what_is_shipped(shipped: dict[str, Any]) -> None:
    assert len(shipped["bars"]) == len(rows_of("bars.csv")) == 24
    assert [bar for bar in shipped["bars"] if bar["holds"] is not True] == []
    decode = [bar for bar in shipped["bars"] if bar["what"] == "decode"]
    aims = {(bar["runtime"], bar["most"]) for bar in decode if bar["figure"].startswith("median_percent")}
    assert aims == {("llama.cpp", 15), ("mlx", 12)}
    covered = {(bar["least"], bar["most"]) for bar in shipped["bars"] if bar["figure"] == "covered_percent_by_source"}
    assert covered == {(75, 88)}
    done = run("validate")
    assert "bars (data/bars.csv): 24 of 24 hold" in done.stdout


def test_distributions_are_those_of_the_rows(shipped: dict[str, Any]) -> None:
    """Computed again with numpy from the rows."""
    assert len(shipped["spreads"]) > 20
    for spread in shipped["spreads"]:
        rows = [row for row in shipped["rows"] if (row["what"], row["runtime"]) == (spread["what"], spread["runtime"])]
        if spread["batch"] != "all":
            rows = [row for row in rows if row["batch"] == spread["batch"]]
        errors = np.abs([row["error_percent"] for row in rows])
        assert spread["rows"] == len(rows)
        assert spread["agreeing"] == sum(row["agrees"] for row in rows)
        assert spread["median_percent"] == pytest.approx(np.median(errors), rel=0.002)
        assert spread["p90_percent"] == pytest.approx(np.quantile(errors, 0.9, method="inverted_cdf"), rel=0.002)
        assert spread["worst_percent"] == pytest.approx(errors.max(), rel=0.002)


def test_errors_and_agreement_follow_from_each_row_s_own_figures(shipped: dict[str, Any]) -> None:
    for row in shipped["rows"]:
        if row["section"] == "speed":
            error = 100 * (row["predicted_tps"] / row["measured_tps"] - 1)
            assert row["error_percent"] == pytest.approx(error, abs=0.1, rel=0.002)
            assert row["low_tps"] < row["predicted_tps"] < row["high_tps"]
            if not any(abs(row["measured_tps"] / row[end] - 1) < 0.001 for end in ("low_tps", "high_tps")):
                assert row["agrees"] == (row["low_tps"] < row["measured_tps"] < row["high_tps"])
        elif row["section"] == "memory":
            off = abs(row["estimated_bytes"] - row["measured_bytes"])
            assert row["agrees"] == (off <= row["plus_minus_bytes"])
        else:
            assert row["agrees"] == (row["reported_runs"] == (row["total_bytes"] <= row["gpu_limit_bytes"]))


def test_every_figure_is_judged_or_counted_with_its_reason(shipped: dict[str, Any]) -> None:
    judged = Counter(row["section"] for row in shipped["rows"])
    left_out = {of: sum(reasons.values()) for of, reasons in shipped["left_out"].items()}
    cells = ("kv_mib", "rs_mib", "compute_mib", "peak_gb")
    figures = sum(max(1, sum(bool(row[cell]) for cell in cells)) for row in rows_of("memory_logs.csv"))
    assert judged["memory"] + left_out["memory"] == figures
    assert judged["verdict"] + left_out["verdict"] == len(rows_of("mac_verdicts.csv"))
    speeds = sum(len(rows_of(f"mac_speeds{batch}.csv")) for batch in ("", "_later", "_families"))
    assert len(shipped["rows"]) - judged["memory"] - judged["verdict"] == judged["speed"]
    assert speeds - left_out["speed"] <= judged["speed"] <= 2 * speeds - left_out["speed"]


def test_a_logged_cache_and_state_by_hand(shipped: dict[str, Any]) -> None:
    """Qwen3.5-9B, 131,072 cells, KV Q8_0: "2176.0" MiB and "351.75 (n_rs_seq=6 for MTP)" in the log of an M4 Pro."""
    found = {
        row["what"]: row
        for row in shipped["rows"]
        if (row["model"], row["chip"], row["context_tokens"]) == ("Qwen3.5-9B", "M4 Pro 24", 131_072)
    }
    cache, state = found["kv_cache"], found["recurrent_state"]
    # 8 layers, keys and values, 4 heads of 256, in blocks of 32 numbers that take 34 bytes
    assert cache["estimated_bytes"] == 131_072 * 8 * 2 * 4 * 256 * 34 // 32 == 2176 * 2**20
    # 24 layers, F32: 32 heads of 128 x 128, and 3 columns of 8,192 channels; once and for each of 6 drafted tokens
    assert state["estimated_bytes"] == 7 * 24 * 4 * (32 * 128 * 128 + 3 * 8192) == 351.75 * 2**20
    assert cache["agrees"]
    assert state["agrees"]


def test_a_peak_of_mlx_by_hand(shipped: dict[str, Any]) -> None:
    """38.0 GB for a prompt of 192,000 tokens, as MLX reported it on an M5 Max; 26.7 for 64,000."""
    peaks = {
        row["context_tokens"]: row
        for row in shipped["rows"]
        if (row["what"], row["model"], row["recipe"]) == ("peak", "Qwen3.6-35B-A3B", "q4_g64")
    }
    assert sorted(peaks) == [8_000, 64_000, 100_000, 130_000, 160_000, 192_000]
    assert (peaks[192_000]["measured_bytes"], peaks[192_000]["plus_minus_bytes"]) == (38_000_000_000, 50_000_000)
    assert peaks[64_000]["measured_bytes"] == 26_700_000_000
    assert peaks[192_000]["estimated_bytes"] == pytest.approx(38.0e9, rel=0.01)


def of_llama_cpp() -> dict[str, float]:
    rows = [row for row in rows_of("speed_coefficients.csv") if row["runtime"] == "llama.cpp"]
    return {row["coefficient"]: float(row["value"]) for row in rows}


def the_row(shipped: dict[str, Any], what: str, measured: float) -> dict[str, Any]:
    wanted = (what, "llama.cpp", "M3 Ultra", "Qwen3.5-27B", "Q8_0", measured)
    names = ("what", "runtime", "chip", "model", "recipe", "measured_tps")
    (row,) = [row for row in shipped["rows"] if tuple(row[name] for name in names) == wanted]
    found: dict[str, Any] = row
    return found


@pytest.mark.parametrize(
    ("what", "measured", "tokens", "cells"), [("decode", 19.34, 1500, 1536), ("decode_long", 17.22, 15_000, 15_104)]
)
def test_a_decoding_speed_by_hand(shipped: dict[str, Any], what: str, measured: float, tokens: int, cells: int) -> None:
    """Qwen3.5-27B at Q8_0 on an M3 Ultra, measured with 1,500 and 15,000 tokens; the roofline written out."""
    row, c = the_row(shipped, what, measured), of_llama_cpp()
    read = (26_895_998_464 - 248_320 * 5_120) * 34 / 32  # all but the embedding table; 34 bytes for 32 numbers
    state = 48 * 4 * (48 * 128 * 128 + 3 * 10_240)
    cache = 16 * 2 * 4 * 256 * 2 * cells  # of 64 layers 16; cells in steps of 256
    seconds = read / (819e9 * c["bandwidth_share"] * c["bandwidth_factor_m3"]) + 2 * state / (819e9 * c["state_share"])
    seconds += cache / (819e9 * c["cache_share"])
    clock = 0.81 * 80 / 56.5  # how much slower than an M4's each core is: TFLOPS
    seconds += 2 * 64 * c["block_us"] * c["block_factor_m3"] * c["ultra_factor"] * clock * 1e-6
    assert row["context_tokens"] == tokens
    assert row["predicted_tps"] == pytest.approx(1 / seconds, rel=0.002)
    assert row["low_tps"] == pytest.approx(c["decode_low"] / seconds, rel=0.002)
    assert row["high_tps"] == pytest.approx(c["decode_high"] / seconds, rel=0.002)


def test_a_prefill_speed_by_hand(shipped: dict[str, Any]) -> None:
    """388.51 tokens/s for a prompt of 15,000 tokens, the same model and Mac."""
    row, c = the_row(shipped, "prefill", 388.51), of_llama_cpp()
    (chip,) = [each for each in rows_of("macs.csv") if each["chip"] == "M3 Ultra"]
    flops = float(chip["fp16_tflops"]) * 1e12 * c["prefill_factor_m3"]
    params = 26_895_998_464 - 2 * 248_320 * 5_120  # no embedding, no output head
    attention = 4 * 24 * 256 * 16 * 15_000 / 2  # 16 layers of 24 heads of 256, half the prompt on average
    seconds = 2 * params / (flops * c["prefill_share"]) + attention / (flops * c["prefill_share_attention"])
    clock = 0.81 * 80 / 56.5 * 1e-6
    seconds += 48 * c["prefill_delta_us"] * clock
    step = params * 34 / 32 / (819e9 * c["prefill_share_reading"]) + 128 * c["prefill_block_us"] * clock
    assert row["predicted_tps"] == pytest.approx(1 / (seconds + step / 512), rel=0.002)


def test_reports_of_users(shipped: dict[str, Any]) -> None:
    """RUNS on 16 GB at UD-IQ2_M with 12,288 tokens; OOM there at 3 bits, whose weights alone are above two thirds."""
    found = {(row["model"], row["recipe"], row["memory_gib"]): row for row in shipped["rows"] if row["verdict"]}
    assert len(found) == 10
    small = found["Qwen3.5-35B-A3B", "unsloth:UD-IQ2_M", 16]
    assert (small["reported_runs"], small["verdict"], small["context_tokens"]) == (True, "tight", 12_288)
    large = found["Qwen3.6-35B-A3B", "q3_g64", 16]
    assert large["reported_runs"] is False
    assert large["total_bytes"] > 34_660_610_688 * 3.5 / 8 > 16 * 2**30 * 2 / 3
    assert all(row["agrees"] for row in found.values())


def test_a_given_file_of_speeds_is_judged_alone(tmp_path: Path) -> None:
    lines = ("M3 Ultra,512,819,Qwen3.5-27B,Q8_0,llama.cpp b9000,1500,,19.34,a log,", *["M9,,,?,,?,,,1,-,"] * 2)
    report = report_of("--speeds", written(tmp_path, SPEED_COLUMNS, *lines))
    (row,) = [row for row in report["rows"] if row["section"] == "speed"]
    assert (row["batch"], row["measured_tps"], row["agrees"]) == ("given", 19.34, True)
    assert sum(report["left_out"]["speed"].values()) == 2
    twice = lines[0].replace("19.34", "38.68")
    report = report_of("--speeds", written(tmp_path, SPEED_COLUMNS, twice))
    (row,) = [row for row in report["rows"] if row["section"] == "speed"]
    assert row["agrees"] is False
    assert row["error_percent"] < -45
    (bar,) = [bar for bar in report["bars"] if (bar["runtime"], bar["figure"]) == ("llama.cpp", "median_percent")]
    assert bar["holds"] is False
    said = run("validate", "--speeds", written(tmp_path, SPEED_COLUMNS, twice), "--format", "markdown").stdout
    assert "MISSED: llama.cpp decode, median percent: 5" in said


def test_the_files_that_are_shipped_can_be_given(shipped: dict[str, Any]) -> None:
    words = ("--memory", str(DATA / "memory_logs.csv"), "--verdicts", str(DATA / "mac_verdicts.csv"))
    report = report_of(*words, "--speeds", str(DATA / "mac_speeds.csv"))
    first = [{**row, "batch": ""} for row in shipped["rows"] if row["batch"] in (None, "first")]
    assert [{**row, "batch": "" if row["batch"] else row["batch"]} for row in report["rows"]] == [
        {**row, "batch": "" if row["section"] == "speed" else None} for row in first
    ]


@pytest.mark.parametrize(("figure", "equal"), [("256.00", True), ("256.02", False), ("256", True), ("257", False)])
def test_a_figure_is_equal_to_the_digits_that_were_logged(tmp_path: Path, figure: str, equal: bool) -> None:
    """8,192 tokens of the 9B at F16 are 256 MiB."""
    report = report_of("--memory", memory_file(tmp_path, context="8192", kv_type="f16", kv_mib=figure))
    (row,) = [row for row in report["rows"] if row["section"] == "memory"]
    assert row["estimated_bytes"] == 8 * 8192 * 2 * 4 * 256 * 2
    assert row["agrees"] is equal


def test_a_report_that_disagrees_is_shown_with_the_reason(tmp_path: Path) -> None:
    file = verdict_file(tmp_path, verdict="RUNS; fast", context_flags="32k")
    said = run("validate", "--verdicts", file, "--format", "markdown").stdout
    assert "verdicts: 1 reports, 0 agree (1 say that it runs, 0 that it does not)" in said
    (line,) = [line for line in said.splitlines() if line.startswith("Qwen3.5-27B")]
    assert line == (
        "Qwen3.5-27B Q4_K_M on 16 GB, context 32,768 tokens, KV f16/f16, micro-batch 512: reported to run,"
        " deployfit says does not fit: 18.09 of 11.84 GiB"
    )


@pytest.mark.parametrize(
    ("cells", "runs", "verdict"),
    [
        ({"ram_gb": "24", "quant_or_size": "Q5_K_M", "verdict": "RUNS"}, True, "needs_raised_limit"),
        ({"ram_gb": "24", "quant_or_size": "Q5_K_M", "verdict": "RUNS with 21 GiB wired limit"}, True, "fits"),
        ({"ram_gb": "24", "verdict": "RUNS", "detail": "iogpu.wired_limit_mb=17408"}, True, "tight"),
        (
            {"ram_gb": "24", "quant_or_size": "Q5_K_M", "verdict": "RUNS", "detail": "raised"},
            True,
            "needs_raised_limit",
        ),
        ({"ram_gb": "24", "quant_or_size": "Q5_K_M", "verdict": "OOM; RUNS raised"}, False, "needs_raised_limit"),
        ({"ram_gb": "32", "verdict": "RUNS", "context_flags": "-c 32768 -ctk q8_0 -ctv q8_0"}, True, "fits"),
        ({"ram_gb": "32", "verdict": "crashes", "context_flags": "256k"}, False, "does_not_fit"),
        ({"ram_gb": "18", "verdict": "does not load", "runtime": "LM Studio"}, False, "does_not_fit"),
    ],
)
def test_raised_limits_and_flags_of_reports(tmp_path: Path, cells: dict[str, str], runs: bool, verdict: str) -> None:
    report = report_of("--verdicts", verdict_file(tmp_path, **cells))
    (row,) = [row for row in report["rows"] if row["section"] == "verdict"]
    assert (row["reported_runs"], row["verdict"]) == (runs, verdict)
    raised = "raised" in cells.get("detail", "")
    expected = verdict in ("fits", "tight") or (raised and verdict == "needs_raised_limit")
    assert row["agrees"] == (expected == runs)


def speed_row(**cells: Any) -> SpeedRow:
    known: dict[str, Any] = {
        "chip": "M4 Max",
        "memory_gib": 64,
        "bandwidth_gb_s": 546,
        "model": "Qwen3-8B",
        "quant": "4bit",
    }
    known |= {"runtime": "mlx-lm", "context_tokens": 512, "prefill_tps": 0.0, "decode_tps": 50.0, "source": "a log"}
    return SpeedRow(**(dict.fromkeys(SpeedRow._fields, "") | known | cells))


def judged_speed(**cells: Any) -> tuple[str, str, float, float] | str:
    """The model, its recipe, decode and prefill as they are judged; or the reason why a row is not."""
    judged, left_out = judged_speeds(
        [speed_row(**cells)], catalogue.rows(RULES), models(), catalogue.rows(MACS), find_quant
    )
    if not judged:
        return next(iter(left_out))
    ((row, subject, _),) = judged
    return subject.model.name, subject.quant.name, row.decode_tps, row.prefill_tps


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("mlx-community/Llama-3.2-3B-Instruct-4bit", "Llama-3.2-3B"),
        ("gemma4:26b-mlx", "Gemma-4-26B-A4B"),
        ("gpt-oss-20b-MXFP4-Q8", "gpt-oss-20b"),
        ("Qwen2.5-Coder-14B-Instruct", "Qwen2.5-14B"),
        ("DeepSeek-R1-Distill-Llama-8B", "DeepSeek-R1-Distill-Llama-8B"),
        ("mistralai/Devstral-Small-2507", "Devstral-Small-2507"),
        ("some-model-12B", "no model of the catalogue"),
        ("Qwen3", "no model of the catalogue"),  # several
    ],
)
def test_models_are_read_by_name(model: str, found: str) -> None:
    judged = judged_speed(model=model, quant="4bit")
    assert (judged if isinstance(judged, str) else judged[0]) == found


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"prefill_tps": 900.0}, ("Qwen3-8B", "q4_g64", 50.0, 900.0)),
        ({"quant": "", "model": "Qwen3-8B-8bit"}, ("Qwen3-8B", "q8_g64", 50.0, 0.0)),
        ({"prefill_tps": 900.0, "note": "without M5 neural accelerators"}, ("Qwen3-8B", "q4_g64", 50.0, 0.0)),
        ({"prefill_tps": 900.0, "note": "suspicious decode"}, ("Qwen3-8B", "q4_g64", 0.0, 900.0)),
        ({"prefill_tps": 900.0, "note": "suspicious"}, "its own source doubts it"),
        (
            {"model": "gpt-oss-20b", "quant": "Q4_K_M", "runtime": "llama.cpp b9000"},
            "publishers keep the experts of gpt-oss in MXFP4 whatever a file is called",
        ),
        (
            {"model": "Qwen3.5-9B", "quant": "Q4_K_M", "runtime": "llama.cpp b8000"},
            "llama.cpp before b8333, which reads the state of delta nets slowly",
        ),
        ({"quant": "Q4_K_M", "runtime": "llama.cpp b8000"}, ("Qwen3-8B", "Q4_K_M", 50.0, 0.0)),  # it has no such state
        ({"source": "github:x/y results/qwen3.5-27b.json"}, "its source is named after another model"),
    ],
)
def test_why_a_speed_is_not_judged_or_only_half_of_it(cells: dict[str, Any], found: object) -> None:
    assert judged_speed(**cells) == found


def memory_reason(**cells: str) -> str:
    row = MemoryRow(**(dict.fromkeys(MEMORY_COLUMNS, "") | {"runtime": "mlx-lm", "model": "Qwen3.5-9B"} | cells))
    judged, left_out = judged_logs([row], catalogue.rows(RULES), models(), find_quant)
    assert len(judged) + sum(left_out.values()) == 1
    return next(iter(left_out), "")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({}, ""),
        ({"peak_gb": "9 GB (RSS-type)"}, "resident sets leave out mapped weights"),
        ({"note": "648 MB new swap"}, "it had begun to swap"),
        ({"quant": "UD-MLX-4bit"}, "a mixture whose size is not known"),
        ({"runtime": "mlx-serve"}, "an engine of its own on Apple silicon; neither llama.cpp nor mlx-lm"),
        ({"runtime": "mlx (ESTIMATE)"}, "an estimate and no measurement"),
        ({"context": "512 & 2048 prompt"}, "no length of the prompt, or more than one"),
        ({"context": "ctx 262144, 512 gen"}, "no length of the prompt, or more than one"),
        ({"peak_gb": "3.33-3.35"}, "more than one figure, or none that is a size"),
        ({"model": "some-model-12B"}, "no model of the catalogue"),
        ({"model": "gemma-4-12B"}, ""),
        ({"quant": ""}, "no quant is stated"),
        ({"context": "300k prompt"}, "context: 300,000 tokens; choose from 1 to the trained 262,144"),
        ({"source": "github:somebody/turboquant swap"}, ""),
    ],
)
def test_why_a_peak_is_not_judged(cells: dict[str, str], reason: str) -> None:
    assert memory_reason(**{"quant": "4bit", "context": "2048 prompt", "peak_gb": "6.5"} | cells) == reason


def test_why_parts_of_llama_cpp_are_not_judged() -> None:
    here = {"runtime": "llama.cpp Metal", "context": "8192", "ubatch": "512", "n_parallel": "1"}
    assert memory_reason(**here, compute_mib="501") == ""
    assert memory_reason(**here | {"runtime": "llama.cpp CUDA"}, compute_mib="501") == "another backend than Metal"
    assert memory_reason(**here | {"runtime": "llama.cpp CUDA"}, kv_mib="256") == ""
    assert memory_reason(**here | {"ubatch": ""}, compute_mib="501") == "no micro-batch is stated"
    assert "falls to the CPU" in memory_reason(**here, kv_type="K q5_1 / V q8_0", compute_mib="501")
    assert "drafting keeps copies" in memory_reason(**here, note="MTP on", rs_mib="351.75")
    assert memory_reason(**here, kv_type="turbo4", kv_mib="80") == "kernels or a KV format of a fork"


def test_reading_words() -> None:
    assert [read_tokens(text) for text in ("192k", "8112", "short", "2nd prompt", "18 GB", "1M", "2,048")] == [
        *(196_608, 8112, None, None, None, 1_048_576, 2048)
    ]
    assert read_kv_types("-ctk q8_0 -ctv q4_0") == ("q8_0", "q4_0")
    assert read_figure("20455 MB (peak)", "GB") == (20_455_000_000, 500_000)
    assert read_prompt("8k prompt") == 8000
    assert [read_runs(text) for text in ("RUNS (21 GB peak)", "OOM on stock; RUNS raised", "will not load")] == [
        *(True, False, False)
    ]
    with pytest.raises(NotJudged):
        read_runs("12 tokens/s")


ODD = st.text(alphabet="0123456789kKmMGiB.,+-/()=_ qfQOocpnturbexs\u00b2\u0663", max_size=24)


@FEW
@given(st.lists(ODD, min_size=len(MEMORY_COLUMNS), max_size=len(MEMORY_COLUMNS)), st.sampled_from(["llama.cpp", "mlx"]))
def test_odd_words_in_logs_are_left_out_and_break_nothing(cells: list[str], runtime: str) -> None:
    row = MemoryRow(*cells)._replace(runtime=runtime, model="Qwen3.5-4B", n_parallel="", ubatch="512", quant="4bit")
    judged, left_out = judged_logs([row], catalogue.rows(RULES), models(), find_quant)
    assert len(judged) + sum(left_out.values()) == max(1, sum(map(bool, [*row[8:12]])))


@FEW
@given(st.lists(ODD, min_size=3, max_size=3), st.sampled_from(["llama.cpp", "mlx"]), st.integers(0, 4096))
def test_odd_words_in_reports_are_left_out_and_break_nothing(cells: list[str], runtime: str, memory: int) -> None:
    row = VerdictRow(memory, "", "Qwen3.5-4B", "Q4_K_M 4bit", runtime, cells[0], "RUNS " + cells[1], cells[2], "-")
    judged, left_out = judged_reports([row], catalogue.rows(RULES), models(), catalogue.rows(LIMITS), 26, find_quant)
    assert len(judged) + sum(left_out.values()) == 1


def test_csv_has_the_same_rows_and_markdown_the_same_tables(shipped: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("validate", "--format", "csv").stdout)))
    assert len(rows) == len(shipped["rows"])
    assert [row["source"] for row in rows] == [row["source"] for row in shipped["rows"]]
    text, markdown = (run("validate", "--rows", "2", "--format", name).stdout for name in ("text", "markdown"))
    table = markdown.split("worst decode of mlx")[1].split("\n\n")[1].splitlines()
    assert len(table) == 4
    for line in table[2:]:
        model, recipe, chip = (cell.strip() for cell in line.strip("|").split("|")[:3])
        assert re.search(rf"{re.escape(model)} +{recipe} +{chip} ", text)


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--speeds", "chip,model\nM4,x\n", "given.csv:1: no column ram_gb, bandwidth_gbs, quant, runtime, context"),
        ("--speeds", f"{SPEED_COLUMNS}\nM4,16,120,m,q,mlx,,,fast,s,\n", "given.csv:2: tg_tps: expected a number such"),
        ("--speeds", f"{SPEED_COLUMNS}\nM4,16\n", "given.csv:2: expected 11 cells as in the header, got 2"),
        ("--speeds", f"{SPEED_COLUMNS}\n", "no row in it; give a CSV with the columns of data/mac_speeds.csv"),
        ("--speeds", "", "given.csv:1: no column chip, ram_gb"),
        ("--memory", "runtime,model\nmlx,m\n", "given.csv:1: no column quant, context, kv_type"),
        (
            "--memory",
            ",".join(MEMORY_COLUMNS) + "\nmlx,m,,,,,many,,,,,,s,,,\n",
            "given.csv:2: ubatch: expected a whole",
        ),
        ("--verdicts", "ram_gb\n16\n", "given.csv:1: no column chip, model, quant_or_size"),
        ("--verdicts", ",".join(VERDICT_COLUMNS) + "\nbig,,m,,,,RUNS,,s\n", "given.csv:2: ram_gb: expected a whole"),
        ("--verdicts", ",".join(VERDICT_COLUMNS) + "\n16,,m,,,,,,s\n", "given.csv:2: verdict: expected a printable"),
    ],
)
def test_broken_files(tmp_path: Path, option: str, text: str, said: str) -> None:
    path = tmp_path / "given.csv"
    path.write_text(text, encoding="utf-8")
    done = run("validate", option, str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_files_that_cannot_be_read_and_bad_words(tmp_path: Path) -> None:
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    for words, said in (
        (
            ("--speeds", str(tmp_path / "none.csv")),
            "No such file or directory; give a CSV with the columns of data/mac",
        ),
        (("--memory", str(tmp_path)), "not a file; give a CSV with the columns of data/memory_logs.csv"),
        (("--verdicts", str(binary)), "not a text file; give a CSV with the columns of data/mac_verdicts.csv"),
        (("--format", "yaml"), "no format 'yaml'"),
        (("--rows", "all"), "rows: expected a whole number"),
    ):
        done = run("validate", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_file_without_anything_to_judge_is_answered(tmp_path: Path) -> None:
    file = written(tmp_path, SPEED_COLUMNS, "M4,16,120,gemma,Q4_0,llama.cpp,,,10,s,")
    for format_name in ("text", "json", "csv", "markdown"):
        done = run("validate", "--speeds", file, "--format", format_name)
        assert (done.returncode, done.stderr) == (0, "")
    assert "speed: 0 measurements" in run("validate", "--speeds", file).stdout


@pytest.mark.parametrize(
    ("option", "row"),
    [
        ("--speeds", "M4 Max,64,546,Qwen3.5-27B,Q4_K_M,llama.cpp,0,,20,a log,{}"),
        ("--memory", "llama.cpp,Qwen3.5-27B,Q4_K_M,8192,f16,,,,512,,,,a log,,M4 Max,{}"),
        ("--verdicts", "32,M4 Max,Qwen3.5-27B,Q4_K_M,llama.cpp,8192,RUNS,{},a log"),
    ],
)
@pytest.mark.parametrize("words", ["unsloth" * 18_000, "gpu cores " + "9" * 5_000, "macos " + "1" * 130_000])
def test_rows_that_would_take_patterns_for_ever_are_left_out(tmp_path: Path, option: str, row: str, words: str) -> None:
    header = {"--speeds": SPEED_COLUMNS, "--memory": ",".join(MEMORY_COLUMNS), "--verdicts": ",".join(VERDICT_COLUMNS)}
    report = report_of(option, written(tmp_path, header[option], row.format("short"), row.format(words)))
    section = option.strip("-").removesuffix("s")
    assert [each["section"] for each in report["rows"] if each["source"] == "a log"] == [section]
    assert report["left_out"][section] == {"more than 4,000 characters in a row": 1}


@pytest.mark.parametrize("chip", ["Apple M4 Max", "m4 max", "M4 Max"])
def test_a_chip_is_read_as_engines_write_it(tmp_path: Path, chip: str) -> None:
    file = written(tmp_path, SPEED_COLUMNS, f"{chip},64,,Qwen3.5-27B,Q4_K_M,llama.cpp,0,,20,a log,")
    (row,) = [each for each in report_of("--speeds", file)["rows"] if each["section"] == "speed"]
    assert (row["chip"], row["memory_gib"]) == ("M4 Max", 64)
