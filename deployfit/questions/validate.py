"""`validate`: speed, memory and verdicts held against what others measured."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from deployfit import catalogue
from deployfit.errors import InputError, quoted
from deployfit.hardware.gpu_limit import LIMITS
from deployfit.hardware.mac import MACS
from deployfit.lookup import find_quant
from deployfit.measured.free_text import RULES
from deployfit.measured.memory import LOGS, judged_logs
from deployfit.measured.speeds import SPEED_FILES, judged_speeds
from deployfit.measured.verdicts import REPORTS, judged_reports
from deployfit.parameters import Parameter, param
from deployfit.questions import parameters as common
from deployfit.questions import resolve
from deployfit.questions.question import Answered, Question, Text
from deployfit.questions.resolve import whole_number
from deployfit.tables import Table
from deployfit.validation import BARS, Validation, check_logs, check_reports, check_speeds, merged

if TYPE_CHECKING:
    from deployfit.report.document import Document

T = TypeVar("T")
DEFAULT_ROWS = 5
MOST_BYTES = 16 * 2**20


class Measurements(Answered):
    """What others measured beside what deployfit says."""

    def __init__(self, validation: Validation, shown: int) -> None:
        self.validation, self._shown = validation, shown

    def document(self) -> Document:
        """Return a row per measurement that was judged, and how errors are distributed."""
        from deployfit.report.validate import validate_document

        return validate_document(self.validation, self._shown)


def validate(
    *,
    speeds: str | None = None,
    memory: str | None = None,
    verdicts: str | None = None,
    rows: Text = DEFAULT_ROWS,
) -> Measurements:
    """Return what others measured beside what deployfit says; files of your own take the place of those shipped.

    >>> validate().validation.memory_spread("llama.cpp", "kv_cache").worst_percent
    0.0
    """
    models, rules = catalogue.models(), catalogue.rows(RULES)
    batches = {name: catalogue.rows(table) for name, table in SPEED_FILES.items()}
    if speeds is not None:
        batches = {"given": _own_rows("speeds", speeds, SPEED_FILES["first"])}
    logs = catalogue.rows(LOGS) if memory is None else _own_rows("memory", memory, LOGS)
    reports = catalogue.rows(REPORTS) if verdicts is None else _own_rows("verdicts", verdicts, REPORTS)

    find = lru_cache(maxsize=512)(find_quant)  # many measurements are of one quant
    judged = {batch: judged_speeds(each, rules, models, catalogue.rows(MACS), find) for batch, each in batches.items()}
    checked, not_said = check_speeds({batch: found for batch, (found, _) in judged.items()}, resolve.speeds())
    logged, no_log = judged_logs(logs, rules, models, find)
    memory_checks, no_memory = check_logs(logged)
    reported, no_report = judged_reports(
        reports, rules, models, catalogue.rows(LIMITS), int(common.DEFAULT_MACOS), find
    )
    verdict_checks, no_verdict = check_reports(reported)
    found = Validation(
        speeds=checked,
        memory=memory_checks,
        verdicts=verdict_checks,
        left_out={
            "speed": merged(*(left_out for _, left_out in judged.values()), not_said),
            "memory": merged(no_log, no_memory),
            "verdict": merged(no_report, no_verdict),
        },
        coefficients=resolve.speeds().coefficients,
        bars=catalogue.rows(BARS),
    )
    return Measurements(found, whole_number("rows", str(rows)))


def _own_rows(name: str, path: str, like: Table[T]) -> list[T]:
    what, wanted = f"{param(name)} {quoted(path)}", f"give a CSV with the columns of data/{like.file}"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{what}: not a file; {wanted}")
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{what}: {reason}; {wanted}") from None
    if len(text) > MOST_BYTES:
        raise InputError(f"{what}: more than 16 MiB; {wanted}")
    rows: list[Any] = like.rows(text, os.path.basename(path))
    if not rows:
        raise InputError(f"{what}: no row in it; {wanted}")
    return rows


QUESTION = Question(
    name="validate",
    summary="Hold predictions against what others measured. Speeds, memory and verdicts.\n\nWhat makes a row useless is"
    " a rule of data/measurement_rules.csv, and counted. A FILE has the columns of the one that it replaces; others may"
    " be there too.",
    ask=validate,
    parameters=(
        Parameter("speeds", "Measured speeds in place of data/mac_speeds.csv.", "FILE"),
        Parameter("memory", "Logs of memory in place of data/memory_logs.csv.", "FILE"),
        Parameter("verdicts", "Reports in place of data/mac_verdicts.csv.", "FILE"),
        Parameter("rows", "How many of the worst are shown.", "N", str(DEFAULT_ROWS)),
    ),
)
