"""A sweep as CSV, JSON, Parquet, a DataFrame, and its first rows as text."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any

from deployfit.errors import InputError
from deployfit.grid import COLUMNS, SPEED_COLUMNS, TEXT_COLUMNS, Swept, rows_of
from deployfit.report.tabular import aligned
from deployfit.runtimes.running import NO_COLUMNS
from deployfit.units import gib, tps
from deployfit.verdict import Verdict

if TYPE_CHECKING:
    import pandas

SCHEMA = "deployfit/sweep/1"
MOST_SHOWN = 20
ROW_GROUP = 2**17  # rows of Parquet that are held at once


def write_csv(swept: Sequence[Swept], out: IO[str]) -> None:
    """Write a row per point, header first, block by block."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in swept:
        for block in each.blocks():
            writer.writerows(rows_of({**block, "imatrix": str(block["imatrix"]).lower()}))


def write_json(swept: Sequence[Swept], out: IO[str]) -> None:
    """Write an object per point, a line each."""
    import json

    out.write(f'{{"schema": {json.dumps(SCHEMA)}, "rows": [')
    mark = "\n"
    for each in swept:
        for row in each.rows():
            out.write(mark + json.dumps(dict(zip(COLUMNS, row, strict=True))))
            mark = ",\n"
    out.write("\n]}\n")


def write_parquet(swept: Sequence[Swept], path: str) -> None:
    """Write a file of Parquet; raise InputError without pyarrow."""
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise InputError("parquet needs pyarrow: pip install pyarrow, or choose --format csv") from None
    kinds = {"imatrix": arrow.bool_()} | dict.fromkeys(TEXT_COLUMNS, arrow.string())
    kinds |= dict.fromkeys(SPEED_COLUMNS, arrow.float64())
    schema = arrow.schema([(name, kinds.get(name, arrow.int64())) for name in COLUMNS])
    rows = chain.from_iterable(each.rows() for each in swept)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            columns = map(arrow.array, zip(*group, strict=True), schema.types)
            writer.write_table(arrow.table(list(columns), schema=schema))


def frame(swept: Sequence[Swept]) -> pandas.DataFrame:
    """Return the points as a DataFrame: words as categories, and whole numbers that may be missing."""
    import pandas

    kinds = {name: "category" if name in TEXT_COLUMNS else "Int64" for name in COLUMNS}
    kinds |= {"imatrix": "bool"} | dict.fromkeys(SPEED_COLUMNS, "float64")
    frames = [pandas.DataFrame(dict(block)) for each in swept for block in each.blocks()]
    joined = pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=list(COLUMNS))
    return joined.astype(kinds)


def sweep_text(swept: Sequence[Swept]) -> str:
    """Return how many points there are with which verdict, and the first of them."""
    answered = sum(each.answered for each in swept)
    lines = [_summary(each) for each in swept]
    if reasons := list(dict.fromkeys(reason for each in swept for reason in each.refusals)):
        left_out = sum(each.grid.points for each in swept) - answered
        more = f"; {len(reasons) - 1} more reasons" if len(reasons) > 1 else ""
        lines.append(f"{left_out:,} left out, as they cannot be: {reasons[0]}{more}")
    rows = islice(chain.from_iterable(each.rows() for each in swept), MOST_SHOWN)
    shown = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    varied = [
        name
        for name in NO_COLUMNS
        if any(len({settings.columns[name] for settings in each.grid.settings}) > 1 for each in swept)
    ]
    has_speed = any(row["decode_tps"] is not None for row in shown)
    header = [
        "model",
        "recipe",
        "mac",
        "macos",
        "context",
        *varied,
        "total GiB",
        "headroom GiB",
        "max context",
        *(["tokens/s"] if has_speed else []),
        "verdict",
    ]
    table = aligned(header, [_cells(row, varied, has_speed) for row in shown], left=3)
    if answered > len(shown):
        end = f"The first {len(shown)} of {answered:,}; all of them: --format csv --output FILE (or json, parquet)."
    else:
        end = "Every column, in bytes: --format csv (or json, parquet)."
    return "\n".join([*lines, "", *table, "", end])


def _summary(swept: Swept) -> str:
    axes = zip(swept.grid.shape, ("model", "recipe", "setting", "context", "Mac"), strict=True)
    shape = " x ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in axes)
    counts = ", ".join(f"{verdict.words} {swept.count(verdict):,}" for verdict in Verdict)
    return f"{swept.grid.settings[0].runtime}: {shape}: {counts}"


def _cells(row: Mapping[str, Any], varied: Sequence[str], has_speed: bool) -> list[str]:
    speed = "-" if row["decode_tps"] is None else tps(row["decode_tps"])
    return [
        row["model"],
        row["recipe"],
        row["mac"],
        str(row["macos"]),
        f"{row['context_tokens']:,}",
        *("-" if row[name] is None else str(row[name]) for name in varied),
        gib(row["total_bytes"]),
        gib(row["headroom_bytes"]),
        f"{row['max_context_tokens']:,}" if row["max_context_tokens"] else "-",
        *([speed] if has_speed else []),
        row["verdict"].replace("_", " "),
    ]
