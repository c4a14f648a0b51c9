"""MLX: weights and caches equal the real library's on every row; the prefill memory within its stated error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import engine_rows, run

from deployfit.catalogue import models
from deployfit.formats.mlx import Scheme
from deployfit.quants import shelf
from deployfit.quants.mlx import mlx_weights
from deployfit.runtimes.mlx.caches import kv_cache_bytes, state_bytes
from deployfit.runtimes.mlx.prefill import prefill_bytes
from deployfit.runtimes.mlx.settings import MlxSettings

Rows = Callable[..., list[dict[str, Any]]]
GB = 10**9


def weights_of(model: str, recipe: str) -> int:
    """Recipe names of the engine's rows: `vlm:` is mlx-vlm, `vlmold:` its generation before the 8-bit routers."""
    tool, _, name = recipe.rpartition(":")
    name += "_early" if tool == "vlmold" else ""
    return mlx_weights(models()[model], shelf.mlx_recipes()[name], vision=bool(tool)).tensor_bytes


def test_weights_equal_the_tools_on_every_row() -> None:
    rows = engine_rows("mlx_weights.csv")
    wrong = [row for row in rows if weights_of(row["model"], row["recipe"]) != int(row["weights_bytes"])]
    assert (len(rows), wrong) == (522, [])


def test_caches_equal_the_library_on_every_row() -> None:
    rows = engine_rows("mlx_cache.csv")
    wrong = []
    for row in rows:
        blueprint = models()[row["model"]].blueprint
        settings = MlxSettings(int(row["context"]), kv_bits=int(row["kv_bits"]))
        counted = (kv_cache_bytes(blueprint, settings), state_bytes(blueprint))
        if counted != (int(row["kv_bytes"]), int(row["state_bytes"])):
            wrong.append(row)
    assert (len(rows), wrong) == (504, [])


@pytest.mark.parametrize(
    ("scheme", "per_weight_bits"),
    [
        (Scheme("affine", 4, 64), 4 + 32 / 64),
        (Scheme("affine", 3, 32), 3 + 32 / 32),
        (Scheme("mxfp4", 4, 32), 4 + 8 / 32),
        (Scheme("nvfp4", 4, 16), 4 + 8 / 16),
    ],
)
def test_a_quantized_matrix_takes_its_bits_and_its_groups_scales(scheme: Scheme, per_weight_bits: float) -> None:
    assert scheme.nbytes((1024, 512)) == int(1024 * 512 * per_weight_bits / 8)


PEAKS = engine_rows("mlx_peaks.csv")


def asked_of(row: dict[str, str]) -> list[str]:
    return [row["model"], *f"--quant {row['quant']} --runtime mlx --mac 128 --context {row['prompt_tokens']}".split()]


@pytest.mark.parametrize(
    "row", [row for row in PEAKS if row["judged"] == "yes"], ids=lambda row: f"{row['model']}-{row['prompt_tokens']}"
)
def test_peaks_of_real_macs_within_5_percent(row: dict[str, str], fit_rows: Rows) -> None:
    (answer,) = fit_rows(*asked_of(row))
    assert answer["total_bytes"] == pytest.approx(int(row["peak_bytes"]), rel=0.05)


@pytest.mark.parametrize("row", [row for row in PEAKS if row["judged"] == "upper"], ids=lambda row: row["model"])
def test_footprints_of_real_macs_within_5_percent_of_the_upper_bound(row: dict[str, str], fit_rows: Rows) -> None:
    (answer,) = fit_rows(*asked_of(row))
    upper = answer["total_bytes"] - answer["compute_buffer_bytes"] + answer["compute_buffer_upper_bytes"]
    assert upper == pytest.approx(int(row["peak_bytes"]), rel=0.05)


def test_every_peak_is_judged_or_says_why_not() -> None:
    assert Counter(row["judged"] for row in PEAKS) == {"yes": 18, "upper": 4, "no": 14}
    assert all(bool(row["why_not"]) == (row["judged"] != "yes") for row in PEAKS)


