"""Which device llama.cpp puts a layer on: by cumulated shares, in the engine's 32-bit floats.

Source: llama_model_base::load_tensors of llama.cpp, 2026-10-01.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence


def _float32(number: float) -> float:
    """Return the nearest 32-bit float: sums and quotients of such floats are rounded as the engine rounds them."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


def devices_of_layers(layers: int, shares: Sequence[float]) -> list[int]:
    """Return the device of each layer, and of the output, which counts as one layer more.

    >>> devices_of_layers(64, [1, 1]).count(0), devices_of_layers(64, [2, 1]).count(0)
    (33, 44)
    """
    cumulated, total = [], 0.0
    for share in shares:
        total = _float32(total + _float32(share))
        cumulated.append(total)
    ends = [_float32(each / total) for each in cumulated]
    slots = layers + 1
    return [bisect_right(ends, _float32(index / slots)) for index in range(slots)]
