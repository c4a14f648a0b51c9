"""Which builds of llama.cpp reserve what for flash attention on Metal."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.tables import Row, Table
from deployfit.values import NamedTuple


class MetalGeneration(NamedTuple):
    """A row of `data/metal_generations.csv`: the builds from this one on, up to the next row's."""

    generation: str
    first_build: int


def _generation(row: Row) -> MetalGeneration:
    return MetalGeneration(row.text("generation"), row.number("first_build"))


METAL_GENERATIONS = Table("metal_generations.csv", ["generation", "first_build", "source"], _generation)


def generation_of(build: int, rows: Sequence[MetalGeneration]) -> str:
    """Return what the Metal backend of a build is called in settings; of a build that is not said (0) today's.

    >>> from deployfit.catalogue import rows
    >>> [generation_of(build, rows(METAL_GENERATIONS)) for build in (10450, 10662, 0)]
    ['before', 'current', 'current']
    """
    if not build:
        return rows[-1].generation
    return max((row for row in rows if row.first_build <= build), key=lambda row: row.first_build).generation
