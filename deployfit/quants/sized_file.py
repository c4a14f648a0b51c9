"""Files beside one that was looked into: the same model under other recipes, of which only sizes are known."""

from __future__ import annotations

from deployfit.basis import Basis
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.real_file import RealFile
from deployfit.quants.weights import Options, Weights, scaled
from deployfit.values import NamedTuple


class SizedFile(NamedTuple):
    """A file beside one that was looked into: of the same model, its tensors known by their sum only."""

    name: str
    nbytes: int
    looked_into: RealFile
    header_bytes: int

    @property
    def format(self) -> str:
        """The file's format."""
        return self.looked_into.format

    @property
    def publisher(self) -> str:
        """Return "": whose it is does not matter."""
        return ""

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: it is what was asked for, not what could be had instead."""
        return False

    def published(self, model: Model) -> str:
        """Return "": it is there, whenever it was made."""
        return ""

    def weights(self, model: Model | None, options: Options) -> Weights:
        """Return weights of this size: all but the header, which is that of the other file; shares as there."""
        like = self.looked_into.weights(model, options)
        own = [each for each in like.classes if each not in self.looked_into.tower]
        beside = [each for each in like.classes if each in self.looked_into.tower]
        total = sum(each.total_bytes for each in own)
        kept = [part for part in Part if any(each.part is part for each in own)]
        data = max(0, self.nbytes - self.header_bytes)
        classes = list(beside)
        for part in kept[1:]:
            share = sum(each.total_bytes for each in own if each.part is part)
            classes += scaled(own, part, data * share // total)
        classes += scaled(own, kept[0], data - sum(each.total_bytes for each in classes if each not in beside))
        note = f"weights: by its size, its tensors as in {self.looked_into.name}; {param('file')} looks into it"
        return like._replace(
            recipe=self.name, classes=tuple(classes), file_bytes=self.nbytes, basis=Basis.DERIVED, notes=(note,)
        )
