"""llama.cpp's graph allocator, replayed: how high the addresses of a graph's results reach.

Each result takes the tightest free block, or the end of the arena; some operations overwrite an operand
that nobody else reads; a result is freed when its last reader has run. The highest address is the size of
the compute buffer, holes included. Source: ggml-alloc of ggml 0.25.3 (2026-10-01).

Some results grow with the context, by so many bytes per cell. A replay is right for every number of cells for which
its comparisons come out the same; over that range the highest address is a straight line. So a few replays, most of
them only of the last steps, give the whole curve, exactly.

Equal layers are the same steps again. As soon as the arena is as it was some rounds before, so will be all that
follows, and whole cycles of rounds are left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from deployfit.runtimes.llamacpp.tensors import ALIGNMENT, NO_SCRATCH, NO_SLOT, Tensor
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

OPEN_END = 1 << 62
MOST_CELLS = 1 << 40
IN_PLACE_OPS = frozenset(
    {"ADD", "ADD_ID", "CLAMP", "DIV", "FILL", "MUL", "RMS_NORM", "ROPE", "SCALE", "SOFT_MAX", "SQR", "UNARY"}
)

# Sizes and addresses are lines, bytes and bytes per cell, written as one whole number: bytes + CELL * bytes per cell.
# Lines are added and subtracted as such numbers are; those between STEEP_DOWN and STEEP do not depend on the cells.
CELL_BITS = 64
CELL_BLOCK = 64  # what scratch grows by: a flag for each block of so many cells
CELL = 1 << CELL_BITS
STEEP = CELL // 2
STEEP_DOWN = -STEEP


def line_of(number: int) -> tuple[int, int]:
    """Return the bytes and the bytes per cell of a line.

    >>> line_of(3 * CELL - 32)
    (-32, 3)
    """
    per_cell = (number + STEEP) >> CELL_BITS
    return number - (per_cell << CELL_BITS), per_cell


def _aligned(line: int) -> int:
    """Return a line whose bytes are padded; what comes for each cell is for many, with nothing to pad."""
    nbytes = line_of(line)[0]
    return line + ceil_to(nbytes, ALIGNMENT) - nbytes


TAKE, GIVE, TAKE_OVER = range(3)  # what happens to a place in the arena
Step = tuple[int, int, int, int]


class Round(NamedTuple):
    """The steps of one period of equal layers, which happen `times` times: those from `first` to before `last`.

    They take `slots` slots, from `slot` on. The next round's are numbered as many higher, those of this round that it
    gives up among them.
    """

    first: int = 0
    last: int = 0
    times: int = 1
    slot: int = 0
    slots: int = 0


class Program(NamedTuple):
    """The steps of a graph's allocation; which there are does not depend on the length of the context.

    A step is (action, slot, aligned size, slot that is taken over). `scratch` is what a device wants behind the results
    at some slots, as a line over blocks of cells.
    """

    steps: tuple[Step, ...]
    scratch: Mapping[int, int] = {}
    round: Round = Round()

    def with_scratch(self) -> Program:
        """Return the program of a device that wants scratch; its lines are over blocks of CELL_BLOCK cells.

        No operation takes over a place with scratch: such results are looked into only.
        """
        steps = []
        for action, slot, size, old in self.steps:
            if not STEEP_DOWN < size < STEEP:
                size += CELL * (CELL_BLOCK - 1) * line_of(size)[1]
            if slot in self.scratch:
                size = _aligned(size + self.scratch[slot])
            steps.append((action, slot, size, old))
        return Program(tuple(steps), round=self.round)


class Piece(NamedTuple):
    """The highest address for a range of cells: a straight line."""

    first_cells: int
    last_cells: int
    fixed_bytes: int
    bytes_per_cell: int

    def peak_bytes(self, cells: int) -> int:
        """Return the highest address for a number of cells within the range."""
        return self.fixed_bytes + self.bytes_per_cell * cells


class Arena(NamedTuple):
    """What a replay had done before a step, for a range of cells: the free blocks, and by slot the places in use.

    `rounds` are those that are left after this one. The blocks are in the order of the engine's list, one of them
    open-ended. Blocks of zero bytes are kept, as the engine keeps them: they change which block fits best.
    """

    first_cells: int
    last_cells: int
    step: int
    rounds: int
    peak: int
    starts: Sequence[int]
    ends: Sequence[int]
    places: Mapping[int, int]


class Curve:
    """The highest address as a function of the cells of one sequence's context, replayed where it is asked for."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._ranges: list[Piece | Arena] = [Arena(1, MOST_CELLS, 0, program.round.times - 1, 0, [0], [OPEN_END], {})]

    def piece(self, cells: int) -> Piece:
        """Return the piece that holds for a number of cells."""
        index = bisect_right(self._ranges, cells, key=lambda each: each.first_cells) - 1
        found = self._ranges[index]
        if isinstance(found, Piece):
            return found
        replay = _Replay(found, cells)
        piece = replay.run(self._program)
        parts: list[Piece | Arena] = [piece, *replay.others]
        self._ranges[index : index + 1] = sorted(parts, key=lambda each: each.first_cells)
        return piece

    def peak_bytes(self, cells: int) -> int:
        """Return the highest address that is handed out."""
        return self.piece(cells).peak_bytes(cells)


