"""What a person at a terminal sees of an answer that takes long: after a second, on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

    from deployfit.sources.listing import Step

PATIENCE = 1.0  # seconds before anything is shown
FRAMES = "|/-\\"
FRAME = 0.15  # seconds of one frame
CLEAR = "\r\x1b[K"


class Waiting:
    """A line that says what is being done; `doing` may change while it is shown."""

    def __init__(self) -> None:
        self.doing = "working"

    @contextmanager
    def progress(self, doing: str, steps: int) -> Iterator[Step]:
        """Say what is being done, and how many of its steps are."""
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            self.doing = f"{doing}: {done} of {steps}"

        before, self.doing = self.doing, doing
        try:
            yield step
        finally:
            self.doing = before

    def show(self, stream: IO[str], over: Event) -> None:
        """Draw until it is over."""
        if over.wait(PATIENCE):
            return
        frame = 0
        while not over.wait(FRAME):
            stream.write(f"{CLEAR}{FRAMES[frame % len(FRAMES)]} {self.doing}")
            stream.flush()
            frame += 1
        stream.write(CLEAR)
        stream.flush()


@contextmanager
def waiting(*, reads_input: bool = False) -> Iterator[None]:
    """Show on a terminal that an answer takes long; anywhere else nothing.

    What a person pastes would be drawn over: who reads the terminal is told how to end instead.
    """
    if reads_input and sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write("paste the log, then press Ctrl-D\n")
        sys.stderr.flush()
        yield
        return
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from threading import Event, Thread

    from deployfit.questions.question import PROGRESS

    shown, over = Waiting(), Event()
    thread = Thread(target=shown.show, args=(sys.stderr, over), daemon=True)
    thread.start()
    PROGRESS.append(shown.progress)
    try:
        yield
    finally:
        PROGRESS.pop()
        over.set()
        thread.join()
