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
from deployfit.hardware.mac import MACS, MacRow
from deployfit.lookup import find_quant
from deployfit.quants.weights import Options, Weights
from deployfit.questions.resolve import speeds
from deployfit.runtimes import registry
from deployfit.speed import Speed, chip_seconds, decode_seconds, prefill_seconds
from deployfit.words.macs import mac_named
from deployfit.work import Work, active_bytes, active_params, unpacked, work_of

ROOT = Path(__file__).parent.parent
FEW = settings(max_examples=40, deadline=None, derandomize=True)
MAC_ROWS = rows(MACS)
STEP = 512  # tokens of a prompt that llama.cpp reads in at once
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


def coefficients_of(runtime: str, **given: float) -> dict[str, float]:
    return dict.fromkeys(speeds().coefficients[runtime], 1.0) | given


def chip_row(name: str) -> MacRow:
    return next(row for row in MAC_ROWS if row.chip == name)


def test_a_token_s_time_is_the_sum_that_the_documentation_says() -> None:
    """Written out with literal numbers for one case: nothing here comes from the code but the coefficients' names."""
    given = {"bandwidth_share": 0.8, "state_share": 0.4, "cache_share": 0.25, "block_us": 50.0, "kernel_k": 5.0}
    given |= {"prefill_share": 0.4, "prefill_share_attention": 0.2, "prefill_share_reading": 0.5, "prefill_step": 512.0}
    coefficients = coefficients_of("llama.cpp", **given, prefill_block_us=60.0, prefill_delta_us=2.0)
    seconds = chip_seconds(chip_row("M4 Pro"), coefficients)
    model, weights = models()["Qwen3.5-27B"], weights_of("Qwen3.5-27B", "Q4_K_M")
    work = work_of(model.blueprint, weights, 150_000_000, coefficients)
    embedding, output = 248_320 * 5_120 * 4.5 / 8, 248_320 * 5_120 * 6.5625 / 8  # Q4_K and Q6_K
    read = 16_536_406_016 - embedding
    unpacked = 5.0 * read * 8 / (16_536_406_016 * 8 / 26_895_998_464)
    clock = 0.81 * 20 / 16.2  # an M4's TFLOPS of each core over this chip's
    expected = read / (273e9 * 0.8) + 300_000_000 / (273e9 * 0.4) + 2**31 / (273e9 * 0.25)
    expected += 128 * 50e-6 * clock + unpacked / 16.2e12  # 64 mixers and 64 feed-forward blocks
    assert decode_seconds(seconds, work, 2**31) == pytest.approx(expected, rel=1e-3)
    params = 26_895_998_464 - 2 * 248_320 * 5_120
    layer_bytes = 16_536_406_016 - embedding - output
    prefill = 2 * params / (16.2e12 * 0.4) + 4 * 24 * 256 * 16 * 4096 / 2 / (16.2e12 * 0.2) + 48 * 2e-6 * clock
    prefill += (layer_bytes / (273e9 * 0.5) + 128 * 60e-6 * clock) / 512
    assert prefill_seconds(seconds, work, 4096) == pytest.approx(prefill, rel=1e-3)
    short = (layer_bytes / (273e9 * 0.5) + 128 * 60e-6 * clock) / 64  # all weights are read for a short prompt too
    short += 2 * params / (16.2e12 * 0.4) + 4 * 24 * 256 * 16 * 64 / 2 / (16.2e12 * 0.2) + 48 * 2e-6 * clock
    assert prefill_seconds(seconds, work, 64) == pytest.approx(short, rel=1e-3)


def work_here(model: str, quant: str, runtime: str) -> Work:
    return work_of(models()[model].blueprint, weights_of(model, quant, runtime), 0, coefficients_of(runtime))


def test_a_window_bounds_what_attention_sees() -> None:
    """Gemma 3 4B: of 34 layers 5 see everything and 29 the last 1,024 tokens; 8 heads of 256."""
    work = work_here("Gemma-3-4B", "Q8_0", "llama.cpp")
    flops = 4 * 8 * 256
    assert work.attention(512) == flops * 34 * 256  # half a prompt is in no window's way
    assert work.attention(32_768) == flops * (5 * 16_384 + 29 * 1_024)


def test_layers_without_a_cache_of_their_own_read_another_s() -> None:
    """Gemma 4 E2B: 35 layers, of which the first 15 have caches, one of five whole; 1 of 4 heads of 256 or 512."""
    work = work_here("Gemma-4-E2B", "Q8_0", "llama.cpp")
    own, every = 12 * 256 + 3 * 512, 28 * 256 + 7 * 512
    assert work.cache_reads == pytest.approx(every / own, rel=1e-12)
    assert work_here("Qwen3-8B", "Q8_0", "llama.cpp").cache_reads == 1.0
    assert seconds_of_a_gigabyte(work) == pytest.approx(every / own / 273)


def seconds_of_a_gigabyte(work: Work) -> float:
    """What a token takes longer on an M4 Pro because there is a gigabyte in the caches, at all of its 273 GB/s."""
    seconds = chip_seconds(chip_row("M4 Pro"), coefficients_of("llama.cpp"))
    return float(decode_seconds(seconds, work, 10**9) - decode_seconds(seconds, work, 0))


