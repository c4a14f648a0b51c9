"""The document of `contribute`: rows of measurements, each with the file that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployfit.measured.logs.contribution import Rows, csv_text
from deployfit.report.document import Block, Bullets, Document, Heading, Statement, Verbatim, of_rows

SCHEMA = "deployfit/contribute/1"


def contribute_document(rows_by_file: Mapping[str, Rows], reasons: Mapping[str, Sequence[str]]) -> Document:
    """Return a row per measurement: the file, and the row as an object."""
    rows = [
        {"file": f"data/{file}", "row": dict(row), "left_out": list(reasons.get(file, ()))}
        for file, found in rows_by_file.items()
        for row in found
    ]
    return of_rows(SCHEMA, rows, list(_blocks(rows_by_file, reasons)))


def _blocks(rows_by_file: Mapping[str, Rows], reasons: Mapping[str, Sequence[str]]) -> Iterable[Block]:
    for file, rows in rows_by_file.items():
        if not rows:
            continue
        yield Heading(f"data/{file}", f"{len(rows)} row{'s' * (len(rows) != 1)}")
        yield Verbatim(csv_text(rows).splitlines())
        yield Bullets("Would be left out", reasons.get(file, ()))
    yield Statement("Append the rows to these files in a checkout, and open a pull request; nothing was sent.")
