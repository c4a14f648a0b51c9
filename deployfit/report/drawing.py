"""Bars of memory as drawings (SVG)."""

from __future__ import annotations

from html import escape

from deployfit.printable import printable
from deployfit.report.document import Bar
from deployfit.report.sizes import bar_labels

WIDTH, HEIGHT, TOP, STEP = 640, 22, 6, 18
FILLS = ("#0969da", "#8250df", "#1b7c83", "#bc4c00", "#57606a", "#bf3989")


def bar_svg(bar: Bar) -> str:
    """Return the bar as a drawing of its own, with its parts and marks named; text is the only thing that it repeats.

    >>> bar_svg(Bar([("weights", 15)], [("limit", 25)], "15 of 25"))[:4]
    '<svg'
    """
    used = sum(nbytes for _, nbytes in bar.parts)
    whole = max(used, *(nbytes for _, nbytes in bar.marks), 1)
    drawn, begin = [], 0
    for (_, nbytes), fill in zip(bar.parts, _fills(len(bar.parts)), strict=True):
        x, width = begin * WIDTH / whole, nbytes * WIDTH / whole
        drawn.append(f'<rect x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT}" fill="{fill}"/>')
        begin += nbytes
    for _, nbytes in bar.marks:
        x = min(nbytes * WIDTH / whole, WIDTH - 1)
        drawn.append(f'<path d="M{x:.1f} 1v{HEIGHT + 2 * TOP - 2}" stroke="#cf222e" stroke-width="2"/>')
    labels = bar_labels(bar)
    bottom = TOP + HEIGHT + TOP
    for number, (label, fill) in enumerate(zip(labels, [*_fills(len(bar.parts)), *["#cf222e"] * 9], strict=False)):
        y = bottom + STEP * (number // 3 + 1) - 4
        x = number % 3 * WIDTH // 3
        drawn.append(f'<rect x="{x}" y="{y - 10}" width="10" height="10" fill="{fill}"/>')
        drawn.append(f'<text x="{x + 16}" y="{y}">{escape(printable(label))} GiB</text>')
    height = bottom + STEP * -(-len(labels) // 3) + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12" fill="currentColor"><title>'
        f"{escape(printable(bar.label))}</title>"
        f'<rect x="0" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="#8c959f" fill-opacity=".25"/>'
        + "".join(drawn)
        + "</svg>"
    )


def _fills(count: int) -> list[str]:
    return [FILLS[index % len(FILLS)] for index in range(count)]
