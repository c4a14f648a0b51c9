"""Text for a terminal of any width: nothing breaks inside a word or a number.

What is too wide for the screen is shortened first, names before anything else, then columns go, those of the highest
rank first; names that are all that tells one line from another are shortened last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from deployfit.printable import printable
from deployfit.report.document import (
    Bar,
    Block,
    Bullets,
    Code,
    Column,
    Document,
    Facts,
    Heading,
    Statement,
    Table,
    Tone,
    Verbatim,
    Ways,
)
from deployfit.report.formats import Screen
from deployfit.report.sizes import bar_labels, bar_of

COLOURS = {Tone.GOOD: "\x1b[32m", Tone.WARNING: "\x1b[33m", Tone.BAD: "\x1b[31m"}
BOLD = "\x1b[1m"
RESET = "\x1b[0m"
GAP = "  "
LEAST_NAME = 14  # characters that a shortened name keeps
ADDRESS = "Get it"  # what the line of an address is called
LONG_WORD = 24  # characters, of which nothing more is hung
NAME_WIDTH = 10  # of facts
IN_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the blocks, a blank line between them."""
    texts = ["\n".join(lines) for block in document.blocks if (lines := list(_lines(block, screen)))]
    out.write("\n\n".join(texts) + "\n")


def _lines(block: Block, screen: Screen) -> Iterator[str]:
    if isinstance(block, Heading):
        yield from _heading(block, screen.width)
    elif isinstance(block, Statement):
        yield from _statement(block, screen)
    elif isinstance(block, Facts):
        names = [printable(name) for name, _ in block.items]
        width = max(NAME_WIDTH - 1, *map(len, names), 0)
        for name, (_, text) in zip(names, block.items, strict=True):
            yield from _hanging(f"{name:<{width}} ", text, screen.width)
    elif isinstance(block, Bullets):
        if block.items:
            yield from _folded(f"{block.title}:", screen.width)
            for item in block.items:
                yield from _hanging("- ", item, screen.width)
    elif isinstance(block, Code):
        yield from _command(f"{printable(block.title):<{NAME_WIDTH - 1}} ", block.command, screen.width)
        if block.address:
            yield from _address(printable(block.address), screen.width)
    elif isinstance(block, Ways):
        if block.items:
            yield from _folded(f"{block.title}:", screen.width)
            for sentence, command in block.items:
                yield from _hanging("- ", f"{sentence}:", screen.width)
                yield from _command("    ", command, screen.width)
    elif isinstance(block, Verbatim):
        yield from map(printable, block.lines)
    elif isinstance(block, Bar):
        yield from _bar(block, screen)
    elif isinstance(block, Table):
        yield from table(block, screen)


def _folded(text: str, width: int) -> list[str]:
    """Return a text in lines of whole words; textwrap does the same for a hundredth of an answer's time."""
    pieces: list[str] = []
    follows = False  # a number does not stand alone on a line: it stays with the word before it
    for word in printable(text).split():
        follows = bool(pieces) and not follows and word[0].isdigit() and len(pieces[-1]) <= LONG_WORD
        if follows:
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return _joined(pieces, width, " ")


def _joined(pieces: Sequence[str], width: int, gap: str) -> list[str]:
    """Return pieces in lines, as many in each as there is room for."""
    lines = [""]
    for piece in pieces:
        if not lines[-1]:
            lines[-1] = piece
        elif len(lines[-1]) + len(gap) + len(piece) <= width:
            lines[-1] += gap + piece
        else:
            lines.append(piece)
    return lines


def _hanging(lead: str, text: str, width: int) -> Iterator[str]:
    first, *rest = _folded(text, max(20, width - len(lead)))
    yield (lead + first).rstrip()
    for line in rest:
        yield " " * len(lead) + line


def _heading(block: Heading, width: int) -> Iterator[str]:
    text, aside = printable(block.text), printable(block.aside)
    if aside and len(text) + len(GAP) + len(aside) <= width:
        yield text + " " * (width - len(text) - len(aside)) + aside
        return
    yield from _folded(text, width)
    if aside:
        yield from _folded(aside, width)


def _statement(block: Statement, screen: Screen) -> Iterator[str]:
    lines = _folded(f"{block.lead}{block.text}", screen.width)
    if block.lead and screen.colours and lines[0].startswith(printable(block.lead)):
        lines[0] = _painted(printable(block.lead), block.tone, bold=True) + lines[0][len(printable(block.lead)) :]
    yield from lines


def _painted(text: str, tone: Tone, *, bold: bool = False) -> str:
    colour = COLOURS.get(tone, "") + (BOLD if bold else "")
    return f"{colour}{text}{RESET}" if colour else text


