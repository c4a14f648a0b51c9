"""Bars of memory: what each part takes of it, drawn with characters and in words."""

from __future__ import annotations

from deployfit.report.document import Bar
from deployfit.units import gib

USED, FREE, MARK = "#", "-", "|"


def bar_of(bar: Bar, width: int) -> str:
    """Return a bar as wide as the largest mark or everything in it, whichever is more; marks that it passes are shown.

    >>> bar_of(Bar([("weights", 15), ("cache", 3)], [("usable", 24), ("limit", 25)], ""), 25)
    '##################-----|-'
    """
    used = sum(nbytes for _, nbytes in bar.parts)
    whole = max(used, *(nbytes for _, nbytes in bar.marks), 1)
    filled = max(1, used * width // whole) if used else 0
    drawn = [USED] * filled + [FREE] * (width - filled)
    for _, nbytes in bar.marks:
        position = nbytes * width // whole
        if 0 < position < width:
            drawn[position - 1] = MARK
    return "".join(drawn)


def bar_labels(bar: Bar) -> list[str]:
    """Return what is in the bar and where its marks are, in GiB."""
    return [f"{name} {gib(nbytes, 1)}" for name, nbytes in (*bar.parts, *bar.marks[:-1])]


def bar_sentence(bar: Bar) -> str:
    """Return the bar in words."""
    return f"{bar.label}: {', '.join(bar_labels(bar))}"
