"""The document of `refresh`: the sizes that are new."""

from __future__ import annotations

from deployfit.report.document import Block, Bullets, Column, Document, Statement, Table, of_rows
from deployfit.sources.hub.today import Refreshed

SCHEMA = "deployfit/refresh/1"


def refresh_document(found: Refreshed, *, dry_run: bool) -> Document:
    """Return a row per new size, in bytes."""
    rows = [
        {
            "model": size.model,
            "file": f"{size.publisher}:{size.recipe}",
            "bytes": size.nbytes,
            "of": size.of,
            "date": size.date,
        }
        for size in found.new
    ]
    done = "would be appended" if dry_run else "appended"
    columns = [Column("file", left=True, shrinks=True), Column("model", left=True), Column("bytes")]
    blocks: list[Block] = [
        Statement(
            f"{len(found.today.sizes)} sizes on the Hub, {len(rows)} of them new or changed; {len(rows)} rows {done}."
        ),
        Table(columns, [[str(row["file"]), str(row["model"]), f"{row['bytes']:,}"] for row in rows]),
        Bullets("Not asked", found.today.not_asked),
    ]
    return of_rows(SCHEMA, rows, blocks, top={"not_asked": list(found.today.not_asked)})
