"""Latent attention in the graph: one compressed row per token, with or without an indexer that picks rows."""

from __future__ import annotations

from deployfit.layers.attention import Indexer, LatentAttention
from deployfit.runtimes.llamacpp.batch import CELLS, F16_BYTES, F32_BYTES
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.inputs import I32_BYTES
from deployfit.runtimes.llamacpp.metal import flash_scratch
from deployfit.runtimes.llamacpp.tensors import Tensor


def latent_attention(graph: ModelGraph, mixer: LatentAttention, normed: Tensor) -> Tensor:
    """Return the output of a layer's latent attention."""
    tokens = normed.shape[1]
    narrow = normed
    if mixer.query_rank:
        narrow = graph.norm(graph.projected(mixer.query_rank, normed))
    picked = _picked(graph, mixer.indexer, narrow, normed) if mixer.indexer else None
    query = _query(graph, mixer, narrow)
    key, value = _key(graph, mixer, normed)
    for tensor in (query, value, key):
        graph.expand(tensor)
    graph.store("SET_ROWS", graph.view(key, mixer.cache_row, tokens), graph.input("full_key_rows"))
    mask = graph.input("full_mask")
    if picked is not None:
        mask = _mask_of_picked(graph, picked, mask)
    result = _attended(graph, mixer, query, mask)
    result = graph.projected(mixer.value_dim, result)
    rows = (mixer.value_dim * mixer.heads, tokens)
    result = graph.compute("CONT", rows, graph.view(result, *rows))
    graph.expand(result)
    return graph.projected(graph.blueprint.hidden, graph.view(result, *rows))


def _attended(graph: ModelGraph, mixer: LatentAttention, query: Tensor, mask: Tensor) -> Tensor:
    """Return the weighted sums of the compressed rows, head by head."""
    batch, tokens = graph.batch, query.shape[-1]
    query = graph.view(query, *query.shape)
    rows, output = mixer.kv_rank * batch.streams, (mixer.kv_rank, tokens, mixer.heads)
    if not batch.flash:
        width = F32_BYTES if batch.key_type.name == "F32" else F16_BYTES
        columns = graph.compute("CONT", (CELLS, rows), width=width)
        scores = graph.compute("MUL_MAT", (CELLS, tokens, mixer.heads), query)
        weights = graph.compute("SOFT_MAX", scores.shape, scores, mask)
        return graph.compute("MUL_MAT", output, columns, weights)
    copies = []
    if batch.key_type.name == "F32":
        copies = [graph.half_copy((length, CELLS)) for length in (mixer.cache_row * batch.streams, rows)]
    result = graph.compute("FLASH_ATTN_EXT", output, query, *copies, mask)
    result.scratch = flash_scratch(batch, mixer)
    return graph.view(result, *output)


def _query(graph: ModelGraph, mixer: LatentAttention, narrow: Tensor) -> Tensor:
    """Return the queries in the space of the compressed rows, and their rotated part."""
    tokens, heads = narrow.shape[1], mixer.heads
    query = graph.projected(heads * (mixer.nope_dim + mixer.rope_dim), narrow)
    absorbed = graph.projected(mixer.kv_rank, graph.view(query, mixer.nope_dim, tokens, heads))
    absorbed = graph.view(absorbed, mixer.kv_rank, heads, tokens)
    position = graph.view(query, mixer.rope_dim, heads, tokens)
    if mixer.rotary:
        position = graph.compute("ROPE", position.shape, position, graph.input("positions"))
    query = graph.compute("CONCAT", (mixer.cache_row, heads, tokens), absorbed, position)
    return graph.compute("MUL", query.shape, query, graph.input("scales")) if mixer.scaled else query


def _key(graph: ModelGraph, mixer: LatentAttention, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the compressed rows with their rotated part, and the rows alone."""
    tokens = normed.shape[1]
    both = graph.projected(mixer.cache_row, normed)
    rows = graph.view(graph.norm(graph.view(both, mixer.kv_rank, tokens)), mixer.kv_rank, 1, tokens)
    position = graph.view(both, mixer.rope_dim, 1, tokens)
    if mixer.rotary:
        position = graph.compute("ROPE", position.shape, position, graph.input("positions"))
    return graph.compute("CONCAT", (mixer.cache_row, 1, tokens), rows, position), rows


def _picked(graph: ModelGraph, indexer: Indexer, narrow: Tensor, normed: Tensor) -> Tensor:
    """Return the numbers of the cells that the indexer picks; its keys are cached as well."""
    (heads, size, _), tokens = indexer, normed.shape[1]
    positions, rotation = graph.input("positions"), graph.input("index_rotation")
    query = graph.view(graph.projected(heads * size, narrow), size, heads, tokens)
    query = graph.compute("ROPE", query.shape, query, positions)
    query = graph.compute("MUL_MAT", query.shape, rotation, query)
    key = graph.projected(size, normed)
    key = graph.view(graph.compute("NORM", key.shape, key), size, 1, tokens)
    key = graph.compute("ROPE", key.shape, key, positions)
    key = graph.compute("MUL_MAT", key.shape, rotation, key)
    graph.store("SET_ROWS", graph.view(key, size, tokens), graph.input("index_key_rows"))
    weights = graph.projected(heads, normed)
    weights = graph.compute("SCALE", weights.shape, graph.view(weights, heads, tokens))
    scores = graph.compute(
        "LIGHTNING_INDEXER", (CELLS, tokens), graph.view(query, *query.shape), weights, graph.input("index_mask")
    )
    top = (graph.batch.indexed_cells, tokens)
    return graph.compute("CONT", top, graph.compute("TOP_K", top, scores, width=I32_BYTES), width=I32_BYTES)


def _mask_of_picked(graph: ModelGraph, picked: Tensor, mask: Tensor) -> Tensor:
    """Return the mask that shows picked cells only."""
    shape = mask.shape
    closed = graph.compute("FILL", shape, mask, width=mask.width)
    zeros = graph.leaf((1, *picked.shape))
    opened = graph.written(
        "SET_ROWS",
        graph.view(closed, 1, *shape),
        graph.compute("FILL", zeros.shape, zeros),
        graph.view(picked, *picked.shape),
    )
    return graph.compute("ADD", shape, graph.view(opened, *shape), mask, width=mask.width)
