"""Output formats: a module each, found by its name, with `render(document, out, screen)`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import IO

from deployfit.errors import InputError, unknown
from deployfit.parameters import param
from deployfit.report.document import Document
from deployfit.values import NamedTuple

DEFAULT = "text"
SUFFIXES = {"txt": "text", "md": "markdown", "xml": "junit", "htm": "html"}  # those that are not a format's name


class Screen(NamedTuple):
    """Where text is shown: how wide it is, and whether it has colours."""

    width: int = 80
    colours: bool = False


@cache
def names() -> Sequence[str]:
    """Return the formats' names, text first.

    >>> names()[0]
    'text'
    """
    modules = [entry.removesuffix(".py") for entry in sorted(os.listdir(os.path.dirname(__file__)))]
    found = [name for name in modules if name.isidentifier() and not name.startswith("_")]
    return [DEFAULT, *(name for name in found if name != DEFAULT)]


def format_named(name: str | None, output: str | None, default: str = DEFAULT) -> str:
    """Return the format that was asked for: by name, else by the suffix of the file that it goes into.

    >>> format_named(None, "sizes.csv")
    'csv'
    """
    if name is not None:
        if name not in names():
            raise unknown("format", name, names())
        return name
    if output is None or output == "-":
        return default
    suffix = output.rpartition(".")[2].lower() if "." in output else ""
    found = SUFFIXES.get(suffix, suffix)
    if found not in names():
        raise InputError(
            f"{param('output')}: no format is known by the end of that name; say {param('format')}, or end it with"
            f" .{' .'.join(names()[1:])}"
        )
    return found


def is_binary(name: str) -> bool:
    """Return whether a format is no text."""
    return bool(getattr(import_module(f"deployfit.report.formats.{name}"), "BINARY", False))


def render(document: Document, name: str, out: IO[str] | IO[bytes], screen: Screen = Screen()) -> None:  # noqa: B008
    """Write a document in a format."""
    import_module(f"deployfit.report.formats.{name}").render(document, out, screen)
