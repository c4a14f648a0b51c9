"""The trade between quant, KV cache and context: for each recipe the largest context that fits, by KV settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deployfit.grid import MISSING, Grid, sweep
from deployfit.hardware import Place
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes.running import Settings
from deployfit.speed import Speed, Speeds


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
    """A grid of recipes by KV settings for one model on one Mac, the smallest recipe first."""

    model: Model
    place: Place
    columns: tuple[Settings, ...]
    rows: tuple[PlanRow, ...]
    refusals: tuple[str, ...]  # why recipes or KV settings that were asked for are not there
    no_speed: str  # why no speed can be said, "" if one can


def make_plan(
    model: Model,
    quants: Sequence[Quant],
    columns: Sequence[Settings],
    place: Place,
    options: Options,
    speeds: Speeds,
) -> Plan:
    """Return the plan; recipes that cannot be made and KV settings that the model does not run with are left out.

    >>> from deployfit.ask import SHELF, find_model, find_place, settings_of
    >>> from deployfit.catalog import speeds
    >>> from deployfit.quants.find import find_quant
    >>> columns = [settings_of("llama.cpp", 1, {"kv-type": kv}) for kv in ("f16", "q8_0")]
    >>> model, place = find_model("Qwen3.5-35B-A3B"), find_place("32", None, None)
    >>> found = make_plan(model, [find_quant("Q4_K_M", SHELF)], columns, place, Options(), speeds())
    >>> found.rows[0].max_context_tokens
    (184832, 262144)
    """
    swept = sweep(Grid([model], quants, columns, [], [place], options))
    largest = swept.max_context_tokens[0, :, :, 0]
    runs = (largest != MISSING).any(axis=0)
    rows = []
    for weights, contexts in zip(swept.weights[0], largest[:, runs], strict=True):
        if weights is None:
            continue
        speed = speeds.speed(place.mac, model.config, weights, columns[0].with_context(1), mtp=options.mtp)
        rows.append(PlanRow(weights, tuple(contexts.tolist()), speed))
    rows.sort(key=lambda row: row.weights.tensor_bytes)
    shown = tuple(column for column, there in zip(columns, runs, strict=True) if there)
    return Plan(model, place, shown, tuple(rows), tuple(swept.refusals), speeds.why_not(place.mac))
