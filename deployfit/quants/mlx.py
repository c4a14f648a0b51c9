"""MLX repositories: what mlx-lm and mlx-vlm convert a model to."""

from __future__ import annotations

from math import prod

from deployfit.basis import Basis
from deployfit.catalogue import rows
from deployfit.errors import InputError
from deployfit.formats.gguf import SHIPPED_EXPERTS
from deployfit.formats.mlx import (
    MLX_LM,
    MLX_VLM,
    MlxRecipe,
    MlxSource,
    check_makeable,
    check_mixable,
    mlx_runs,
)
from deployfit.formats.mlx_towers import TOWERS, tower_params
from deployfit.kept import keep
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.conventions import conventions
from deployfit.quants.safetensors import safetensors_weights
from deployfit.quants.weights import MLX, Options, Weights
from deployfit.values import NamedTuple


def mlx_weights(model: Model, recipe: MlxRecipe, *, vision: bool) -> Weights:
    """Return what mlx-lm converts a model to, or with the vision tower mlx-vlm.

    >>> from deployfit.catalogue import models, rows
    >>> from deployfit.formats.mlx import RECIPES
    >>> recipes = {recipe.name: recipe for recipe in rows(RECIPES)}
    >>> mlx_weights(models()["Qwen3.5-27B"], recipes["q4_g64"], vision=True).tensor_bytes
    16054266848
    """
    tool = MLX_VLM if vision else MLX_LM
    source = _check(model, recipe, tool)
    tower = sum(prod(stored.shape) for stored in source.tower.tensors) if vision else 0
    notes = (recipe.note,) if recipe.note else ()
    runs = mlx_runs(source, recipe, tool)
    return safetensors_weights(recipe.name, MLX, runs, source.text_params + tower, Basis.EXACT, notes)


MOST_SOURCES = 128  # kept
_sources: dict[tuple[int, tuple[str, ...]], MlxSource] = {}


def mlx_source(model: Model) -> MlxSource:
    """Return a model as MLX loads it; made once for a blueprint."""
    key = id(model.blueprint), model.row.float32_roles
    found = _sources.get(key)
    if found is None:
        known = conventions(model.blueprint.model_type)
        tower = 0 if model.blueprint.vision else tower_params(model.name, model.blueprint.hidden, rows(TOWERS))
        made = MlxSource(model.blueprint, known.mlx_names, known.architecture, model.row.float32_roles, tower)
        found = keep(_sources, key, made, MOST_SOURCES)
    return found


def _check(model: Model, recipe: MlxRecipe, tool: str) -> MlxSource:
    """Return a model as MLX loads it; raise InputError if the tool cannot make the recipe of it."""
    source = mlx_source(model)
    check_makeable(recipe, tool, source.architecture)
    check_mixable(source, recipe, tool)
    return source


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
        """Return whether today's tools make it of this model, and leave experts as they are shipped."""
        if self.recipe.note or (model.blueprint.gguf_architecture in SHIPPED_EXPERTS and not self.recipe.experts):
            return False
        try:
            _check(model, self.recipe, MLX_VLM if options.vision else MLX_LM)
        except InputError:
            return False
        return True

    def published(self, model: Model) -> str:
        """Return "": it is a recipe, nobody's file."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return what the tools convert to."""
        check_options(options)
        if options.vision and not mlx_source(model).tower.tensors:
            raise InputError(f"{model.name}: no vision tower is known; leave out {param('vision')}")
        return mlx_weights(model, self.recipe, vision=options.vision)
