"""Fits data/speed_coefficients.csv to the measured speeds, and says how well it predicts what it has not seen.

For maintainers: needs scipy. `python benchmarks/fit_speed.py` writes the file; `--check` only prints.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from deployfit import catalogue
from deployfit.errors import InputError
from deployfit.estimate import Estimate
from deployfit.hardware.mac import MACS, MacRow
from deployfit.lookup import find_quant
from deployfit.measured.free_text import RULES
from deployfit.measured.speeds import LONGEST_SHORT_CONTEXT, SPEED_FILES, Speed, judged_speeds, prompt_of
from deployfit.measured.subject import engines, runtimes
from deployfit.quants.weights import Options
from deployfit.runtimes import registry
from deployfit.speed import (
    GENERATIONS,
    ROWS,
    ChipSeconds,
    architecture_of,
    chip_seconds,
    decode_seconds,
    prefill_seconds,
)
from deployfit.work import KERNELS, Work, work_of

FILE = Path(__file__).parent.parent / "data" / "speed_coefficients.csv"
HELD_BACK = "families"  # the batch that terms were not compared with; what others make of it is written down

Values = dict[str, float]
Array = NDArray[np.float64]


class Term(NamedTuple):
    """A coefficient: where the fit starts, and how far the logarithm may go before it costs one standard deviation."""

    start: float
    width: float


# Shares and times are free within a factor; what a generation of chips does differently is small unless measured.
DECODE: dict[str, Term] = {
    "bandwidth_share": Term(0.85, 0.5),
    "state_share": Term(0.4, 0.7),
    "cache_share": Term(0.5, 0.7),
    "block_us": Term(40.0, 1.0),
    "norm_us": Term(10.0, 1.0),
    "moe_us": Term(50.0, 1.0),
    "ultra_factor": Term(1.0, 0.5),
    **{f"bandwidth_factor_m{generation}": Term(1.0, 0.07) for generation in GENERATIONS},
    **{f"block_factor_m{generation}": Term(1.0, 0.15) for generation in GENERATIONS},
}
# What a runtime has for itself. Only ggml's types of few bits take longer to unpack than to read. Only MLX computes in
# bfloat16, which GPUs before the M3's do in software: every block takes longer, and the M1's is short of arithmetic for
# the weights of single tokens too. And of the bandwidth of two dies MLX's kernels get a smaller share; llama.cpp's,
# fitted with such a factor, came to 0.98.
OWN: dict[tuple[str, str], dict[str, Term]] = {
    ("llama.cpp", "decode"): {
        "kernel_k": Term(4.0, 1.0),
        "kernel_k_low": Term(8.0, 1.0),
        "kernel_iq": Term(16.0, 1.0),
        "kernel_iq4": Term(6.0, 1.0),
    },
    ("mlx", "decode"): {
        "number_flops_m1": Term(10.0, 1.0),
        "block_factor_emulated": Term(1.0, 0.5),
        "ultra_bandwidth_factor": Term(1.0, 0.5),
    },
    ("mlx", "prefill"): {"prefill_factor_emulated": Term(1.0, 0.5)},
}
PREFILL: dict[str, Term] = {
    "prefill_share": Term(0.35, 0.5),
    "prefill_share_attention": Term(0.2, 0.7),
    "prefill_share_reading": Term(0.8, 0.5),
    "prefill_block_us": Term(60.0, 0.7),
    "prefill_delta_us": Term(1.0, 1.0),
    "prefill_factor_neural": Term(1.0, 0.5),
    **{f"prefill_factor_m{generation}": Term(1.0, 0.2) for generation in GENERATIONS},
}
UNITS = {
    "us": "microseconds on an M4",
    "share": "of the specification",
    "factor": "times",
    "kernel": "FLOP a number",
    "flops": "FLOP a number",
}


class Point(NamedTuple):
    """A measurement with all that the rule needs of it."""

    chip: MacRow
    works: Mapping[str, Work]  # for each coefficient that work has in it the work if it alone were 1; "" for none
    architecture: str
    cache_bytes: int
    prompt_tokens: int
    seconds: float
    cell: tuple[str, str, str, int]  # chip, model, quant, long context: it counts once, however often it was measured
    origin: tuple[str, str]  # who measured, and on which chip
    batch: str


IN_WORK = ("block_us", "norm_us", "moe_us", *sorted(set(KERNELS.values())), "prefill_block_us", "prefill_delta_us")


def facts_of(runtime: str) -> Values:
    """What is not fitted: how a runtime reads a prompt in."""
    engine = engines()[runtime]
    return {"prefill_step": float(engine.PREFILL_STEP), "prefill_tail": float(engine.PREFILL_TAIL)}


def points(speeds: Sequence[tuple[str, Speed]], runtime: str, what: str) -> list[Point]:
    engine, typed = registry.runtime(runtime), engines()[runtime].speed_settings()
    nothing = dict.fromkeys(IN_WORK, 0.0) | facts_of(runtime)
    found: list[Point] = []
    known: set[tuple[object, ...]] = set()
    for batch, (row, subject, chip) in speeds:
        tps = row.decode_tps if what == "decode" else row.prefill_tps
        tokens = (row.context_tokens or 0) if what == "decode" else prompt_of(row, subject.runtime)
        if subject.runtime != runtime or not tps or tokens is None:
            continue
        blueprint = subject.model.blueprint
        settings = engine.settings(max(tokens, 1), typed)
        memory = Estimate(tuple(engine.kept(blueprint, settings, Options())))
        try:
            weights = subject.quant.weights(subject.model, Options())
        except InputError:
            continue
        cell = chip.chip, subject.model.name, weights.recipe, tokens if tokens > LONGEST_SHORT_CONTEXT else 0
        if (cell, tps, batch) in known or any((cell, tps, other) in known for other in SPEED_FILES if other != batch):
            continue
        known.add((cell, tps, batch))
        state = memory.bytes_of("recurrent_state")
        found.append(
            Point(
                chip=chip,
                works={name: work_of(blueprint, weights, state, {**nothing, name: 1.0}) for name in ("", *IN_WORK)},
                architecture=architecture_of(blueprint),
                cache_bytes=memory.bytes_of("kv_cache") if tokens else 0,
                prompt_tokens=tokens,
                seconds=1 / tps,
                cell=cell,
                origin=(whose(row.source), chip.chip),
                batch=batch,
            )
        )
    return found


def whose(source: str) -> str:
    """Who measured: the repository of a file or thread, the site of a page; an entry of a shared list alone."""
    if source.startswith("github:"):
        return source.removeprefix("github:").split()[0].casefold()
    site = re.match(r"https?://(?:www\.)?(github\.com/[^/]+/[^/]+|[^/]+)", source)
    return site[1].removeprefix("github.com/").casefold() if site else source


class Table:
    """Points as arrays: what they cost is computed for all at once."""

    def __init__(self, chosen: Sequence[Point], what: str, facts: Values) -> None:
        self.what, self.facts = what, facts
        self.chips = sorted({point.chip for point in chosen}, key=str)
        self.chip = np.array([self.chips.index(point.chip) for point in chosen], int)
        self.seconds = self._array(chosen, lambda point: point.seconds)
        self.cache = self._array(chosen, lambda point: point.cache_bytes)
        self.tokens = self._array(chosen, lambda point: point.prompt_tokens)
        counts = Counter(point.cell for point in chosen)
        self.weights = np.sqrt([1 / counts[point.cell] for point in chosen])
        fields = [name for name in Work._fields if name not in ("windows", "step_tokens")]
        base: dict[str, Any] = {name: self._amounts(chosen, "", name) for name in fields}
        seen = self._array(chosen, lambda point: point.works[""].attention(point.prompt_tokens))
        base["attention_flops"] = 2 * seen / np.maximum(self.tokens, 1)  # windows are in it
        self.base = Work(**base, windows=(), step_tokens=int(facts["prefill_step"]))
        self.amounts = {
            name: {
                field: amounts
                for field in ("block_us", "kernel_flops", "prompt_us", "step_us")
                if (amounts := self._amounts(chosen, name, field)).any()
            }
            for name in IN_WORK
        }

    def _array(self, chosen: Sequence[Point], value: Callable[[Point], float]) -> Array:
        return np.array([value(point) for point in chosen], float)

    def _amounts(self, chosen: Sequence[Point], coefficient: str, field: str) -> Array:
        return self._array(chosen, lambda point: getattr(point.works[coefficient], field))

    def predict(self, values: Mapping[str, float]) -> Array:
        """The seconds of every point."""
        work = self.base
        for name, fields in self.amounts.items():
            for field, amount in fields.items():
                work = work._replace(**{field: getattr(work, field) + values.get(name, 0.0) * amount})
        each = [chip_seconds(chip, values) for chip in self.chips]
        columns: list[Any] = [np.array(column)[self.chip] for column in zip(*each, strict=True)]
        seconds = ChipSeconds(*columns)
        if self.what == "decode":
            return np.asarray(decode_seconds(seconds, work, self.cache))
        return np.asarray(prefill_seconds(seconds, work, np.maximum(self.tokens, 1)))


class Data(NamedTuple):
    """The points of a runtime's decoding or prefill, and how they are fitted."""

    points: list[Point]
    what: str
    terms: dict[str, Term]
    fixed: Values  # what is not fitted here

    def fit(self, chosen: Sequence[Point]) -> Values:
        """The coefficients of some points."""
        table = Table(chosen, self.what, self.fixed)
        names = list(self.terms)
        start = np.log([term.start for term in self.terms.values()])
        widths = np.array([term.width for term in self.terms.values()])

        def residuals(logs: Array) -> Array:
            values = {**self.fixed, **dict(zip(names, np.exp(logs), strict=True))}
            errors = np.log(table.predict(values) / table.seconds) / 0.08
            robust = np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1))  # far off counts by its distance only
            return np.concatenate([table.weights * robust, (logs - start) / widths])

        found = least_squares(residuals, start).x
        return dict(zip(names, map(float, np.exp(found)), strict=True))

    def errors(self, chosen: Sequence[Point], values: Values) -> Array:
        """Logarithms of measured over predicted speed."""
        table = Table(chosen, self.what, self.fixed)
        return np.asarray(np.log(table.predict({**self.fixed, **values}) / table.seconds))

    def unseen(self, chosen: Sequence[Point], group_of: Callable[[Point], object]) -> Array:
        """Errors of each group as predicted by a fit to all others."""
        errors = np.zeros(len(chosen))
        groups = [group_of(point) for point in chosen]
        for group in set(groups):
            inside = [index for index, each in enumerate(groups) if each == group]
            values = self.fit([point for point, each in zip(chosen, groups, strict=True) if each != group])
            errors[inside] = self.errors([chosen[index] for index in inside], values)
        return errors


