"""One Mac in the place of a cluster, so that it can be compared with several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployfit.clusters.engine import WHOLE, Asked, Command, Division
from deployfit.models import Model
from deployfit.quants.weights import Quant, Weights
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import MemoryPart


class OneMac:
    """A runtime by itself: nothing is split."""

    splits = (WHOLE,)

    def __init__(self, runtime: str) -> None:
        self.name = self.runtime = runtime
        self._runtime = registry.runtime(runtime)

    def why_not(self, model: Model, split: str, count: int) -> str:
        """Return "": what the runtime refuses it says itself."""
        return ""

    def why_not_weights(self, asked: Asked, weights: Weights) -> str:
        """Return ""."""
        return ""

    def division(self, asked: Asked, weights: Weights) -> Division:
        """Return all of the model."""
        blueprint = asked.model.blueprint
        loaded = self._runtime.loaded(blueprint, weights, asked.options, asked.settings)
        size = sum(part.nbytes for part in loaded if not part.later)
        return Division((range(len(blueprint.layers)),), (loaded,), (size,), 0)

    def running(self, asked: Asked, division: Division, settings: Any) -> Sequence[Sequence[MemoryPart]]:
        """Return what the runtime allocates."""
        return [self._runtime.running(asked.model.blueprint, settings, asked.options)]

    def least_bytes(self, asked: Asked, division: Division, settings: Any) -> Sequence[int]:
        """Return the runtime's own lower bound."""
        return [self._runtime.least_bytes(asked.model.blueprint, settings, asked.options)]

    def notes(self, asked: Asked) -> Sequence[str]:
        """Return none beside those that are data."""
        return []

    def commands(self, asked: Asked, division: Division, quant: Quant, weights: Weights) -> Sequence[Command]:
        """Return none: one Mac is started as it is every day."""
        return []
