"""What an image costs under llama.cpp: the tower's weights, and the buffers in which it computes.

The buffers are reserved at load for an image of 1472x1472 pixels, before any is there. Images are computed one at a
time; a larger one makes the buffers grow, and they stay so. Source: llama.cpp of 2026-10-01 (tools/mtmd, ggml's CPU
and Metal backends).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from math import prod

from deployfit.basis import Basis
from deployfit.formats.mmproj import DEFAULT_TYPE, matrix_type, mmproj_tensor_bytes
from deployfit.layers.vision import VisionTower
from deployfit.runtimes.llamacpp.allocator import Curve, compiled
from deployfit.runtimes.llamacpp.batch import F16_BYTES, F32_BYTES
from deployfit.runtimes.llamacpp.image_graph import Grid, TowerGraph, input_shapes
from deployfit.runtimes.llamacpp.image_metal import in_metal_order, keeping_inputs
from deployfit.runtimes.llamacpp.tensors import ALIGNMENT
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart
from deployfit.units import ceil_to, gib
from deployfit.vision.image import Image
from deployfit.vision.largest import LargestImage, largest
from deployfit.vision.resize import Limits, Seen, llamacpp_seen, seen, token_limits, token_side

WARMUP_TOKENS = 46  # on each side, whatever --image-max-tokens says
PLAIN_RUN = 3  # layers replayed where no features are taken; more reach no higher address (tested)
LONGEST_RUN = 4  # of layers between features; addresses recur after two, so pairs are left out (tested)


class Planner(Enum):
    """Who lays the buffer out. On Metal it is larger, by up to 20 %: operations are computed in another order."""

    PLAIN = "the CPU, or a device without scratch of its own"
    METAL_UNTIL_2026_08 = "Metal, with its order of operations and flash attention's scratch"
    METAL = "Metal since September 2026: what a fused kernel could read is kept until it is done"


def grid_of(tower: VisionTower, size: Seen) -> Grid:
    """Return an image in patches."""
    return Grid(size.width // tower.patch_size, size.height // tower.patch_size)


@lru_cache(maxsize=512)
def device_bytes(
    tower: VisionTower, size: Seen, *, flash_attention: bool = True, planner: Planner = Planner.PLAIN
) -> int:
    """Return the buffer in which the tower computes an image, exact: the engine's allocator is replayed.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-4B"].blueprint.vision
    >>> device_bytes(tower, warmup_size(tower))
    234148096
    >>> device_bytes(tower, warmup_size(tower), flash_attention=False)
    4853731584
    """
    metal = planner is not Planner.PLAIN
    depth, features = _replayed(tower)
    graph = TowerGraph(tower, grid_of(tower, size), depth, features, flash_attention=flash_attention, metal=metal)
    nodes = graph.placed
    if metal:
        ordered = in_metal_order(nodes)
        nodes = keeping_inputs(nodes, ordered) if planner is Planner.METAL else ordered
    return Curve(compiled([*graph.copies, *nodes])).peak_bytes(1)


def _replayed(tower: VisionTower) -> tuple[int, tuple[int, ...]]:
    """Return how many layers are replayed, and after which of them features are taken."""
    if not tower.deepstack_layers:
        return min(tower.depth, PLAIN_RUN), ()
    features: list[int] = []
    end = last = -1
    for layer in tower.deepstack_layers:
        end += _shortened(layer - last - 1) + 1
        last = layer
        features.append(end)
    return end + 1 + _shortened(tower.depth - last - 1), tuple(features)


def _shortened(run: int) -> int:
    return run - max(0, run - LONGEST_RUN + 1) // 2 * 2


def host_bytes(tower: VisionTower, size: Seen) -> int:
    """Return what stays in ordinary memory beside a GPU: the pixels and the patches' positions, exact.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-4B"].blueprint.vision
    >>> host_bytes(tower, warmup_size(tower))
    26136832
    """
    shapes = input_shapes(tower, grid_of(tower, size))
    return sum(ceil_to(F32_BYTES * prod(shape), ALIGNMENT) for shape in shapes)


THREADS = 4
CACHE_LINE = 64
FLASH_TILE = 64  # queries, and keys, that a thread takes at once


def cpu_work_bytes(
    tower: VisionTower, size: Seen, mmproj_type: str = DEFAULT_TYPE, *, flash_attention: bool = True
) -> int:
    """Return what the CPU takes beside the buffer if it computes the tower itself, in 4 threads: --no-mmproj-offload.

    What a matrix is multiplied with is brought into the type that goes with the matrix; the widest counts. Exact for
    the engine's plain kernels; others, such as those of some ARM processors, can take more.
    """
    hidden, width = tower.hidden_size, tower.intermediate_size
    kernel = (hidden, tower.in_channels * tower.patch_size**2)
    work = 0 if mmproj_type == DEFAULT_TYPE else F16_BYTES * prod(kernel)
    for row in (hidden, width):
        tensor_type = matrix_type(row, mmproj_type)
        if tensor_type.name != "F32":
            work = max(work, tensor_type.nbytes(row * size.patches))
    if flash_attention:
        head = hidden // tower.num_heads
        work = max(work, THREADS * F32_BYTES * (4 * FLASH_TILE * head + 2 * FLASH_TILE**2))
    return ceil_to(work, CACHE_LINE) + CACHE_LINE * THREADS


def warmup_size(tower: VisionTower) -> Seen:
    """Return the image for which buffers are reserved at load."""
    side = WARMUP_TOKENS * token_side(tower)
    return seen(tower, side, side)


def llamacpp_image_parts(
    vision_tower: VisionTower,
    images: Iterable[Image] = (),
    *,
    flash_attention: bool = True,
    mmproj_type: str = DEFAULT_TYPE,
    mmproj_bytes: int = 0,
    limits: Limits | None = None,
    warmup: bool = True,
    offload: bool = True,
) -> list[MemoryPart]:
    """Return what a vision tower and the largest of some images occupy: parts `vision` and `image`.

    `mmproj_bytes`: the tensors of a file that is there, which then count instead of those of `mmproj_type`. `limits`:
    --image-min-tokens and --image-max-tokens. `warmup`: buffers are reserved at load, unless --no-warmup. `offload`:
    the GPU computes, unless --no-mmproj-offload. The device's part is that of a device without scratch of its own;
    the upper bound is Metal's.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-4B"].blueprint.vision
    >>> for part in llamacpp_image_parts(tower, [Image(2560, 1440)]):
    ...     print(part.name, part.where, part.nbytes, part.upper_bytes, part.detail)
    vision device 672405504 672405504 mmproj F16
    image device 398361600 457344000 for 2560x1440, 3,600 tokens; 0.22 at load; at most 0.43 on Metal
    image host 44467200 44467200 its pixels and positions
    """
    where = DEVICE if offload else HOST
    tower_bytes = mmproj_bytes or mmproj_tensor_bytes(vision_tower, mmproj_type)
    told = "as in the file" if mmproj_bytes else f"mmproj {mmproj_type}"
    parts = [_part("vision", "vision tower", tower_bytes, told, where)]
    start = warmup_size(vision_tower)
    sizes = {llamacpp_seen(vision_tower, image, limits): None for image in images}
    if warmup:
        sizes.setdefault(start)
    if not sizes:
        return parts

    def needed(size: Seen, planner: Planner = Planner.PLAIN) -> int:
        return device_bytes(vision_tower, size, flash_attention=flash_attention, planner=planner)

    largest_size = max(sizes, key=needed)
    buffer = needed(largest_size)
    told = f"for {largest_size.width}x{largest_size.height}, {largest_size.tokens:,} tokens"
    if largest_size == start:
        told = f"reserved at load, {told}"
    elif warmup:
        told += f"; {gib(needed(start))} at load"
    if not offload:
        work = max(cpu_work_bytes(vision_tower, size, mmproj_type, flash_attention=flash_attention) for size in sizes)
        return [
            *parts,
            _part("image", "image buffers", buffer, told, HOST),
            _part("image", "image buffers", work, f"the CPU's own, in {THREADS} threads", HOST, Basis.DERIVED),
        ]
    upper = max(needed(size, planner) for size in sizes for planner in Planner)
    inputs = max(host_bytes(vision_tower, size) for size in sizes)
    device = _part("image", "image buffers", buffer, f"{told}; at most {gib(upper)} on Metal")
    return [
        *parts,
        device._replace(upper_bytes=upper),
        _part("image", "image buffers", inputs, "its pixels and positions", HOST),
    ]


def _part(
    name: str, label: str, nbytes: int, detail: str, where: str = DEVICE, basis: Basis = Basis.EXACT
) -> MemoryPart:
    return MemoryPart(name, label, nbytes, nbytes, basis, detail, where)


def largest_image(
    tower: VisionTower,
    free_bytes: int,
    free_cells: int,
    *,
    flash_attention: bool = True,
    limits: Limits | None = None,
) -> LargestImage | None:
    """Return the largest image that still fits, exact; None if none does.

    `free_bytes` are those beside what is reserved at load, `free_cells` those of the KV cache that are left for it.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-4B"].blueprint.vision
    >>> largest_image(tower, 100_000_000, 32768)
    LargestImage(tokens=2928, width=1728, height=1728, all_fit=False)
    >>> largest_image(tower, 10**9, 32768).all_fit
    True
    """

    def both(size: Seen) -> int:
        return device_bytes(tower, size, flash_attention=flash_attention) + host_bytes(tower, size)

    start = both(warmup_size(tower))
    side = token_side(tower)
    return largest(
        tower,
        limits or token_limits(tower),
        free_cells,
        lambda tokens: both(seen(tower, tokens * side, side)) - start <= free_bytes,
    )
