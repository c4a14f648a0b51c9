"""Other readers of the same headers: short, trusting, and written without looking at deployfit's.

They read only what deployfit accepted, so that whatever they cannot read is a header that should have been refused.
"""

from __future__ import annotations

import json
import struct
from functools import cache

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


@cache
def blocks() -> dict[int, tuple[int, int]]:
    """Numbers and bytes of a block by ggml's number of the type; those newer than the gguf package are written here."""
    import gguf

    known = {int(kind): tuple(size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    return {39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18), **known}


def gguf_sums(data: bytes) -> tuple[int, int, int]:
    """Return number of tensors, their bytes and their numbers."""
    at = 0

    def take(layout: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return int(value)

    def text() -> None:
        nonlocal at
        length = take("Q")
        assert at + length <= len(data)
        at += length

    def value(kind: int) -> None:
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            element, count = take("I"), take("Q")
            for _ in range(count):
                value(element)
        else:
            at += SIZES[kind]

    assert data[:4] == b"GGUF"
    at = 4
    assert take("I") in (2, 3)
    tensors, keys = take("Q"), take("Q")
    for _ in range(keys):
        text()
        value(take("I"))
    total = params = 0
    for _ in range(tensors):
        text()
        count = 1
        shape = [take("Q") for _ in range(take("I"))]
        for size in shape:
            count *= size
        numbers, nbytes = blocks()[take("I")]
        take("Q")
        assert shape[0] % numbers == 0
        total += count // numbers * nbytes
        params += count
    assert at <= len(data)
    return tensors, total, params


def safetensors_sums(data: bytes) -> tuple[int, int, int]:
    """Return number of tensors, their bytes by their offsets and their numbers."""
    (length,) = struct.unpack_from("<Q", data)
    records = json.loads(data[8 : 8 + length])
    records.pop("__metadata__", None)
    total = params = 0
    for record in records.values():
        begin, end = record["data_offsets"]
        total += end - begin
        count = 1
        for size in record["shape"]:
            count *= size
        params += count
    return len(records), total, params
