"""A tool's own recipe in place of a publisher's file of that name, where nobody was seen to say how large that is."""

from __future__ import annotations

from deployfit.basis import Basis
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.values import NamedTuple


class StandIn(NamedTuple):
    """The tool's own recipe that stands in for `wanted`."""

    own: Quant
    wanted: Quant

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self.wanted.name

    @property
    def format(self) -> str:
        """The format of both."""
        return self.own.format

    @property
    def publisher(self) -> str:
        """Whose file was asked for."""
        return self.wanted.publisher

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: it is what was asked for, not what could be had instead."""
        return False

    def published(self, model: Model) -> str:
        """Return "": no such file was seen."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the own recipe's weights, said to be assumed."""
        weights = self.own.weights(model, options)
        note = f"weights: no size of {self.name} is known; {self.own.name} as its tool makes it stands in"
        return weights._replace(recipe=self.name, basis=Basis.ASSUMED, notes=(note, *weights.notes))
