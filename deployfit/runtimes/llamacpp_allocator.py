"""llama.cpp's graph allocator, replayed: how high the addresses of a graph's results reach.

Each result takes the tightest free block, or the end of the arena; some operations overwrite an operand
that nobody else reads; a result is freed when its last reader has run. The highest address is the size of
the compute buffer, holes included. Source: ggml-alloc of ggml 0.25.3 (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.runtimes.llamacpp_graph import ALIGNMENT, Tensor
from deployfit.units import ceil_to

OPEN_END = 1 << 62
IN_PLACE_OPS = frozenset({"ADD", "MUL", "DIV", "SCALE", "UNARY", "ROPE", "RMS_NORM", "CLAMP", "SOFT_MAX"})


class Arena:
    """Free blocks in the order of the engine's list, one of them open-ended.

    Blocks of zero bytes are kept, as the engine keeps them: they change which block fits best.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._starts = [0]
        self._ends = [OPEN_END]

    def take(self, size: int) -> int:
        """Return the address of a block: the tightest but the last (the later of equals), else the last."""
        starts, ends = self._starts, self._ends
        best, best_size = len(starts) - 1, OPEN_END
        for index in range(best):
            available = ends[index] - starts[index]
            if size <= available <= best_size:
                best, best_size = index, available
        start = starts[best]
        starts[best] = end = start + size
        if end == ends[best]:
            del starts[best], ends[best]
        self.peak = max(self.peak, end)
        return start

    def give(self, start: int, size: int) -> None:
        """Return memory: join the first block it touches, and that block with its neighbour."""
        starts, ends = self._starts, self._ends
        end = start + size
        for index, block_start in enumerate(starts):
            if ends[index] == start:
                ends[index] = end
                if index + 1 < len(starts) and starts[index + 1] == end:
                    ends[index] = ends[index + 1]
                    del starts[index + 1], ends[index + 1]
                return
            if block_start == end:
                starts[index] = start
                if index and ends[index - 1] == start:
                    ends[index - 1] = ends[index]
                    del starts[index], ends[index]
                return
        index = 0
        while index < len(starts) and starts[index] < start:
            index += 1
        starts.insert(index, start)
        ends.insert(index, end)


def release(arena: Arena, tensor: Tensor) -> None:
    """Free a tensor nobody reads any more; outputs stay."""
    if tensor.allocated and not tensor.is_output:
        arena.give(tensor.offset, ceil_to(tensor.size, ALIGNMENT))
        tensor.allocated = False


def take_over(arena: Arena, node: Tensor) -> bool:
    """Place `node` over an operand that has no other use, if there is one."""
    for source in node.sources:
        if (
            source.allocated
            and not source.is_output
            and source.shape == node.shape
            and source.readers == 1
            and source.views == 0
        ):
            node.offset = source.offset
            source.allocated = False
            spare = ceil_to(source.size, ALIGNMENT) - ceil_to(node.size, ALIGNMENT)
            if spare:
                arena.give(source.offset + ceil_to(node.size, ALIGNMENT), spare)
            return True
    return False


def drop_reader(arena: Arena, source: Tensor) -> None:
    """Count one reader less; free what nothing reads or looks into any more."""
    source.readers -= 1
    if source.readers or source.views:
        return
    root = source.root
    if root is None:
        release(arena, source)
        return
    root.views -= 1
    if not root.views and not root.readers:
        release(arena, root)


def peak_bytes(nodes: Sequence[Tensor]) -> int:
    """Return the highest address the allocator hands out for `nodes`."""
    arena = Arena()
    for node in nodes:
        if node.root is None and not node.external:
            if node.op not in IN_PLACE_OPS or not take_over(arena, node):
                node.offset = arena.take(ceil_to(node.size, ALIGNMENT))
            node.allocated = True
        for source in node.sources:
            drop_reader(arena, source)
    return arena.peak
