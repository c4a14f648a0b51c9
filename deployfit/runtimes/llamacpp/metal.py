"""What Metal needs beyond a device without scratch of its own: flash attention's copies and partial results.

Metal reserves them behind the result of each layer's flash attention. Source: ggml_metal_op_flash_attn_ext_extra_* in
ggml-metal-ops.cpp of 2026-10-01 (ggml 0.25.3). A Mac logged 1,337 MiB for Qwen3.5-9B at 262,144 tokens with all
logits; this gives 1,345. What the products of experts want besides is left out: 0.5 MiB with 256 experts.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.allocator import CELL_BLOCK
from deployfit.runtimes.llamacpp.batch import CELLS, F16_BYTES, F32_BYTES, Batch
from deployfit.runtimes.llamacpp.caches import slides
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.units import MIB

# The parts of the scratch by generation of the backend, the name of which a setting carries.
PAD, BLOCKS, PARTIAL, COPIES = "pad", "blocks", "partial", "copies"
GENERATIONS: Mapping[str, tuple[str, ...]] = {
    "current": (PAD, BLOCKS, PARTIAL, COPIES),
    "before": (PAD, BLOCKS, PARTIAL),  # F16 copies of one layer's keys and values came with b10662 at the latest
    "none": (),
}
PADDED_CELLS = 64  # OP_FLASH_ATTN_EXT_NCPSG: as many keys and values at the end are padded
FEW_QUERIES = 20  # below so many the kernel for vectors runs, with smaller blocks
BLOCK_QUERIES = 8

WORK_GROUPS = 32  # of flash attention, each with partial results for up to QUERIES queries
QUERIES = 32
SLACK = 48 * MIB  # padding of the last keys, block list, holes: up to 36 MB in 208 replays of Metal's rules


def flash_scratch(batch: Batch, mixer: Attention | LatentAttention, *, sees_views: bool = True) -> tuple[int, int]:
    """Return the scratch of one layer's flash attention on Metal: bytes, and bytes for each block of cells.

    `sees_views`: whether the device knows which values are a part of the keys. Over RPC it is not told.
    """
    wanted = GENERATIONS[batch.metal]
    if not wanted:
        return 0, 0
    queries, streams = batch.tokens // batch.streams, batch.streams
    is_latent = isinstance(mixer, LatentAttention)
    width = mixer.kv_rank if isinstance(mixer, LatentAttention) else mixer.head_dim
    row = mixer.cache_row if isinstance(mixer, LatentAttention) else mixer.head_dim
    heads = 1 if isinstance(mixer, LatentAttention) else mixer.kv_heads
    fixed = per_block = 0
    if PAD in wanted:  # keys and values as F16; an F16 cache's own strides would make it some 100 KiB more
        fixed += PADDED_CELLS * F16_BYTES * (heads * streams * (row + width) + batch.tokens)
    if PARTIAL in wanted:
        fixed += F32_BYTES * min(queries, QUERIES) * mixer.heads * streams * WORK_GROUPS * (width + 2)
    if BLOCKS in wanted:
        if queries < FEW_QUERIES and row % 32 == 0:
            per_block += 2 * queries * streams
        else:
            per_block += -(-queries // BLOCK_QUERIES) * streams
    if COPIES in wanted:
        # Values are a part of latent attention's keys, unless both were copied from F32.
        copied = row + (0 if is_latent and sees_views and batch.key_type.name != "F32" else width)
        per_block += CELL_BLOCK * F16_BYTES * copied * heads * streams
    cells = batch.sliding_cells if slides(mixer) else CELLS
    return (fixed, per_block) if cells == CELLS else (fixed + per_block * cells // CELL_BLOCK, 0)


ACTIVATIONS = 6  # as wide as the queries, that a layer of grouped-query attention has while its attention runs


def metal_bytes(blueprint: Blueprint, batch: Batch, cells: int, device_bytes: int, replayed_bytes: int) -> int:
    """Return the buffer with Metal's scratch, from that of a device without it and from the replay with it.

    Where all tokens get logits, these are what needs the most until attention alone needs more: Metal computes in an
    order of its own, which leaves no hole for them. Of 208 replays of that order 196 are within 3 % of it, and the
    buffers that Macs logged are; the replay with the scratch in the usual order is up to 18 % above.
    """
    attentions = kinds_of(blueprint).attentions
    if batch.outputs < batch.tokens or not all(isinstance(mixer, Attention) for mixer in attentions):
        return replayed_bytes
    widest = max((mixer.query_dim for mixer in attentions if isinstance(mixer, Attention)), default=0)
    alone = least_metal_bytes(blueprint, batch, cells) + ACTIVATIONS * F32_BYTES * widest * batch.tokens
    return min(replayed_bytes, max(device_bytes, alone))


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


def least_metal_bytes(blueprint: Blueprint, batch: Batch, cells: int) -> int:
    """Return what a layer's flash attention has at least: its mask and its scratch; it grows with the context."""
    most = 0
    for mixer in kinds_of(blueprint).attentions:
        fixed, per_block = flash_scratch(batch, mixer)
        own = 0 if slides(mixer) and batch.sliding_cells != CELLS else batch.mask_bytes_per_cell * cells
        most = max(most, own + fixed + per_block * cells // CELL_BLOCK)
    return most
