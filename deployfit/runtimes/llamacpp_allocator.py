"""llama.cpp's graph allocator, replayed: how high the addresses of a graph's results reach.

Each result takes the tightest free block, or the end of the arena; some operations overwrite an operand
that nobody else reads; a result is freed when its last reader has run. The highest address is the size of
the compute buffer, holes included. Source: ggml-alloc of ggml 0.25.3 (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from deployfit.runtimes.llamacpp_graph import ALIGNMENT, NO_SLOT, Tensor
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


class Action(Enum):
    """What happens to a place in the arena."""

    TAKE = 1
    GIVE = 2
    TAKE_OVER = 3


class Program(NamedTuple):
    """The steps of a graph's allocation; which there are does not depend on the length of the context.

    A step is (action, slot, aligned bytes, bytes per cell of the context, slot that is taken over).
    """

    steps: tuple[tuple[Action, int, int, int, int], ...]

    def peak_bytes(self, sequence_context: int) -> int:
        """Return the highest address that is handed out."""
        arena = Arena()
        offsets: list[int] = []
        for action, slot, fixed, per_cell, old in self.steps:
            size = fixed + per_cell * sequence_context
            if action is Action.TAKE:
                offsets.append(arena.take(size))
            elif action is Action.GIVE:
                arena.give(offsets[slot], size)
            else:
                offsets.append(offsets[old])
        return arena.peak


def compiled(nodes: Sequence[Tensor]) -> Program:
    """Return the program of a graph: place each node, then let go of what it was the last to read."""
    recorder = _Recorder()
    for node in nodes:
        recorder.place(node)
    return Program(tuple(recorder.steps))


class _Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[Action, int, int, int, int]] = []
        self._slots = 0

    def place(self, node: Tensor) -> None:
        if node.root is None and not node.external:
            operand = self._spent_operand(node) if node.op in IN_PLACE_OPS else None
            node.slot = self._slots
            self._slots += 1
            if operand is None:
                self._note(Action.TAKE, node)
            else:
                self._note(Action.TAKE_OVER, node, operand.slot)
                operand.slot = NO_SLOT
        for source in node.sources:
            self._drop_reader(source)

    def _note(self, action: Action, tensor: Tensor, old: int = NO_SLOT) -> None:
        self.steps.append((action, tensor.slot, ceil_to(tensor.size, ALIGNMENT), tensor.per_cell, old))

    def _spent_operand(self, node: Tensor) -> Tensor | None:
        """Return an operand of the same shape that nothing else uses: its place can be overwritten."""
        for source in node.sources:
            last_use = source.readers == 1 and source.views == 0
            if source.slot != NO_SLOT and not source.is_output and source.shape == node.shape and last_use:
                return source
        return None

    def _drop_reader(self, source: Tensor) -> None:
        """Count one reader less; free what nothing reads or looks into any more."""
        source.readers -= 1
        if source.readers or source.views:
            return
        root = source.root
        if root is None:
            self._free(source)
            return
        root.views -= 1
        if not root.views and not root.readers:
            self._free(root)

    def _free(self, tensor: Tensor) -> None:
        """Give a place back; outputs keep theirs."""
        if tensor.slot != NO_SLOT and not tensor.is_output:
            self._note(Action.GIVE, tensor)
            tensor.slot = NO_SLOT
