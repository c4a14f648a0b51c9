"""How fast it runs: tokens per second as a roofline, with coefficients fitted to measurements.

Decoding a token reads the weights that are active, the states and the caches, each at a share of the memory's
bandwidth; every block costs some time of its own, the less the faster the GPU's clock; unpacking a type costs
arithmetic. Reading a prompt in is arithmetic, two operations per active number and token, and for each step of the
prompt all weights are read once. The coefficients are in `data/speed_coefficients.csv`; `benchmarks/fit_speed.py`
makes them from the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from deployfit.basis import Basis
from deployfit.errors import DataError
from deployfit.estimate import Estimate
from deployfit.hardware.mac import CHIP_DECIDES, Mac, MacRow, find_chip
from deployfit.layers.blueprint import Blueprint
from deployfit.quants.weights import Weights
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple
from deployfit.work import Coefficients, Work, smaller, work_of

GENERATIONS = (1, 2, 3, 4, 5, 6)  # of chips that were measured; a later one is taken for the last
UNSEEN = ("chip", "architecture")  # what may be of a kind that nobody measured
EVERY_RUNTIME = (
    "bandwidth_share",
    "state_share",
    "cache_share",
    "block_us",
    "norm_us",
    "moe_us",
    "ultra_factor",
    *(f"bandwidth_factor_m{generation}" for generation in GENERATIONS),
    *(f"block_factor_m{generation}" for generation in GENERATIONS),
    "prefill_step",
    "prefill_tail",
    "prefill_share",
    "prefill_share_attention",
    "prefill_share_reading",
    "prefill_block_us",
    "prefill_delta_us",
    "prefill_factor_neural",
    *(f"prefill_factor_m{generation}" for generation in GENERATIONS),
    *(
        f"{what}_{end}{of}"
        for what in ("decode", "prefill")
        for end in ("low", "high")
        for of in ("", "_chip", "_architecture")
    ),
    *(f"prefill_{end}_neural" for end in ("low", "high")),
)
ROWS = "rows:"  # of a chip or an architecture: how many measurements stand behind it
LAST_WITHOUT_BFLOAT = 2  # of the generations: its GPU multiplies matrices of bfloat16 in software
CLOCK = 0.81  # TFLOPS of each core of the GPU, as of an M4's: what times of blocks are told for

COEFFICIENTS = Table(
    "speed_coefficients.csv",
    ["runtime", "coefficient", "value"],
    lambda row: (row.text("runtime"), row.text("coefficient"), row.decimal("value")),
)


def by_runtime(rows: Sequence[tuple[str, str, float]]) -> dict[str, Coefficients]:
    """Return the coefficients by runtime; raise DataError if one is missing."""
    found: dict[str, dict[str, float]] = {}
    for runtime, name, value in rows:
        found.setdefault(runtime, {})[name] = value
    faults = [
        f"data/{COEFFICIENTS.file}: {runtime}: no coefficient {name}"
        for runtime, values in found.items()
        for name in EVERY_RUNTIME
        if name not in values
    ]
    if faults:
        raise DataError(faults)
    return dict(found)


class Drafting(NamedTuple):
    """What drafting with the MTP layer was seen to make of the decoding speed, over so many pairs of measurements."""

    low: float
    high: float
    pairs: int


def _drafting_row(row: Row) -> tuple[str, float]:
    return row.text("runtime"), row.decimal("with_tps") / (row.decimal("without_tps") or 1.0)


DRAFTING = Table("mtp_speedups.csv", ["runtime", "without_tps", "with_tps"], _drafting_row)


def drafting_of(rows: Sequence[tuple[str, float]]) -> dict[str, Drafting]:
    """Return the range of the measured factors by runtime."""
    found: dict[str, list[float]] = {}
    for runtime, factor in rows:
        found.setdefault(runtime, []).append(factor)
    return {runtime: Drafting(min(factors), max(factors), len(factors)) for runtime, factors in found.items()}


class Rate(NamedTuple):
    """Tokens per second, with the interval that four of five measurements should fall into."""

    tps: float
    low_tps: float
    high_tps: float


class Speed(NamedTuple):
    """How fast a model runs: decoding at the start and with the whole context, and reading the whole context in."""

    decode: Rate
    decode_full: Rate
    prefill: Rate
    basis: Basis
    note: str  # what the chip's figures rest on
    drafting: Drafting | None  # what MTP drafting makes of `decode`, if it is asked for and was measured


class ChipSeconds(NamedTuple):
    """What a chip takes for one of each amount of work, in seconds."""

    read_byte: float
    number: float
    kernel_flop: float
    state_byte: float
    block_us: float
    cache_byte: float
    cache_flop: float
    prompt_flop: float
    prompt_us: float
    attention_flop: float
    step_byte: float


def chip_seconds(chip: MacRow, coefficients: Coefficients) -> ChipSeconds:
    """Return what a chip takes for one of each amount of work."""
    generation = min(max(chip.generation, GENERATIONS[0]), GENERATIONS[-1])
    bandwidth = chip.bandwidth_gb_s * 1e9
    shaders, flops = chip.shader_tflops * 1e12, chip.fp16_tflops * 1e12
    flops *= coefficients[f"prefill_factor_m{generation}"]
    if chip.neural_accelerators:
        flops *= coefficients["prefill_factor_neural"]
    microsecond = 1e-6 * (CLOCK * chip.gpu_cores / chip.shader_tflops if chip.gpu_cores else 1.0)
    block = microsecond * coefficients[f"block_factor_m{generation}"]
    reading = bandwidth * coefficients["bandwidth_share"] * coefficients[f"bandwidth_factor_m{generation}"]
    is_emulated = generation <= LAST_WITHOUT_BFLOAT and "block_factor_emulated" in coefficients
    if is_emulated:
        flops *= coefficients["prefill_factor_emulated"]
        block *= coefficients["block_factor_emulated"]
    if chip.chip.endswith("Ultra"):
        reading *= coefficients.get("ultra_bandwidth_factor", 1.0)
        block *= 1.0 if is_emulated else coefficients["ultra_factor"]  # arithmetic takes the time, not the way
    return ChipSeconds(
        read_byte=1 / reading,
        number=coefficients.get(f"number_flops_m{generation}", 0.0) / shaders,
        kernel_flop=1 / shaders,
        state_byte=1 / (bandwidth * coefficients["state_share"]),
        block_us=block,
        cache_byte=1 / (bandwidth * coefficients["cache_share"]),
        cache_flop=1 / (shaders * coefficients["prefill_share_attention"]),
        prompt_flop=1 / (flops * coefficients["prefill_share"]),
        prompt_us=microsecond,
        attention_flop=1 / (flops * coefficients["prefill_share_attention"]),
        step_byte=1 / (bandwidth * coefficients["prefill_share_reading"]),
    )


def decode_seconds(seconds: ChipSeconds, work: Work, cache_bytes: Any) -> Any:
    """Return the seconds that decoding one token takes with so many bytes of KV cache before it."""
    return (
        work.read_bytes * seconds.read_byte
        + work.numbers * seconds.number
        + work.kernel_flops * seconds.kernel_flop
        + work.state_bytes * seconds.state_byte
        + work.block_us * seconds.block_us
        + cache_bytes * (work.cache_reads * seconds.cache_byte + work.cache_flops * seconds.cache_flop)
    )


def prefill_seconds(seconds: ChipSeconds, work: Work, prompt_tokens: Any) -> Any:
    """Return the seconds that each token of a prompt takes on average."""
    step = (
        work.step_bytes * seconds.step_byte + work.step_flops * seconds.prompt_flop + work.step_us * seconds.prompt_us
    )
    return (
        work.prompt_flops * seconds.prompt_flop
        + work.prompt_us * seconds.prompt_us
        + work.attention(prompt_tokens) * seconds.attention_flop
        + step / smaller(prompt_tokens, work.step_tokens)
    )


class Speeds(NamedTuple):
    """What is known of speed: the coefficients by runtime, and the chips."""

    coefficients: Mapping[str, Coefficients]
    drafting: Mapping[str, Drafting]
    macs: Sequence[MacRow]

    def chip(self, mac: Mac) -> MacRow | None:
        """Return the chip of a Mac, None where its speed is not known."""
        found = find_chip(mac, self.macs)
        return found if found and found.bandwidth_gb_s and found.fp16_tflops else None

    def why_not(self, mac: Mac) -> str:
        """Return why no speed can be said of a Mac, "" if one can."""
        if self.chip(mac):
            return ""
        if not mac.chip:
            return CHIP_DECIDES
        return f"bandwidth and arithmetic of the {mac.chip} are not known"

    def speed(
        self,
        mac: Mac,
        blueprint: Blueprint,
        weights: Weights,
        needed: Estimate,
        *,
        runtime: str,
        sequences: int,
        context_tokens: int,
        states: int = 0,
        mtp: bool = False,
    ) -> Speed | None:
        """Return how fast a model runs, None where that is not known.

        Of several sequences at once it is the speed of one that runs alone. `states`: how many there are of them all,
        if not one of each.
        """
        chip = self.chip(mac)
        if chip is None:
            return None
        coefficients = self.coefficients[runtime]
        state = needed.bytes_of("recurrent_state") // (states or sequences)
        work = work_of(blueprint, weights, state, coefficients)
        cache = needed.bytes_of("kv_cache") // sequences
        seconds = chip_seconds(chip, coefficients)
        kinds = dict(zip(UNSEEN, (chip.chip, architecture_of(blueprint)), strict=True))
        unseen = [kind for kind, name in kinds.items() if not coefficients.get(ROWS + name)]

        def rate(took: float, interval: str, most: float = math.inf) -> Rate:
            neural = "_neural" if interval == "prefill" and chip.neural_accelerators else ""
            of = [neural, *(f"_{kind}" for kind in unseen)]
            low = min(coefficients[f"{interval}_low{each}"] for each in of)
            high = max(coefficients[f"{interval}_high{each}"] for each in of)
            return Rate(1 / took, low / took, min(high / took, most))

        most = chip.bandwidth_gb_s * 1e9 / work.read_bytes  # the memory gives no more
        return Speed(
            decode=rate(decode_seconds(seconds, work, 0), "decode", most),
            decode_full=rate(decode_seconds(seconds, work, cache), "decode", most),
            prefill=rate(prefill_seconds(seconds, work, context_tokens), "prefill"),
            basis=Basis.ASSUMED if unseen else Basis.DERIVED,
            note=self._note(chip, coefficients, runtime, unseen, blueprint),
            drafting=self.drafting.get(runtime) if mtp else None,
        )

    def _note(
        self, chip: MacRow, coefficients: Coefficients, runtime: str, unseen: Sequence[str], blueprint: Blueprint
    ) -> str:
        rows = int(coefficients.get(ROWS + chip.chip, 0))
        if rows:
            counted = "1 measurement" if rows == 1 else f"{rows} measurements"
            said = f"{counted} of {runtime} on an {chip.chip} {'is' if rows == 1 else 'are'} among them"
        else:
            said = (
                f"no measurement of {runtime} on an {chip.chip}: from its bandwidth of {chip.bandwidth_gb_s} GB/s, and"
                " what other chips make of theirs; the interval is that of a chip left out of the fit"
            )
        if "architecture" in unseen:
            said += (
                f"; none of {runtime} is of a model of this architecture ({architecture_of(blueprint)}): the interval"
                " is that of an architecture left out of the fit"
            )
        return said


def architecture_of(blueprint: Blueprint) -> str:
    """Return the name under which measurements of a model's architecture are counted.

    >>> from deployfit.catalogue import models
    >>> architecture_of(models()["GLM-4.7-Flash"].blueprint)
    'deepseek2'
    """
    return blueprint.gguf_architecture or blueprint.model_type


NO_SPEEDS = Speeds({}, {}, ())
