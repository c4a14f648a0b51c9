"""How many answers a second the sweep gives: in a cold process, everything counted, and of the arrays alone."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployfit.grid import Grid
    from deployfit.verdict import Verdict

AIM = 1_000_000  # estimates a second, on one core
RUNS = 7
CHECKED = 300

# What a cold process does: it reads the catalogue, weighs every recipe of every model, replays the allocator for every
# KV type, and finds verdicts and largest contexts.
GRIDS = {
    "llama.cpp": ("kv_type", ("f16", "q8_0", "q4_0"), 64),
    "mlx": ("kv_bits", ("16", "8", "4"), 128),
}


def grid_of(name: str) -> Grid:
    from deployfit import catalogue
    from deployfit.grid import Grid
    from deployfit.hardware.mac import MACS
    from deployfit.quants import shelf
    from deployfit.questions.resolve import machine_of, started_with
    from deployfit.runtimes import registry

    setting, values, contexts = GRIDS[name]
    sizes = sorted({size for row in catalogue.rows(MACS) for size in row.memory_gib})
    return Grid(
        models=list(catalogue.models().values()),
        quants=shelf.own_quants(registry.format_of(name)),
        runtime=registry.runtime(name),
        settings=[started_with(None, name, {setting: value}) for value in values],
        contexts=[262_144 // contexts * (step + 1) for step in range(contexts)],
        machines=[machine_of(str(size), macos) for size in sizes for macos in ("15", "26")],
    )


def check(name: str) -> int:
    """Exit unless the sweep that is going to be timed says what `fit` says; return how many answers it has."""
    from deployfit.errors import InputError
    from deployfit.grid import MISSING, VERDICTS, sweep
    from deployfit.questions.resolve import judge_of
    from deployfit.verdict import Run

    grid = grid_of(name)
    swept = sweep(grid)
    chance = random.Random(0)
    for _ in range(CHECKED):
        m, q, s, c, p = (chance.randrange(count) for count in grid.shape)
        how = grid.settings[s].with_context(grid.contexts[c])
        expected: tuple[int, Verdict | None, int]
        try:
            answer = judge_of(Run(grid.models[m], grid.runtime, how, grid.machines[p])).answer(grid.quants[q])
        except InputError:
            expected = (MISSING, None, MISSING)
        else:
            expected = (answer.estimate.total_bytes, answer.verdict, answer.max_context_tokens)
        code = swept.verdicts[m, q, s, c, p]
        verdict = None if code == MISSING else VERDICTS[code]
        found = (int(swept.total_bytes[m, q, s, c]), verdict, int(swept.max_context_tokens[m, q, s, p]))
        if found[:2] != expected[:2] or (expected[1] and found[2] != expected[2]):
            sys.exit(f"wrong answer: {name}, point {m, q, s, c, p}: fit says {expected}, the sweep {found}")
    return swept.answered


def cold(name: str) -> float:
    """Return the seconds of a process that starts, imports and sweeps."""
    start = time.perf_counter()
    subprocess.run([sys.executable, __file__, name], check=True)
    return time.perf_counter() - start


def arrays(name: str) -> float:
    """Return the seconds of a further sweep, when weights and replays are remembered where deployfit remembers them."""
    from deployfit.grid import sweep

    grid = grid_of(name)
    start = time.perf_counter()
    sweep(grid)
    return time.perf_counter() - start


def main() -> None:
    for name in GRIDS:
        answered = check(name)
        shape = grid_of(name).shape
        print(f"{name}: {' x '.join(map(str, shape))} = {prod(shape):,} points, {answered:,} of them can be answered")
        for what, run in (("cold process", cold), ("again", arrays)):
            times = [run(name) for _ in range(RUNS)]
            low, middle, high = (1000 * value for value in (min(times), statistics.median(times), max(times)))
            rate = answered / statistics.median(times)
            print(f"  {what:12} {low:6.0f} {middle:6.0f} {high:6.0f} ms (min median max)  {rate:12,.0f} estimates/s")
    print(f"aim: {AIM:,} estimates/s of a cold process")


if __name__ == "__main__":
    if sys.argv[1:]:
        from deployfit.grid import sweep

        sweep(grid_of(sys.argv[1]))
    else:
        main()
