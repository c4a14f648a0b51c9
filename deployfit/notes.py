"""What users met that memory does not explain: said where it applies, never as a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployfit.tables import Row, Table
from deployfit.values import NamedTuple


class Note(NamedTuple):
    """A row of `data/notes.csv`: for which runtime and applications ("" and none for all), and from which context on.

    `outgrows`: said only of what can grow beyond the Mac's memory.
    """

    runtime: str
    apps: tuple[str, ...]
    least_context: int
    outgrows: bool
    text: str
    source: str


def _note(row: Row) -> Note:
    return Note(
        runtime=row.text("runtime", blank=True),
        apps=tuple(row.text("apps", blank=True).split()),
        least_context=row.number("least_context", blank=True),
        outgrows=row.text("outgrows", blank=True) == "true",
        text=row.text("text"),
        source=row.text("source"),
    )


NOTES = Table("notes.csv", ["runtime", "apps", "least_context", "outgrows", "text", "source"], _note)


def notes_on(rows: Sequence[Note], runtime: str, app: str, context_tokens: int, *, outgrows: bool) -> Iterator[str]:
    """Yield what is to be said, each with its source.

    >>> from deployfit.catalogue import rows
    >>> len(list(notes_on(rows(NOTES), "mlx", "mlx_lm.server", 131_072, outgrows=False)))
    2
    """
    for row in rows:
        meant = row.runtime in ("", runtime) and (not row.apps or app in row.apps)
        if meant and context_tokens >= row.least_context and (outgrows or not row.outgrows):
            yield f"{row.text} ({row.source})"
