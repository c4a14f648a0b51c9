"""Validation: what deployfit says, beside what others measured: speeds, memory by part, and whether it ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from statistics import median
from typing import Any

from deployfit.errors import InputError
from deployfit.estimate import Estimate, estimate
from deployfit.hardware.mac import Mac
from deployfit.measured.free_text import KINDS, count_reason
from deployfit.measured.memory import Logged
from deployfit.measured.speeds import LONGEST_SHORT_CONTEXT, decode_context_of, prompt_of
from deployfit.measured.speeds import Speed as MeasuredSpeed
from deployfit.measured.subject import engines, runtimes
from deployfit.measured.verdicts import Report
from deployfit.models import Model
from deployfit.parameters import python
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import DEVICE, Runtime
from deployfit.speed import Rate, Speeds
from deployfit.tables import Row, Table
from deployfit.units import GIB
from deployfit.values import NamedTuple
from deployfit.verdict import RUNS, Verdict, verdict_at

SPEEDS = ("decode", "decode_unstated", "decode_long", "prefill")
"""Decoding at a short context, at one that is not stated (taken for an empty one), at a long one; prefill."""


class SpeedCheck(NamedTuple):
    """A measured speed, and the one that deployfit says."""

    batch: str
    what: str  # one of SPEEDS
    speed: MeasuredSpeed
    recipe: str
    context_tokens: int
    measured_tps: float
    rate: Rate

    @property
    def runtime(self) -> str:
        """The runtime."""
        return self.speed.subject.runtime

    @property
    def error_percent(self) -> float:
        """How far the prediction is above the measurement."""
        return 100 * (self.rate.tps / self.measured_tps - 1)

    @property
    def agrees(self) -> bool:
        """Whether the measurement lies in the 80 % interval."""
        return self.rate.low_tps <= self.measured_tps <= self.rate.high_tps

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same measurement, wherever it was found."""
        tokens = self.context_tokens if self.context_tokens > LONGEST_SHORT_CONTEXT else 0
        prefill = self.what == "prefill"
        return prefill, self.speed.chip.chip, self.speed.subject.model.name, self.recipe, tokens, self.measured_tps


def check_speeds(
    batches: Mapping[str, Iterable[MeasuredSpeed]], speeds: Speeds
) -> tuple[list[SpeedCheck], dict[str, int]]:
    """Return every measured speed with the one that deployfit says, and what was left out for which reason."""
    checks: list[SpeedCheck] = []
    left_out: dict[str, int] = {}
    needs = _Needs()
    for batch, measured in batches.items():
        known = {check.key for check in checks}
        for each in measured:
            try:
                found = list(_speed_checks(batch, each, speeds, needs))
            except InputError:
                count_reason(left_out, f"no {each.subject.quant.name} of {each.subject.model.name} is known")
                continue
            again = [check for check in found if check.key in known]
            for _ in again:
                count_reason(left_out, "the same measurement as one of the first batch")
            if not found:
                count_reason(left_out, "neither decoding nor a prompt of a length that is stated and long enough")
            checks += [check for check in found if check.key not in known]
    return checks, left_out


