"""Parquet: the rows as columns of Arrow, written in groups; needs pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import islice
from typing import IO, Any

from deployfit.errors import InputError
from deployfit.parameters import param
from deployfit.report.document import Document
from deployfit.report.formats import Screen

BINARY = True
ROW_GROUP = 2**17  # rows that are held at once


def render(document: Document, out: IO[bytes], screen: Screen) -> None:
    """Write the rows; raise InputError without pyarrow."""
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise InputError(f"parquet needs pyarrow: pip install pyarrow, or choose {param('format')} csv") from None
    rows = iter(document.records)
    first = list(islice(rows, ROW_GROUP))
    kinds = [
        document.kinds.get(name) or _kind(column)
        for name, column in zip(document.columns, zip(*first, strict=True), strict=False)
    ]
    types = {"text": arrow.string(), "flag": arrow.bool_(), "number": arrow.float64(), "count": arrow.int64()}
    schema = arrow.schema([(name, types[kind]) for name, kind in zip(document.columns, kinds, strict=True)])
    with parquet.ParquetWriter(out, schema) as writer:
        group = first
        while group:
            arrays = [
                arrow.array(list(map(_plain, column)), each.type)
                for column, each in zip(zip(*group, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.table(arrays, schema=schema))
            group = list(islice(rows, ROW_GROUP))


def _kind(values: Sequence[Any]) -> str:
    """Return what kind of values a column has, by the first that there is."""
    value = next((each for each in values if each is not None), None)
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "count"
    return "number" if isinstance(value, float) else "text"


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else str(value)