GROUPS: dict[str, Callable[[Point], object]] = {
    "source": lambda point: point.origin,
    "chip": lambda point: point.chip.chip,
    "architecture": lambda point: point.architecture,
}


def median_percent(errors: Array) -> float:
    return float(100 * np.median(np.abs(np.expm1(-errors))))


Interval = tuple[float, float]


def interval_of(errors: Array, chosen: Sequence[Point]) -> Interval:
    """Between which multiples of the prediction four of five measurements lie.

    A source counts by the root of the number of its rows, so that no long sweep of one Mac decides alone.
    """
    rows = Counter(point.origin for point in chosen)
    weights = np.array([rows[point.origin] ** -0.5 for point in chosen])
    order = np.argsort(errors)
    places = np.cumsum(weights[order]) - weights[order] / 2
    low, high = np.exp(np.interp(np.array([0.1, 0.9]) * weights.sum(), places, errors[order]))
    return float(low), float(high)


def intervals_of(data: Data, chosen: Sequence[Point]) -> tuple[dict[str, Interval], dict[str, Array]]:
    """The intervals by what was left out, and the errors that they are made from.

    Who asks is a new source: the interval is that of sources left out of the fit.
    """
    errors = {name: data.unseen(chosen, group_of) for name, group_of in GROUPS.items()}
    neural = [index for index, point in enumerate(chosen) if point.chip.neural_accelerators]
    other = [index for index, point in enumerate(chosen) if not point.chip.neural_accelerators]
    of = {"": other, "_neural": neural} if data.what == "prefill" else {"": [*other, *neural]}
    found = {
        name: interval_of(errors["source"][inside], [chosen[index] for index in inside]) for name, inside in of.items()
    }
    return found | {f"_{name}": interval_of(errors[name], chosen) for name in ("chip", "architecture")}, errors


