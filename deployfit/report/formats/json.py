"""JSON: the schema's name and the rows, sizes in bytes; what is not known is null."""

from __future__ import annotations

import json
from typing import IO

from deployfit.report.document import Document
from deployfit.report.formats import Screen


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the report; many rows have a line each."""
    top = {"schema": document.schema, **document.top}
    if not document.many:
        rows = [dict(zip(document.columns, record, strict=True)) for record in document.records]
        out.write(json.dumps({**top, "rows": rows}, indent=2) + "\n")
        return
    out.write(json.dumps(top)[:-1] + ', "rows": [')
    mark = "\n"
    for record in document.records:
        out.write(mark + json.dumps(dict(zip(document.columns, record, strict=True))))
        mark = ",\n"
    out.write("\n]}\n")
