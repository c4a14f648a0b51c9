"""Sizes that somebody published, each with its source."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.layers.tensor import Part
from deployfit.quants.weights import FORMATS, GGUF
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

WHAT = ("file", "tensors", "repository")
CONFIDENCES = ("high", "medium", "low")
PARTS = tuple(part.value for part in Part)


class PublishedSize(NamedTuple):
    """A row of `data/published_sizes.csv`; exact if `plus_minus_bytes` is 0."""

    publisher: str
    repo: str
    model: str
    recipe: str
    format: str
    nbytes: int
    plus_minus_bytes: int
    of: str  # what has this size: the file (all shards), its tensors, or the whole repository
    contains: tuple[str, ...]
    date: str
    confidence: str
    source: str
    note: str

    @property
    def is_exact(self) -> bool:
        """Whether it is a number of bytes, not a rounded one."""
        return self.plus_minus_bytes == 0


def _size(row: Row) -> PublishedSize:
    contains = tuple(row.text("contains").split("+"))
    if not set(contains) <= set(PARTS):
        row.fault("contains", "parts joined by +: " + ", ".join(PARTS))
    return PublishedSize(
        publisher=row.text("publisher"),
        repo=row.text("repo"),
        model=row.text("model"),
        recipe=row.text("recipe"),
        format=row.one_of("format", FORMATS),
        nbytes=row.number("bytes"),
        plus_minus_bytes=row.number("plus_minus_bytes", least=0),
        of=row.one_of("of", WHAT),
        contains=contains,
        date=row.text("date", blank=True),
        confidence=row.one_of("confidence", CONFIDENCES),
        source=row.text("source"),
        note=row.text("note", blank=True),
    )


PUBLISHED_SIZES = Table(
    "published_sizes.csv",
    [
        "publisher",
        "repo",
        "model",
        "recipe",
        "format",
        "bytes",
        "plus_minus_bytes",
        "of",
        "contains",
        "date",
        "confidence",
        "source",
        "note",
    ],
    _size,
)


def best_of(known: Sequence[PublishedSize]) -> PublishedSize | None:
    """Return the best of several sizes of one thing: of a file rather than of a repository, exact, the latest."""
    files = [size for size in known if size.of != "repository"] or known
    return max(files, key=lambda size: (size.is_exact, size.date), default=None)


def is_model(size: PublishedSize) -> bool:
    """Return whether the size is that of a model: not of a vision tower or a drafter by itself, nor of all together."""
    return sizes_a_model(size.format, size.of, size.recipe)


def sizes_a_model(format_name: str, of: str, recipe: str) -> bool:
    """Return the same from the columns that decide it."""
    together = format_name == GGUF and of == "repository"
    return not together and not recipe.startswith(("mmproj", "draft-"))
