"""Counts curves in several processes: a few thousand replays of an allocator take a minute on one processor.

`python -m deployfit.page.counting` is one of them: it reads tasks from standard input until there is none left.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import deployfit
from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.page.curves import Contexts, Curves, curves_of
from deployfit.page.files import OPTIONS, VISION, options_of
from deployfit.runtimes import registry
from deployfit.sources.parallel import in_parallel
from deployfit.values import NamedTuple

Run = Curves | str  # or why the runtime refuses
MOST_PROCESSES = 16


class Task(NamedTuple):
    """Some settings of a model, each of a runtime, with their positions among all that are offered."""

    model: Model
    settings: Sequence[tuple[str, Any]]
    places: Sequence[int]


def tasks_of(model: Model, settings: Sequence[tuple[str, Any]]) -> list[Task]:
    """Return the tasks that count a model: settings of as many sequences have replays in common."""
    groups: dict[tuple[str, int], list[int]] = {}
    for place, (runtime, each) in enumerate(settings):
        groups.setdefault((runtime, registry.runtime(runtime).sequences(each)), []).append(place)
    return [Task(model, [settings[place] for place in places], places) for places in groups.values()]


def count(task: Task) -> list[list[Run]]:
    """Return a run for each of the settings and each of the model's options."""
    return [_runs(task.model, runtime, settings) for runtime, settings in task.settings]


def counted(tasks: Sequence[Task]) -> Iterator[list[list[Run]]]:
    """Yield what `count` gives for every task, in their order, from as many processes as there are processors."""
    processors = min(os.cpu_count() or 1, MOST_PROCESSES, len(tasks))
    if processors < 2 or not sys.executable:
        yield from map(count, tasks)
        return
    workers = [_worker() for _ in range(processors)]
    idle = list(workers)

    def elsewhere(task: Task) -> list[list[Run]]:
        worker = idle.pop()
        try:
            pickle.dump(task, _open(worker.stdin))
            _open(worker.stdin).flush()
            found: list[list[Run]] = pickle.load(_open(worker.stdout))
            return found
        except (OSError, EOFError, pickle.PickleError):
            return count(task)  # the worker is gone; what it failed at is said here
        finally:
            idle.append(worker)

    try:
        yield from in_parallel(elsewhere, tasks, most=processors)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _worker() -> subprocess.Popen[bytes]:
    """Start a process with this very package, wherever it was imported from."""
    place = str(Path(deployfit.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", __name__]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _runs(model: Model, runtime: str, settings: Any) -> list[Run]:
    """Return a run for each of the model's options; what a vision tower does not change is not counted again."""
    found: dict[int, Run] = {}
    for index in options_of(model):
        before = found.get(index & ~VISION)
        if before is not None and (isinstance(before, str) or _alike(model, runtime, settings, index)):
            found[index] = before
        else:
            found[index] = _run(model, runtime, settings, index)
    return list(found.values())


def _run(model: Model, runtime: str, settings: Any, index: int) -> Run:
    try:
        return curves_of(model, registry.runtime(runtime), settings, OPTIONS[index])
    except InputError as error:
        return error.marked


def _alike(model: Model, runtime: str, settings: Any, index: int) -> bool:
    """Return whether as much is allocated without the vision tower: at a third, in the middle and at the end."""
    made = [Contexts(model, registry.runtime(runtime), settings, OPTIONS[each]) for each in (index & ~VISION, index)]
    count = made[0].count
    return all(made[0].parts(steps) == made[1].parts(steps) for steps in (-(-count // 3), count // 2 + 1, count))


def _work() -> None:
    while True:
        try:
            task: Task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(count(task), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _work()
