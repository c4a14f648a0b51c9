"""Files in a place: a repository of the Hub or a folder, so that models are read alike from both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from deployfit.repository import FileGroup, RepoFile

Step = Callable[[], object]
Progress = Callable[[str, int], AbstractContextManager[Step]]  # what is being done, in so many steps


@contextmanager
def silent(doing: str, steps: int) -> Iterator[Step]:
    """Show no progress."""
    yield lambda: None


class Listing(Protocol):
    """A place and its files."""

    @property
    def place(self) -> str:
        """As a user would type it, printable."""

    def title(self, group: FileGroup) -> str:
        """Return what the model in some of its files is called, printable."""

    @property
    def files(self) -> tuple[RepoFile, ...]:
        """The files, by their paths within the place."""

    @property
    def origin(self) -> str:
        """Where it comes from, to be said of what was read: a commit, or nothing."""

    def prefix(self, file: RepoFile, nbytes: int, known: bytes) -> bytes:
        """Return the first bytes of a file, up to so many, of which some are known already."""

    def keep(self, file: RepoFile, content: bytes) -> None:
        """Take note that the first bytes of a file could be read."""

    def forget(self, file: RepoFile) -> None:
        """Take note that the first bytes of a file are something else than they should be."""
