"""Markdown: tables, sentences and lists."""

from __future__ import annotations

from collections.abc import Iterator
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
    Statement,
    Table,
    Verbatim,
    Ways,
)
from deployfit.report.formats import Screen
from deployfit.report.sizes import bar_sentence

MOST_COLUMNS = 6  # of a table that wraps, beside the first
FENCE = "```"


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the blocks."""
    out.write("\n\n".join(text for block in document.blocks for text in _block(block)) + "\n")


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"**{_safe(block.text)}**" + (f" ({_safe(block.aside)})" if block.aside else "")
    elif isinstance(block, Statement):
        lead = f"**{_safe(block.lead)}**" if block.lead else ""
        yield lead + _safe(block.text)
    elif isinstance(block, Facts):
        yield "\n".join(f"- {_safe(name)}: {_safe(text)}" for name, text in block.items)
    elif isinstance(block, Bullets) and block.items:
        yield f"{_safe(block.title)}:\n\n" + "\n".join(f"- {_safe(item)}" for item in block.items)
    elif isinstance(block, Verbatim):
        yield "\n".join([FENCE, *(printable(line).replace(FENCE, "") for line in block.lines), FENCE])
    elif isinstance(block, Bar):
        yield _safe(bar_sentence(block))
    elif isinstance(block, Code):
        yield f"{_safe(block.title)}: {_code(block.command)}" + (
            f", from {_safe(block.address)}" if block.address else ""
        )
    elif isinstance(block, Ways) and block.items:
        lines = [f"- {_safe(sentence)}: {_code(command)}" for sentence, command in block.items]
        yield f"{_safe(block.title)}:\n\n" + "\n".join(lines)
    elif isinstance(block, Table) and block.rows:
        parts = range(1, len(block.columns), MOST_COLUMNS) if block.wraps else ()
        yield "\n\n".join(table(block.with_columns(first, first + MOST_COLUMNS)) for first in parts) or table(block)


def table(block: Table) -> str:
    """Return a table's lines."""
    header = [column.name for column in block.columns]
    rule = ["---" if column.left else "---:" for column in block.columns]
    rows = [header, rule, *([_safe(cell) for cell in row] for row in block.rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _code(command: str) -> str:
    return f"`{printable(command).replace('`', '')}`"


def _safe(text: str) -> str:
    """Return a text that stays one cell and one line, and is no markup of its own."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;").replace("![", "!\\[")