class _Replay:
    """A replay for one number of cells that narrows down for which others it holds, and keeps the arenas of the rest.

    Every comparison of a step comes before its first change, so that an arena that is kept is that of before the step.
    """

    def __init__(self, arena: Arena, cells: int) -> None:
        self.others: list[Arena] = []
        self._cells = cells
        self._first, self._last = arena.first_cells, arena.last_cells
        self._step, self._rounds, self._peak = arena.step, arena.rounds, arena.peak
        self._starts, self._ends, self._places = list(arena.starts), list(arena.ends), dict(arena.places)

    def run(self, program: Program) -> Piece:
        """Replay the remaining steps."""
        steps, own = program.steps, program.round
        self._run(steps, own.last)
        met: dict[object, int] = {}
        while self._rounds:
            arena = (tuple(self._starts), tuple(self._ends), frozenset(self._places.items()))
            if arena in met:  # so it will be after as many rounds again
                self._rounds %= met[arena] - self._rounds
                met.clear()
                continue
            met[arena] = self._rounds
            self._rounds -= 1
            places = self._places.items()
            self._places = {slot - own.slots if slot >= own.slot else slot: place for slot, place in places}
            self._step = own.first
            self._run(steps, own.last)
        self._run(steps, len(steps))
        return Piece(self._first, self._last, *line_of(self._peak))

    def _run(self, steps: Sequence[Step], end: int) -> None:
        """Replay the steps up to one."""
        places = self._places
        for step in range(self._step, end):
            self._step = step
            action, slot, size, old = steps[step]
            if action == TAKE:
                places[slot] = self._take(size)
            elif action == GIVE:
                self._give(places[slot], size)
                del places[slot]
            else:
                places[slot] = places.pop(old)
        self._step = max(self._step, end)

    def _take(self, size: int) -> int:
        """Return the address of a block: the tightest but the last (the later of equals), else the last."""
        starts, ends = self._starts, self._ends
        best = last = len(starts) - 1
        best_size = OPEN_END
        for index in range(last):
            available = ends[index] - starts[index]
            spare = available - size
            if spare >= 0 if STEEP_DOWN < spare < STEEP else self._not_negative(spare):
                tighter = best_size - available
                if best == last or (tighter >= 0 if STEEP_DOWN < tighter < STEEP else self._not_negative(tighter)):
                    best, best_size = index, available
        start = starts[best]
        end = start + size
        is_whole = ends[best] != OPEN_END and self._is_zero(ends[best] - end)
        higher = end - self._peak
        if higher >= 0 if STEEP_DOWN < higher < STEEP else self._not_negative(higher):
            self._peak = end
        if is_whole:
            del starts[best], ends[best]
        else:
            starts[best] = end
        return start

    def _give(self, start: int, size: int) -> None:
        """Return memory: join the first block it touches, and that block with its neighbour."""
        starts, ends = self._starts, self._ends
        end = start + size
        for index, block_start in enumerate(starts):
            gap = ends[index] - start
            if not gap if STEEP_DOWN < gap < STEEP else self._is_zero(gap):
                if index + 1 < len(starts) and self._is_zero(starts[index + 1] - end):
                    end = ends[index + 1]
                    del starts[index + 1], ends[index + 1]
                ends[index] = end
                return
            gap = block_start - end
            if not gap if STEEP_DOWN < gap < STEEP else self._is_zero(gap):
                starts[index] = start  # the neighbour before it does not touch: it was asked first
                return
        index = 0
        while index < len(starts) and not self._not_negative(starts[index] - start):
            index += 1
        starts.insert(index, start)
        ends.insert(index, end)

    def _not_negative(self, line: int) -> bool:
        """Return whether a line is not negative at these cells; narrow the range to those where that is so too."""
        if STEEP_DOWN < line < STEEP or abs(line) % CELL < STEEP:
            return line >= 0  # no slope, or one of the same sign as the bytes: so for every number of cells
        fixed, per_cell = line_of(line)
        value = fixed + per_cell * self._cells
        room, slope = (value, per_cell) if value >= 0 else (-value - 1, -per_cell)
        if slope < 0:
            last = self._cells + room // -slope
            if last < self._last:
                self._leave(last + 1, self._last)
                self._last = last
        else:
            first = self._cells - room // slope
            if first > self._first:
                self._leave(self._first, first - 1)
                self._first = first
        return value >= 0

    def _is_zero(self, line: int) -> bool:
        """Return the same for whether a line is zero."""
        if STEEP_DOWN < line < STEEP or abs(line) % CELL < STEEP:
            return line == 0
        return self._not_negative(line) and self._not_negative(-line)

    def _leave(self, first: int, last: int) -> None:
        """Keep the arena for cells for which a comparison comes out otherwise."""
        done = (self._step, self._rounds, self._peak)
        arena = (self._starts.copy(), self._ends.copy(), self._places.copy())
        self.others.append(Arena(first, last, *done, *arena))