class _Needs:
    """Weights, and what runs beside them; each is counted once, however often it was measured."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str], Weights] = {}
        self._kept: dict[tuple[str, str, Any], Estimate] = {}

    def weights(self, model: Model, quant: Quant) -> Weights:
        """Return the weights."""
        key = model.name, quant.name
        if key not in self._weights:
            self._weights[key] = quant.weights(model, Options())
        return self._weights[key]

    def kept(self, model: Model, runtime: Runtime, settings: Any) -> Estimate:
        """Return caches and states."""
        key = model.name, runtime.name, settings
        if key not in self._kept:
            self._kept[key] = Estimate(tuple(runtime.kept(model.blueprint, settings, Options())))
        return self._kept[key]


def _speed_checks(batch: str, measured: MeasuredSpeed, speeds: Speeds, needs: _Needs) -> Iterable[SpeedCheck]:
    row, (model, quant, name), chip = measured
    memory = row.memory_gib or chip.memory_gib[0]
    # As measured: of a chip's smaller GPU the cores that were stated.
    here = speeds._replace(macs=[chip._replace(memory_gib=(memory,))])
    weights, runtime = needs.weights(model, quant), registry.runtime(name)

    def check(what: str, tokens: int, tps: float) -> Iterable[SpeedCheck]:
        settings = runtime.settings(max(tokens, 1), engines()[name].speed_settings())
        said = here.speed(
            Mac(chip.chip, memory * GIB),
            model.blueprint,
            weights,
            needs.kept(model, runtime, settings),
            runtime=name,
            sequences=1,
            context_tokens=settings.context_tokens,
        )
        if said:
            rate = said.prefill if what == "prefill" else said.decode_full if tokens else said.decode
            yield SpeedCheck(batch, what, measured, weights.recipe, tokens, tps, rate)

    if row.decode_tps:
        tokens = decode_context_of(row)
        long = tokens is not None and tokens > LONGEST_SHORT_CONTEXT
        yield from check(
            "decode_unstated" if tokens is None else "decode_long" if long else "decode", tokens or 0, row.decode_tps
        )
    prompt = prompt_of(row, name)
    if row.prefill_tps and prompt is not None:
        yield from check("prefill", prompt, row.prefill_tps)


class MemoryCheck(NamedTuple):
    """A figure of a log, and deployfit's, in bytes."""

    logged: Logged
    estimated_bytes: int
    upper_bytes: int  # the same at its upper bound

    @property
    def runtime(self) -> str:
        """The runtime."""
        return self.logged.runtime

    @property
    def what(self) -> str:
        """The part."""
        return self.logged.part

    @property
    def error_percent(self) -> float:
        """How far the estimate is above the figure; what rounding may hide is no error."""
        error = self.estimated_bytes - self.logged.measured_bytes
        excess = max(0, abs(error) - self.logged.plus_minus_bytes)
        return 100 * (excess if error > 0 else -excess) / max(self.logged.measured_bytes, 1)

    @property
    def agrees(self) -> bool:
        """Whether it equals the figure, to the digits that were logged."""
        return self.error_percent == 0

    @property
    def is_covered(self) -> bool:
        """Whether the figure is not above the upper bound."""
        return self.logged.measured_bytes - self.logged.plus_minus_bytes <= self.upper_bytes


def check_logs(logs: Iterable[Logged]) -> tuple[list[MemoryCheck], dict[str, int]]:
    """Return every figure of the logs with deployfit's, and what was left out for which reason."""
    checks: list[MemoryCheck] = []
    left_out: dict[str, int] = {}
    for logged in logs:
        try:
            checks.append(_memory_check(logged))
        except InputError as error:
            count_reason(left_out, python(str(error)))
    return checks, left_out


def _memory_check(logged: Logged) -> MemoryCheck:
    model, settings = logged.model, logged.settings
    runtime = registry.runtime(logged.runtime)
    if logged.quant is not None:
        needed = estimate(model, logged.quant.weights(model, Options()), runtime, settings, Options())
        upper = needed.total_bytes - needed.bytes_of("compute") + needed.upper_bytes_of("compute")
        return MemoryCheck(logged, upper if logged.part == "footprint" else needed.total_bytes, upper)
    has = runtime.running if logged.part == "compute_buffer" else runtime.kept
    beside = Estimate(tuple(part for part in has(model.blueprint, settings, Options()) if part.where == DEVICE))
    if logged.part == "compute_buffer":
        return MemoryCheck(logged, beside.bytes_of("compute"), beside.upper_bytes_of("compute"))
    size = logged.copies * beside.bytes_of(logged.part)
    return MemoryCheck(logged, size, size)


class VerdictCheck(NamedTuple):
    """A report, and deployfit's verdict."""

    report: Report
    recipe: str
    total_bytes: int
    verdict: Verdict

    @property
    def runtime(self) -> str:
        """The runtime."""
        return self.report.subject.runtime

    @property
    def settings_headline(self) -> str:
        """How it was started, in words."""
        return registry.runtime(self.runtime).headline(self.report.settings)

    @property
    def runs(self) -> bool:
        """Whether deployfit expects it to run: within the GPU limit, or a raised one where the report has that."""
        return self.verdict in RUNS or (self.report.raised and self.verdict is Verdict.NEEDS_RAISED_LIMIT)

    @property
    def agrees(self) -> bool:
        """Whether it ran as expected, or did not as expected."""
        return self.runs == self.report.runs


