"""Fits data/speed_coefficients.csv to the measured speeds, and says how well it predicts what it has not seen.

For maintainers: needs scipy. `python benchmarks/fit_speed.py` writes the file; `--check` only prints.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from deployfit import catalogue
from deployfit.errors import InputError
from deployfit.estimate import Estimate
from deployfit.hardware.mac import MACS, MacRow
from deployfit.measured.free_text import RULES
from deployfit.measured.speeds import LONGEST_SHORT_CONTEXT, SPEED_FILES, Speed, judged_speeds, prompt_of
from deployfit.measured.subject import engines, runtimes
from deployfit.quants.lookup import find_quant
from deployfit.quants.weights import Options
from deployfit.runtimes import registry
from deployfit.speed import GENERATIONS, ROWS, Work, decode_seconds, kernel_of, prefill_seconds, work_of

FILE = Path(__file__).parent.parent / "data" / "speed_coefficients.csv"
KERNELS_OF = "llama.cpp"  # whose kernels cost arithmetic; MLX's types all unpack alike


class Term(NamedTuple):
    """A coefficient: where the fit starts, and how far the logarithm may go before it costs one standard deviation."""

    start: float
    width: float


# Shares and times are free within a factor; what a generation of chips does differently is small unless measured.
DECODE: dict[str, Term] = {
    "bandwidth_share": Term(0.82, 0.5),
    "cache_share": Term(0.4, 0.7),
    "dense_layer_us": Term(100.0, 1.0),
    "moe_layer_us": Term(80.0, 1.0),
    "ultra_factor": Term(1.0, 0.5),
    **{f"bandwidth_factor_m{generation}": Term(1.0, 0.07) for generation in GENERATIONS},
    **{f"layer_factor_m{generation}": Term(1.0, 0.15) for generation in GENERATIONS},
    "kernel_k": Term(8.0, 1.0),
    "kernel_iq": Term(8.0, 1.0),
    "kernel_iq4_nl": Term(8.0, 1.0),
}
PREFILL: dict[str, Term] = {
    "prefill_share_dense": Term(0.35, 0.5),
    "prefill_share_moe": Term(0.25, 0.5),
    "prefill_share_attention": Term(0.2, 0.7),
    **{f"prefill_factor_m{generation}": Term(1.0, 0.2) for generation in GENERATIONS},
}
UNITS = {"us": "microseconds a layer", "share": "of the specification", "factor": "times", "kernel": "FLOP a parameter"}


class Point(NamedTuple):
    """A measurement with all that the rule needs of it."""

    chip: MacRow
    work: Work
    cache_bytes: int
    prompt_tokens: int
    seconds: float
    kernel: str  # whose cost is fitted; the work is counted with 1 FLOP a parameter
    cell: tuple[str, str, str, int]  # chip, model, quant, long context: it counts once, however often it was measured
    origin: tuple[str, str]  # source and chip


Predict = Callable[[Point, dict[str, float]], float]


def predict_decode(point: Point, values: dict[str, float]) -> float:
    work = point.work._replace(kernel_flops=point.work.kernel_flops * values.get(point.kernel, 0.0))
    return float(decode_seconds(point.chip, values, work, point.cache_bytes))


def predict_prefill(point: Point, values: dict[str, float]) -> float:
    return float(prefill_seconds(point.chip, values, point.work, point.prompt_tokens))


def points(speeds: Sequence[Speed], runtime: str, what: str) -> list[Point]:
    kernels = {name: 1.0 for name in DECODE if name.startswith("kernel_")}
    engine, typed = registry.runtime(runtime), engines()[runtime].speed_settings()
    found = []
    for row, subject, chip in speeds:
        tps = row.decode_tps if what == "decode" else row.prefill_tps
        tokens = (row.context_tokens or 0) if what == "decode" else prompt_of(row, subject.runtime)
        if subject.runtime != runtime or not tps or tokens is None:
            continue
        blueprint = subject.model.blueprint
        settings = engine.settings(max(tokens, 1), typed)
        memory = Estimate(tuple(engine.running(blueprint, settings, Options())))
        try:
            weights = subject.quant.weights(subject.model, Options())
        except InputError:
            continue
        found.append(
            Point(
                chip=chip,
                work=work_of(blueprint, weights, memory.bytes_of("recurrent_state"), kernels),
                cache_bytes=memory.bytes_of("kv_cache") if tokens else 0,
                prompt_tokens=tokens,
                seconds=1 / tps,
                kernel=kernel_of(weights.classes),
                cell=(chip.chip, subject.model.name, weights.recipe, tokens if tokens > LONGEST_SHORT_CONTEXT else 0),
                origin=(row.source, chip.chip),
            )
        )
    return found


def fit(chosen: Sequence[Point], terms: dict[str, Term], predict: Predict) -> dict[str, float]:
    names = list(terms)
    start = np.log([term.start for term in terms.values()])
    widths = np.array([term.width for term in terms.values()])
    counts = Counter(point.cell for point in chosen)
    weights = np.sqrt([1 / counts[point.cell] for point in chosen])

    def residuals(logs: np.ndarray) -> np.ndarray:
        values = dict(zip(names, np.exp(logs), strict=True))
        errors = np.array([np.log(predict(point, values) / point.seconds) for point in chosen]) / 0.08
        robust = np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1))  # far off counts by its distance only
        return np.concatenate([weights * robust, (logs - start) / widths])

    return dict(zip(names, map(float, np.exp(least_squares(residuals, start).x)), strict=True))


def errors_of(chosen: Sequence[Point], values: dict[str, float], predict: Predict) -> np.ndarray:
    """Logarithms of measured over predicted speed."""
    return np.array([np.log(predict(point, values) / point.seconds) for point in chosen])


def unseen_errors(
    chosen: Sequence[Point], groups: Sequence[object], terms: dict[str, Term], predict: Predict
) -> np.ndarray:
    """Errors of each group as predicted by a fit to all others."""
    errors = np.zeros(len(chosen))
    for group in set(groups):
        rest = [point for point, each in zip(chosen, groups, strict=True) if each != group]
        values = fit(rest, terms, predict)
        for index, (point, each) in enumerate(zip(chosen, groups, strict=True)):
            if each == group:
                errors[index] = errors_of([point], values, predict)[0]
    return errors


def median_percent(errors: np.ndarray) -> float:
    return float(100 * np.median(np.abs(np.expm1(-errors))))


def interval_of(errors: np.ndarray) -> tuple[float, float]:
    """Between which multiples of the prediction four of five measurements lie."""
    low, high = np.exp(np.quantile(errors, (0.1, 0.9)))
    return float(low), float(high)


def covered_percent(errors: np.ndarray, interval: tuple[float, float]) -> float:
    low, high = np.log(interval)
    return float(100 * np.mean((low <= errors) & (errors <= high)))


class Measured(NamedTuple):
    """The points of a runtime's decoding or prefill, and how they are fitted."""

    first: list[Point]
    later: list[Point]  # but for those that were among the first
    terms: dict[str, Term]
    predict: Predict

    @property
    def all(self) -> list[Point]:
        return [*self.first, *self.later]


