"""Tables of data: declared beside what uses them, read row by row, with every fault reported at its place."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from deployfit.errors import DataError, quoted

T = TypeVar("T")


class Row:
    """One row of a table; a cell that cannot be read is noted as a fault and yields a stand-in."""

    __slots__ = ("_cells", "_columns", "_file", "_line", "faults")

    def __init__(
        self, cells: Sequence[str], columns: Mapping[str, int], file: str, line: int, faults: dict[str, None]
    ) -> None:
        self._cells, self._columns, self._file, self._line = cells, columns, file, line
        self.faults = faults  # of the whole table; as keys: a cell may be read twice

    def _cell(self, column: str) -> str:
        return self._cells[self._columns[column]].strip()

    def fault(self, column: str, expected: str) -> None:
        """Note that a cell is not what was expected."""
        got = quoted(self._cells[self._columns[column]])
        self.faults[f"{self._file}:{self._line}: {column}: expected {expected}, got {got}"] = None

    def text(self, column: str, *, blank: bool = False) -> str:
        """Return a cell's text; it may be blank only where that is said."""
        text = self._cells[self._columns[column]].strip()
        if not blank and (not text or not text.isprintable()):
            self.fault(column, "a printable text")
        return text

    def number(self, column: str, *, least: int = 1, most: int = 10**18, blank: bool = False) -> int:
        """Return a cell's whole number; 0 for a blank cell where that is allowed."""
        text = self._cell(column)
        if not text and blank:
            return 0
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
            self.fault(column, f"a whole number from {least:,} to {most:,}")
            return least
        return int(text)

    def decimal(self, column: str, *, blank: bool = False) -> float:
        """Return a cell's number, 0 or more, with a decimal point; 0 for a blank cell where that is allowed."""
        text = self._cell(column)
        if not text and blank:
            return 0.0
        if not (text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 19):
            self.fault(column, "a number such as 0.85")
            return 0.0
        return float(text)

    def flag(self, column: str) -> bool:
        """Return a cell's truth value."""
        text = self._cell(column).lower()
        if text not in ("true", "false"):
            self.fault(column, "true or false")
        return text == "true"

    def one_of(self, column: str, known: Sequence[str] | Mapping[str, object]) -> str:
        """Return a cell's text if it is one of the known ones."""
        text = self._cell(column)
        if text not in known:
            self.fault(column, "one of " + ", ".join(known))
            return next(iter(known))
        return text


class Table(Generic[T]):
    """A file in `data/`: its name, the columns that are read, and what a row becomes."""

    __slots__ = ("columns", "file", "parse")

    def __init__(self, file: str, columns: Sequence[str], parse: Callable[[Row], T]) -> None:
        self.file, self.columns, self.parse = file, columns, parse

    def rows(self, text: str, place: str) -> list[T]:
        """Return what each row of a CSV text becomes; raise DataError with all faults found.

        Missing cells and columns are faults; columns that are not asked for are left alone.
        """
        return parse_table(text, place, self.columns, self.parse)

    def by(self, column: str, text: str, place: str) -> dict[str, list[Row]]:
        """Return the rows by their text in a column, to be parsed when they are needed."""
        faults: dict[str, None] = {}
        rows: dict[str, list[Row]] = {}
        for row in _rows(text, place, self.columns, faults):
            rows.setdefault(row.text(column), []).append(row)
        _check(faults)
        return rows

    def parsed(self, rows: Sequence[Row]) -> list[T]:
        """Return what some rows become; raise DataError with all faults found."""
        parsed = [self.parse(row) for row in rows]
        for row in rows:
            _check(row.faults)
        return parsed


def parse_table(text: str, place: str, columns: Sequence[str], parse: Callable[[Row], T]) -> list[T]:
    """Return what `parse` makes of each row of a CSV text; raise DataError with all faults found."""
    faults: dict[str, None] = {}
    parsed = [parse(row) for row in _rows(text, place, columns, faults)]
    _check(faults)
    return parsed


def _check(faults: Mapping[str, None]) -> None:
    if faults:
        raise DataError(list(faults))


def _lines(text: str) -> list[str]:
    """Return the lines of a file; what else Unicode calls an end of line may stand within a cell."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _rows(text: str, place: str, columns: Sequence[str], faults: dict[str, None]) -> Iterator[Row]:
    reader = csv.reader(_lines(text), strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in columns if column not in header]
        twice = sorted({column for column in columns if header.count(column) > 1})
        if twice:
            faults[f"{place}:1: column {', '.join(twice)} is there twice"] = None
            return
        if missing:
            faults[f"{place}:1: no column {', '.join(missing)}"] = None
            return
        index = {column: number for number, column in enumerate(header)}
        width = len(header)
        for cells in reader:
            if len(cells) == width:
                yield Row(cells, index, place, reader.line_num, faults)
            elif cells:
                here = f"{place}:{reader.line_num}"
                faults[f"{here}: expected {width} cells as in the header, got {len(cells)}"] = None
    except csv.Error as error:
        faults[f"{place}:{reader.line_num}: {error}"] = None
