"""The document of `verify`: part by part, predicted and logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deployfit.answers import Compared
from deployfit.measured.logs.compare import Row, disagreements
from deployfit.report.document import Block, Bullets, Case, Column, Document, Heading, Statement, Table, Tone, of_rows
from deployfit.units import four_digits, gib, tps

SCHEMA = "deployfit/verify/1"


def verify_document(found: Compared) -> Document:
    """Return a row per model, its parts in bytes."""
    return of_rows(SCHEMA, [_row(found)], list(_blocks(found)), cases=list(_cases(found)))


def _cases(found: Compared) -> Iterable[Case]:
    """Yield a case for each figure that is judged; those fail that make the exit code 1."""
    wrong = disagreements(found.rows_by_part)
    for row in found.rows_by_part:
        if row.agrees is not None:
            failure = f"predicted {row.predicted_bytes} bytes, logged {row.logged_bytes}" if row in wrong else ""
            yield Case(found.asked.get("model", found.log.program), f"{row.name} {row.where}".strip(), failure)


def _row(found: Compared) -> dict[str, Any]:
    asked = found.asked
    return {
        "model": asked.get("model"),
        "recipe": asked.get("quant"),
        "runtime": asked.get("runtime"),
        "program": found.log.program,
        "version": found.log.version or None,
        "mac": asked.get("mac"),
        "context_tokens": found.log.settings.context_tokens,
        "agrees": not disagreements(found.rows_by_part),
        "parts": [
            {
                "name": row.name,
                "where": row.where,
                "predicted_bytes": row.predicted_bytes,
                "logged_bytes": row.logged_bytes,
                "difference_bytes": row.difference_bytes,
                "basis": row.basis,
                "agrees": row.agrees,
                "reason": row.reason,
            }
            for row in found.rows_by_part
        ],
        "speeds": [
            {
                "name": row.name,
                "tokens": row.tokens,
                "predicted_tps": four_digits(row.predicted_tps),
                "low_tps": four_digits(row.low_tps),
                "high_tps": four_digits(row.high_tps),
                "logged_tps": row.logged_tps,
                "agrees": row.agrees,
            }
            for row in found.speeds
        ],
        "asked": dict(asked),
        "notes": list(found.notes),
    }


def _blocks(found: Compared) -> Iterable[Block]:
    asked = found.asked
    what = " ".join(filter(None, (asked.get("model"), asked.get("quant")))) or "a model that deployfit does not know"
    yield Heading(what, f"{found.log.program} {found.log.version}".strip())
    wrong = disagreements(found.rows_by_part)
    judged = [row for row in found.rows_by_part if row.agrees is not None]
    equal = sum(bool(row.agrees) for row in judged)
    if wrong:
        names = ", ".join(row.name.replace("_", " ") for row in wrong)
        yield Statement(f" {names} should be equal and no cause is known.", "Differs:", Tone.BAD)
    elif not judged:
        yield Statement(" nothing in it can be held against the prediction.", "Not compared:", Tone.PLAIN)
    else:
        yield Statement(f" of {len(judged)} figures are equal to the digits printed.", f"{equal}", Tone.GOOD)
    columns = [
        Column("", left=True),
        Column("predicted GiB"),
        Column("logged GiB"),
        Column("difference MiB"),
        Column("known", left=True, rank=1),
    ]
    yield Table(columns, list(map(_cells, found.rows_by_part)))
    if found.speeds:
        rows = [
            [row.name, tps(row.predicted_tps), f"{tps(row.low_tps)} to {tps(row.high_tps)}", tps(row.logged_tps)]
            for row in found.speeds
        ]
        headings = ("", "predicted tokens/s", "four in five", "logged")
        yield Table([Column(heading, left=not heading) for heading in headings], rows)
    reasons = dict.fromkeys(f"{row.name.replace('_', ' ')}: {row.reason}" for row in found.rows_by_part if row.reason)
    yield Bullets("Why", list(reasons))
    yield Bullets("Note", list(found.notes))


def _cells(row: Row) -> list[str]:
    where = f" ({row.where})" if row.where else ""
    return [
        row.name.replace("_", " ") + where,
        gib(row.predicted_bytes) if row.predicted_bytes is not None else "-",
        gib(row.logged_bytes),
        _difference(row),
        row.basis,
    ]


def _difference(row: Row) -> str:
    if row.difference_bytes is None:
        return "-"
    return "equal" if row.agrees else f"{row.difference_bytes / 2**20:+.2f}"
