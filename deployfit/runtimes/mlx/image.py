"""What an image needs at least under mlx-vlm: the vision tower's working memory, and the pixels.

A floor, for no Mac was measured: what the tower holds at its worst moment if one operation ends before the next begins.
Sources: mlx-vlm 0.7.10 on mlx 0.32.4, traced and measured on a CPU; without a fused kernel, public reports of Macs
(ollama issue 17804, mlx-swift-lm issue 396).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployfit.basis import Basis
from deployfit.layers.vision import VisionTower
from deployfit.runtimes.runtime import MemoryPart
from deployfit.units import gib
from deployfit.vision.image import Image
from deployfit.vision.largest import LargestImage, largest
from deployfit.vision.resize import MLX_PIXELS, Limits, Seen, mlx_seen, seen, token_side

BF16_BYTES = 2
F32_BYTES = 4

# For each patch, in bytes times the tower's width: the stream 2, queries, keys and values 6, and 20 while they are
# rotated, in F32. Beside that its angles, half a head in F32.
ROTATING = 2 + 6 + 20
ATTENDING = 2 + 6 + 2 + 2 + 2  # the stream, all three, rotated queries and keys, the result
IN_FLIGHT = 100  # the same with operations in flight, as MLX runs: up to 97.5 on a CPU; on Metal nobody measured it

FUSED_HEADS = (64, 80, 128)  # head sizes that Metal's kernel has in every version of MLX
FUSED_SINCE = "0.32.2"  # of MLX, for heads of 72; mlx-vlm pads them to 80


def tower_bytes(tower: VisionTower, sizes: Sequence[Seen], *, fused: bool = True) -> int:
    """Return what the tower needs at least for the images of one prompt, which it computes together.

    Without a fused kernel the scores of one image are there at once: of every patch, for every patch and head.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-27B"].blueprint.vision
    >>> tower_bytes(tower, [mlx_seen(tower, Image(3840, 2160))])
    1057536000
    >>> tower_bytes(tower, [mlx_seen(tower, Image(5712, 4284))], fused=False)
    134915235840
    """
    patches = sum(size.patches for size in sizes)
    rotating = (ROTATING * tower.hidden_size + F32_BYTES * _head(tower) // 2) * patches
    if fused:
        return rotating
    return max(rotating, score_bytes(tower, sizes) + ATTENDING * tower.hidden_size * patches)


def score_bytes(tower: VisionTower, sizes: Sequence[Seen]) -> int:
    """Return the attention scores of the largest image, which only an MLX without a fused kernel keeps.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-27B"].blueprint.vision
    >>> score_bytes(tower, [mlx_seen(tower, Image(5712, 4284))])  # a Mac was asked for as much
    133872076800
    """
    return BF16_BYTES * tower.num_heads * max((size.patches for size in sizes), default=0) ** 2


def pixel_bytes(tower: VisionTower, sizes: Iterable[Seen]) -> int:
    """Return the pixels of all images, each a pair of equal frames, in F32 and once more in BF16."""
    values = tower.in_channels * tower.temporal_patch_size * tower.patch_size**2
    return (F32_BYTES + BF16_BYTES) * values * sum(size.patches for size in sizes)


def mlx_image_parts(
    vision_tower: VisionTower,
    images: Iterable[Image],
    *,
    fused: bool = True,
    prefill_bytes: int = 0,
    limits: Limits | None = None,
) -> list[MemoryPart]:
    """Return what images need at least beside the weights: the part `image`, empty without images.

    `prefill_bytes`: what reading the prompt needs later, when the tower is done; only what the tower needs beyond it
    counts. `fused`: false for another runner than mlx-vlm on an MLX without the kernel. `limits`: of the checkpoint or
    --max-pixels.

    >>> from deployfit.catalogue import models
    >>> tower = models()["Qwen3.5-27B"].blueprint.vision
    >>> for part in mlx_image_parts(tower, [Image(3840, 2160)]):
    ...     print(part.nbytes, part.basis.value, part.detail)
    1358346240 derived at least, for 8,160 tokens; 32.52 with an MLX older than 0.32.2 and heads not padded
    """
    sizes = [mlx_seen(vision_tower, image, limits) for image in images]
    if not sizes:
        return []
    needed = _peak(vision_tower, sizes, fused)
    in_flight = IN_FLIGHT * vision_tower.hidden_size * sum(size.patches for size in sizes)
    upper = in_flight + pixel_bytes(vision_tower, sizes) + (0 if fused else score_bytes(vision_tower, sizes))
    detail = f"at least, for {sum(size.tokens for size in sizes):,} tokens"
    if fused and _head(vision_tower) not in FUSED_HEADS:
        unfused = gib(_peak(vision_tower, sizes, fused=False))
        detail += f"; {unfused} with an MLX older than {FUSED_SINCE} and heads not padded"
    beyond, upper_beyond = max(0, needed - prefill_bytes), max(0, upper - prefill_bytes)
    return [MemoryPart("image", "image memory", beyond, upper_beyond, Basis.DERIVED, detail)]


def _peak(tower: VisionTower, sizes: Sequence[Seen], fused: bool) -> int:
    return tower_bytes(tower, sizes, fused=fused) + pixel_bytes(tower, sizes)


def _head(tower: VisionTower) -> int:
    return tower.hidden_size // tower.num_heads


def largest_image(
    tower: VisionTower,
    free_bytes: int,
    free_cells: int,
    *,
    fused: bool = True,
    prefill_bytes: int = 0,
    limits: Limits | None = None,
) -> LargestImage | None:
    """Return the largest image that can fit, None if none does: no larger one does, for it needs at least so much.

    `free_bytes` are those beside all that is counted, `prefill_bytes` what of that is there only after the tower;
    `free_cells` are the tokens of the context that are left for it.

    >>> from deployfit.catalogue import models
    >>> largest_image(models()["Qwen3.5-27B"].blueprint.vision, 10**9, 32768)
    LargestImage(tokens=6007, width=2496, height=2464, all_fit=False)
    """
    side = token_side(tower)
    return largest(
        tower,
        limits or Limits(*MLX_PIXELS),
        free_cells,
        lambda tokens: _peak(tower, [seen(tower, tokens * side, side)], fused) <= free_bytes + prefill_bytes,
    )
