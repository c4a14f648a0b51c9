"""`validate`: speed, memory and verdicts held against what others measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.measured import own_rows
from deployfit.measured.free_text import RULES
from deployfit.measured.memory import LOGS, judged_logs
from deployfit.measured.speeds import SPEED_FILES, judged_speeds
from deployfit.measured.verdicts import REPORTS, judged_reports
from deployfit.hardware.gpu_limit import LIMITS
from deployfit.hardware.mac import MACS
from deployfit.parameters import Parameter
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text
from deployfit.questions.resolve import speeds, whole_number
from deployfit.quants.lookup import find_quant
from deployfit.validation import BARS, Validation, check_logs, check_reports, check_speeds, merged

if TYPE_CHECKING:
    from deployfit.report.document import Document

DEFAULT_ROWS = 5


class Measurements(Answered):
    """What others measured beside what deployfit says."""

    def __init__(self, validation: Validation, shown: int) -> None:
        self.validation, self._shown = validation, shown

    def document(self) -> Document:
        """Return a row per measurement that was judged, and how errors are distributed."""
        from deployfit.report.validate import validate_document

        return validate_document(self.validation, self._shown)
