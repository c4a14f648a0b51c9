"""What a source gives: a model from outside the catalogue, and its file."""

from __future__ import annotations

from deployfit.layers.blueprint import Blueprint
from deployfit.models import Model
from deployfit.quants.weights import Quant
from deployfit.sources.listing import Progress, silent
from deployfit.values import NamedTuple


class Opened(NamedTuple):
    """A model from outside the catalogue.

    `place` is what was opened, printable. `architecture` is its name as the file has it, "" if it has none. `model` is
    None if nobody wrote that architecture yet: then the weights are exact all the same, and `assumed` may be layers of
    plain attention out of the file's own numbers, from which caches can be counted, and nothing else. `quant` is None
    for a configuration without weights. `others` are files of the same model beside it, if they were asked for. `notes`
    are for who reads an answer.
    """

    place: str
    architecture: str
    model: Model | None
    quant: Quant | None
    assumed: Blueprint | None = None
    notes: tuple[str, ...] = ()
    others: tuple[Quant, ...] = ()


class How(NamedTuple):
    """How a source is to be opened: which revision, which of its files, whether the network may be asked.

    `vision`: the tower's own file is looked into as well. `each`: where a place has several files of one model, all
    are wanted rather than none.
    """

    revision: str | None = None
    pattern: str | None = None
    offline: bool = False
    vision: bool = False
    each: bool = False
    progress: Progress = silent
