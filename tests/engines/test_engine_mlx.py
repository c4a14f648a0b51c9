"""Opt-in (`pytest -m engine`): the installed mlx-lm and mlx-vlm give deployfit's figures, on every model.

Proved for Qwen3.5: both tools load a checkpoint of deployfit's tensors without one missing or left over; their
`convert` saves exactly deployfit's bytes for every recipe of `data/mlx_recipes.csv` that they have. Proved for every
model of the catalogue: what mlx-lm builds of its configuration has deployfit's bytes, plain and quantized, and its
caches take exactly deployfit's. Not asked: the memory of a prefill, which only a Mac can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployfit.catalogue import models
from deployfit.formats.mlx import MLX_VLM, TOOLS
from deployfit.models import Model
from deployfit.quants.mlx import mlx_weights
from deployfit.quants.shelf import mlx_recipes
from deployfit.runtimes.mlx.caches import kv_cache_bytes, state_bytes, why_not_quantized
from deployfit.runtimes.mlx.settings import KV_BITS, MlxSettings

pytest.importorskip("mlx_lm", reason="engine mlx-lm: not installed here (pip install mlx-lm; beside a Mac 'mlx[cpu]')")
pytest.importorskip("mlx_vlm", reason="engine mlx-vlm: not installed here (pip install mlx-vlm)")

import mlx_engine as engine

pytestmark = pytest.mark.engine

SETTINGS = [
    *(MlxSettings(4097, bits) for bits in KV_BITS),
    *(MlxSettings(tokens, bits) for tokens in (1, 256, 257, 5000, 40_000) for bits in (16, 8, 4)),
]
RECIPES = ("bf16", "q3_g32", "q4_g64", "q8_g128", "mxfp4", "mxfp8", "nvfp4", "mixed_3_6", "mixed_2_6_g32")
LOADED = [name for name, row in models().rows.items() if row.hub_repo.startswith("Qwen/Qwen3.5-")]
# Built from a configuration it has A_log in F32, as a checkpoint that has it in BF16 would not give it.
BUILT = [name for name, row in models().rows.items() if row.float32_roles != ("-",)]


@pytest.fixture(scope="module", params=LOADED)
def model(request: pytest.FixtureRequest) -> Model:
    return models()[request.param]


@pytest.fixture(scope="module")
def checkpoint(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("checkpoint")
    engine.write_checkpoint(model, folder)
    yield folder
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("tool", TOOLS)
def test_converted_weights(model: Model, checkpoint: Path, tool: str) -> None:
    """Recipes with a note are of earlier versions of the tools, those for other model types of other checkpoints."""
    loaded = engine.Tool(tool, checkpoint)
    today = [recipe for recipe in mlx_recipes().values() if not recipe.note and not recipe.model_types]
    recipes = [recipe for recipe in today if tool in recipe.tools]
    counted = {recipe.name: mlx_weights(model, recipe, vision=tool == MLX_VLM).tensor_bytes for recipe in recipes}
    assert {recipe.name: loaded.saved_bytes(recipe) for recipe in recipes} == counted


def built(model: Model) -> object:
    try:
        return engine.built(model)
    except TypeError as error:  # of transformers' defaults mlx-lm wants some to be written
        pytest.skip(f"the configuration leaves out what mlx-lm asks for: {error}")


@pytest.mark.parametrize("name", BUILT)
def test_weights_of_what_mlx_lm_builds(name: str) -> None:
    model, recipes = models()[name], [mlx_recipes()[recipe] for recipe in RECIPES]
    built(model)
    counted = {recipe.name: mlx_weights(model, recipe, vision=False).tensor_bytes for recipe in recipes}
    assert {recipe.name: engine.converted_bytes(model, recipe) for recipe in recipes} == counted


@pytest.mark.parametrize("name", list(models()))
def test_caches(name: str) -> None:
    """After a forward pass of the model itself, and after long prompts, plain and quantized."""
    model = models()[name]
    blueprint = model.blueprint
    made = built(model)
    traced = engine.traced_cache(made, 2)
    counted = kv_cache_bytes(blueprint, MlxSettings(2)), state_bytes(blueprint)
    assert engine.state_bytes(traced) == counted[1]
    if not engine.has_windows(traced):  # those would have room for two tokens only
        assert engine.kv_bytes(traced) == counted[0]
    refused = bool(why_not_quantized(blueprint))
    settings = [each for each in SETTINGS if not (refused and each.quantized)]
    filled = {each: kv_cache_bytes(blueprint, each) for each in settings}
    assert {each: engine.filled_kv_bytes(made, traced, each) for each in settings} == filled


@pytest.mark.parametrize("tool", TOOLS)
def test_no_mixed_recipe_is_missing(tool: str) -> None:
    known = {
        recipe.name.partition("_g")[0] for recipe in mlx_recipes().values() if recipe.high and tool in recipe.tools
    }
    assert known == engine.mixed_recipes(tool)