def test_mlx_computes_no_layer_behind_the_last_cache_for_a_prompt() -> None:
    """E2B: the 15th of 35 layers is the last that has a cache; those behind it have feed-forward blocks twice as wide.

    What it puts there needs no more than the 14 before it. Of each: 8 heads and one of keys and values, of 256 or,
    in every fifth, 512; three matrices of 6,144; gate and projection of the layer's own embedding of 256.
    """
    blueprint, weights = models()["Gemma-4-E2B"].blueprint, weights_of("Gemma-4-E2B", "bf16", "mlx")
    first, every = (
        work_of(blueprint, weights, 0, coefficients_of("mlx", prefill_tail=tail)).prompt_flops for tail in (0.0, 1.0)
    )
    hidden, wide, own = 1_536, 6_144, 2 * 1_536 * 256
    narrow_heads, wide_heads = (hidden * size * (8 + 2 + 8) for size in (256, 512))
    assert first / 2 == pytest.approx(
        12 * narrow_heads + 2 * wide_heads + 14 * (3 * hidden * wide + own) + hidden * 35 * 256, rel=1e-3
    )
    rest = 28 * narrow_heads + 7 * wide_heads + 35 * own + hidden * 35 * 256  # unused keys and values are in the files
    assert every / 2 == pytest.approx((15 + 20 * 2) * 3 * hidden * wide + rest, rel=1e-3)


def test_latent_attention_reads_one_row_for_all_heads_and_computes_with_it() -> None:
    """DeepSeek-V2-Lite: a row of 512 + 64 numbers; 16 heads take scores of all of it and sums of 512."""
    work = work_here("DeepSeek-V2-Lite", "Q8_0", "llama.cpp")
    assert work.cache_flops == pytest.approx(2 * 16 * (576 + 512) / (2 * 576))
    assert work.attention(2_000) == 2 * 16 * (576 + 512) * 27 * 1_000
    assert seconds_of_a_gigabyte(work) == pytest.approx(1 / 273 + 1e9 * work.cache_flops / 16.2e12)


def test_a_token_goes_through_few_experts() -> None:
    """gpt-oss-20b at 16 bits: of 32 experts 4, of 24 layers; and half a tile of 32 tokens more for each in a step."""
    model, weights = models()["gpt-oss-20b"].blueprint, weights_of("gpt-oss-20b", "bf16", "mlx")
    work = work_of(model, weights, 0, coefficients_of("mlx", prefill_tail=0.0))
    stacks = 24 * 32 * 3 * 2_880 * 2_880
    biases = 24 * 32 * (2 * 2_880 + 2_880)
    assert work.step_flops == pytest.approx(2 * 16 * (stacks + biases) * 23 / 24, rel=1e-3)
    outside = 2 * 201_088 * 2_880
    attention = weights.text_bytes - outside * 2 - 2 * (stacks + biases)
    assert work.read_bytes == pytest.approx(outside + attention + 2 * (stacks + biases) / 8, rel=1e-3)


def test_what_bfloat16_in_software_costs_is_said_of_the_chips_that_have_no_other() -> None:
    given = {"block_factor_emulated": 1.7, "prefill_factor_emulated": 0.5, "ultra_factor": 1.4}
    mlx, llamacpp = (
        {
            name: chip_seconds(chip_row(name), coefficients_of(runtime, **(given if runtime == "mlx" else {})))
            for name in ("M1", "M2 Max", "M2 Ultra", "M3 Max", "M3 Ultra")
        }
        for runtime in ("mlx", "llama.cpp")
    )
    clocks = {name: llamacpp[name].block_us for name in llamacpp}
    ratios = {name: mlx[name].block_us / clocks[name] for name in mlx}
    assert ratios == pytest.approx({"M1": 1.7, "M2 Max": 1.7, "M2 Ultra": 1.7, "M3 Max": 1.0, "M3 Ultra": 1.4})
    assert mlx["M2 Max"].prompt_flop == pytest.approx(2 * llamacpp["M2 Max"].prompt_flop)
    assert mlx["M3 Max"].prompt_flop == llamacpp["M3 Max"].prompt_flop


def test_types_of_few_bits_are_what_costs_arithmetic() -> None:
    """Of the 9B's bytes at IQ3_XXS and Q8_0: what most of them are."""
    few, plain = (
        unpacked(models()["Qwen3.5-9B"].blueprint, weights_of("Qwen3.5-9B", quant)) for quant in ("IQ3_XXS", "Q8_0")
    )
    assert plain == {}
    assert max(few, key=lambda kernel: few[kernel]) == "kernel_iq"
    assert 6e9 < sum(few.values()) < 8.0e9


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
    if min(one, other) >= STEP:  # below, a longer prompt reads the weights for more tokens at once
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


def test_an_architecture_that_nobody_measured_says_so_and_has_the_interval_of_those_left_out() -> None:
    model, c = "Nemotron-3-Nano-30B-A3B", speeds().coefficients["llama.cpp"]
    unseen, both = (speed_of(model, "Q4_K_M", mac) for mac in ("M4 Max 64", "M2 24"))
    assert (unseen.basis, both.basis) == (Basis.ASSUMED, Basis.ASSUMED)
    assert "none of llama.cpp is of a model of this architecture (nemotron_h_moe)" in unseen.note
    assert "no measurement of llama.cpp on an M2" in both.note
    assert "(nemotron_h_moe)" in both.note
    for speed, of in ((unseen, ["", "_architecture"]), (both, ["", "_architecture", "_chip"])):
        for rate, name in ((speed.decode_full, "decode"), (speed.prefill, "prefill")):
            assert rate.low_tps == pytest.approx(rate.tps * min(c[f"{name}_low{each}"] for each in of))
            assert rate.high_tps == pytest.approx(rate.tps * max(c[f"{name}_high{each}"] for each in of))


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
    import fit_speed  # type: ignore[import-not-found]

    for (runtime, _), data in fit_speed.measured().items():
        fitted = data.fit(data.points)
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
