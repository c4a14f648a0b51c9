"""HTML: a document as one page without scripts, or as the part of a page that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
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
from deployfit.report.drawing import bar_svg
from deployfit.report.formats import Screen
from deployfit.report.sizes import bar_sentence

FRAGMENT = 0  # the width of a screen that is part of another page
COLOURS = {Tone.GOOD: "#1a7f37", Tone.WARNING: "#9a6700", Tone.BAD: "#cf222e"}
STYLE = """
:root { color-scheme: light dark }
.deployfit { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem }
.deployfit table { border-collapse: collapse; margin: .8em 0 }
.deployfit td, .deployfit th { padding: .15em .8em .15em 0; text-align: right; font-variant-numeric: tabular-nums }
.deployfit .words { text-align: left }
.deployfit dt { float: left; width: 6em; opacity: .75 } .deployfit dd { margin: 0 0 .2em 6.5em }
.deployfit aside { opacity: .75 }
@media (prefers-color-scheme: dark) { .deployfit .toned { filter: brightness(1.6) } }
"""


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the blocks; everything that comes from outside is text. A document that is a page already is written so."""
    page = next((block for block in document.blocks if isinstance(block, Page)), None)
    if page and screen.width != FRAGMENT:
        out.write(page.make())
        return
    blocks = "\n".join(text for block in document.blocks for text in _block(block))
    part = f'<style>{STYLE}</style><div class="deployfit">\n{blocks}\n</div>'
    if screen.width == FRAGMENT:
        out.write(part + "\n")
        return
    title = next((block.text for block in document.blocks if isinstance(block, Heading)), "deployfit")
    out.write(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>\n'
        f"<body>\n{part}\n</body></html>\n"
    )


def _safe(text: str) -> str:
    return escape(printable(text))


def _toned(text: str, tone: Tone) -> str:
    colour = COLOURS.get(tone)
    return f'<strong class="toned" style="color:{colour}">{_safe(text)}</strong>' if colour else _safe(text)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"<h3>{_safe(block.text)}</h3>" + (f"<aside>{_safe(block.aside)}</aside>" if block.aside else "")
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
        yield f"<figure>{bar_svg(block)}<figcaption>{_safe(bar_sentence(block))}</figcaption></figure>"
    elif isinstance(block, Table) and block.rows:
        yield from _table(block)


def _table(block: Table) -> Iterator[str]:
    kinds = [' class="words"' if column.left else "" for column in block.columns]
    header = "".join(f"<th{kind}>{_safe(column.name)}</th>" for kind, column in zip(kinds, block.columns, strict=True))
    yield f"<table><thead><tr>{header}</tr></thead><tbody>"
    for number, row in enumerate(block.rows):
        cells = []
        for index, (kind, cell) in enumerate(zip(kinds, row, strict=True)):
            tone = block.tones[number] if block.tones and index == block.toned else Tone.PLAIN
            cells.append(f"<td{kind}>{_toned(cell, tone)}</td>")
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"
