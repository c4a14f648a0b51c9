"""Checkpoints for servers: the official repositories and NVIDIA's."""

from __future__ import annotations

from deployfit.basis import Basis
from deployfit.formats.checkpoint import CheckpointRecipe, Source, checkpoint_runs
from deployfit.models import Model
from deployfit.quants.conventions import conventions
from deployfit.quants.safetensors import safetensors_weights
from deployfit.quants.weights import SAFETENSORS, Options, Weights
from deployfit.values import NamedTuple


def checkpoint_weights(model: Model, recipe: CheckpointRecipe) -> Weights:
    """Return a checkpoint's weights: text, draft layers and vision tower.

    >>> from deployfit.catalogue import models, rows
    >>> from deployfit.formats.checkpoint import RECIPES, recipes_of
    >>> checkpoint_weights(models()["Qwen3.5-397B-A17B"], recipes_of(rows(RECIPES))["BF16"]).tensor_bytes
    806795875168
    """
    blueprint = model.blueprint
    params = sum(blueprint.params().values())
    basis = Basis.EXACT if recipe.name == "BF16" else Basis.DERIVED
    runs = checkpoint_runs(
        Source(blueprint, conventions(blueprint.model_type).checkpoint_names, model.row.float32_roles), recipe
    )
    return safetensors_weights(recipe.name, SAFETENSORS, runs, params, basis, ())


class CheckpointQuant(NamedTuple):
    """A checkpoint recipe."""

    recipe: CheckpointRecipe
    format: str = SAFETENSORS
    publisher: str = ""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: no runtime of a Mac is known to load them as they are."""
        return False

    def published(self, model: Model) -> str:
        """Return "": it is a recipe, nobody's file."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the checkpoint's weights."""
        return checkpoint_weights(model, self.recipe)
