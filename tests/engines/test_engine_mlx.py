"""Opt-in (`pytest -m engine`): the installed mlx-lm and mlx-vlm give deployfit's figures, on every model.

Proved: both tools load a checkpoint of deployfit's tensors without one missing or left over; their `convert` saves
exactly deployfit's bytes for every recipe of `data/mlx_recipes.csv` that they have; mlx-lm's caches take exactly
deployfit's bytes. Not asked: the memory of a prefill, which only a Mac can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployfit.catalog import mlx_recipes, models
from deployfit.formats.mlx import MLX_LM, MLX_VLM, TOOLS
from deployfit.models import Model
from deployfit.quants.mlx import mlx_weights
from deployfit.runtimes.mlx import KV_BITS, MlxSettings, kv_cache_bytes, state_bytes

pytest.importorskip("mlx_lm", reason="engine mlx-lm: not installed here (pip install mlx-lm; beside a Mac 'mlx[cpu]')")
pytest.importorskip("mlx_vlm", reason="engine mlx-vlm: not installed here (pip install mlx-vlm)")

import mlx_engine as engine

pytestmark = pytest.mark.engine

SETTINGS = [
    *(MlxSettings(4097, bits) for bits in KV_BITS),
    *(MlxSettings(tokens, bits) for tokens in (1, 256, 257, 5000, 262_144) for bits in (16, 8, 4)),
]


@pytest.fixture(scope="module", params=list(models()))
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
    """Recipes with a note are of earlier versions of the tools."""
    loaded = engine.Tool(tool, checkpoint)
    recipes = [recipe for recipe in mlx_recipes().values() if tool in recipe.tools and not recipe.note]
    counted = {recipe.name: mlx_weights(model, recipe, vision=tool == MLX_VLM).tensor_bytes for recipe in recipes}
    assert {recipe.name: loaded.saved_bytes(recipe) for recipe in recipes} == counted


def test_caches(model: Model, checkpoint: Path) -> None:
    """After a forward pass of the model itself, and after long prompts, plain and quantized."""
    loaded = engine.Tool(MLX_LM, checkpoint).model
    traced = engine.traced_cache(loaded, 2)
    counted = (kv_cache_bytes(model.config, MlxSettings(2)), state_bytes(model.config))
    assert (engine.kv_bytes(traced), engine.state_bytes(traced)) == counted
    filled = {each: kv_cache_bytes(model.config, each) for each in SETTINGS}
    assert {each: engine.filled_kv_bytes(loaded, traced, each) for each in SETTINGS} == filled


@pytest.mark.parametrize("tool", TOOLS)
def test_no_mixed_recipe_is_missing(tool: str) -> None:
    known = {
        recipe.name.partition("_g")[0] for recipe in mlx_recipes().values() if recipe.high and tool in recipe.tools
    }
    assert known == engine.mixed_recipes(tool)
