"""Asking for many things at once, but a few at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

PARALLEL = 8
A = TypeVar("A")
B = TypeVar("B")


def in_parallel(work: Callable[[A], B], items: Sequence[A], most: int = PARALLEL) -> Iterator[B]:
    """Yield what `work` gives for every item, in order, `most` at once; raise what it raises, and begin nothing more.

    The threads are daemons, those of `ThreadPoolExecutor` are not: after Ctrl-C nobody waits for a host that hangs.

    >>> list(in_parallel(len, ["Q4_K_M", "BF16"]))
    [6, 4]
    """
    todo: SimpleQueue[tuple[A, Future[B]]] = SimpleQueue()
    futures: list[Future[B]] = [Future() for _ in items]
    for pair in zip(items, futures, strict=True):
        todo.put(pair)

    def run() -> None:
        while True:
            try:
                item, future = todo.get_nowait()
            except Empty:
                return
            try:
                future.set_result(work(item))
            except BaseException as error:
                future.set_exception(error)

    for _ in range(min(most, len(items))):
        Thread(target=run, daemon=True).start()
    try:
        for future in futures:
            yield future.result()
    finally:
        with contextlib.suppress(Empty):
            while True:
                todo.get_nowait()
