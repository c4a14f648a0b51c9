"""Softmax attention in the graph: grouped-query attention over a KV cache."""

from __future__ import annotations

from math import prod

from deployfit.layers.attention import Attention
from deployfit.runtimes.llamacpp.batch import CELLS
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.inputs import cache_of
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.metal import flash_scratch
from deployfit.runtimes.llamacpp.tensors import Tensor


def attention(graph: ModelGraph, mixer: Attention, normed: Tensor) -> Tensor:
    """Return the output of a layer's attention."""
    tokens = normed.shape[1]
    query_shape, kind = (mixer.head_dim, mixer.heads, tokens), cache_of(mixer)
    raw = _projections(graph, mixer, normed)
    query = rotated(graph, _with_position(graph, mixer, raw[0], query_shape), f"{kind}_key_rotation")
    caches: list[Tensor] = []
    if not mixer.shared_cache:
        caches = _keys_and_values(graph, mixer, raw)
    # The engine places them together; the order depends on whether any layer has a window.
    order = [query, *caches] if graph.has_input("sliding_mask") else [query, *reversed(caches)]
    for tensor in order:
        graph.expand(tensor)
    if caches:
        graph.store("SET_ROWS", graph.view(caches[0], mixer.kv_dim, tokens), graph.input(f"{kind}_key_rows"))
        graph.store("SET_ROWS", _cached_values(graph, mixer, caches[1]), graph.input(f"{kind}_value_rows"))
    result = _attended(graph, mixer, query, kind)
    result = rotated(graph, result, f"{kind}_value_rotation")
    if mixer.gate:
        result = graph.compute("MUL", result.shape, result, _gate(graph, mixer, normed, raw[0], query_shape))
    return graph.projected(graph.blueprint.hidden, result)


def _gate(graph: ModelGraph, mixer: Attention, normed: Tensor, query: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return what the output is multiplied by."""
    if mixer.gate == "own":
        return graph.projected(mixer.query_dim, normed)
    (joint,) = query.sources  # the projection that gives queries and gate
    return graph.compute("CONT", (mixer.query_dim, shape[-1]), graph.view(joint, *shape))


def _projections(graph: ModelGraph, mixer: Attention, normed: Tensor) -> list[Tensor]:
    """Return queries, keys and values, head by head."""
    tokens = normed.shape[1]
    queries = mixer.query_dim * (2 if mixer.gate == "joint" else 1)
    heads = (mixer.heads, mixer.kv_heads, mixer.kv_heads)
    if mixer.fused:
        joint = graph.projected(queries + 2 * mixer.kv_dim, normed)
        parts = [joint] * 3
    else:
        parts = [graph.projected(rows, normed) for rows in (queries, mixer.kv_dim, mixer.kv_dim)]
        if mixer.keys_are_values:
            parts[2] = parts[1]
        if mixer.norm == "all":
            parts[:2] = [graph.norm(part) for part in parts[:2]]
    return [graph.view(part, mixer.head_dim, count, tokens) for part, count in zip(parts, heads, strict=True)]


def _keys_and_values(graph: ModelGraph, mixer: Attention, raw: list[Tensor]) -> list[Tensor]:
    kind = cache_of(mixer)
    key = _with_position(graph, mixer, raw[1], raw[1].shape, is_key=True)
    value = graph.norm(raw[2]) if mixer.value_norm else raw[2]
    is_strided = mixer.fused and not mixer.value_norm
    if is_strided and graph.has_input(f"{kind}_value_rotation"):
        value = graph.compute("CONT", value.shape, value)
    return [rotated(graph, key, f"{kind}_key_rotation"), rotated(graph, value, f"{kind}_value_rotation")]


def _with_position(
    graph: ModelGraph, mixer: Attention, tensor: Tensor, shape: tuple[int, ...], *, is_key: bool = False
) -> Tensor:
    """Return queries or keys, normed and rotated as the layer has it."""
    if mixer.norm in ("head", "made"):
        tensor = graph.norm(tensor)
    if mixer.rotary:
        tensor = graph.compute("ROPE", shape, tensor, graph.input("positions"))
    if mixer.scaled and not is_key:
        tensor = graph.compute("MUL", shape, tensor, graph.input("scales"))
    return tensor


def rotated(graph: ModelGraph, tensor: Tensor, name: str) -> Tensor:
    """Return the Hadamard rotation of what goes into or comes out of a quantized cache."""
    if not graph.has_input(name):
        return tensor
    rotation = graph.input(name)
    width = rotation.shape[0]
    rows = prod(tensor.shape) // width
    result = graph.compute("MUL_MAT", (width, rows), rotation, graph.view(tensor, width, rows))
    return graph.view(result, *tensor.shape)


def _cached_values(graph: ModelGraph, mixer: Attention, value: Tensor) -> Tensor:
    """Return values as they are written to the cache; without flash attention all layers cache as many of a token."""
    tokens = value.shape[-1]
    if graph.batch.flash:
        return graph.view(value, mixer.kv_dim, tokens)
    if mixer.fused:
        value = graph.compute("CONT", (mixer.kv_dim, tokens), value)
    widest = kinds_of(graph.blueprint).widest_values
    if mixer.kv_dim < widest:
        value = graph.compute("PAD", (widest, tokens), graph.view(value, mixer.kv_dim, tokens))
    return graph.view(value, 1, widest * tokens)


def _attended(graph: ModelGraph, mixer: Attention, query: Tensor, kind: str) -> Tensor:
    """Return softmax attention over the whole cache; flash attention wants an F32 cache copied to F16 first."""
    batch, tokens = graph.batch, query.shape[-1]
    cells = batch.sliding_cells if kind == "sliding" else CELLS
    mask, output = graph.input(f"{kind}_mask"), (mixer.query_dim, tokens)
    if not batch.flash:
        scores = graph.compute("MUL_MAT", (cells, tokens, mixer.heads), graph.view(query, *query.shape))
        weights = graph.compute("SOFT_MAX", scores.shape, scores, mask)
        result = graph.compute("MUL_MAT", (mixer.head_dim, tokens, mixer.heads), weights)
        result = graph.compute("CONT", output, graph.view(result, *output))
        graph.expand(result)
        return result
    copies = [
        graph.half_copy((mixer.kv_dim * batch.streams, cells))
        for tensor_type in (batch.key_type, batch.value_type)
        if tensor_type.name == "F32"
    ]
    result = graph.compute("FLASH_ATTN_EXT", output, graph.view(query, *query.shape), *copies, mask)
    result.scratch = flash_scratch(batch, mixer)
    graph.expand(result)
    return graph.view(result, *output)
