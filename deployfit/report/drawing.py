"""Bars of memory as drawings (SVG): the same pieces and colours as on the page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from deployfit.printable import printable
from deployfit.report.document import Bar
from deployfit.report.sizes import bar_labels, bar_sentence
from deployfit.values import NamedTuple

WIDTH, HEIGHT, STEP = 640, 34, 20
ACROSS = 3  # names beside each other
MARK = "#b01e2a"
# What a part's colour is, by how its label begins; others take what is left, in turn.
FILLS = {
    "weights": "#2f6fd6",
    "KV cache": "#d97706",
    "recurrent state": "#0f8a7e",
    "compute buffers": "#7c4dca",
    "prefill memory": "#7c4dca",
    "vision tower": "#c2417f",
}
OTHERS = ("#8a8f98", "#6b7280", "#a16207", "#475569")
STYLE = (
    "<style>.deployfit-bar text{fill:#1b1f24}"
    "@media(prefers-color-scheme:dark){.deployfit-bar text{fill:#e8ecf1}}</style>"
)


class Piece(NamedTuple):
    """A part of a bar: what it is called, where it begins and how wide it is, of WIDTH, and its colour."""

    label: str
    begin: float
    width: float
    fill: str


def pieces_of(bar: Bar) -> list[Piece]:
    """Return the parts of a bar, which is as wide as the largest mark or everything in it, whichever is more.

    >>> [piece.width for piece in pieces_of(Bar([("weights", 15), ("cache", 5)], [("limit", 25)], ""))]
    [384.0, 128.0]
    """
    found, begin = [], 0
    left = iter(OTHERS * len(bar.parts))
    for label, nbytes in bar.parts:
        fill = FILLS.get(label) or next(left)
        found.append(Piece(label, begin * WIDTH / _whole(bar), nbytes * WIDTH / _whole(bar), fill))
        begin += nbytes
    return found


def _whole(bar: Bar) -> int:
    used = sum(nbytes for _, nbytes in bar.parts)
    return max(used, *(nbytes for _, nbytes in bar.marks), 1)


def bar_svg(bar: Bar, *, labelled: bool = True) -> str:
    """Return the bar as a drawing of its own, with its parts and marks named; without names it fills any width.

    >>> bar_svg(Bar([("weights", 15)], [("limit", 25)], "15 of 25"))[:4]
    '<svg'
    """
    names = list(_names(bar)) if labelled else []
    stretched = "" if names else ' preserveAspectRatio="none"'
    height = HEIGHT + STEP * -(-len(names) // ACROSS) + (8 if names else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="deployfit-bar" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}"{stretched} role="img" font-family="system-ui, sans-serif" font-size="12">'
        f"<title>{escape(printable(bar_sentence(bar)))}</title>{STYLE if names else ''}{''.join(_drawn(bar))}"
        f"{''.join(names)}</svg>"
    )


def _drawn(bar: Bar) -> Iterator[str]:
    """Yield the track, the parts on it, what is kept free below the last mark, and that mark."""
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="5" fill="#8c959f" fill-opacity=".2"/>'
    for piece in pieces_of(bar):
        yield f'<rect x="{piece.begin:.1f}" width="{piece.width:.1f}" height="{HEIGHT}" fill="{piece.fill}"/>'
    marks = [max(0.0, nbytes * WIDTH / _whole(bar)) for _, nbytes in bar.marks]
    if len(marks) > 1:
        kept = f'x="{marks[0]:.1f}" width="{max(0.0, marks[-1] - marks[0]):.1f}"'
        yield f'<rect {kept} height="{HEIGHT}" fill="{MARK}" fill-opacity=".22"/>'
    for x in marks[-1:]:
        yield f'<rect x="{min(x, WIDTH) - 3:.1f}" width="3" height="{HEIGHT}" fill="{MARK}"/>'


def _names(bar: Bar) -> Iterator[str]:
    """Yield what it is in all, then each part and mark with its colour."""
    fills = ["", *(piece.fill for piece in pieces_of(bar)), *[MARK] * len(bar.marks)]
    labels = [bar.label, *(f"{label} GiB" for label in bar_labels(bar))]
    for number, (label, fill) in enumerate(zip(labels, fills, strict=False)):
        x, y = number % ACROSS * WIDTH // ACROSS, HEIGHT + STEP * (number // ACROSS + 1)
        name = escape(printable(label))
        if fill:
            swatch = f'<rect x="{x}" y="{y - 10}" width="11" height="11" rx="2" fill="{fill}"/>'
            yield f'{swatch}<text x="{x + 17}" y="{y}">{name}</text>'
        else:
            yield f'<text x="{x}" y="{y}" font-weight="600">{name}</text>'
