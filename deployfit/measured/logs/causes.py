"""Known causes of differences between a log and the figures of today's engine: rows of data, each with its source."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployfit.measured.logs.log import EngineLog
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple


class Cause(NamedTuple):
    """A row of `data/log_causes.csv`: what makes a part differ, for logs of some programs, devices and builds.

    `parts` and `where` name the figure. `programs` and `devices` are patterns. Builds are llama.cpp's; 0 means no
    bound, and a log that does not say its build is none of a bounded range. `side` says whether the log has "more" or
    "less" than predicted, "" for both.
    """

    parts: tuple[str, ...]
    where: str
    runtime: str
    programs: re.Pattern[str]
    devices: re.Pattern[str]
    first_build: int
    last_build: int
    side: str
    reason: str
    source: str

    def holds(self, log: EngineLog, name: str, where: str, difference: int) -> bool:
        """Whether it explains that a log's figure differs; `difference` is predicted less logged."""
        bounded = self.first_build or self.last_build
        built = not bounded or (log.build and self.first_build <= log.build <= (self.last_build or log.build))
        side = not self.side or (difference < 0) == (self.side == "more")
        return bool(
            name in self.parts
            and self.where in ("", where)
            and self.runtime in ("", log.runtime)
            and self.programs.search(log.program)
            and self.devices.search(log.mac.device)
            and built
            and side
        )


def _pattern(row: Row, column: str) -> re.Pattern[str]:
    try:
        return re.compile(row.text(column, blank=True))
    except re.error as error:
        row.fault(column, f"a regular expression ({error})")
        return re.compile("")


def _cause(row: Row) -> Cause:
    return Cause(
        parts=tuple(row.text("parts").split()),
        where=row.text("where", blank=True),
        runtime=row.text("runtime", blank=True),
        programs=_pattern(row, "programs"),
        devices=_pattern(row, "devices"),
        first_build=row.number("first_build", blank=True),
        last_build=row.number("last_build", blank=True),
        side=row.text("side", blank=True),
        reason=row.text("reason"),
        source=row.text("source"),
    )


CAUSES = Table("log_causes.csv", list(Cause._fields), _cause)


def reason_for(log: EngineLog, name: str, where: str, difference: int, causes: Sequence[Cause]) -> str:
    """Return the first known cause of a difference, "" if there is none."""
    return next((cause.reason for cause in causes if cause.holds(log, name, where, difference)), "")
