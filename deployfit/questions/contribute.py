"""`contribute`: a log as rows of measurements, for a pull request; nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.hardware.gpu_limit import LIMITS
from deployfit.hardware.mac import MACS
from deployfit.lookup import find_quant
from deployfit.measured.free_text import RULES
from deployfit.measured.logs.contribution import Rows, contribution, left_out
from deployfit.parameters import Parameter
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text
from deployfit.questions.resolve import machine_of
from deployfit.questions.verify import LOG, question_from, read_log_file

if TYPE_CHECKING:
    from deployfit.report.document import Document

DEFAULT_SOURCE = "own measurement"


class Contribution(Answered):
    """Rows by file of `data/`, and why some of them would not be judged."""

    def __init__(self, rows_by_file: Mapping[str, Rows], reasons: Mapping[str, Sequence[str]]) -> None:
        self.rows_by_file, self.reasons = rows_by_file, reasons

    def document(self) -> Document:
        """Return the rows, and where they belong."""
        from deployfit.report.contribute import contribute_document

        return contribute_document(self.rows_by_file, self.reasons)


def contribute(log: str, *, mac: Text | None = None, source: str = DEFAULT_SOURCE) -> Contribution:
    """Return a log's measurements in the words of `data/`, checked against the rules that leave rows out.

    `mac` is the Mac that it ran on, where the log does not say; `source` says where the log is from.
    """
    found = read_log_file(log)
    asked = dict(question_from(found)[0])
    if "mac" not in asked and mac is not None:
        asked["mac"] = machine_of(str(mac)).mac.name.removesuffix(" GB")
    rows = contribution(found, asked, source)
    reasons = left_out(
        rows,
        catalogue.rows(RULES),
        catalogue.models(),
        catalogue.rows(MACS),
        catalogue.rows(LIMITS),
        find_quant,
    )
    return Contribution(rows, reasons)


QUESTION = Question(
    name="contribute",
    summary="Write what a LOG measured as rows of data, for a pull request.\n\nThey are rows of mac_speeds_later.csv,"
    " memory_logs.csv and mac_verdicts.csv. Nothing is sent.",
    ask=contribute,
    parameters=(
        LOG,
        common.MAC._replace(default="as the log says"),
        Parameter("source", "Where the log is from: an address, or words.", "TEXT", DEFAULT_SOURCE),
    ),
    arguments=("log",),
)
