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
from functools import lru_cache
from typing import Any

from deployfit.basis import Basis
from deployfit.errors import DataError
from deployfit.estimate import Estimate
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.hardware.mac import CHIP_DECIDES, Mac, MacRow, find_chip
from deployfit.kept import keep
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer, layer_tensors
from deployfit.layers.feed import Experts
from deployfit.layers.recurrent import DeltaNet, KimiDelta
from deployfit.layers.tensor import Part
from deployfit.quants.weights import EMBEDDINGS, WeightClass, Weights
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

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
TILE = 32  # tokens that a kernel takes at once, of each expert: on average half of the last ones are none
CLOCK = 0.81  # TFLOPS of each core of the GPU, as of an M4's: what times of blocks are told for

Coefficients = Mapping[str, float]


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


class Work(NamedTuple):
    """What a runtime has to do, in amounts that cost a chip so many seconds each; `Any` may be a numpy array.

    The first ones are for every token that is decoded, the `prompt_` ones for every token of a prompt, and the `step_`
    ones for every step in which it is read in.
    """

    read_bytes: Any  # of the weights
    numbers: float  # in them
    kernel_flops: Any  # that unpacking the weights' types costs
    state_bytes: Any  # of the recurrent state, read and written
    block_us: float  # that blocks take
    cache_reads: float  # how often a byte of the cache is read: more than once where layers share it
    cache_flops: float  # for every byte of the cache, where they outweigh reading it: latent attention
    prompt_flops: int
    prompt_us: float
    attention_flops: int  # per token and token before it
    windows: tuple[tuple[int, int], ...]  # the same of layers that see no more than so many
    step_bytes: int
    step_flops: int
    step_us: float
    step_tokens: int  # that a step has at most

    def attention(self, tokens: Any) -> Any:
        """Return the operations of attention, on average of each token of a prompt."""
        seen = self.attention_flops * tokens / 2
        for window, flops in self.windows:
            seen = seen + flops * _smaller(tokens / 2, window)
        return seen


def _smaller(one: Any, other: Any) -> Any:
    """Return the smaller number, or of an array each of its numbers that is."""
    return (one + other - abs(one - other)) / 2


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


