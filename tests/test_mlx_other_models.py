"""MLX on every family: weights and caches equal the real library's on every row, what it refuses is refused."""

from __future__ import annotations

import pytest
from conftest import engine_rows

from deployfit.architectures.registry import ArchitectureRow
from deployfit.catalogue import models
from deployfit.errors import InputError
from deployfit.formats.mlx import MLX_LM, check_makeable, find_mlx_recipe
from deployfit.layers.blueprint import Blueprint
from deployfit.models import Model
from deployfit.quants import shelf
from deployfit.quants.mlx import MlxQuant, mlx_weights
from deployfit.quants.weights import Options
from deployfit.runtimes.mlx.caches import kv_cache_bytes, state_bytes, window_extra_bytes
from deployfit.runtimes.mlx.engine import RUNTIME
from deployfit.runtimes.mlx.settings import MlxSettings

# The rows of the engine name some models otherwise.
NAMES = {"llama-3.1-70b": "Llama-3.3-70B", "deepseek-v3.1": "DeepSeek-V3"}


def model_of(name: str) -> Model:
    known = {each.casefold(): each for each in models()}
    folded = name.casefold()
    return models()[NAMES.get(folded) or known[folded]]


def test_weights_equal_mlx_lm_s_on_every_row() -> None:
    rows = engine_rows("other_mlx_weights.csv")
    wrong = []
    for row in rows:
        weights = mlx_weights(model_of(row["model"]), find_mlx_recipe(row["recipe"], shelf.mlx_recipes()), vision=False)
        params = int(row["parameters"] or weights.params)
        if (weights.tensor_bytes, weights.params) != (int(row["weights_bytes"]), params):
            wrong.append((row, weights.tensor_bytes, weights.params))
    assert (len(rows), wrong) == (932, [])


def test_caches_equal_mlx_lm_s_on_every_row_and_what_it_refuses_is_refused() -> None:
    rows = engine_rows("other_mlx_cache.csv")
    wrong = []
    for row in rows:
        blueprint = model_of(row["model"]).blueprint
        quantized = int(row["context"]) >= int(row["quantized_kv_start"] or 0)
        settings = MlxSettings(int(row["context"]), int(row["kv_bits"]) if quantized else 16)
        if refused(blueprint, settings) != bool(row["error"]):
            wrong.append(row)
        elif not row["error"]:
            kv, state = kv_cache_bytes(blueprint, settings), state_bytes(blueprint)
            peak = kv + state + window_extra_bytes(blueprint, settings)
            engine = (
                int(row["kv_bytes"]) + int(row["rotating_bytes"]),
                int(row["arrays_bytes"]),
                int(row["peak_prefill_cache_bytes"]),
            )
            if (kv, state, peak) != engine:
                wrong.append(row)
    assert (len(rows), wrong) == (1014, [])


def refused(blueprint: Blueprint, settings: MlxSettings) -> bool:
    try:
        RUNTIME.check(blueprint._replace(trained_context=10**9), settings)
    except InputError:
        return True
    return False


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("gpt-oss-20b", r"kv_bits: .*a window \(RotatingKVCache Quantization NYI\); choose 16"),
        ("GLM-4.7-Flash", r"kv_bits: .*latent attention fails on a quantized cache .*; choose 16"),
    ],
)
def test_a_quantized_cache_is_refused_with_the_engine_s_reason(model: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        RUNTIME.check(models()[model].blueprint, MlxSettings(4096, 8))


def test_what_needs_less_is_not_advised_where_it_is_refused() -> None:
    advised = {
        name: [typed for typed, _ in RUNTIME.thriftier(models()[name].blueprint, MlxSettings(4096))]
        for name in ("gpt-oss-20b", "Qwen3-8B")
    }
    step = {"prefill_step_size": "512"}
    assert advised == {"gpt-oss-20b": [step], "Qwen3-8B": [step, {"kv_bits": "8"}, {"kv_bits": "4"}]}


def test_experts_that_are_shipped_in_mxfp4_stay_so_where_they_are() -> None:
    quant = MlxQuant(find_mlx_recipe("MXFP4-Q8", shelf.mlx_recipes()))
    weights = quant.weights(models()["gpt-oss-20b"], Options())
    assert {each.type for each in weights.classes if each.is_experts and not each.role.endswith(".bias")} == {"mxfp4"}
    with pytest.raises(InputError, match="MXFP4 in gpt_oss only, not in qwen3_moe; choose another recipe"):
        quant.weights(models()["Qwen3-30B-A3B"], Options())


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ((), "mlx-lm does not load made_up; nor does mlx-vlm; choose a GGUF recipe"),
        (("mlx-vlm",), "mlx-lm does not load made_up; mlx-vlm does: add vision"),
    ],
)
def test_which_tool_loads_an_architecture_is_said(tools: tuple[str, ...], said: str) -> None:
    architecture = ArchitectureRow("made_up", "made_up", "", tools, (), (), ())
    with pytest.raises(InputError) as error:
        check_makeable(shelf.mlx_recipes()["q4_g64"], MLX_LM, architecture)
    assert str(error.value) == said


def test_a_model_without_a_vision_tower_is_asked_for_none() -> None:
    quant = MlxQuant(shelf.mlx_recipes()["q4_g64"])
    with pytest.raises(InputError, match="Qwen3-8B: no vision tower is known; leave out vision"):
        quant.weights(models()["Qwen3-8B"], Options(vision=True))


def test_every_recipe_is_found_by_each_of_its_names() -> None:
    names = [name for recipe in shelf.mlx_recipes().values() for name in (recipe.name, *recipe.aliases)]
    assert len({name.casefold() for name in names}) == len(names)
