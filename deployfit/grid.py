"""Many answers at once: models x quants x settings x contexts x Macs, in arrays, equal to `fit` at every point.

What does not depend on the Mac is counted once, what does not depend on the quant once for all quants; the largest
contexts come from one curve per model and settings. The arrays have the axes model, quant, settings, context, machine,
in this order, and leave out those that they do not depend on. What cannot be made or run is MISSING in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deployfit.errors import InputError
from deployfit.estimate import COLUMN_OF
from deployfit.estimate import COLUMNS as PART_COLUMNS
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import MemoryPart, Runtime
from deployfit.speed import NO_SPEEDS, Speeds, chip_seconds, decode_seconds, prefill_seconds
from deployfit.units import four_digits
from deployfit.values import NamedTuple
from deployfit.verdict import JUDGED, Verdict
from deployfit.work import work_of

MISSING = -1
VERDICTS = JUDGED  # a code in the arrays is a position here

Bytes = NDArray[np.int64]
Codes = NDArray[np.int8]
Column = NDArray[Any] | int | str | bool | None


class Grid(NamedTuple):
    """What is asked: every combination. The runtime loads all the quants, and the settings are its own.

    The context of the settings does not matter: each of `contexts` takes its place.
    """

    models: Sequence[Model]
    quants: Sequence[Quant]
    runtime: Runtime
    settings: Sequence[Any]
    contexts: Sequence[int]
    machines: Sequence[Machine]
    options: Options = Options()
    speeds: Speeds = NO_SPEEDS

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """How many there are along each axis."""
        return len(self.models), len(self.quants), len(self.settings), len(self.contexts), len(self.machines)

    @property
    def points(self) -> int:
        """How many there are in all."""
        return prod(self.shape)


class GridResult(NamedTuple):
    """The answers. `refusals` says of what is MISSING why, each reason once.

    `loaded_bytes` and `running_bytes` have the columns of sizes (PART_COLUMNS) on an axis of their own, and last the
    parts that belong to none: what of the weights is loaded, and what is allocated beside them.
    """

    grid: Grid
    weights: Sequence[Sequence[Weights | None]]
    loaded_bytes: Bytes  # model, quant, part
    running_bytes: Bytes  # model, settings, context, part
    total_bytes: Bytes  # model, quant, settings, context
    verdicts: Codes  # model, quant, settings, context, machine
    max_context_tokens: Bytes  # model, quant, settings, machine
    refusals: Sequence[str]

    @property
    def answered(self) -> int:
        """How many points are not missing."""
        return int((self.total_bytes != MISSING).sum()) * len(self.grid.machines)

    def count(self, verdict: Verdict) -> int:
        """Return how many points have a verdict."""
        return int((self.verdicts == VERDICTS.index(verdict)).sum())

    def blocks(self) -> Iterator[Mapping[str, Column]]:
        """Yield the points of a model and a quant at a time, as columns: an array of them, or what all have in common.

        The names are those of `deployfit fit --format json`. Rows run over settings, contexts, places, the last
        fastest; what is missing is left out.
        """
        grid = self.grid
        shape = grid.shape[2:]
        shared = {name: _along(values, axis, 3) for name, axis, values in _axis_columns(grid)}
        budgets = np.array([machine.budget_bytes for machine in grid.machines], np.int64)
        for m, q in np.ndindex(grid.shape[:2]):
            weights, total = self.weights[m][q], self.total_bytes[m, q, :, :, None]
            there = np.broadcast_to(total != MISSING, shape)
            if weights is None or not there.any():
                continue
            largest: NDArray[Any] = self.max_context_tokens[m, q].astype(object)
            largest[largest <= 0] = None
            sizes = self.loaded_bytes[m, q] + np.maximum(self.running_bytes[m], 0)
            points = {
                **shared,
                **{name: sizes[:, :, None, index] for index, name in enumerate(PART_COLUMNS)},
                "total_bytes": total,
                "headroom_bytes": budgets - total,
                "verdict": VERDICT_NAMES[self.verdicts[m, q]],
                "max_context_tokens": largest[:, None, :],
                **self._speeds(m, weights),
            }
            columns: dict[str, Column] = {
                "model": grid.models[m].name,
                "recipe": weights.recipe,
                "format": weights.format,
                "imatrix": grid.options.imatrix,
                "weights_basis": weights.basis.value,
                "tensor_bytes": weights.tensor_bytes,
                "file_bytes": weights.file_bytes,
                **{name: np.broadcast_to(array, shape)[there] for name, array in points.items()},
            }
            yield {name: columns.get(name) for name in COLUMNS}

    def _speeds(self, m: int, weights: Weights) -> Mapping[str, NDArray[Any]]:
        """Return tokens per second at every setting, context and place, None where they are not known."""
        grid = self.grid
        speeds = {name: np.full(grid.shape[2:], None, object) for name in SPEED_COLUMNS}
        blueprint = grid.models[m].blueprint
        for p, machine in enumerate(grid.machines):
            chip = grid.speeds.chip(machine.mac)
            if chip is None:
                continue
            for s, how in enumerate(grid.settings):
                coefficients = grid.speeds.coefficients[grid.runtime.name]
                counts = grid.runtime.sequences(how), grid.runtime.states(blueprint, how, grid.options)
                cache, state = (
                    np.maximum(self.running_bytes[m, s, :, part], 0) // count
                    for part, count in zip((CACHE, STATE), counts, strict=True)
                )
                work, each_takes = work_of(blueprint, weights, state, coefficients), chip_seconds(chip, coefficients)
                seconds = (
                    decode_seconds(each_takes, work, 0 * cache),
                    decode_seconds(each_takes, work, cache),
                    prefill_seconds(each_takes, work, np.array(grid.contexts)),
                )
                for name, each in zip(SPEED_COLUMNS, seconds, strict=True):
                    speeds[name][s, :, p] = [four_digits(1 / value) for value in each.tolist()]
        return speeds

    def rows(self) -> Iterator[tuple[int | str | bool | None, ...]]:
        """Yield the points as rows of Python's own numbers and words, in the order of COLUMNS."""
        for block in self.blocks():
            yield from rows_of(block)