def test_prefill_memory_follows_a_replay_of_the_evaluation() -> None:
    """At the default step, KV in BF16: within 0.6 GB, or 5 %, for all eight models up to 262,144 tokens."""
    rows = [row for row in engine_rows("mlx_prefill_replay.csv") if (row["step"], row["kv_bits"]) == ("2048", "16")]
    wrong = []
    for row in rows:
        settings = MlxSettings(int(row["context"]))
        error = prefill_bytes(models()[row["model"]].blueprint, settings) - int(row["transient_bytes"])
        if abs(error) > max(0.6 * GB, 0.05 * int(row["transient_bytes"])):
            wrong.append((row, error))
    assert (len(rows), wrong) == (96, [])


def test_a_smaller_prefill_step_and_quantized_keys_take_less(fit_rows: Rows) -> None:
    question = ("Qwen3.5-27B", "--quant", "4bit", "--mac", "64", "--context", "64k")
    (plain,), (stepped,), (narrow,) = (
        fit_rows(*question, *more) for more in ((), ("--prefill-step-size", "512"), ("--kv-bits", "4"))
    )
    assert stepped["compute_buffer_bytes"] < plain["compute_buffer_bytes"] // 3
    assert narrow["kv_cache_bytes"] * 32 == plain["kv_cache_bytes"] * 9  # 4 bits and 32 per 64 in place of 16
    assert stepped["kv_cache_bytes"] == plain["kv_cache_bytes"] == 4_294_967_296


def test_the_largest_context_fits_and_256_tokens_more_do_not(fit_rows: Rows) -> None:
    question = ("Qwen3.5-27B", "--quant", "4bit", "--mac", "32")
    (row,) = fit_rows(*question)
    largest = row["max_context_tokens"]
    verdicts = [fit_rows(*question, "--context", str(tokens))[0]["verdict"] for tokens in (largest, largest + 256)]
    assert largest % 256 == 0
    assert verdicts == ["fits", "tight"]


def test_the_vision_tower_is_in_the_file_and_counted_when_it_is_asked_for(fit_rows: Rows) -> None:
    words = ("Qwen3.5-27B", "--quant", "mlx-community:4bit", "--mac", "64")
    (without,), (counted,) = fit_rows(*words), fit_rows(*words, "--vision")
    assert without["tensor_bytes"] == counted["tensor_bytes"] == 16_054_266_848
    assert without["vision_bytes"] == 0
    assert counted["vision_bytes"] == 921_460_192
    assert without["weights_bytes"] + counted["vision_bytes"] == counted["tensor_bytes"]


def test_mlx_lm_s_own_warning_is_passed_on(fit_rows: Rows) -> None:
    """From 90 % of the GPU limit on: the weights are 15.13 GB; 16 GB lend 11.84 GiB, 18 GB 13.32, 24 GB 17.76."""
    rows = {mac: fit_rows("Qwen3.5-27B", "--quant", "4bit", "--mac", mac)[0] for mac in ("16", "18", "24", "32")}
    warned = [
        mac
        for mac, row in rows.items()
        if any(note.startswith("mlx-lm warns of weights of 14.09 GiB") for note in row["notes"])
    ]
    assert warned == ["16", "18"]


def test_beyond_the_limit_mlx_is_said_to_go_on(fit_rows: Rows) -> None:
    slow = "beyond the GPU limit MLX does not fail but goes on, up to 95 % of the memory"
    over, within = (fit_rows("Qwen3.5-27B", "--quant", "8bit", "--mac", mac)[0] for mac in ("32", "64"))
    assert any(note.startswith(slow) for note in over["notes"])
    assert not any(note.startswith(slow) for note in within["notes"])


def test_a_recipe_and_its_aliases_are_the_same(fit_rows: Rows) -> None:
    names = [
        fit_rows("Qwen3.5-9B", "--quant", name, "--mac", "32")[0]["recipe"] for name in ("4bit", "4-bit", "Q4_G64")
    ]
    assert names == ["q4_g64"] * 3


def test_two_runtimes_in_one_answer() -> None:
    done = run("fit", "Qwen3.5-9B", "--mac", "32", "--quant", "4bit", "--quant", "Q4_K_M")
    assert done.stdout.count("Qwen3.5-9B on a 32 GB Mac") == 2
    said = " ".join(done.stdout.split())
    assert "context 32,768 tokens, KV bf16, prefill step 2,048" in said
    assert "KV f16/f16, micro-batch 512" in said
