"""CSV: the same fields as JSON; lists are joined with "; ", what is not known is blank.

Names are written as they are, one that begins with "=" too: programs read them back, and SECURITY.md says it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO, Any

from deployfit.printable import printable
from deployfit.report.document import Document
from deployfit.report.formats import Screen


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write a row per record, header first."""
    writer = csv.writer(out, lineterminator="\n")
    if document.columns:
        writer.writerow(document.columns)
    writer.writerows(map(_flat, document.records))


def _flat(record: Sequence[Any]) -> list[Any]:
    return [_cell(value) for value in record]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) or value is None:
        return value
    if isinstance(value, dict):
        return "; ".join(f"{name}={_cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(str(_cell(item)) for item in value)
    return printable(str(value))