VERDICT_NAMES = np.array([verdict.value for verdict in VERDICTS], object)

PARTS = list(PART_COLUMNS)
SUMS = [*PARTS, ""]  # the last is of parts without a column
CACHE, STATE = PARTS.index("kv_cache_bytes"), PARTS.index("recurrent_state_bytes")
COLUMNS = (
    "model",
    "recipe",
    "runtime",
    "format",
    "mac",
    "macos",
    "memory_bytes",
    "context_tokens",
    *dict.fromkeys(column for name in registry.names() for column in registry.columns(name)),
    "imatrix",
    "weights_basis",
    "tensor_bytes",
    "file_bytes",
    *PARTS,
    "total_bytes",
    "gpu_limit_bytes",
    "reserve_bytes",
    "headroom_bytes",
    "verdict",
    "max_context_tokens",
    "decode_tps",
    "decode_full_tps",
    "prefill_tps",
)
SPEED_COLUMNS = COLUMNS[-3:]
TEXT_COLUMNS = ("model", "recipe", "runtime", "format", "mac", "weights_basis", "verdict")


def rows_of(block: Mapping[str, Column]) -> Iterator[tuple[int | str | bool | None, ...]]:
    """Yield the rows of a block; numpy ends here."""
    (length,) = {len(column) for column in block.values() if isinstance(column, np.ndarray)}
    lists = [column.tolist() if isinstance(column, np.ndarray) else [column] * length for column in block.values()]
    return zip(*lists, strict=True)


def _axis_columns(grid: Grid) -> Iterator[tuple[str, int, Sequence[object]]]:
    """Yield what a row says of its settings, its context and its machine: name, axis within a block, values."""
    known = [grid.runtime.columns(how) for how in grid.settings]
    yield "runtime", 0, [grid.runtime.name] * len(known)
    for name in COLUMNS:
        if name in known[0]:
            yield name, 0, [each[name] for each in known]
    yield "context_tokens", 1, list(grid.contexts)
    yield "mac", 2, [machine.mac.name for machine in grid.machines]
    yield "macos", 2, [machine.macos for machine in grid.machines]
    yield "memory_bytes", 2, [machine.mac.memory_bytes for machine in grid.machines]
    yield "gpu_limit_bytes", 2, [machine.limit.limit_bytes for machine in grid.machines]
    yield "reserve_bytes", 2, [machine.reserve_bytes for machine in grid.machines]


