"""Checkpoints for servers: the official repositories and NVIDIA's."""

from __future__ import annotations

from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.formats.checkpoint import CheckpointRecipe, checkpoint_stored
from deployfit.models import Model
from deployfit.quants.safetensors import safetensors_weights
from deployfit.quants.weights import SAFETENSORS, Options, Weights


def checkpoint_weights(model: Model, recipe: CheckpointRecipe) -> Weights:
    """Return a checkpoint's weights: text, vision tower and MTP layer.

    >>> from deployfit.catalog import checkpoint_recipes, models
    >>> checkpoint_weights(models()["Qwen3.5-397B-A17B"], checkpoint_recipes()["BF16"]).tensor_bytes
    806795875168
    """
    params = sum(tensor.params for tensor in model.tensors)
    basis = Basis.EXACT if recipe.name == "BF16" else Basis.DERIVED
    return safetensors_weights(recipe.name, SAFETENSORS, checkpoint_stored(model, recipe), params, basis, ())


class CheckpointQuant(NamedTuple):
    """A checkpoint recipe."""

    recipe: CheckpointRecipe
    format: str = SAFETENSORS

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
