"""How much a model has to do for a token: bytes that are read, operations, blocks; whatever the chip is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.kept import keep
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer, layer_tensors
from deployfit.layers.feed import Experts
from deployfit.layers.recurrent import DeltaNet, KimiDelta
from deployfit.layers.tensor import Part
from deployfit.quants.weights import EMBEDDINGS, WeightClass, Weights
from deployfit.values import NamedTuple

Coefficients = Mapping[str, float]

TILE = 32  # tokens that a kernel takes at once, of each expert: on average half of the last ones are none


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
            seen = seen + flops * smaller(tokens / 2, window)
        return seen


def smaller(one: Any, other: Any) -> Any:
    """Return the smaller number, or of an array each of its numbers that is."""
    return (one + other - abs(one - other)) / 2


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


MOST_WORKS = 512
_works: dict[tuple[int, int, int], tuple[Blueprint, Weights, Coefficients, Work]] = {}


def work_of(blueprint: Blueprint, weights: Weights, state_bytes: Any, coefficients: Coefficients) -> Work:
    """Return what a model costs, made once for its weights; `state_bytes` are those of a sequence's recurrent state."""
    key = id(blueprint), id(weights), id(coefficients)
    found = _works.get(key)
    if found is None:
        work = _make_work(blueprint, weights, coefficients)
        found = keep(_works, key, (blueprint, weights, coefficients, work), MOST_WORKS)
    return found[-1]._replace(state_bytes=2 * state_bytes)


def _make_work(blueprint: Blueprint, weights: Weights, coefficients: Coefficients) -> Work:
    """Return it but for the state."""
    shape = _shape(blueprint, bool(coefficients["prefill_tail"]))
    read = active_bytes(blueprint, weights)
    return Work(
        read_bytes=read,
        numbers=read * 8 / weights.bits_per_weight,
        kernel_flops=_kernel_flops(blueprint, weights, coefficients),
        state_bytes=0,
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
    """Return how many of the places, which are in order, are in layers before one; usually all are."""
    if places[0] >= 0 and places[-1] < end:
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


@lru_cache(maxsize=256)
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
