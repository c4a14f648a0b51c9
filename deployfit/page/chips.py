"""How fast: what a chip takes for one of each amount of work, what a model has of each, and the intervals.

The amounts and the seconds are those of `deployfit.speed`; the page multiplies and adds them up.
"""

from __future__ import annotations

from typing import Any

from deployfit.basis import Basis
from deployfit.estimate import Estimate
from deployfit.hardware.mac import Mac
from deployfit.models import Model
from deployfit.quants.weights import Weights
from deployfit.runtimes.runtime import MemoryPart
from deployfit.speed import Speeds, chip_seconds
from deployfit.values import NamedTuple
from deployfit.work import work_of

MANY = 10**15  # bytes: a cache so large that nothing but it counts, so that no interval ends at what the memory gives


class Interval(NamedTuple):
    """Where four measurements of five lie, as multiples of the rate, and what that rests on."""

    decode: tuple[float, float]
    prefill: tuple[float, float]
    basis: str
    note: str


def seconds_of(mac: Mac, runtime: str, speeds: Speeds) -> dict[str, float] | None:
    """Return what a Mac takes for one of each amount of work, and the most bytes that its memory gives in a second.

    None where its speed is not known.

    >>> from deployfit.questions.resolve import machine_of, speeds
    >>> seconds = seconds_of(machine_of("M4 Max 64").mac, "llama.cpp", speeds())
    >>> seconds["most_bytes"], seconds["read_byte"] > 1 / seconds["most_bytes"]
    (546000000000.0, True)
    """
    chip = speeds.chip(mac)
    if chip is None:
        return None
    return {**chip_seconds(chip, speeds.coefficients[runtime])._asdict(), "most_bytes": chip.bandwidth_gb_s * 1e9}


def interval_of(mac: Mac, runtime: str, speeds: Speeds, model: Model, weights: Weights) -> Interval | None:
    """Return the interval for a model on a Mac, None where its speed is not known; any file of it will do."""
    full = Estimate((MemoryPart("kv_cache", "", MANY, MANY, Basis.EXACT),))
    said = speeds.speed(mac, model.blueprint, weights, full, runtime=runtime, sequences=1, context_tokens=1)
    return said and Interval(_multiples(said.decode_full), _multiples(said.prefill), said.basis.value, said.note)


def _multiples(rate: Any) -> tuple[float, float]:
    return round(rate.low_tps / rate.tps, 12), round(rate.high_tps / rate.tps, 12)


OF_FILES = ("read_bytes", "numbers", "kernel_flops", "step_bytes")  # amounts that depend on the file


def work_of_model(model: Model, runtime: str, speeds: Speeds, weights: Weights) -> dict[str, Any]:
    """Return the amounts of work that are the same for every file of a model; `state_bytes` for a byte of state."""
    work = work_of(model.blueprint, weights, 1, speeds.coefficients[runtime])
    return {name: amount for name, amount in work._asdict().items() if name not in OF_FILES}


def work_of_file(model: Model, runtime: str, speeds: Speeds, weights: Weights) -> list[int]:
    """Return the amounts of work that a file decides, in the order of OF_FILES."""
    work = work_of(model.blueprint, weights, 0, speeds.coefficients[runtime])
    return [round(getattr(work, name)) for name in OF_FILES]
