"""HTML: a document as one page without scripts, or as the part of a page that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import chain, repeat
from typing import IO

from deployfit.printable import printable
from deployfit.report.document import (
    Bar,
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Heading,
    Page,
    Statement,
    Table,
    Tone,
    Verbatim,
    Ways,
)
from deployfit.report.drawing import MARK, bar_svg, pieces_of
from deployfit.report.formats import Screen
from deployfit.report.sizes import bar_labels

FRAGMENT = 0  # the width of a screen that is part of another page
CLASSES = {Tone.GOOD: "good", Tone.WARNING: "warning", Tone.BAD: "bad"}
STYLE = """
:root { color-scheme: light dark }
.deployfit { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem }
.deployfit :is(h1, h2, h3) { font-size: 1.25em; margin: 1.2em 0 .1em }
.deployfit .aside, .deployfit dt { opacity: .75; margin: 0 }
.deployfit figure { margin: 1em 0; max-width: 46rem }
.deployfit figure svg { display: block; width: 100%; height: 34px }
.deployfit figcaption { display: flex; flex-wrap: wrap; gap: .1em 1.2em; margin-top: .4em; font-size: .9em }
.deployfit figcaption svg { display: inline-block; width: .75em; height: .75em; margin-right: .4em }
.deployfit table { border-collapse: collapse; margin: .8em 0; font-variant-numeric: tabular-nums }
.deployfit td, .deployfit th { padding: .15em .9em .15em 0; text-align: right; vertical-align: baseline }
.deployfit thead > tr > * { border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
.deployfit th { font-weight: 600 }
.deployfit .words { text-align: left }
.deployfit .wide { overflow-x: auto }
.deployfit dl { display: grid; grid-template-columns: minmax(5em, auto) 1fr; gap: .1em 1em; margin: .8em 0 }
.deployfit dd { margin: 0 }
.deployfit code { font-size: .9em; overflow-wrap: anywhere }
.deployfit ul { margin: .2em 0 1em; padding-left: 1.3em }
.deployfit .good { color: #166a2e } .deployfit .warning { color: #7d4e00 } .deployfit .bad { color: #b01e2a }
@media (prefers-color-scheme: dark) {
  .deployfit .good { color: #6bd48a } .deployfit .warning { color: #f0c24d } .deployfit .bad { color: #ff9492 }
}
"""
PAGE_STYLE = "html { background: Canvas; color: CanvasText }\n"


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the blocks; everything that comes from outside is text. A document that is a page already is written so."""
    page = next((block for block in document.blocks if isinstance(block, Page)), None)
    if page and screen.width != FRAGMENT:
        out.write(page.make())
        return
    # A page of its own has headings and landmarks of its own.
    headings = repeat("h3") if screen.width == FRAGMENT else chain(["h1"], repeat("h2"))
    blocks = "\n".join(text for block in document.blocks for text in _block(block, headings))
    if screen.width == FRAGMENT:
        out.write(f'<style>{STYLE}</style><div class="deployfit">\n{blocks}\n</div>\n')
        return
    part = f'<style>{STYLE}{PAGE_STYLE}</style>\n<main class="deployfit">\n{blocks}\n</main>'
    title = next((block.text for block in document.blocks if isinstance(block, Heading)), "deployfit")
    out.write(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>\n'
        f"<body>\n{part}\n</body></html>\n"
    )


def _safe(text: str) -> str:
    return escape(printable(text))


def _toned(text: str, tone: Tone) -> str:
    name = CLASSES.get(tone)
    return f'<strong class="{name}">{_safe(text)}</strong>' if name else _safe(text)


def _block(block: Block, headings: Iterator[str]) -> Iterator[str]:
    if isinstance(block, Heading):
        tag = next(headings)
        yield f"<{tag}>{_safe(block.text)}</{tag}>" + (
            f'<p class="aside">{_safe(block.aside)}</p>' if block.aside else ""
        )
    elif isinstance(block, Statement):
        yield f"<p>{_toned(block.lead, block.tone)}{_safe(block.text)}</p>"
    elif isinstance(block, Facts):
        items = "".join(f"<dt>{_safe(name) or '&nbsp;'}</dt><dd>{_safe(text)}</dd>" for name, text in block.items)
        yield f"<dl>{items}</dl>"
    elif isinstance(block, Bullets) and block.items:
        items = "".join(f"<li>{_safe(item)}</li>" for item in block.items)
        yield f"<p>{_safe(block.title)}:</p><ul>{items}</ul>"
    elif isinstance(block, Code):
        address = f", from {_safe(block.address)}" if block.address else ""
        yield f"<p>{_safe(block.title)}: <code>{_safe(block.command)}</code>{address}</p>"
    elif isinstance(block, Ways) and block.items:
        items = "".join(f"<li>{_safe(said)}: <code>{_safe(command)}</code></li>" for said, command in block.items)
        yield f"<p>{_safe(block.title)}:</p><ul>{items}</ul>"
    elif isinstance(block, Verbatim):
        yield f"<pre>{'&#10;'.join(map(_safe, block.lines))}</pre>"
    elif isinstance(block, Bar):
        yield from _bar(block)
    elif isinstance(block, Table) and block.rows:
        yield from _table(block)


def _bar(block: Bar) -> Iterator[str]:
    """Yield the drawing with its legend below, which wraps where there is no room."""
    fills = [piece.fill for piece in pieces_of(block)] + [MARK] * len(block.marks)
    yield f"<figure>{bar_svg(block, labelled=False)}<figcaption><strong>{_safe(block.label)}</strong>"
    for label, fill in zip(bar_labels(block), fills, strict=False):
        swatch = f'<svg viewBox="0 0 1 1" aria-hidden="true"><rect width="1" height="1" fill="{fill}"/></svg>'
        yield f"<span>{swatch}{_safe(label)}</span>"
    yield "</figcaption></figure>"


def _table(block: Table) -> Iterator[str]:
    kinds = [' class="words"' if column.left else "" for column in block.columns]
    header = "".join(
        f'<th scope="col"{kind}>{_safe(column.name)}</th>' if column.name else f"<td{kind}></td>"
        for kind, column in zip(kinds, block.columns, strict=True)
    )
    yield '<div class="wide" tabindex="0" role="group" aria-label="table">'
    yield f"<table><thead><tr>{header}</tr></thead><tbody>"
    for number, row in enumerate(block.rows):
        cells = []
        for index, (kind, cell) in enumerate(zip(kinds, row, strict=True)):
            tone = block.tones[number] if block.tones and index == block.toned else Tone.PLAIN
            cells.append(f"<td{kind}>{_toned(cell, tone)}</td>")
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"
