"""Speed: what a token costs, held against figures that were counted elsewhere; the fit can be made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import one_line, run
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.basis import Basis
from deployfit.catalogue import models, rows
from deployfit.estimate import estimate
from deployfit.hardware.mac import MACS
from deployfit.quants.lookup import find_quant
from deployfit.quants.weights import Options, Weights
from deployfit.questions.resolve import speeds
from deployfit.runtimes import registry
from deployfit.speed import Speed, active_bytes, active_params, decode_seconds, prefill_seconds, work_of
from deployfit.words.macs import mac_named

ROOT = Path(__file__).parent.parent
FEW = settings(max_examples=40, deadline=None, derandomize=True)
MAC_ROWS = rows(MACS)
CHIPS = sorted({row.chip for row in MAC_ROWS if row.bandwidth_gb_s and row.fp16_tflops})


@cache
def weights_of(model: str, quant: str, runtime: str | None = None) -> Weights:
    return find_quant(quant, runtime).weights(models()[model], Options())


def speed_of(model: str, quant: str, mac: str, context: int = 32768, runtime: str = "llama.cpp", **typed: str) -> Speed:
    found, engine = models()[model], registry.runtime(runtime)
    weights = weights_of(model, quant, runtime)
    how = engine.settings(context, typed)
    speed = speeds().speed(
        mac_named(mac, MAC_ROWS),
        found.blueprint,
        weights,
        estimate(found, weights, engine, how, Options()),
        runtime=runtime,
        sequences=engine.sequences(how),
        context_tokens=context,
    )
    assert speed is not None
    return speed


# Parameters read per token, in billions, as handed over with the facts about Macs (computed from the configurations
# by somebody else): embedding rows left out, the output head with them, of the experts the active ones.
@pytest.mark.parametrize(
    ("model", "billions"),
    [("Qwen3.5-27B", 25.62), ("Qwen3.5-9B", 7.94), ("Qwen3.5-4B", 4.21), ("Qwen3.5-35B-A3B", 2.95)],
)
def test_a_token_reads_the_parameters_that_were_counted_elsewhere(model: str, billions: float) -> None:
    read = active_bytes(models()[model].blueprint, weights_of(model, "bf16", "mlx"))
    assert read / 2 / 1e9 == pytest.approx(billions, abs=0.006)


def test_the_parameters_of_a_prompt_are_those_of_the_layers() -> None:
    """27B: 26,895,998,464 parameters of text, less embedding and head of 248,320 x 5,120 each, less the last norm."""
    assert active_params(models()["Qwen3.5-27B"].blueprint) == pytest.approx(
        26_895_998_464 - 2 * 248_320 * 5_120, abs=6000
    )


def test_a_token_s_time_is_the_sum_that_the_documentation_says() -> None:
    """Written out with literal numbers for one case: nothing here comes from the code but the coefficients' names."""
    coefficients = dict.fromkeys(speeds().coefficients["llama.cpp"], 1.0)
    coefficients |= {"bandwidth_share": 0.8, "cache_share": 0.25, "dense_layer_us": 100.0, "kernel_k": 5.0}
    coefficients |= {"prefill_share_dense": 0.4, "prefill_share_attention": 0.2}
    (chip,) = [row for row in MAC_ROWS if row.chip == "M4 Pro"]
    model = models()["Qwen3.5-27B"]
    weights = weights_of("Qwen3.5-27B", "Q4_K_M")
    work = work_of(model.blueprint, weights, 150_000_000, coefficients)
    read = 16_536_406_016 - 715_161_600  # the file's tensors, less an embedding of Q4_K: 248,320 x 5,120 x 4.5 / 8
    unpacked = 5.0 * read * 8 / (16_536_406_016 * 8 / 26_895_998_464)
    seconds = (read + 300_000_000) / (273e9 * 0.8) + 2**31 / (273e9 * 0.25) + 64 * 100e-6 + unpacked / 16.2e12
    assert decode_seconds(chip, coefficients, work, 2**31) == pytest.approx(seconds, rel=1e-3)
    prefill = 2 * work.active_params / (16.2e12 * 0.4) + 4 * 24 * 256 * 16 * 4096 / 2 / (16.2e12 * 0.2)
    assert prefill_seconds(chip, coefficients, work, 4096) == pytest.approx(prefill, rel=1e-9)


