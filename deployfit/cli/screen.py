"""What the terminal is like: how wide, and whether it wants colours."""

from __future__ import annotations

import os
from typing import IO

from deployfit.report.formats import Screen

NARROWEST, WIDEST, USUAL = 40, 200, 80


def screen_of(stream: IO[str]) -> Screen:
    """Return the screen behind a stream; what is no terminal is 80 wide unless COLUMNS says otherwise."""
    is_terminal = stream.isatty()
    return Screen(_width(stream, is_terminal=is_terminal), _colours(is_terminal=is_terminal))


def _width(stream: IO[str], *, is_terminal: bool) -> int:
    said = os.environ.get("COLUMNS", "")
    width = int(said) if said.isascii() and said.isdigit() and len(said) <= 4 else 0
    if not width and is_terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            width = 0
    return min(max(width or USUAL, NARROWEST), WIDEST)


def _colours(*, is_terminal: bool) -> bool:
    """Return whether to use colours: no-color.org, and what others agree on for the opposite."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal and os.environ.get("TERM") != "dumb"
