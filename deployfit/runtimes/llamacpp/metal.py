"""What Metal needs beyond a device without scratch of its own: flash attention's copies and partial results.

Source: llama.cpp's Metal backend of 2026-10-01; a Mac logged 1,337 MiB for Qwen3.5-9B at 262,144 tokens.
"""

from __future__ import annotations

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.batch import CELLS, F16_BYTES, F32_BYTES, Batch
from deployfit.runtimes.llamacpp.caches import slides
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.units import MIB

WORK_GROUPS = 32  # of flash attention, each with partial results for up to QUERIES queries
QUERIES = 32
SLACK = 48 * MIB  # padding of the last keys, block list, holes: up to 36 MB in 208 replays of Metal's rules


def metal_attention_bytes(blueprint: Blueprint, batch: Batch, cells: int, device_bytes: int) -> int:
    """Return an upper bound of what the layer with the most demanding attention needs on Metal."""
    attentions = kinds_of(blueprint).attentions
    most = max((_layer_bytes(mixer, batch, cells, device_bytes) for mixer in attentions), default=0)
    return most + _standing_bytes(blueprint, batch, cells)


def _layer_bytes(mixer: Attention | LatentAttention, batch: Batch, cells: int, device_bytes: int) -> int:
    """Return the mask, F16 copies of keys and values, partial results, and six activations as wide as the queries.

    Latent attention has wider results beside; all that a device without scratch needs is taken for them.
    """
    own = batch.sliding_cells if slides(mixer) and batch.sliding_cells != CELLS else cells
    if isinstance(mixer, LatentAttention):
        row, width = 2 * mixer.cache_row, mixer.kv_rank
        activations = device_bytes
    else:
        row, width = 2 * mixer.kv_dim, mixer.head_dim
        activations = 6 * F32_BYTES * mixer.query_dim * batch.tokens
    copies = F16_BYTES * own * batch.streams * row
    partial_results = F32_BYTES * WORK_GROUPS * QUERIES * mixer.heads * (width + 2)
    return batch.mask_bytes_per_cell * cells + copies + partial_results + activations + SLACK


def _standing_bytes(blueprint: Blueprint, batch: Batch, cells: int) -> int:
    """Return what stands in the arena while all layers run, beside the mask of the whole context."""
    widths = blueprint.hidden * blueprint.deepstack + 2 * blueprint.per_layer_width * len(blueprint.layers)
    masks = 0
    if kinds_of(blueprint).window:
        masks = batch.mask_bytes_per_cell * (cells if batch.sliding_cells == CELLS else batch.sliding_cells)
    return F32_BYTES * widths * batch.tokens + masks