def check_reports(reports: Iterable[Report]) -> tuple[list[VerdictCheck], dict[str, int]]:
    """Return every report with deployfit's verdict, and what was left out for which reason."""
    checks: list[VerdictCheck] = []
    left_out: dict[str, int] = {}
    for report in reports:
        model, quant, _ = report.subject
        try:
            weights = quant.weights(model, Options())
        except InputError:
            count_reason(left_out, f"no {quant.name} of {model.name} is known")
            continue
        runtime = registry.runtime(report.subject.runtime)
        total = estimate(model, weights, runtime, report.settings, Options()).total_bytes
        checks.append(VerdictCheck(report, weights.recipe, total, verdict_at(report.machine, total)))
    return checks, left_out


class Spread(NamedTuple):
    """How errors are distributed, in percent and without their sign; how many agree."""

    rows: int
    median_percent: float
    p90_percent: float
    worst_percent: float
    agreeing: int

    @property
    def agreeing_percent(self) -> float:
        """The share that agrees."""
        return 100 * self.agreeing / self.rows


def spread_of(checks: Sequence[SpeedCheck] | Sequence[MemoryCheck]) -> Spread | None:
    """Return the distribution of errors, None of nothing; the 90th percentile is that of the nearest rank."""
    errors = sorted(abs(each.error_percent) for each in checks)
    if not errors:
        return None
    return Spread(
        rows=len(errors),
        median_percent=median(errors),
        p90_percent=errors[ceil(0.9 * len(errors)) - 1],
        worst_percent=errors[-1],
        agreeing=sum(each.agrees for each in checks),
    )


FIGURES = ("median_percent", "p90_percent", "worst_percent", "agreeing_percent")
UNSEEN = (
    "median_percent_by_source",
    "covered_percent_by_source",
    "median_percent_by_chip",
    "median_percent_by_architecture",
    "median_percent_later",
    "covered_percent_later",
)
"""What benchmarks/fit_speed.py writes of measurements that the coefficients were not fitted to."""


class Bar(NamedTuple):
    """A row of `data/bars.csv`: between what a figure has to lie."""

    what: str
    runtime: str
    figure: str
    least: float
    most: float
    reason: str

    def holds(self, value: float) -> bool:
        """Whether a figure is within."""
        return self.least <= value <= self.most


def _bar(row: Row) -> Bar:
    return Bar(
        what=row.one_of("what", dict.fromkeys([*SPEEDS, *KINDS])),
        runtime=row.one_of("runtime", runtimes()),
        figure=row.one_of("figure", [*FIGURES, *UNSEEN]),
        least=row.decimal("least", blank=True),
        most=row.decimal("most"),
        reason=row.text("reason"),
    )


BARS = Table("bars.csv", ["what", "runtime", "figure", "least", "most", "reason"], _bar)


class Validation(NamedTuple):
    """Everything that was held against measurements; `left_out` counts reasons by section."""

    speeds: list[SpeedCheck]
    memory: list[MemoryCheck]
    verdicts: list[VerdictCheck]
    left_out: Mapping[str, Mapping[str, int]]
    coefficients: Mapping[str, Mapping[str, float]]
    bars: Sequence[Bar]

    @property
    def batches(self) -> list[str]:
        """Where the speeds come from."""
        return list(dict.fromkeys(each.batch for each in self.speeds))

    def speed_spread(self, runtime: str, what: str, batch: str = "") -> Spread | None:
        """Return the distribution of a runtime's speeds, of one batch or all."""
        of_batch = [each for each in self.speeds if each.what == what and batch in ("", each.batch)]
        return spread_of([each for each in of_batch if each.runtime == runtime])

    def memory_spread(self, runtime: str, part: str) -> Spread | None:
        """Return the distribution of a part's memory."""
        return spread_of([each for each in self.memory if (each.runtime, each.what) == (runtime, part)])

    def unseen(self, runtime: str, what: str, figure: str) -> float | None:
        """Return a figure of measurements that the coefficients were not fitted to."""
        return self.coefficients.get(runtime, {}).get(f"{what}_{figure}")

    def value(self, bar: Bar) -> float | None:
        """Return the figure that a bar is about, None where nothing was judged."""
        if bar.figure in UNSEEN:
            return self.unseen(bar.runtime, bar.what, bar.figure)
        spread = self.speed_spread if bar.what in SPEEDS else self.memory_spread
        found = spread(bar.runtime, bar.what)
        return None if found is None else float(getattr(found, bar.figure))


def merged(*counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts of reasons added up, the most frequent first.

    >>> merged({"no chip": 1}, {"no quant": 2, "no chip": 3})
    {'no chip': 4, 'no quant': 2}
    """
    total: dict[str, int] = {}
    for each in counts:
        for reason, count in each.items():
            total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
