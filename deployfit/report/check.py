"""The document of `check`: estimates against published sizes, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deployfit.checks import EXACT_BYTES, Checked, Review, Summary
from deployfit.report.document import Block, Bullets, Case, Column, Document, Heading, Statement, Table, Tone, of_rows

SCHEMA = "deployfit/check/1"


def check_document(checked: Sequence[Checked], summary: Summary, shown: int, review: Review) -> Document:
    """Return a row per published size: sizes in bytes, errors beyond the published rounding."""
    rows = sorted(map(_row, checked), key=_worst_first)
    return of_rows(
        SCHEMA,
        rows,
        list(_blocks(rows[:shown], summary, review)),
        top={"summary": summary._asdict(), "review": review._asdict()},
        cases=list(map(_case, rows)),
    )


def _row(each: Checked) -> dict[str, Any]:
    return {
        "model": each.size.model,
        "file": f"{each.size.publisher}:{each.size.recipe}",
        "of": each.size.of,
        "date": each.size.date,
        "published_bytes": each.size.nbytes,
        "plus_minus_bytes": each.size.plus_minus_bytes,
        "estimated_bytes": each.estimated_bytes,
        "error_bytes": each.error_bytes,
        "excess_bytes": each.excess_bytes,
        "error_percent": 100 * each.excess_bytes / each.size.nbytes,
        "tolerance_bytes": each.tolerance_bytes,
        "basis": each.basis.value,
        "exact": each.is_exact,
        "passes": each.passes,
        "reason": each.reason,
        "source": each.size.source,
    }


def _worst_first(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["passes"], -row["error_percent"], row["model"], row["file"], row["date"])


def _blocks(rows: Sequence[dict[str, Any]], summary: Summary, review: Review) -> Iterable[Block]:
    yield Heading("deployfit check")
    tone = Tone.BAD if summary.failed else Tone.GOOD
    yield Statement(
        f" of {summary.rows} published sizes outside their tolerance: {summary.exact} exact (within"
        f" {EXACT_BYTES:,} bytes), {summary.within_a_thousandth} within 0.1 %; median error"
        f" {summary.median_percent:.4f} %, worst {summary.worst_percent:.2f} %.",
        str(summary.failed or "None"),
        tone,
    )
    columns = [
        Column("model", left=True, shrinks=True),
        Column("file", left=True, shrinks=True),
        Column("seen", left=True, rank=1),
        Column("", left=True),
        Column("error %"),
        Column("tolerance %", rank=2),
        Column("error bytes", rank=4),
        Column("published", rank=3),
        Column("known", left=True, rank=5),
    ]
    cells = [
        [
            row["model"],
            row["file"],
            row["date"] or "-",
            "ok" if row["passes"] else "FAILED",
            f"{row['error_percent']:.3f}",
            f"{100 * row['tolerance_bytes'] / row['published_bytes']:.3f}",
            f"{row['error_bytes']:+,}",
            ("~" if row["plus_minus_bytes"] else "") + f"{row['published_bytes']:,}",
            row["basis"],
        ]
        for row in rows
    ]
    yield Table(columns, cells, 3, [Tone.PLAIN if row["passes"] else Tone.BAD for row in rows])
    yield Bullets("Note", list(_notes(len(rows), summary)))
    yield Bullets("The Hub today", review.lines)


def _notes(shown: int, summary: Summary) -> Iterable[str]:
    yield "an estimate here is the rule's; where a recipe is not solved, fit answers with the published size instead"
    if shown < summary.rows:
        yield f"the {shown} worst are shown; --rows {summary.rows} shows all"
    yield (
        f"not estimated: {summary.not_estimated} published sizes that no rule is about (vision towers, whole"
        " repositories of GGUF files, other publishers)"
    )
    yield "~: rounded; what lies within the rounding of a published figure is no error"


def _case(row: dict[str, Any]) -> Case:
    name = f"{row['file']} {row['of']} {row['date']}".strip() + f", {row['published_bytes']} bytes"
    sizes = f"published {row['published_bytes']}, estimated {row['estimated_bytes']}"
    return Case(row["model"], name, "" if row["passes"] else f"{sizes}, error {row['error_percent']:.3f} %")
