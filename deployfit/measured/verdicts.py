"""What users reported: this model runs on this Mac, or does not; and which reports can be judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployfit.errors import InputError
from deployfit.hardware.gpu_limit import LimitRow, default_limit, parse_macos, raised_limit
from deployfit.hardware.mac import Mac
from deployfit.hardware.machine import Machine
from deployfit.measured.free_text import (
    FindQuant,
    NotJudged,
    Rule,
    Subject,
    check_length,
    check_rules,
    count_reason,
    read_model,
    read_tokens,
)
from deployfit.measured.subject import engines, read_quant, read_runtime
from deployfit.models import Model
from deployfit.parameters import python
from deployfit.runtimes import registry
from deployfit.tables import Row, Table
from deployfit.units import GIB
from deployfit.values import NamedTuple
from deployfit.words.numbers import wired_limit

VERDICT_COLUMNS = [
    "ram_gb",
    "chip",
    "model",
    "quant_or_size",
    "runtime",
    "context_flags",
    "verdict",
    "detail",
    "source",
]


class VerdictRow(NamedTuple):
    """A row of `data/mac_verdicts.csv`, in the words of its source."""

    memory_gib: int  # 0 where it is not stated
    chip: str
    model: str
    quant: str
    runtime: str
    flags: str
    verdict: str
    detail: str
    source: str

    @property
    def words(self) -> str:
        """What the rules look at: all but where it stands."""
        return " | ".join((self.runtime, self.model, self.quant, self.flags, self.verdict, self.detail)).lower()


def _verdict_row(row: Row) -> VerdictRow:
    return VerdictRow(
        memory_gib=row.number("ram_gb", most=4096, blank=True),
        chip=row.text("chip", blank=True),
        model=row.text("model"),
        quant=row.text("quant_or_size", blank=True),
        runtime=row.text("runtime", blank=True),
        flags=row.text("context_flags", blank=True),
        verdict=row.text("verdict"),
        detail=row.text("detail", blank=True),
        source=row.text("source"),
    )


REPORTS = Table("mac_verdicts.csv", VERDICT_COLUMNS, _verdict_row)


# What comes first in a report is what it says: "RUNS; two servers at once OOM".
_FAILS = re.compile(
    r"\b(?:oom|out of memory|fail\w*|crash\w*|refuse\w*|too (?:big|large)|cannot"
    r"|(?:do|does|did|will|would|can)(?: not|n't|'t) (?:fit|run|load|work|start))\b",
    re.IGNORECASE,
)
_RUNS = re.compile(r"\b(?:runs?|works?|fits?|loads?|ran|worked|loaded)\b", re.IGNORECASE)
_RAISED = re.compile(r"wired|iogpu|raised", re.IGNORECASE)
_RAISED_TO = re.compile(r"(\d+(?:\.\d{1,3})? ?[gm]i?b?) wired|wired_limit(?:_mb)?\W{1,3}(\d+)", re.IGNORECASE)


def read_runs(text: str) -> bool:
    """Return whether a report says that it runs.

    >>> read_runs("RUNS; two servers at once OOM"), read_runs("DOES NOT FIT")
    (True, False)
    """
    runs, fails = _RUNS.search(text), _FAILS.search(text)
    if runs is None and fails is None:
        raise NotJudged("not a report that it runs or does not")
    return fails is None or (runs is not None and runs.start() < fails.start())


ASSUMED_CONTEXT = 4096  # tokens, where a report states no context


class Report(NamedTuple):
    """A report that can be judged."""

    row: VerdictRow
    subject: Subject
    settings: Any  # the runtime's own
    machine: Machine
    runs: bool
    raised: bool  # it says that the GPU limit was raised, and not to what
    context_stated: bool


def _machine_of(row: VerdictRow, limits: Sequence[LimitRow], macos: int) -> tuple[Machine, bool]:
    if not row.memory_gib:
        raise NotJudged("no memory is stated")
    mac = Mac("", row.memory_gib * GIB)
    words = " | ".join((row.verdict.partition(";")[0], row.flags, row.detail))
    stated = re.search(r"macos (\d+)", words, re.IGNORECASE)
    raised = _RAISED_TO.search(words)
    try:
        version = parse_macos(stated[1]) if stated else macos
        if raised:
            limit = raised_limit(mac, wired_limit(raised[1] or f"{raised[2]}m"))
            return Machine(mac, version, limit, raised=True), False
    except InputError as error:
        raise NotJudged(python(str(error))) from None
    return Machine(mac, version, default_limit(mac, version, limits)), bool(_RAISED.search(words))


def judged_reports(
    rows: Iterable[VerdictRow],
    rules: Sequence[Rule],
    models: Mapping[str, Model],
    limits: Sequence[LimitRow],
    macos: int,
    find: FindQuant,
) -> tuple[list[Report], dict[str, int]]:
    """Return the reports that can be judged, and how many were left out for which reason.

    `macos` is the version that is taken where none is stated.
    """
    judged: list[Report] = []
    left_out: dict[str, int] = {}
    for row in rows:
        try:
            check_length(row)
            model = read_model(row.model, models)
            check_rules("verdict", row.words, rules)
            name = read_runtime(row.runtime, f"{row.model} {row.quant}")
            subject = Subject(model, read_quant(row.quant, row.model, name, find), name)
            tokens, runtime = read_tokens(row.flags), registry.runtime(name)
            settings = runtime.settings(tokens or ASSUMED_CONTEXT, engines()[name].run_settings(row.flags))
            runtime.check(model.blueprint, settings)
            machine, raised = _machine_of(row, limits, macos)
            judged.append(Report(row, subject, settings, machine, read_runs(row.verdict), raised, tokens is not None))
        except InputError as error:
            count_reason(left_out, python(str(error)))
        except NotJudged as reason:
            count_reason(left_out, reason)
    return judged, left_out
