"""Where the recipes and publishers are: rows of data made into quants, each table read when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.quants.weights import GGUF, MLX, Quant

if TYPE_CHECKING:
    from deployfit.formats.checkpoint import CheckpointRecipe
    from deployfit.formats.gguf_recipes import Recipe
    from deployfit.formats.mlx import MlxRecipe
    from deployfit.quants.publishers import Publisher


def recipes() -> Mapping[str, Recipe]:
    """Return llama.cpp's recipes by name.

    >>> recipes()["Q4_K_M"].default.name
    'Q4_K'
    """
    from deployfit.quants.gguf import gguf_recipes

    return gguf_recipes()


@cache
def mlx_recipes() -> Mapping[str, MlxRecipe]:
    """Return the recipes of mlx-lm and mlx-vlm by name.

    >>> mlx_recipes()["q4_g64"].aliases
    ('4bit', 'q4')
    """
    from deployfit.formats.mlx import RECIPES

    return {recipe.name: recipe for recipe in catalogue.rows(RECIPES)}


@cache
def checkpoint_recipes() -> Mapping[str, CheckpointRecipe]:
    """Return the recipes of checkpoints for servers by name.

    >>> list(checkpoint_recipes())
    ['BF16', 'FP8', 'GPTQ-Int4', 'NVFP4']
    """
    from deployfit.formats.checkpoint import RECIPES, recipes_of

    return recipes_of(catalogue.rows(RECIPES))


@cache
def publishers() -> Mapping[str, Publisher]:
    """Return the publishers by name.

    >>> list(publishers()["unsloth"].rows)
    ['GGUF']
    """
    from deployfit.quants.publishers import all_publishers

    return all_publishers()


def own_quants(format_name: str) -> list[Quant]:
    """Return what the tools themselves make in this format."""
    if format_name == GGUF:
        from deployfit.quants.gguf import GgufQuant

        return [GgufQuant(recipe) for recipe in recipes().values()]
    if format_name == MLX:
        from deployfit.quants.mlx import MlxQuant

        return [MlxQuant(recipe) for recipe in mlx_recipes().values()]
    from deployfit.quants.checkpoint import CheckpointQuant

    return [CheckpointQuant(recipe) for recipe in checkpoint_recipes().values()]
