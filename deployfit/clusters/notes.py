"""What users met with clusters, with sources: rows of data that hold for an engine, a split and a condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

ALWAYS, UNEVEN, THREE, LOAD = "", "uneven", "three", "load"
CONDITIONS = (ALWAYS, UNEVEN, THREE, LOAD)


class NoteRow(NamedTuple):
    """A row of `data/cluster_notes.csv`.

    `when`: always, where the Macs differ ("uneven"), with three and more ("three"), or where loading takes more than
    running ("load"). `split` is "" for both.
    """

    engines: tuple[str, ...]
    split: str
    when: str
    note: str
    source: str

    @property
    def told(self) -> str:
        """The note with its source."""
        return f"{self.note} ({self.source})"


def _row(row: Row) -> NoteRow:
    return NoteRow(
        engines=tuple(row.text("engines").split()),
        split=row.text("split", blank=True),
        when=row.one_of("when", CONDITIONS),
        note=row.text("note"),
        source=row.text("source"),
    )


NOTES = Table("cluster_notes.csv", ["engines", "split", "when", "note", "source"], _row)


def notes_of(rows: Iterable[NoteRow], engine: str, split: str, conditions: Iterable[str]) -> Iterator[str]:
    """Yield the notes on an engine and a split under these conditions."""
    holds = {ALWAYS, *conditions}
    for row in rows:
        if engine in row.engines and row.split in ("", split) and row.when in holds:
            yield row.told
