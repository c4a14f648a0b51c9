"""The trade between quant, KV cache and context: for each recipe the largest context that fits, by settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployfit.estimate import estimate
from deployfit.grid import MISSING, Grid, sweep
from deployfit.hardware.cluster import Cluster
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes.runtime import Runtime
from deployfit.speed import Speed, Speeds
from deployfit.values import NamedTuple


class PlanRow(NamedTuple):
    """A recipe: its weights, the largest context that fits per column (0: none), and its speed with the first."""

    weights: Weights
    max_context_tokens: tuple[int, ...]
    speed: Speed | None

    @property
    def fits(self) -> bool:
        """Whether it fits with any context at all."""
        return any(self.max_context_tokens)


class Plan(NamedTuple):
    """A grid of recipes by settings for one model on one machine, the smallest recipe first."""

    model: Model
    machine: Machine
    runtime: Runtime
    columns: tuple[Any, ...]  # settings of the runtime
    rows: tuple[PlanRow, ...]
    refusals: tuple[str, ...]  # why recipes or settings that were asked for are not there
    no_speed: str  # why no speed can be said, "" if one can
    cluster: Cluster | None = None  # the Macs, where they are several; `machine` is the first of them

    @property
    def machines(self) -> Sequence[Machine]:
        """The Mac, or all of them."""
        return self.cluster.machines if self.cluster else (self.machine,)


def make_plan(
    model: Model,
    quants: Sequence[Quant],
    runtime: Runtime,
    columns: Sequence[Any],
    machine: Machine,
    options: Options,
    speeds: Speeds,
) -> Plan:
    """Return the plan; recipes that cannot be made and settings that the model does not run with are left out."""
    swept = sweep(Grid([model], quants, runtime, columns, [], [machine], options))
    largest = swept.max_context_tokens[0, :, :, 0]
    runs = (largest != MISSING).any(axis=0)
    start = columns[0].with_context(1)
    rows = []
    for weights, contexts in zip(swept.weights[0], largest[:, runs], strict=True):
        if weights is None:
            continue
        speed = speeds.speed(
            machine.mac,
            model.blueprint,
            weights,
            estimate(model, weights, runtime, start, options),
            runtime=runtime.name,
            sequences=runtime.sequences(start),
            states=runtime.states(model.blueprint, start, options),
            context_tokens=1,
            mtp=options.mtp,
        )
        rows.append(PlanRow(weights, tuple(contexts.tolist()), speed))
    rows.sort(key=lambda row: row.weights.tensor_bytes)
    shown = tuple(column for column, there in zip(columns, runs, strict=True) if there)
    return Plan(model, machine, runtime, shown, tuple(rows), tuple(swept.refusals), speeds.why_not(machine.mac))