@FEW
@given(
    st.sampled_from(sorted(models())),
    st.sampled_from(["Q4_K_M", "Q8_0", "BF16"]),
    st.sampled_from(CHIPS),
    st.integers(1, 262_144),
    st.integers(1, 262_144),
)
def test_a_longer_context_is_never_faster_and_the_interval_holds_the_figure(
    model: str, quant: str, chip: str, one: int, other: int
) -> None:
    one, other = (min(each, models()[model].blueprint.trained_context) for each in (one, other))
    memory = next(row.memory_gib[-1] for row in MAC_ROWS if row.chip == chip)
    short, long = (speed_of(model, quant, f"{chip} {memory}", context) for context in sorted((one, other)))
    assert short.decode == long.decode
    assert long.decode_full.tps <= short.decode_full.tps <= short.decode.tps
    assert long.prefill.tps <= short.prefill.tps
    for rate in (short.decode, short.decode_full, short.prefill):
        assert 0 < rate.low_tps < rate.tps < rate.high_tps


@FEW
@given(st.sampled_from(sorted(models())), st.sampled_from(CHIPS), st.sampled_from(["4bit", "8bit"]))
def test_nothing_decodes_faster_than_its_bytes_can_be_read(model: str, chip: str, quant: str) -> None:
    row = next(row for row in MAC_ROWS if row.chip == chip)
    speed = speed_of(model, quant, f"{chip} {row.memory_gib[-1]}", runtime="mlx")
    read = active_bytes(models()[model].blueprint, weights_of(model, quant, "mlx"))
    fastest = max(each.bandwidth_gb_s for each in MAC_ROWS if each.chip == chip) * 1e9 / read
    assert speed.decode.tps < speed.decode.high_tps <= fastest * (1 + 1e-12)


def test_active_experts_decide_not_all_of_them() -> None:
    moe, dense = (speed_of(model, "Q4_K_M", "M4 Max 64").decode.tps for model in ("Qwen3.5-35B-A3B", "Qwen3.5-27B"))
    assert moe > 2 * dense


def test_a_chip_that_nobody_measured_says_so_and_has_a_wider_interval() -> None:
    measured, unseen = (speed_of("Qwen3.5-9B", "Q4_K_M", mac) for mac in ("M4 Max 64", "M2 16"))
    assert (measured.basis, unseen.basis) == (Basis.DERIVED, Basis.ASSUMED)
    assert "no measurement of llama.cpp on an M2: from its bandwidth of 100 GB/s" in unseen.note
    widths = [each.decode.high_tps / each.decode.low_tps for each in (measured, unseen)]
    assert widths[0] < widths[1]


def test_without_a_chip_there_is_no_speed(fit_rows: Callable[..., list[dict[str, Any]]]) -> None:
    (row,) = fit_rows("Qwen3.5-9B", "--quant", "Q4_K_M", "--mac", "32")
    assert (row["decode_tps"], row["decode_full_tps"], row["prefill_tps"]) == (None, None, None)
    assert "speed" not in row["basis"]
    for mac, said in (
        ("32", "the chip decides"),
        ("A18 Pro 8", "bandwidth and arithmetic of the A18 Pro are not known"),
    ):
        assert f"not known; {said}" in one_line(run("fit", "Qwen3.5-0.8B", "--quant", "Q4_K_M", "--mac", mac).stdout)