def active_bytes(blueprint: Blueprint, weights: Weights) -> int:
    """Return the bytes of the weights that decoding one token reads: of the routed experts the active ones.

    An embedding table is read for one row only, unless it is the output head too.

    >>> from deployfit.catalogue import models
    >>> from deployfit.quants.gguf import gguf_recipes, gguf_weights
    >>> model, recipe = models()["Qwen3.5-35B-A3B"], gguf_recipes()["Q4_K_M"]
    >>> active_bytes(model.blueprint, gguf_weights(model, recipe, imatrix=False, mtp=False))
    1975675392
    """
    experts = blueprint.experts
    read = sum(each.total_bytes for each in _read_classes(blueprint, weights) if not each.is_experts)
    return read + (weights.expert_bytes * experts.used // experts.count if experts else weights.expert_bytes)


def _read_classes(blueprint: Blueprint, weights: Weights) -> list[WeightClass]:
    """Return the classes of the text model's tensors that decoding reads as a whole, or as experts."""
    tables = EMBEDDINGS if not blueprint.tied else EMBEDDINGS[1:]
    return [each for each in weights.classes if each.part is Part.TEXT and each.role not in tables]


@lru_cache(maxsize=64)
def active_params(blueprint: Blueprint) -> int:
    """Return the parameters that one token of a prompt is multiplied with: no embedding, no output head.

    >>> from deployfit.catalogue import models
    >>> active_params(models()["Qwen3.5-27B"].blueprint)
    24353201664
    """
    return _outside(blueprint) + _multiplied(blueprint, blueprint.layers)[0]


def _outside(blueprint: Blueprint) -> int:
    """Return the parameters outside of layers that a token is multiplied with before the head."""
    return sum(
        tensor.params
        for tensor in (*blueprint.first_tensors(), *blueprint.last_tensors())
        if tensor.role not in (*EMBEDDINGS, "output")
    )


def _multiplied(blueprint: Blueprint, layers: Sequence[Layer]) -> tuple[int, int]:
    """Return the parameters that a token is multiplied with in layers, and those of all their routed experts."""
    experts = blueprint.experts
    counted: dict[Layer, tuple[int, int]] = {}
    dense = routed = 0
    for layer in layers:
        if layer not in counted:
            own = [
                (tensor.params, "_exps" in tensor.role)
                for tensor in layer_tensors(layer, blueprint.hidden, 0, Part.TEXT)
            ]
            counted[layer] = sum(n for n, stack in own if not stack), sum(n for n, stack in own if stack)
        dense, routed = dense + counted[layer][0], routed + counted[layer][1]
    return dense + (routed * experts.used // experts.count if experts else 0), routed


class _Shape(NamedTuple):
    """What work takes from a blueprint, whatever its weights are."""

    blocks: int
    norms: int  # beside the one before each block
    moes: int
    cache_reads: float
    cache_flops: float
    layers_run: int  # of which a prompt's tokens run through all
    prompt_params: int
    deltas: int
    attention_flops: int
    windows: tuple[tuple[int, int], ...]
    expert_params: int


MOST_SHAPES = 512
_shapes: dict[tuple[int, bool], tuple[Blueprint, _Shape]] = {}


def _shape(blueprint: Blueprint, tail: bool) -> _Shape:
    """Return it, made once for a blueprint."""
    key = id(blueprint), tail
    found = _shapes.get(key)
    return (found or keep(_shapes, key, (blueprint, _make_shape(blueprint, tail)), MOST_SHAPES))[1]


def _make_shape(blueprint: Blueprint, tail: bool) -> _Shape:
    layers = blueprint.layers
    blocks = sum((layer.mixer is not None) + (layer.feed is not None) for layer in layers)
    run = layers if tail else layers[: _last_with_cache(layers)]
    params, routed = _multiplied(blueprint, run)
    attention: dict[int, int] = {}
    for layer in run:
        if isinstance(layer.mixer, Attention | LatentAttention):
            window, flops = _attention_flops(layer.mixer)
            attention[window] = attention.get(window, 0) + flops
    reads, cache_flops = _cache_work(blueprint)
    return _Shape(
        blocks=blocks,
        norms=max(0, sum(len(layer.norms) for layer in layers) - blocks),
        moes=sum(isinstance(layer.feed, Experts) for layer in layers),
        cache_reads=reads,
        cache_flops=cache_flops,
        layers_run=len(run),
        prompt_params=_outside(blueprint) + params,
        deltas=sum(isinstance(layer.mixer, DeltaNet | KimiDelta) for layer in run),
        attention_flops=attention.pop(0, 0),
        windows=tuple(sorted(attention.items())),
        expert_params=routed,
    )


def _last_with_cache(layers: Sequence[Layer]) -> int:
    """Return the place of the last layer that keeps something of a token, at least 1."""
    keeping = [
        index
        for index, layer in enumerate(layers)
        if layer.mixer is not None and not (isinstance(layer.mixer, Attention) and layer.mixer.shared_cache)
    ]
    return max(1, *keeping) if keeping else len(layers)


def _attention_flops(mixer: Attention | LatentAttention) -> tuple[int, int]:
    """Return how many tokens a layer sees, 0 for all, and its operations for each: scores, and the values' sum."""
    if isinstance(mixer, Attention):
        return mixer.window or mixer.chunk // 2, 4 * mixer.query_dim
    return 0, 2 * mixer.heads * (mixer.cache_row + mixer.kv_rank)


def _cache_work(blueprint: Blueprint) -> tuple[float, float]:
    """Return how often a byte of the cache is read, and the operations for each where they are more than reading it.

    All heads of latent attention share a row of the cache, of which each takes scores and a sum; at 16 bits.
    """
    mixers = [layer.mixer for layer in blueprint.layers if isinstance(layer.mixer, Attention | LatentAttention)]
    own = sum(_row(mixer) for mixer in mixers if isinstance(mixer, LatentAttention) or not mixer.shared_cache)
    if not own:
        return 1.0, 0.0
    latent = sum(_attention_flops(mixer)[1] for mixer in mixers if isinstance(mixer, LatentAttention))
    return sum(map(_row, mixers)) / own, latent / (2 * own)


def _row(mixer: Attention | LatentAttention) -> int:
    return mixer.cache_row if isinstance(mixer, LatentAttention) else 2 * mixer.kv_dim


def work_of(blueprint: Blueprint, weights: Weights, state_bytes: Any, coefficients: Coefficients) -> Work:
    """Return what a model costs; `state_bytes` are those of one sequence's recurrent state."""
    shape = _shape(blueprint, bool(coefficients["prefill_tail"]))
    read = active_bytes(blueprint, weights)
    return Work(
        read_bytes=read,
        numbers=read * 8 / weights.bits_per_weight,
        kernel_flops=_kernel_flops(blueprint, weights, coefficients),
        state_bytes=2 * state_bytes,
        block_us=shape.blocks * coefficients["block_us"]
        + shape.norms * coefficients["norm_us"]
        + shape.moes * coefficients["moe_us"],
        cache_reads=shape.cache_reads,
        cache_flops=shape.cache_flops,
        prompt_flops=2 * shape.prompt_params,
        prompt_us=shape.deltas * coefficients["prefill_delta_us"],
        attention_flops=shape.attention_flops,
        windows=shape.windows,
        step_bytes=_step_bytes(weights, shape.layers_run),
        step_flops=2 * shape.expert_params * TILE // 2,
        step_us=shape.blocks * coefficients["prefill_block_us"],
        step_tokens=int(coefficients["prefill_step"]),
    )


def _step_bytes(weights: Weights, layers: int) -> int:
    """Return the bytes of the weights of the first layers."""
    return sum(each.nbytes * _within(each.layers, layers) for each in weights.classes if each.part is Part.TEXT)


def _within(places: Sequence[int], end: int) -> int:
    """Return how many of the places are in layers before one; usually all are."""
    if min(places) >= 0 and max(places) < end:
        return len(places)
    return sum(0 <= place < end for place in places)


KERNELS: Mapping[str, str] = {
    "IQ4": "kernel_iq4",
    "IQ": "kernel_iq",
    "Q2_K": "kernel_k_low",
    "Q3_K": "kernel_k_low",
    "Q4_K": "kernel_k",
    "Q5_K": "kernel_k",
    "Q6_K": "kernel_k",
}
"""Which coefficient says what unpacking a type costs, by how its name begins."""


def kernel_of(tensor_type: str) -> str:
    """Return which coefficient says what unpacking a number of a type costs, "" for next to nothing.

    >>> kernel_of("IQ4_XS"), kernel_of("IQ3_S"), kernel_of("Q6_K"), kernel_of("Q8_0")
    ('kernel_iq4', 'kernel_iq', 'kernel_k', '')
    """
    return next((kernel for beginning, kernel in KERNELS.items() if tensor_type.startswith(beginning)), "")


def unpacked(blueprint: Blueprint, weights: Weights) -> dict[str, float]:
    """Return how many numbers of each kernel decoding a token unpacks."""
    experts = blueprint.experts
    active = experts.used / experts.count if experts else 1.0
    counts: dict[str, float] = {}
    for each in _read_classes(blueprint, weights):
        if kernel := kernel_of(each.type):
            block = TENSOR_TYPES[each.type]
            numbers = each.total_bytes // block.block_bytes * block.block_size
            counts[kernel] = counts.get(kernel, 0.0) + numbers * (active if each.is_experts else 1)
    return counts


def _kernel_flops(blueprint: Blueprint, weights: Weights, coefficients: Coefficients) -> float:
    return sum(coefficients.get(kernel, 0.0) * count for kernel, count in unpacked(blueprint, weights).items())


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
        + step / _smaller(prompt_tokens, work.step_tokens)
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