def _along(values: Sequence[object], axis: int, axes: int) -> NDArray[Any]:
    """Return values as an array along one of several axes."""
    return np.array(values, object).reshape([-1 if each == axis else 1 for each in range(axes)])


def sweep(grid: Grid) -> GridResult:
    """Return the answer at every point of a grid.

    >>> from deployfit.catalogue import models, rows
    >>> from deployfit.hardware.gpu_limit import LIMITS, default_limit
    >>> from deployfit.hardware.mac import Mac
    >>> from deployfit.lookup import find_quant
    >>> macs = [Mac("", memory * 2**30) for memory in (16, 24, 32)]
    >>> machines = [Machine(mac, 26, default_limit(mac, 26, rows(LIMITS))) for mac in macs]
    >>> quant, runtime = find_quant("Q4_K_M"), registry.runtime("llama.cpp")
    >>> settings = [runtime.settings(1, {})]
    >>> grid = Grid([models()["Qwen3.5-27B"]], [quant], runtime, settings, [32768], machines)
    >>> [VERDICTS[code].headline for code in sweep(grid).verdicts.ravel()]
    ['does not fit', 'needs raised limit', 'fits']
    """
    refusals: dict[str, None] = {}
    weights = [[_weights(model, quant, grid.options, refusals) for quant in grid.quants] for model in grid.models]
    models, quants, settings, contexts, machines = grid.shape
    loaded = np.full((models, quants, len(SUMS)), MISSING, np.int64)
    running = np.full((models, settings, contexts, len(SUMS)), MISSING, np.int64)
    largest = np.full((models, quants, settings, machines), MISSING, np.int64)
    budgets = np.array([machine.budget_bytes for machine in grid.machines], np.int64)
    for m, model in enumerate(grid.models):
        for q, each in enumerate(weights[m]):
            if each is not None:
                loaded[m, q] = _columns(grid.runtime.loaded(model.blueprint, each, grid.options, grid.settings[0]))
        made = loaded[m, :, 0] != MISSING
        spare = budgets - loaded[m, made].sum(axis=1)[:, None]
        for s, how in enumerate(grid.settings):
            if not made.any() or not _runs(grid, model, how.with_context(_trained(model)), refusals):
                continue
            largest[m, made, s] = _Growth(grid, model, how).largest_context(spare)
            for c, tokens in enumerate(grid.contexts):
                at = how.with_context(tokens)
                if _runs(grid, model, at, refusals):
                    running[m, s, c] = _columns(grid.runtime.running(model.blueprint, at, grid.options))
    total = loaded.sum(axis=2)[:, :, None, None] + running.sum(axis=3)[:, None]
    missing = (loaded[:, :, None, None, 0] == MISSING) | (running[:, None, :, :, 0] == MISSING)
    total[missing] = MISSING
    return GridResult(
        grid=grid,
        weights=weights,
        loaded_bytes=loaded,
        running_bytes=running,
        total_bytes=total,
        verdicts=_verdicts(total, missing, grid.machines),
        max_context_tokens=largest,
        refusals=tuple(refusals),
    )


class Result(Protocol):
    """What a document reads of a grid's answers."""

    @property
    def grid(self) -> Any:
        """What was asked: its shape, its points, the runtime and its settings."""

    @property
    def refusals(self) -> Sequence[str]:
        """Why some points have no answer, each reason once."""

    @property
    def answered(self) -> int:
        """How many points have an answer."""

    def count(self, verdict: Verdict) -> int:
        """Return how many points have a verdict."""

    def rows(self) -> Iterator[tuple[int | str | bool | None, ...]]:
        """Yield the answers as rows, in the order of COLUMNS."""

    def blocks(self) -> Iterator[Mapping[str, Any]]:
        """Yield the same as columns, some at a time."""


def require_answers(results: Sequence[Result]) -> None:
    """Raise InputError if there is no answer at all, with the first reason."""
    if not any(each.answered for each in results):
        raise InputError(next((reason for each in results for reason in each.refusals), "nothing was asked for"))


