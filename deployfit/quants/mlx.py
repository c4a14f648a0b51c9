"""MLX repositories: what mlx-lm and mlx-vlm convert a model to."""

from __future__ import annotations

from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.formats.mlx import MLX_LM, MLX_VLM, Converted, MlxRecipe, check_makeable, mlx_params, mlx_runs
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.conventions import conventions
from deployfit.quants.safetensors import safetensors_weights
from deployfit.quants.weights import MLX, Options, Weights


def mlx_weights(model: Model, recipe: MlxRecipe, *, vision: bool) -> Weights:
    """Return what mlx-lm converts a model to, or with the vision tower mlx-vlm.

    >>> from deployfit.catalogue import models, rows
    >>> from deployfit.formats.mlx import RECIPES
    >>> recipes = {recipe.name: recipe for recipe in rows(RECIPES)}
    >>> mlx_weights(models()["Qwen3.5-27B"], recipes["q4_g64"], vision=True).tensor_bytes
    16054266848
    """
    tool = MLX_VLM if vision else MLX_LM
    blueprint = model.blueprint
    known = conventions(blueprint.model_type)
    check_makeable(recipe, tool, known.architecture)
    converted = Converted(blueprint, known.mlx_names, known.architecture, model.row.float32_roles)
    params = mlx_params(blueprint, vision=vision)
    notes = (recipe.note,) if recipe.note else ()
    return safetensors_weights(recipe.name, MLX, mlx_runs(converted, recipe, tool), params, Basis.EXACT, notes)


def check_options(options: Options) -> None:
    """Raise InputError for what the tools do not do."""
    if options.mtp:
        raise InputError(f"mlx-lm and mlx-vlm drop the MTP layer; leave out {param('mtp')}")
    if options.imatrix:
        raise InputError(f"mlx-lm and mlx-vlm know no importance matrix; leave out {param('imatrix')}")


class MlxQuant(NamedTuple):
    """A recipe of mlx-lm and mlx-vlm."""

    recipe: MlxRecipe
    format: str = MLX
    publisher: str = ""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether today's tools make it."""
        return not self.recipe.note

    def published(self, model: Model) -> str:
        """Return "": it is a recipe, nobody's file."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return what the tools convert to."""
        check_options(options)
        if options.vision and model.blueprint.vision is None:
            raise InputError(f"{model.name}: no vision tower is known; leave out {param('vision')}")
        return mlx_weights(model, self.recipe, vision=options.vision)
