"""Safetensors: what stands around the tensors, and how they are dealt out to shards.

A file is 8 bytes, a JSON header with a record per tensor, and the tensors without padding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from math import prod

from deployfit.layers.blueprint import Layer, layer_tensors
from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.layers.vision import VisionTower
from deployfit.units import GIB
from deployfit.values import NamedTuple

LENGTH_BYTES = 8
METADATA_BYTES = len('{"__metadata__":{"format":"mlx"}}')
SHARD_BYTES = 5 * GIB  # mlx-lm's MAX_FILE_SIZE_GB; the Hub's checkpoints of 2026 have shards of about that size too


class Stored(NamedTuple):
    """A tensor in a file; `*` in its name stands for the layer's number.

    `role` says what it holds or belongs to, `type` how that is stored (`affine4g64`, `BF16`); several tensors can be
    needed to store one role.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    role: str
    type: str
    part: Part


class Block:
    """Tensors that stand together in a file, those of one layer or of none; what they take is added up once."""

    def __init__(self, tensors: Iterable[Stored]) -> None:
        self.tensors = tuple(tensors)

    @cached_property
    def ends(self) -> list[int]:
        """Where the block begins and each of its tensors ends, counted from its beginning."""
        return [0, *accumulate(tensor.nbytes for tensor in self.tensors)]

    @property
    def nbytes(self) -> int:
        """The tensors' bytes."""
        return self.ends[-1]

    @cached_property
    def record_bytes(self) -> int:
        """The bytes of their records in the header, without the digits of their offsets."""
        return sum(map(_record_bytes, self.tensors))

    @cached_property
    def kinds(self) -> Mapping[tuple[str, str, Part], int]:
        """Their bytes by role, type and part."""
        sizes: dict[tuple[str, str, Part], int] = {}
        for tensor in self.tensors:
            kind = tensor.role, tensor.type, tensor.part
            sizes[kind] = sizes.get(kind, 0) + tensor.nbytes
        return sizes


class Run(NamedTuple):
    """A block as it stands in a file: that of a layer, or of none. Equal layers share their block."""

    layer: int
    block: Block


def file_bytes(runs: Iterable[Run], shard_bytes: int = SHARD_BYTES) -> int:
    """Return the bytes of all shards of these tensors, filled one after the other.

    The order of the tensors is the writer's; another one changes the digits of offsets in the header, some
    hundred bytes in all.
    """
    total, filled = LENGTH_BYTES + METADATA_BYTES, 0
    for layer, block in runs:
        ends = block.ends
        count = len(block.tensors)
        more_digits = len(str(layer)) - 1 if layer != OUTSIDE else 0
        total += block.nbytes + block.record_bytes + more_digits * count
        done = 0
        while done < count:
            if filled and filled + ends[done + 1] - ends[done] > shard_bytes:
                total += LENGTH_BYTES + METADATA_BYTES
                filled = 0
            digits = len(str(filled))
            most = min(shard_bytes, 10**digits - 1)  # where the next may end if its offsets are to have as many digits
            stop = bisect_right(ends, ends[done] + most - filled, done) - 1
            if stop == done:
                stop += 1
                digits_of_ends = len(str(filled + ends[stop] - ends[done]))
            else:
                digits_of_ends = digits
            total += (digits + digits_of_ends) * (stop - done)
            filled += ends[stop] - ends[done]
            done = stop
    return total


def _record_bytes(tensor: Stored) -> int:
    """Return the bytes of a tensor's record in the header, with its comma and without the digits of its offsets."""
    dimensions = sum(map(len, map(str, tensor.shape))) + max(0, len(tensor.shape) - 1)
    return len(tensor.name) + len(tensor.dtype) + dimensions + RECORD_PUNCTUATION


RECORD_PUNCTUATION = len(',"":{"data_offsets":[,],"dtype":"","shape":[]}')


def every_tensor(runs: Iterable[Run]) -> Iterator[Stored]:
    """Yield the tensors by the names that they have in the file."""
    for layer, block in runs:
        for tensor in block.tensors:
            yield tensor if layer == OUTSIDE else tensor._replace(name=tensor.name.replace("*", str(layer), 1))


@lru_cache(maxsize=32)
def tower_block(tower: VisionTower, prefix: str) -> Block:
    """Return a vision tower's tensors, which every format of safetensors keeps as they are, under this prefix."""
    return Block(
        Stored(prefix + name, shape, "BF16", 2 * prod(shape), "vision", "BF16", Part.VISION)
        for name, shape in tower.tensors()
    )


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensor that these are when they stand on top of each other, each expert's matrices for themselves."""
    first = tensors[0]
    if len(tensors) == 1:
        return first
    rows = sum(tensor.shape[-2] for tensor in tensors)
    role = "+".join(tensor.role for tensor in tensors)
    return first._replace(role=role, shape=(*first.shape[:-2], rows, first.shape[-1]))


def in_written_order(layer: Layer, hidden: int, index: int, part: Part) -> Iterator[Tensor]:
    """Yield a layer's tensors as they are written: the first norm, the mixer, the other norms, the rest."""
    tensors = list(layer_tensors(layer, hidden, index, part))
    norms, rest = tensors[: len(layer.norms)], tensors[len(layer.norms) :]
    mixers = sum(layer.mixer is not None and each.of == layer.mixer.kind for each in rest)
    yield from (*norms[:1], *rest[:mixers], *norms[1:], *rest[mixers:])
