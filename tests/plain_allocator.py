"""ggml's allocator in plain numbers, for one number of cells: it shares the list of steps with deployfit's, no more."""

from __future__ import annotations

from collections.abc import Iterator

from deployfit.runtimes.llamacpp.allocator import CELL, TAKE, TAKE_OVER, Program

OPEN_END = 1 << 62


def taken(program: Program, cells: int) -> Iterator[tuple[int, int, int]]:
    """Yield slot, size and address of each block that is handed out."""
    free = [[0, OPEN_END]]
    addresses: dict[int, int] = {}
    for action, slot, line, old in program.steps:
        per_cell, fixed = divmod(line, CELL)
        size = fixed + per_cell * cells
        if action == TAKE_OVER:
            addresses[slot] = addresses[old]
        elif action == TAKE:
            fitting = [(end - start, -index) for index, (start, end) in enumerate(free[:-1]) if end - start >= size]
            index = -min(fitting)[1] if fitting else len(free) - 1
            addresses[slot] = free[index][0]
            free[index][0] += size
            yield slot, size, addresses[slot]
            if free[index][0] == free[index][1]:
                del free[index]
        else:
            _give(free, addresses[slot], addresses[slot] + size)


def plain_peak(program: Program, cells: int) -> int:
    """Return the highest address."""
    return max((address + size for _, size, address in taken(program, cells)), default=0)


def _give(free: list[list[int]], start: int, end: int) -> None:
    for index, block in enumerate(free):
        if block[1] == start:
            block[1] = end
            if index + 1 < len(free) and free[index + 1][0] == end:
                block[1] = free.pop(index + 1)[1]
            return
        if block[0] == end:
            block[0] = start
            if index and free[index - 1][1] == start:
                free[index - 1][1] = free.pop(index)[1]
            return
    later = [index for index, block in enumerate(free) if block[0] >= start]
    free.insert(min(later, default=len(free)), [start, end])