def covered_percent(
    chosen: Sequence[Point], errors: Array, intervals: Mapping[str, Interval], known: Sequence[Point]
) -> float:
    """How many of some points lie in the intervals that they would be told, if others were known."""
    chips = {point.chip.chip for point in known}
    architectures = {point.architecture for point in known}
    inside = []
    for point, error in zip(chosen, errors, strict=True):
        of = ["_neural" if point.chip.neural_accelerators and "_neural" in intervals else ""]
        of += ["_chip"] * (point.chip.chip not in chips) + ["_architecture"] * (point.architecture not in architectures)
        low, high = min(intervals[each][0] for each in of), max(intervals[each][1] for each in of)
        inside.append(np.log(low) <= error <= np.log(high))
    return float(100 * np.mean(inside))


def measured() -> dict[tuple[str, str], Data]:
    """The measurements by runtime, and by decode or prefill."""
    rules, models, macs = catalogue.rows(RULES), catalogue.models(), catalogue.rows(MACS)
    judged = [
        (batch, speed)
        for batch, table in SPEED_FILES.items()
        for speed in judged_speeds(catalogue.rows(table), rules, models, macs, find_quant)[0]
    ]
    found = {}
    for runtime in runtimes():
        own = [name for (whose, _), terms in OWN.items() if whose == runtime for name in terms]
        fixed = dict.fromkeys([*DECODE, *PREFILL, *own], 1.0) | facts_of(runtime)
        for what, terms in (("decode", DECODE), ("prefill", PREFILL)):
            found[runtime, what] = Data(
                points(judged, runtime, what), what, terms | OWN.get((runtime, what), {}), fixed
            )
        # Latent attention is arithmetic when decoding too: of the share that reading a prompt has.
        decode, prefill = found[runtime, "decode"], found[runtime, "prefill"]
        share = prefill.fit(prefill.points)["prefill_share_attention"]
        found[runtime, "decode"] = decode._replace(fixed={**decode.fixed, "prefill_share_attention": share})
    return found