def _weights(model: Model, quant: Quant, options: Options, refusals: dict[str, None]) -> Weights | None:
    try:
        if options.mtp and not model.blueprint.drafts:
            raise InputError(f"{model.name} has no MTP layer; leave out {param('mtp')}")
        return quant.weights(model, options)
    except InputError as error:
        refusals[error.marked] = None
        return None


def _runs(grid: Grid, model: Model, settings: Any, refusals: dict[str, None]) -> bool:
    """Return whether a model runs with these settings, which `fit` checks before it answers."""
    try:
        grid.runtime.check(model.blueprint, settings)
        return True
    except InputError as error:
        refusals[error.marked] = None
        return False


def _columns(parts: Sequence[MemoryPart]) -> list[int]:
    """Return what is there at the start, added up by columns."""
    sizes = dict.fromkeys(SUMS, 0)
    for part in parts:
        if not part.later:
            sizes[COLUMN_OF.get(part.name, "")] += part.nbytes
    return list(sizes.values())


def _trained(model: Model) -> int:
    return model.blueprint.trained_context


def _verdicts(total: Bytes, missing: NDArray[np.bool_], machines: Sequence[Machine]) -> Codes:
    """Return the codes of the verdicts; for each Mac three comparisons with everything else."""
    codes = np.empty((len(machines), *total.shape), np.int8)
    for code, machine in zip(codes, machines, strict=True):
        tight = max(machine.budget_bytes, machine.limit.limit_bytes)
        raised = max(tight, machine.highest_total_bytes)
        code[...] = total > machine.budget_bytes
        code += total > tight
        code += total > raised
        code[missing] = MISSING
    return np.moveaxis(codes, 0, -1)


class _Growth:
    """What running takes at every whole step of the context, for one model and settings.

    It need not grow with every step, so that the largest context that fits is the last at which it, or anything
    after it, is small enough.
    """

    def __init__(self, grid: Grid, model: Model, settings: Any) -> None:
        self._runtime, self._blueprint, self._options = grid.runtime, model.blueprint, grid.options
        self._settings, self._step = settings, grid.runtime.context_step(settings)
        most, step = grid.runtime.most_context(model.blueprint, settings), self._step
        steps = -(-most // step)
        self._tokens = np.minimum(np.arange(steps + 1, dtype=np.int64) * step, most)
        self._bytes = np.zeros(steps + 1, np.int64)  # the first is that of no context and not used
        self._first = 1
        while self._first < steps and self._straight_until(self._first) == self._first:
            self._first += 1  # single steps at the start, often with a graph of their own, wait until they are needed
        self._fill(self._first, steps)

    def largest_context(self, spare: Bytes) -> Bytes:
        """Return the largest contexts for which so many bytes are enough, 0 where there is none."""
        found = self._last_within(spare)
        least = self._runtime.least_bytes(self._blueprint, self._at(1), self._options)
        if self._first > 1 and (spare[found < self._first] >= least).any():
            self._fill(1, self._first - 1)
            self._first = 1
            found = self._last_within(spare)
        return self._tokens[np.where(found < self._first, 0, found)]

    def _last_within(self, spare: Bytes) -> NDArray[np.intp]:
        least_from = np.minimum.accumulate(self._bytes[: self._first - 1 : -1])[::-1]
        return np.searchsorted(least_from, spare, side="right") + self._first - 1

    def _fill(self, first: int, last: int) -> None:
        """Count both ends of every straight line, and draw the line."""
        while first <= last:
            until = min(self._straight_until(first), last)
            ends = [sum(self._running(step)) for step in (first, until)]
            each = (ends[1] - ends[0]) // max(1, until - first)
            self._bytes[first : until + 1] = ends[0] + each * np.arange(until - first + 1, dtype=np.int64)
            first = until + 1

    def _running(self, step: int) -> list[int]:
        return _columns(self._runtime.running(self._blueprint, self._at(step), self._options))

    def _straight_until(self, step: int) -> int:
        until = self._runtime.straight_until(self._blueprint, self._at(step), self._options)
        return max(step, until // self._step)

    def _at(self, step: int) -> Any:
        return self._settings.with_context(int(self._tokens[step]))
