"""How engines resize an image before the vision tower sees it, and the tokens that it becomes there.

All keep its shape roughly and make both sides multiples of a token's. Sources: llama.cpp of 2026-10-01 (tools/mtmd:
mtmd-image.cpp, clip.cpp), which computes in 32-bit floating point; mlx-vlm 0.7.10 (processing_qwen3_vl.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, sqrt
from struct import pack, unpack

from deployfit.errors import InputError
from deployfit.layers.vision import VisionTower
from deployfit.parameters import param
from deployfit.values import NamedTuple
from deployfit.vision.image import Image

LLAMA_CPP_TOKENS = (8, 4096)  # a GGUF file says nothing of it: --image-min-tokens, --image-max-tokens
MLX_PIXELS = (65_536, 16_777_216)  # preprocessor_config.json of all Qwen3-VL and Qwen3.5; --max-pixels of the server
MARKERS = 2  # <|vision_start|> and <|vision_end|> around an image

# mlx-vlm reads images with Pillow, which takes a larger one for an attack.
MOST_PILLOW_PIXELS = 2 * (1024**3 // 4 // 3)
MOST_ASPECT = 200


class Limits(NamedTuple):
    """Between how many pixels an engine scales images; those in between keep their size but for rounding."""

    least_pixels: int
    most_pixels: int


class Seen(NamedTuple):
    """An image as the tower sees it: pixels after resizing, and the tokens of the text model that it becomes."""

    width: int
    height: int
    patches: int
    tokens: int

    @property
    def cells(self) -> int:
        """Cells that it takes of the KV cache: tokens and the two markers around them."""
        return self.tokens + MARKERS


def token_side(tower: VisionTower) -> int:
    """Return the side of the square of pixels that becomes one token."""
    return tower.patch_size * tower.spatial_merge_size


def seen(tower: VisionTower, width: int, height: int) -> Seen:
    """Return an image of this size after resizing."""
    patches = (width // tower.patch_size) * (height // tower.patch_size)
    return Seen(width, height, patches, patches // tower.spatial_merge_size**2)


def token_limits(tower: VisionTower, tokens: tuple[int, int] = LLAMA_CPP_TOKENS) -> Limits:
    """Return llama.cpp's limits, which are given in tokens."""
    least, most = (count * token_side(tower) ** 2 for count in tokens)
    return Limits(least, most)


def llamacpp_seen(tower: VisionTower, image: Image, limits: Limits | None = None) -> Seen:
    """Return an image as llama.cpp gives it to the tower, exact.

    >>> from deployfit.layers.vision import VisionTower
    >>> tower = VisionTower(27, 1152, 16, 4304, 5120, 16, 2, 2, 3, 2304)
    >>> llamacpp_seen(tower, Image(3840, 2160))
    Seen(width=2720, height=1536, patches=16320, tokens=4080)
    """
    least, most = limits or token_limits(tower)
    side = token_side(tower)
    width, height = (max(side, floor(_f32(each / side) + 0.5) * side) for each in image)
    pixels = _f32(_f32(image.height) * _f32(image.width))
    if width * height > most:
        scale = _f32(sqrt(_f32(pixels / _f32(most))))
        width, height = (max(side, floor(_f32(_f32(each / scale) / side)) * side) for each in image)
    elif width * height < least:
        scale = _f32(sqrt(_f32(_f32(least) / pixels)))
        width, height = (ceil(_f32(_f32(each * scale) / side)) * side for each in image)
    return seen(tower, width, height)


def _f32(value: float) -> float:
    """Round to 32-bit floating point; of sums, products, quotients and roots that is the same as computing in it."""
    rounded: float = unpack("f", pack("f", value))[0]
    return rounded


def mlx_seen(tower: VisionTower, image: Image, limits: Limits | None = None) -> Seen:
    """Return an image as mlx-vlm gives it to the tower, exact; raise InputError for what it refuses.

    >>> from deployfit.layers.vision import VisionTower
    >>> tower = VisionTower(27, 1152, 16, 4304, 5120, 16, 2, 2, 3, 2304)
    >>> mlx_seen(tower, Image(3840, 2160))
    Seen(width=3840, height=2176, patches=32640, tokens=8160)
    """
    if image.pixels > MOST_PILLOW_PIXELS:
        raise InputError(
            f"{param('image')}: {image.text} has {image.pixels:,} pixels; mlx-vlm reads at most {MOST_PILLOW_PIXELS:,}"
        )
    if max(image) / min(image) > MOST_ASPECT:
        raise InputError(
            f"{param('image')}: {image.text} is more than {MOST_ASPECT} times as long as it is wide; mlx-vlm refuses it"
        )
    least, most = limits or Limits(*MLX_PIXELS)
    side = token_side(tower)
    width, height = (round(each / side) * side for each in image)
    if width * height > most:
        scale = sqrt(image.pixels / most)
        width, height = (max(side, floor(each / scale / side) * side) for each in image)
    elif width * height < least:
        scale = sqrt(least / image.pixels)
        width, height = (ceil(each * scale / side) * side for each in image)
    return seen(tower, width, height)


SEEN_BY = {"llama.cpp": llamacpp_seen, "mlx": mlx_seen}


def image_tokens(
    runtime: str, tower: VisionTower, images: Iterable[Image], limits: Limits | None = None
) -> tuple[Seen, ...]:
    """Return images as the tower sees them under a runtime: size, patches, tokens and cells of each, exact.

    >>> from deployfit.layers.vision import VisionTower
    >>> tower = VisionTower(27, 1152, 16, 4304, 5120, 16, 2, 2, 3, 2304)
    >>> [each.tokens for each in image_tokens("llama.cpp", tower, [Image(1920, 1080), Image(224, 224)])]
    [2040, 49]
    >>> [each.tokens for each in image_tokens("mlx", tower, [Image(1920, 1080), Image(224, 224)])]
    [2040, 64]
    """
    return tuple(SEEN_BY[runtime](tower, image, limits) for image in images)