def lines_of(runtime: str, data: Data) -> list[list[str]]:
    """The rows of the file: coefficients, intervals, and how well what was not fitted to is predicted."""
    what, chosen = data.what, data.points
    values = data.fit(chosen)
    lines = [[runtime, name, f"{value:.4g}", unit_of(name)] for name, value in values.items()]
    if what == "prefill":
        units = {"prefill_step": "tokens", "prefill_tail": "1 for yes"}
        lines += [[runtime, name, f"{value:g}", units[name]] for name, value in facts_of(runtime).items()]
    intervals, errors = intervals_of(data, chosen)
    for of, interval in intervals.items():
        for end, factor in zip(("low", "high"), interval, strict=True):
            lines.append([runtime, f"{what}_{end}{of}", f"{factor:.3f}", "times the prediction"])
    # What the terms were chosen with predicts what was held back, its intervals made from it alone.
    before = [point for point in chosen if point.batch != HELD_BACK]
    later = [point for point in chosen if point.batch == HELD_BACK]
    ahead = data.errors(later, data.fit(before))
    for name, percent in {
        **{f"median_percent_by_{name}": median_percent(each) for name, each in errors.items()},
        "covered_percent_by_source": covered_percent(chosen, errors["source"], intervals, chosen),
        "median_percent_later": median_percent(ahead),
        "covered_percent_later": covered_percent(later, ahead, intervals_of(data, before)[0], before),
    }.items():
        lines.append([runtime, f"{what}_{name}", f"{percent:.1f}", "percent"])
    fitted = median_percent(data.errors(chosen, values))
    print(f"{runtime} {what}: {len(before)} rows, {len(later)} held back; all: {fitted:.1f} % fitted")
    if what == "decode":
        for names in ([point.chip.chip for point in chosen], [point.architecture for point in chosen]):
            lines += [
                [runtime, ROWS + name, str(count), "measurements"] for name, count in sorted(Counter(names).items())
            ]
    return lines


def main() -> None:
    lines = []
    for (runtime, _), data in measured().items():
        lines += lines_of(runtime, data)
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
