"""MLX on every family: weights and caches equal the real library's on every row, what it refuses is refused."""

from __future__ import annotations

import pytest
from conftest import engine_rows

from deployfit.architectures.registry import ArchitectureRow
from deployfit.catalogue import architectures, models
from deployfit.errors import InputError
from deployfit.formats.mlx import MLX_LM, check_makeable, find_mlx_recipe
from deployfit.layers.blueprint import Blueprint
from deployfit.models import Model
from deployfit.quants import shelf
from deployfit.quants.conventions import mlx_tools
from deployfit.quants.mlx import MlxQuant, mlx_weights
from deployfit.quants.weights import Options
from deployfit.runtimes.mlx.caches import beside_windows_bytes, kv_cache_bytes, state_bytes
from deployfit.runtimes.mlx.engine import RUNTIME
from deployfit.runtimes.mlx.prefill import IN_FLIGHT_BYTES_PER_TOKEN, prefill_bytes, scores_bytes
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
    assert (len(rows), wrong) == (959, [])


def test_weights_with_the_vision_tower_equal_mlx_vlm_s_on_every_row() -> None:
    rows = engine_rows("other_mlx_vlm_weights.csv")
    wrong = []
    for row in rows:
        recipe = find_mlx_recipe(row["recipe"], shelf.mlx_recipes())
        weights = mlx_weights(model_of(row["model"]), recipe, vision=True)
        counted = weights.tensor_bytes, weights.params, weights.vision_bytes
        if counted != tuple(int(row[name]) for name in ("weights_bytes", "parameters", "vision_and_projector_bytes")):
            wrong.append((row, counted))
    assert (len(rows), wrong) == (10, [])


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
            engine = int(row["kv_bytes"]) + int(row["rotating_bytes"]), int(row["arrays_bytes"])
            peak = kv + state + beside_windows_bytes(blueprint, settings)
            if (kv, state) != engine or peak < int(row["peak_prefill_cache_bytes"]):
                wrong.append(row)
    assert (len(rows), wrong) == (1040, [])


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


@pytest.mark.parametrize(
    ("model", "scored"),
    [
        ("Qwen3-8B", 0),  # heads of 128 are fused
        ("Qwen3.5-27B", (2 * 24 + 1) * 2048 * 8192),  # those of 256 are not
        ("Gemma-3-12B", (2 * 16 + 1) * 2048 * 8192),  # the layers without a window see more
        ("GLM-4.7-Flash", (2 * 2 * 20 + 1) * 2048 * 8192),  # the rotated part's, and those of heads of 192 and 256
        ("DeepSeek-V3", (2 * 128 + 1) * 2048 * 8192),  # the rotated part's only: heads of 128 are fused
        ("Mistral-Small-4-119B", 0),  # both parts joined are 128, as values are
    ],
)
def test_only_attention_that_is_not_fused_is_charged_for_scores(model: str, scored: int) -> None:
    blueprint, settings = models()[model].blueprint, MlxSettings(8192)
    scores = max(scores_bytes(mixer, blueprint.model_type, settings) for mixer in blueprint.attentions)
    assert scores == scored


def test_a_quantized_cache_takes_attention_that_would_be_fused_its_scores() -> None:
    blueprint = models()["Qwen3-8B"].blueprint
    assert scores_bytes(blueprint.attentions[0], "qwen3", MlxSettings(8192, 8)) == (2 * 32 + 1) * 2048 * 8192


@pytest.mark.parametrize(
    ("model", "held"),
    [
        ("Nemotron-3-Nano-30B-A3B", 23 * 6144),
        ("Granite-4.0-H-Small", 36 * 8448),
        ("LFM2-8B-A1B", 18 * 2048),
    ],
)
def test_states_that_are_views_hold_their_whole_chunk(model: str, held: int) -> None:
    """By a token more of a chunk each such layer holds the input of its convolution for one token more."""
    blueprint = models()[model].blueprint
    one, two = (prefill_bytes(blueprint, MlxSettings(4096, prefill_step_size=step)) for step in (2047, 2048))
    assert two - one == 2 * held + IN_FLIGHT_BYTES_PER_TOKEN


def test_experts_that_are_shipped_in_mxfp4_stay_so_where_they_are() -> None:
    quant = MlxQuant(find_mlx_recipe("MXFP4-Q8", shelf.mlx_recipes()))
    weights = quant.weights(models()["gpt-oss-20b"], Options())
    assert {each.type for each in weights.classes if each.is_experts and not each.role.endswith(".bias")} == {"mxfp4"}
    with pytest.raises(InputError, match="MXFP4 in gpt_oss only, not in qwen3_moe; choose another recipe"):
        quant.weights(models()["Qwen3-30B-A3B"], Options())


def test_a_mixed_recipe_needs_down_projections_that_the_tool_finds() -> None:
    """mlx-lm looks for `down_proj`; LFM2's dense models call it w2."""
    model = models()["LFM2-2.6B"]
    mixed, plain = (MlxQuant(shelf.mlx_recipes()[name]) for name in ("mixed_3_6", "q4_g64"))
    with pytest.raises(InputError, match="mlx-lm makes no mixed recipe of lfm2: it finds no down_proj in it"):
        mixed.weights(model, Options())
    assert [quant.advisable(model, Options()) for quant in (mixed, plain)] == [False, True]
    assert mlx_weights(model, shelf.mlx_recipes()["bf16"], vision=False).tensor_bytes == 5_138_544_640  # as mlx-lm's


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


def test_what_architectures_say_of_mlx_s_tools_is_what_the_tools_have() -> None:
    wrong = {name: row.tools for name, row in architectures().items() if row.tools != mlx_tools(name)}
    assert wrong == {}


def test_a_model_without_a_vision_tower_is_asked_for_none() -> None:
    quant = MlxQuant(shelf.mlx_recipes()["q4_g64"])
    with pytest.raises(InputError, match="Qwen3-8B: no vision tower is known; leave out vision"):
        quant.weights(models()["Qwen3-8B"], Options(vision=True))


def test_every_recipe_is_found_by_each_of_its_names() -> None:
    names = [name for recipe in shelf.mlx_recipes().values() for name in (recipe.name, *recipe.aliases)]
    assert len({name.casefold() for name in names}) == len(names)