def compiled(nodes: Sequence[Tensor], first: int = 0, last: int = 0, times: int = 1) -> Program:
    """Return the program of a graph: place each node, then let go of what it was the last to read.

    The nodes from `first` to before `last` stand for as many rounds of equal layers, of which the first and the last
    are among the other nodes.
    """
    recorder = Recorder()
    for node in nodes[:first]:
        recorder.place(node)
    begin, slot = len(recorder.steps), recorder.slots
    for node in nodes[first:last]:
        recorder.place(node)
    own = Round(begin, len(recorder.steps), times, slot, recorder.slots - slot)
    for node in nodes[last:]:
        recorder.place(node)
    return Program(tuple(recorder.steps), recorder.scratch, own)


class Recorder:
    """Notes what happens to places in the arena as nodes are computed in their order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.scratch: dict[int, int] = {}
        self.slots = 0

    def place(self, node: Tensor) -> None:
        """Give a node its place, and give up what it was the last to read."""
        if node.root is None and not node.external:
            operand = self._spent_operand(node) if node.op in IN_PLACE_OPS else None
            node.slot = self.slots
            self.slots += 1
            if node.scratch != NO_SCRATCH:
                self.scratch[node.slot] = node.scratch[0] + CELL * node.scratch[1]
            if operand is None:
                self.note(TAKE, node)
            else:
                self.note(TAKE_OVER, node, operand.slot)
                operand.slot = NO_SLOT
        for source in node.sources:
            self._drop_reader(source)

    def note(self, action: int, tensor: Tensor, old: int = NO_SLOT) -> None:
        """Append a step."""
        size = ceil_to(tensor.size, ALIGNMENT) + CELL * tensor.per_cell
        self.steps.append((action, tensor.slot, size, old))

    def _spent_operand(self, node: Tensor) -> Tensor | None:
        """Return an operand of the same shape that nothing else uses: its place can be overwritten."""
        for source in node.sources:
            alike = source.shape == node.shape and source.width == node.width
            last_use = source.readers == 1 and source.views == 0
            if source.slot != NO_SLOT and not source.is_output and alike and last_use:
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
            self.note(GIVE, tensor)
            tensor.slot = NO_SLOT
