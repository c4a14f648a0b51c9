"""The largest image that still fits."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

from deployfit.layers.vision import VisionTower
from deployfit.values import NamedTuple
from deployfit.vision.resize import MARKERS, Limits, token_side


class LargestImage(NamedTuple):
    """The most tokens that an image may become, and a nearly square image, in pixels, that becomes so many or few less.

    `all_fit`: it is the engine's own limit. Larger images are scaled down to it.
    """

    tokens: int
    width: int
    height: int
    all_fit: bool


def largest(tower: VisionTower, limits: Limits, free_cells: int, fits: Callable[[int], bool]) -> LargestImage | None:
    """Return the largest image whose tokens fit, None if not even the smallest does.

    `fits` says whether an image of so many tokens fits the memory, `free_cells` how many cells of the KV cache are
    left. What an image needs grows with its tokens, so the answer is found in a few steps, and is exact.
    """
    area = token_side(tower) ** 2
    least, most = -(-limits.least_pixels // area), limits.most_pixels // area
    top = min(most, free_cells - MARKERS)
    if top < least or not fits(least):
        return None
    tokens = top
    if not fits(top):
        tokens, too_many = least, top
        while too_many - tokens > 1:
            middle = (tokens + too_many) // 2
            if fits(middle):
                tokens = middle
            else:
                too_many = middle
    rows = isqrt(tokens)
    side = token_side(tower)
    return LargestImage(tokens, tokens // rows * side, rows * side, tokens == most)