def measured() -> dict[tuple[str, str], Measured]:
    """The measurements by runtime, and by decode or prefill."""
    rules, models, macs = catalogue.rows(RULES), catalogue.models(), catalogue.rows(MACS)
    judged = {
        batch: judged_speeds(catalogue.rows(table), rules, models, macs, find_quant)[0]
        for batch, table in SPEED_FILES.items()
    }
    found = {}
    for runtime in runtimes():
        decode = {
            name: term for name, term in DECODE.items() if runtime == KERNELS_OF or not name.startswith("kernel_")
        }
        for what, terms, predict in (("decode", decode, predict_decode), ("prefill", PREFILL, predict_prefill)):
            first, later = (points(judged[batch], runtime, what) for batch in ("first", "later"))
            known = {(point.cell, point.seconds) for point in first}
            later = [point for point in later if (point.cell, point.seconds) not in known]
            found[runtime, what] = Measured(first, later, terms, predict)
    return found


def all_fits() -> dict[str, dict[str, float]]:
    """The coefficients by runtime, without intervals: what `data/speed_coefficients.csv` is held against."""
    fits: dict[str, dict[str, float]] = {}
    for (runtime, _), (first, later, terms, predict) in measured().items():
        fits.setdefault(runtime, {}).update(fit([*first, *later], terms, predict))
    return fits


def lines_of(runtime: str, what: str, data: Measured) -> list[list[str]]:
    """The rows of the file: coefficients, intervals, and how well what was not fitted to is predicted."""
    chosen, terms, predict = data.all, data.terms, data.predict
    values = fit(chosen, terms, predict)
    within = unseen_errors(chosen, [point.origin for point in chosen], terms, predict)
    chips = unseen_errors(chosen, [point.chip.chip for point in chosen], terms, predict)
    lines = [[runtime, name, f"{value:.4g}", unit_of(name)] for name, value in values.items()]
    # Who asks is a new source: the interval is that of sources left out of the fit.
    fitted = errors_of(chosen, values, predict)
    neural = np.array([point.chip.neural_accelerators for point in chosen])
    groups = {"": ~neural, "_neural": neural} if what == "prefill" else {"": neural | True}
    intervals = {where: interval_of(within[group]) for where, group in groups.items()}
    intervals["_unseen"] = interval_of(chips)
    for where, interval in intervals.items():
        for end, factor in zip(("low", "high"), interval, strict=True):
            lines.append([runtime, f"{what}_{end}{where}", f"{factor:.3f}", "times the prediction"])
    # What was handed over first predicts what was collected afterwards, its intervals made from it alone.
    ahead = errors_of(data.later, fit(data.first, terms, predict), predict)
    before = unseen_errors(data.first, [point.origin for point in data.first], terms, predict)
    for name, percent in {
        "median_percent_by_source": median_percent(within),
        "median_percent_by_chip": median_percent(chips),
        "covered_percent_by_source": float(
            np.mean(
                [covered_percent(within[group], intervals[where]) * group.mean() for where, group in groups.items()]
            )
            * len(groups)
        ),
        "median_percent_later": median_percent(ahead),
        "covered_percent_later": covered_percent(ahead, interval_of(before)),
    }.items():
        lines.append([runtime, f"{what}_{name}", f"{percent:.1f}", "percent"])
    print(
        f"{runtime} {what}: {len(data.first)} first rows, {len(data.later)} later ones; all:"
        f" {median_percent(fitted):.1f} % fitted"
    )
    if what == "decode":
        seen = Counter(point.chip.chip for point in chosen)
        lines += [[runtime, ROWS + chip, str(count), "measurements"] for chip, count in sorted(seen.items())]
    return lines


def main() -> None:
    lines = []
    for (runtime, what), data in measured().items():
        lines += lines_of(runtime, what, data)
    for runtime, name, value, unit in lines:
        if unit == "percent":
            print(runtime, name, value)
    if "--check" not in sys.argv[1:]:
        with open(FILE, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["runtime", "coefficient", "value", "unit"], *lines])


def unit_of(name: str) -> str:
    return next(unit for word, unit in UNITS.items() if word in name)


if __name__ == "__main__":
    main()
