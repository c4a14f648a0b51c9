"""One door for all models from outside the catalogue: the Hub, files, the stores of other programs.

A kind of source is a module in `kinds/` with two functions: `takes(text)`, whether a text is for it, and
`open_model(text, how)`. Another kind is another module there.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol

from deployfit.errors import InputError, quoted
from deployfit.sources import kinds
from deployfit.sources.listing import Progress, silent
from deployfit.sources.opened import How, Opened


class Kind(Protocol):
    """A module of `kinds/`."""

    def takes(self, text: str) -> bool:
        """Return whether the text is for this kind; quickly, and without asking anybody."""

    def open_model(self, text: str, how: How) -> Opened:
        """Return the model that the text names; raise InputError, DataError or HubError if that cannot be done."""


@cache
def all_kinds() -> tuple[Kind, ...]:
    """Return the kinds, in the order of their names."""
    names = sorted(module.name for module in iter_modules(kinds.__path__))
    return tuple(import_module(f"{kinds.__name__}.{name}") for name in names)


def find_kind(text: str) -> Kind | None:
    """Return the kind of source that a text is for, None if it names no source but perhaps a model.

    >>> find_kind("hub:unsloth/Qwen3.5-27B-GGUF").__name__, find_kind("Qwen3.5-27B")
    ('deployfit.sources.kinds.hub', None)
    """
    return next((kind for kind in all_kinds() if kind.takes(text)), None)


def open_source(
    text: str,
    *,
    revision: str | None = None,
    pattern: str | None = None,
    offline: bool = False,
    vision: bool = False,
    each: bool = False,
    progress: Progress = silent,
) -> Opened:
    """Return the model that a text names outside the catalogue; raise InputError if it names none.

    `pattern` chooses one of several model files; `each` opens one of them and gives the others beside it. `vision`: the
    vision tower's own file is looked into as well.
    """
    kind = find_kind(text)
    if kind is None:
        raise InputError(f"{quoted(text)}: neither a path nor hub:OWNER/NAME")
    return kind.open_model(text, How(revision, pattern, offline, vision, each, progress))
