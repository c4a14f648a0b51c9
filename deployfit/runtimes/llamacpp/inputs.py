"""The inputs of a graph: tensors in ordinary memory, of which the device makes copies at the start of a pass."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.batch import CELLS, F16_BYTES, F32_BYTES, Batch, is_quantized
from deployfit.runtimes.llamacpp.caches import slides
from deployfit.runtimes.llamacpp.kinds import Kinds, kinds_of
from deployfit.runtimes.llamacpp.tensors import ALIGNMENT, Shape
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

I32_BYTES = 4
I64_BYTES = 8
ROTATION_STEP = 64  # quantized keys and values are rotated only where heads divide by this
VALUE_ROTATION = 64  # values are rotated in chunks of this many, keys in the widest that divide a head


class Input(NamedTuple):
    """A tensor in ordinary memory."""

    shape: Shape
    width: int = F32_BYTES


def host_inputs(blueprint: Blueprint, batch: Batch) -> Mapping[str, Input]:
    """Return the inputs that a graph has; embedded tokens are among them, for the table lies in ordinary memory.

    `full` and `sliding` are two kinds of caches, each with inputs of its own.
    """
    tokens, hidden = batch.tokens, blueprint.hidden
    inputs = {
        "tokens": Input((tokens,), I32_BYTES),
        "features": Input((hidden * (1 + blueprint.deepstack), tokens)),  # of an image, in place of embedded tokens
        "embedding": Input((hidden, tokens)),
        "output_rows": Input((batch.outputs,), I32_BYTES),
    }
    if blueprint.per_layer_width:
        inputs["per_layer_tokens"] = Input((tokens,), I32_BYTES)
        inputs["per_layer"] = Input((blueprint.per_layer_width, len(blueprint.layers), tokens))
    kinds = kinds_of(blueprint)
    if kinds.recurrent_layers:
        inputs["state_rows"] = Input((batch.sequences,), I32_BYTES)
        inputs["spare_rows"] = Input((0,), I32_BYTES)
    if any(mixer.rotary for mixer in kinds.attentions):
        inputs["positions"] = Input((blueprint.position_axes * tokens,), I32_BYTES)
    if any(mixer.scaled for mixer in kinds.attentions):
        inputs["scales"] = Input((1, 1, tokens))
    for mixer in kinds.attentions:
        inputs |= _cache_inputs(kinds, mixer, batch)
    return inputs


def _cache_inputs(kinds: Kinds, mixer: Attention | LatentAttention, batch: Batch) -> dict[str, Input]:
    kind = cache_of(mixer)
    cells = batch.sliding_cells if kind == "sliding" else CELLS
    rows = Input((batch.tokens,), I64_BYTES)
    inputs = {f"{kind}_key_rows": rows, f"{kind}_mask": Input((cells, batch.tokens), batch.mask_width)}
    if isinstance(mixer, LatentAttention):
        if mixer.indexer:
            size = _widest_rotation(mixer.indexer.head_dim)
            inputs["index_rotation"] = Input((size, size))
            inputs["index_key_rows"] = rows
            inputs["index_mask"] = Input((CELLS, batch.tokens), F16_BYTES)
        return inputs
    # Without flash attention values are cached column by column: a place for each number, not for each row.
    places = 1 if batch.flash else kinds.widest_values
    inputs[f"{kind}_value_rows"] = Input((places * batch.tokens,), I64_BYTES)
    keys, values = _rotation_widths(kinds, mixer, batch)
    for name, size in (("key", keys), ("value", values)):
        if size:
            inputs[f"{kind}_{name}_rotation"] = Input((size, size))
    return inputs


def cache_of(mixer: Attention | LatentAttention) -> str:
    """Return which kind of cache a layer has."""
    return "sliding" if slides(mixer) else "full"


def _rotation_widths(kinds: Kinds, mixer: Attention, batch: Batch) -> tuple[int, int]:
    """Return the widths of the rotations of quantized keys and values, 0 where nothing is rotated.

    All heads of the kind of cache must be equal, and those of the model's first layer divide.
    """
    alike = [each for each, _ in kinds.caches if isinstance(each, Attention)]
    sizes = {each.head_dim for each in alike if slides(each) == slides(mixer)}
    if len(sizes) > 1 or alike[0].head_dim % ROTATION_STEP:
        return 0, 0
    return (
        _widest_rotation(mixer.head_dim) * is_quantized(batch.key_type),
        VALUE_ROTATION * is_quantized(batch.value_type),
    )


def _widest_rotation(size: int) -> int:
    """Return the widest power of two that divides a head."""
    return size & -size


def host_bytes(inputs: Mapping[str, Input]) -> tuple[int, int]:
    """Return the host part of the compute buffers, all inputs, each padded: bytes, and bytes for each cell."""
    fixed = per_cell = 0
    for shape, width in inputs.values():
        nbytes = width * prod(shape)
        if nbytes < 0:  # a dimension is CELLS, of which there are hundreds: nothing to pad
            per_cell += nbytes // CELLS
        else:
            fixed += ceil_to(nbytes, ALIGNMENT)
    return fixed, per_cell
