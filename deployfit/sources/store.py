"""What a store of another program is, so that all of them are looked through alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Protocol

from deployfit.values import NamedTuple


class Places(NamedTuple):
    """Where to look: the environment's variables, and the home folder, "" if there is none."""

    environment: Mapping[str, str]
    home: str

    def variable(self, name: str) -> str:
        """Return a variable's folder, "" if it is not set."""
        value = os.path.expandvars(self.environment.get(name, ""))
        return os.path.join(self.home, value[2:]) if value.startswith("~/") and self.home else value

    def at_home(self, *parts: str) -> str:
        """Return a folder in the home folder, "" if there is no home."""
        return os.path.join(self.home, *parts) if self.home else ""


class Entry(NamedTuple):
    """A model in a store: its name there, the path to open, its bytes, and what is wrong with it, "" if nothing is."""

    name: str
    path: str
    nbytes: int
    fault: str = ""


class Store(Protocol):
    """A module of `stores/`."""

    NAME: str

    def roots(self, places: Places) -> list[str]:
        """Return the folders in which the program keeps models; they need not exist."""

    def entries(self, root: str) -> Iterator[Entry]:
        """Yield the models in one of them; raise OSError if it cannot be read."""
