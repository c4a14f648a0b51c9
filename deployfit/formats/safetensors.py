"""Safetensors: what stands around the tensors, and how they are dealt out to shards.

A file is 8 bytes, a JSON header with a record per tensor, and the tensors without padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from deployfit.architectures.qwen35 import Part
from deployfit.units import GIB

LENGTH_BYTES = 8
METADATA_BYTES = len('{"__metadata__":{"format":"mlx"}}')
SHARD_BYTES = 5 * GIB  # mlx-lm's MAX_FILE_SIZE_GB; the Hub's checkpoints of 2026 have shards of about that size too


class Stored(NamedTuple):
    """A tensor in a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    part: Part


def file_bytes(tensors: Iterable[Stored], shard_bytes: int = SHARD_BYTES) -> int:
    """Return the bytes of all shards of these tensors, filled one after the other.

    The order of the tensors is the writer's; another one changes the digits of offsets in the header, some
    hundred bytes in all.
    """
    total, filled = LENGTH_BYTES + METADATA_BYTES, 0
    for tensor in tensors:
        if filled and filled + tensor.nbytes > shard_bytes:
            total += LENGTH_BYTES + METADATA_BYTES
            filled = 0
        total += record_bytes(tensor, filled) + tensor.nbytes
        filled += tensor.nbytes
    return total


def record_bytes(tensor: Stored, offset: int) -> int:
    """Return the bytes of a tensor's record in the header, with its comma.

    >>> record_bytes(Stored("lm_head.weight", (248320, 5120), "BF16", 2542796800, Part.TEXT), 0)
    86
    """
    dimensions = sum(len(str(size)) for size in tensor.shape) + len(tensor.shape) - 1
    offsets = len(str(offset)) + len(str(offset + tensor.nbytes))
    return len(tensor.name) + len(tensor.dtype) + dimensions + offsets + RECORD_PUNCTUATION


RECORD_PUNCTUATION = len(',"":{"data_offsets":[,],"dtype":"","shape":[]}')
