"""What a chip makes of work: the terms of the speed's formula as seconds for one of each, which add up.

They are taken from the formula itself, by asking it for work of one unit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from deployfit.basis import Basis
from deployfit.estimate import Estimate
from deployfit.hardware.mac import Mac
from deployfit.models import Model
from deployfit.quants.weights import Weights
from deployfit.runtimes.runtime import MemoryPart
from deployfit.speed import Speeds, Work, decode_seconds, prefill_seconds

MANY = 10**15  # bytes: a cache so large that nothing but it counts


class Terms(NamedTuple):
    """Seconds for one of each, what the memory gives at most, and the interval as multiples of the rate.

    `layer` and `param` have two values: of a dense model, and of a mixture of experts.
    """

    read_byte: float
    cache_byte: float
    layer: tuple[float, float]
    kernel_flop: float
    param: tuple[float, float]
    attention_flop: float  # for each token of the prompt
    most_bytes: float  # per second
    decode: tuple[float, float]
    prefill: tuple[float, float]
    basis: str
    note: str


NOTHING = Work(0, 0, 0.0, 0, False, 0, 0)


def terms_of(mac: Mac, runtime: str, speeds: Speeds, model: Model, weights: Weights) -> Terms | None:
    """Return the terms of a Mac, None where its speed is not known; any model with its weights will do.

    >>> from deployfit.questions.resolve import find_model, machine_of, speeds
    >>> from deployfit.quants.lookup import find_quant
    >>> from deployfit.quants.weights import Options
    >>> model = find_model("Qwen3.5-27B")
    >>> weights = find_quant("Q4_K_M").weights(model, Options())
    >>> terms = terms_of(machine_of("M4 Max 64").mac, "llama.cpp", speeds(), model, weights)
    >>> terms.most_bytes, terms.basis
    (546000000000.0, 'derived')
    """
    chip = speeds.chip(mac)
    if chip is None:
        return None
    coefficients = speeds.coefficients[runtime]

    def decode(cache: int = 0, **work: Any) -> float:
        return float(decode_seconds(chip, coefficients, NOTHING._replace(**work), cache))

    def prefill(tokens: int = 0, **work: Any) -> float:
        return float(prefill_seconds(chip, coefficients, NOTHING._replace(**work), tokens))

    full = Estimate((MemoryPart("kv_cache", "", MANY, MANY, Basis.EXACT),))
    said = speeds.speed(mac, model.blueprint, weights, full, runtime=runtime, sequences=1, context_tokens=1)
    assert said is not None
    return Terms(
        read_byte=decode(read_bytes=1),
        cache_byte=decode(1),
        layer=(decode(layers=1), decode(layers=1, is_moe=True)),
        kernel_flop=decode(kernel_flops=1.0),
        param=(prefill(active_params=1), prefill(active_params=1, is_moe=True)),
        attention_flop=prefill(1, attention_flops=1),
        most_bytes=chip.bandwidth_gb_s * 1e9,
        decode=_interval(said.decode_full),
        prefill=_interval(said.prefill),
        basis=said.basis.value,
        note=said.note,
    )


def _interval(rate: Any) -> tuple[float, float]:
    return rate.low_tps / rate.tps, rate.high_tps / rate.tps