def test_fit_shows_speed_and_what_drafting_was_seen_to_do(fit_rows: Callable[..., list[dict[str, Any]]]) -> None:
    words = ("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "M5 Max 64")
    (plain,), (drafting,) = fit_rows(*words), fit_rows(*words, "--mtp")
    assert plain["decode_low_tps"] < plain["decode_tps"] < plain["decode_high_tps"]
    assert plain["basis"]["speed"] == "derived"
    assert (plain["mtp_speedup_low"], drafting["mtp_speedup_low"]) == (None, 0.79)  # 18.1 of 22.8 tokens/s
    assert drafting["mtp_speedup_high"] == 1.76  # 29.9 of 17
    assert "0.8 to 1.8 times as fast (measured, 7 pairs)" in one_line(run("fit", *words, "--mtp").stdout)


def test_several_sequences_do_not_change_the_speed_of_one() -> None:
    alone, shared = (
        speed_of("Qwen3.5-9B", "Q4_K_M", "M4 Max 64", context, parallel=parallel)
        for context, parallel in ((16384, "1"), (65536, "4"))
    )
    assert shared.decode_full == alone.decode_full


def test_the_coefficients_are_those_that_the_fit_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data file is what benchmarks/fit_speed.py makes of the measurements: fitted again, compared to 1 %."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fit_speed

    for (runtime, _), group in fit_speed.measured().items():
        fitted = fit_speed.fit(group.all, group.terms, group.predict)
        shipped = speeds().coefficients[runtime]
        assert {name: shipped[name] for name in fitted} == pytest.approx(fitted, rel=0.01)


def test_speed_is_in_the_table_of_recipes_only_for_a_named_chip() -> None:
    words = ("fit", "Qwen3.5-9B", "--quant", "Q4_K_M", "--quant", "Q8_0")
    assert "tokens/s" in run(*words, "--mac", "M2 Max 32").stdout
    assert "tokens/s" not in run(*words, "--mac", "32").stdout


def test_json_stays_json(fit_rows: Callable[..., list[dict[str, Any]]]) -> None:
    json.dumps(fit_rows("Qwen3.5-9B", "--mac", "M2 Max 32"), allow_nan=False)


@pytest.mark.parametrize("words", [("plan", "Qwen3.5-2B"), ("fit", "Qwen3.5-2B")])
def test_tables_of_recipes_say_what_speeds_rest_on(words: tuple[str, ...]) -> None:
    assert "speed is assumed: no measurement of llama.cpp on an M6: from its bandwidth of 170 GB/s, " in (
        one_line(run(*words, "--mac", "M6 32").stdout)
    )
    assert "speed is not known: bandwidth and arithmetic of the A18 Pro are not known" in (
        one_line(run(*words, "--mac", "A18 Pro 8").stdout)
    )
    for mac in ("M5 Max 64", "32"):
        assert "speed is" not in one_line(run(*words, "--mac", mac).stdout)


@pytest.mark.parametrize("format_name", ["text", "markdown"])
def test_a_plan_of_what_fits_nowhere_is_no_empty_table(format_name: str) -> None:
    words = ("plan", "Qwen3.5-397B-A17B", "--mac", "M4 16", "--quant", "Q8_0", "--quant", "Q4_0")
    text = one_line(run(*words, "--format", format_name).stdout).replace("*", "")
    assert "bits" not in text
    assert "Nothing fits: the smallest, Q4_0, has 208.29 GiB of weights alone, and 10.84 GiB are left " in text
    assert "tokens/s" not in text


@pytest.mark.parametrize(
    ("mac", "speed", "beyond"), [("M1 8", False, False), ("M4 24", True, True), ("M4 32", True, False)]
)
def test_speeds_of_what_is_beyond_the_limit_say_so(mac: str, speed: bool, beyond: bool) -> None:
    text = one_line(run("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", mac).stdout)
    assert ("speed " in text) is speed
    assert ("speeds are those within the GPU limit; beyond it the Mac swaps" in text) is beyond
