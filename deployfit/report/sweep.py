"""The document of `sweep`: the points as rows made on the way, and the first of them for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from deployfit.grid import COLUMNS, SPEED_COLUMNS, TEXT_COLUMNS, VERDICTS, Result
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Statement, Table
from deployfit.report.fit_rows import TONES
from deployfit.units import gib, tps
from deployfit.verdict import Verdict

if TYPE_CHECKING:
    import pandas

SCHEMA = "deployfit/sweep/1"
MOST_SHOWN = 20
PANDAS = {"text": "category", "count": "Int64", "flag": "boolean", "number": "float64"}
KINDS = {"imatrix": "flag"} | dict.fromkeys(TEXT_COLUMNS, "text") | dict.fromkeys(SPEED_COLUMNS, "number")


def sweep_document(results: Sequence[Result]) -> Document:
    """Return a row per point, and how many there are with which verdict."""
    kinds = {name: KINDS.get(name, "count") for name in COLUMNS} | _kinds_of_settings()
    records = chain.from_iterable(each.rows() for each in results)
    return Document(SCHEMA, COLUMNS, records, list(_blocks(results)), kinds=kinds, many=True)


def _kinds_of_settings() -> dict[str, str]:
    """Return what the columns of settings hold, as the schema has it."""
    from deployfit.schema.documents import settings

    kinds = {"boolean": "flag", "integer": "count", "number": "number"}
    return {name: kinds.get(schema["type"][0], "text") for name, schema in settings().items()}


def frame(results: Sequence[Result]) -> pandas.DataFrame:
    """Return the points as a DataFrame."""
    import pandas

    found = {name: KINDS.get(name, "count") for name in COLUMNS} | _kinds_of_settings()
    kinds = {name: PANDAS[kind] for name, kind in found.items()} | {"imatrix": "bool"}
    frames = [pandas.DataFrame(dict(block)) for each in results for block in each.blocks()]
    joined = pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=list(COLUMNS))
    return joined.astype(kinds)


def _blocks(results: Sequence[Result]) -> Iterable[Block]:
    answered = sum(each.answered for each in results)
    for each in results:
        axes = zip(each.grid.shape, ("model", "recipe", "setting", "context", "Mac"), strict=True)
        shape = " x ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in axes)
        yield Heading(shape, each.grid.runtime.name)
        yield Statement(", ".join(f"{verdict.headline} {each.count(verdict):,}" for verdict in VERDICTS))
    if reasons := list(dict.fromkeys(reason for each in results for reason in each.refusals)):
        left_out = sum(each.grid.points for each in results) - answered
        more = f"; {len(reasons) - 1} more reasons" if len(reasons) > 1 else ""
        yield Bullets(f"{left_out:,} left out, as they cannot be", [f"{reasons[0]}{more}"])
    rows = islice(chain.from_iterable(each.rows() for each in results), MOST_SHOWN)
    shown = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    yield _table(shown, _varied(results))
    if answered > len(shown):
        yield Statement(f"The first {len(shown)} of {answered:,}; all of them: --output FILE.csv (or json, parquet).")
    else:
        yield Statement("Every column, in bytes: --format csv (or json, parquet).")


def _varied(results: Sequence[Result]) -> list[str]:
    """Return the settings of which there are several."""
    return [
        name
        for each in results
        for name in each.grid.runtime.columns(each.grid.settings[0])
        if len({each.grid.runtime.columns(settings)[name] for settings in each.grid.settings}) > 1
    ]


def _table(rows: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> Table:
    has_speed = any(row["decode_tps"] is not None for row in rows)
    columns = [
        Column("model", left=True, shrinks=True),
        Column("recipe", left=True, shrinks=True),
        Column("mac", left=True),
        *(Column(name.replace("_", " "), rank=2) for name in varied),
        Column("verdict", left=True),
        Column("tokens", rank=3),
        Column("GiB", rank=1),
        Column("to spare", rank=4),
        *([Column("tokens/s", rank=5)] if has_speed else []),
        Column("context", rank=6),
        Column("macOS", rank=7),
    ]
    cells = [
        [
            row["model"],
            row["recipe"],
            row["mac"].removesuffix(" GB"),
            *("-" if row[name] is None else str(row[name]) for name in varied),
            Verdict(row["verdict"]).headline,
            f"{row['context_tokens']:,}",
            gib(row["total_bytes"]),
            gib(row["headroom_bytes"]),
            *(["-" if row["decode_tps"] is None else tps(row["decode_tps"])] if has_speed else []),
            f"{row['max_context_tokens']:,}" if row["max_context_tokens"] else "-",
            str(row["macos"]),
        ]
        for row in rows
    ]
    tones = [TONES[Verdict(row["verdict"])] for row in rows]
    return Table(columns, cells, 3 + len(varied), tones)