def _pieces(command: str) -> list[str]:
    """Return the options of a command with their values, and variables of its environment.

    >>> _pieces("OLLAMA_X=1 ollama serve -c 4096 --jinja")
    ['OLLAMA_X=1 ollama serve', '-c 4096', '--jinja']
    """
    first, *words = command.split(" ")
    pieces = [first]
    for word in words:
        name, equals, _ = word.partition("=")
        if word.startswith("-") or (equals and name and not name.strip(IN_CAPITALS)):
            pieces.append(word)
        else:
            pieces[-1] += f" {word}"
    return pieces


def _command(lead: str, command: str, width: int) -> Iterator[str]:
    """Yield a command, over several lines where it must be, so that it still can be copied."""
    line = lead
    for piece in _pieces(printable(command)):
        if len(line) + len(piece) + 2 > width and line != lead:
            yield line.rstrip() + " \\"
            line = " " * len(lead) + "  "
        line += piece + " "
    yield line.rstrip()


def _address(address: str, width: int) -> Iterator[str]:
    """Yield an address: on a line of its own, then without its scheme, where it has no room beside its name."""
    if NAME_WIDTH + len(address) <= width:
        yield f"{ADDRESS:<{NAME_WIDTH - 1}} {address}"
    else:
        yield ADDRESS
        yield GAP + (address if len(GAP + address) <= width else address.partition("://")[2])


def _bar(block: Bar, screen: Screen) -> Iterator[str]:
    label = printable(block.label)
    drawn = bar_of(block, min(50, screen.width - len(label) - 2 * len(GAP) - 1))
    yield f"{GAP}{_painted(drawn, block.tone) if screen.colours else drawn}{GAP}{label}"
    for line in _joined([printable(label) for label in bar_labels(block)], screen.width - len(GAP), "   "):
        yield GAP + line


def table(block: Table, screen: Screen) -> Iterator[str]:
    """Yield the lines of a table that fits the screen, or of several."""
    if not block.rows:
        return
    if block.wraps:
        for number, part in enumerate(_parts(block, screen.width)):
            yield from [""] * (number > 0)
            yield from table(part, screen)
        return
    cells = [[printable(cell) for cell in row] for row in block.rows]
    widths, shown = _fitted(block.columns, cells, screen.width)
    toned = block.toned if block.toned >= 0 else len(block.columns) + block.toned + 1
    names = [column.name for column in block.columns]
    for number, row in enumerate([names, *cells]):
        if not number and not any(names):
            continue
        lines = [_folded(row[i], widths[i]) if block.columns[i].folds else [_cut(row[i], widths[i])] for i in shown]
        for below in range(max(map(len, lines))):
            line = []
            for index, texts in zip(shown, lines, strict=True):
                text = texts[below] if below < len(texts) else ""
                padded = text.ljust(widths[index]) if block.columns[index].left else text.rjust(widths[index])
                tone = block.tones[number - 1] if number and block.tones and index == toned else Tone.PLAIN
                painted = screen.colours and tone is not Tone.PLAIN
                line.append(padded.replace(text, _painted(text, tone)) if painted and text else padded)
            yield GAP.join(line).rstrip()


def _parts(block: Table, width: int) -> Iterator[Table]:
    """Yield tables of as many columns as there is room for, names of columns cut short."""
    widths = [max(len(row[0]) for row in block.rows)]
    for column, *cells in zip(block.columns[1:], *(row[1:] for row in block.rows), strict=True):
        widths.append(max(min(len(column.name), LEAST_NAME), *map(len, cells)))
    first = 1
    while first < len(widths):
        last = first + 1
        while last < len(widths) and sum(widths[first : last + 1]) + len(GAP) * (last + 1 - first) + widths[0] <= width:
            last += 1
        yield block.with_columns(first, last)
        first = last


def _fitted(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> tuple[list[int], list[int]]:
    """Return the widths of the columns, and which are shown: shortened first, then dropped by rank."""
    widths = [
        max(len(text) for text in (column.name, *each))
        for column, each in zip(columns, zip(*cells, strict=True), strict=True)
    ]
    shown = list(range(len(columns)))

    def excess() -> int:
        return sum(widths[index] for index in shown) + len(GAP) * (len(shown) - 1) - width

    def shorten(least: int, *, late: bool = False) -> None:
        for index in sorted(shown, key=lambda each: -widths[each]):
            column = columns[index]
            if (column.shrinks or column.folds) and (late or not column.late) and excess() > 0:
                widths[index] = max(min(widths[index], least), widths[index] - excess())

    shorten(2 * LEAST_NAME)
    while excess() > 0 and (ranks := [columns[index].rank for index in shown if columns[index].rank]):
        last = max(index for index in shown if columns[index].rank == max(ranks))
        shown.remove(last)
    shorten(LEAST_NAME, late=True)
    return widths, shown


def _cut(text: str, width: int) -> str:
    """Return a text cut in the middle, where names differ least."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return text[:head] + "~" + text[len(text) - (width - 1 - head) :]
