"""The report of `deployfit check`: estimates against published sizes, worst first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

import pandas as pd

from deployfit.checks import EXACT_BYTES, Checked, Review, Summary
from deployfit.report.tabular import aligned, markdown

SCHEMA = "deployfit/check/1"
HEADER = ["model", "file", "published", "estimated", "error bytes", "error %", "tolerance %", "known", ""]


def check_frame(checked: Sequence[Checked]) -> pd.DataFrame:
    """Return a row per published size, worst first: sizes in bytes, errors beyond the published rounding."""
    frame = pd.DataFrame(
        [
            {
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
            for each in checked
        ]
    )
    return frame.sort_values(
        ["passes", "error_percent", "model", "file", "date"], ascending=[True, False, True, True, True], kind="stable"
    ).reset_index(drop=True)


def _cells(frame: pd.DataFrame) -> list[list[str]]:
    return [
        [
            row["model"],
            f"{row['file']} ({row['date']})" if row["date"] else row["file"],
            ("~" if row["plus_minus_bytes"] else "") + f"{row['published_bytes']:,}",
            f"{row['estimated_bytes']:,}",
            f"{row['error_bytes']:+,}",
            f"{row['error_percent']:.3f}",
            f"{100 * row['tolerance_bytes'] / row['published_bytes']:.3f}",
            row["basis"],
            "ok" if row["passes"] else "FAILED",
        ]
        for row in frame.to_dict("records")
    ]


def _words(summary: Summary, shown: int) -> list[str]:
    lines = [
        f"{summary.rows} published sizes: {summary.exact} exact (within {EXACT_BYTES:,} bytes),"
        f" {summary.within_a_thousandth} within 0.1 %; median error {summary.median_percent:.4f} %,"
        f" worst {summary.worst_percent:.2f} %; {summary.failed} outside their tolerance."
    ]
    if shown < summary.rows:
        lines.append(f"The {shown} worst are shown; --rows {summary.rows} shows all.")
    lines.append(
        f"Not estimated: {summary.not_estimated} published sizes that no rule is about (vision towers, whole"
        " repositories of GGUF files, other publishers). What lies within the rounding of a published figure (~) is no"
        " error."
    )
    return lines


def check_text(checked: Sequence[Checked], summary: Summary, rows: int, review: Review) -> str:
    """Return the table for a person, worst first, and the summary."""
    frame = check_frame(checked).head(rows)
    return "\n".join([*aligned(HEADER, _cells(frame), left=2), "", *_words(summary, len(frame))])


def check_markdown(checked: Sequence[Checked], summary: Summary, rows: int, review: Review) -> str:
    """Return the same as Markdown."""
    frame = check_frame(checked).head(rows)
    table = markdown(HEADER, _cells(frame), left=2)
    found = [f"- {line}" for line in review.lines]
    return "\n\n".join(
        ["### deployfit check", *_words(summary, len(frame)), table, *(["\n".join(found)] if found else [])]
    )


def check_csv(checked: Sequence[Checked], summary: Summary, rows: int, review: Review) -> str:
    """Return every row as CSV."""
    return str(check_frame(checked).to_csv(index=False, lineterminator="\n")).rstrip("\n")


def check_json(checked: Sequence[Checked], summary: Summary, rows: int, review: Review) -> str:
    """Return every row and the summary as JSON."""
    records = json.loads(check_frame(checked).to_json(orient="records", double_precision=15))
    return json.dumps(
        {"schema": SCHEMA, "summary": summary._asdict(), "review": review._asdict(), "rows": records}, indent=2
    )


def check_junit(checked: Sequence[Checked], summary: Summary, rows: int, review: Review) -> str:
    """Return a JUnit report: a test case per published size."""
    suite = ElementTree.Element(
        "testsuite", name="deployfit check", tests=str(summary.rows), failures=str(summary.failed), errors="0"
    )
    for row in check_frame(checked).to_dict("records"):
        name = f"{row['file']} {row['of']} {row['date']}".strip() + f", {row['published_bytes']} bytes"
        case = ElementTree.SubElement(suite, "testcase", classname=row["model"], name=name)
        if not row["passes"]:
            sizes = f"published {row['published_bytes']}, estimated {row['estimated_bytes']}"
            ElementTree.SubElement(case, "failure", message=f"{sizes}, error {row['error_percent']:.3f} %")
    if review.lines:
        ElementTree.SubElement(suite, "system-out").text = "\n".join(review.lines)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
