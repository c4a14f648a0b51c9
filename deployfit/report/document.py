"""A document: an answer as rows for programs, and as blocks for people. Every format is made of one of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from itertools import chain
from typing import Any

from deployfit.values import NamedTuple

NOTHING = "-"  # in a cell


class Shown(Enum):
    """How much a person is shown."""

    BRIEF = "brief"
    USUAL = "usual"
    EXPLAINED = "explained"


class Tone(Enum):
    """What a word's colour says, where there are colours; the word says it too."""

    PLAIN = ""
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Column(NamedTuple):
    """A column of a table for people.

    `left`: flush left, as words are. `rank`: where the screen is too narrow, the columns of the highest rank go first;
    those of rank 0 stay. `shrinks`: its cells may be cut in the middle; `late`: only when such columns are gone.
    `folds`: they go on in the lines below.
    """

    name: str
    left: bool = False
    rank: int = 0
    shrinks: bool = False
    folds: bool = False
    late: bool = False


class Table(NamedTuple):
    """Cells as people read them; `tones` are those of the column `toned`, row by row.

    `wraps`: columns that have no room beside the first go on below, in a table of their own.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    toned: int = -1
    tones: Sequence[Tone] = ()
    wraps: bool = False

    def with_columns(self, first: int, last: int) -> Table:
        """Return the first column with some of the others, counted from 1, and the rows that have something there."""
        columns = [self.columns[0], *self.columns[first:last]]
        rows = [[row[0], *row[first:last]] for row in self.rows if any(cell != NOTHING for cell in row[first:last])]
        return Table(columns, rows)


class Heading(NamedTuple):
    """What a section is about; `aside` comes at the right where there is room, else below."""

    text: str
    aside: str = ""


class Statement(NamedTuple):
    """A sentence; `lead` is its beginning that carries the answer."""

    text: str
    lead: str = ""
    tone: Tone = Tone.PLAIN


class Facts(NamedTuple):
    """Short names with what is to be said of each."""

    items: Sequence[tuple[str, str]]


class Bullets(NamedTuple):
    """Sentences under a title."""

    title: str
    items: Sequence[str]


class Bar(NamedTuple):
    """Parts of a whole against marks: bytes, drawn as a bar and listed."""

    parts: Sequence[tuple[str, int]]
    marks: Sequence[tuple[str, int]]  # such as the limit less the reserve, and the limit
    label: str
    tone: Tone = Tone.PLAIN


class Code(NamedTuple):
    """A command to be copied, with what it does, and the address of what it runs ("" where there is none)."""

    title: str
    command: str
    address: str = ""


class Ways(NamedTuple):
    """Sentences under a title, each with a command to be copied."""

    title: str
    items: Sequence[tuple[str, str]]


class Verbatim(NamedTuple):
    """Lines to be copied as they are, whatever the width."""

    lines: Sequence[str]


class Page(NamedTuple):
    """A whole page, which only HTML can hold; it is made when it is asked for. The blocks beside it are for others."""

    make: Callable[[], str]


Block = Verbatim | Heading | Statement | Facts | Bullets | Bar | Code | Ways | Table | Page


class Document(NamedTuple):
    """`schema` names the fields of the rows (`deployfit/fit/1`); `records` are read once, in the order of `columns`.

    What is read by people is in the blocks, so that rows may be made on the way. `many`: too many to hold at once, and
    nothing in them names a parameter; JSON has a line for each. `top` are fields of a JSON report beside its rows.
    `cases` are what a JUnit report lists. `kinds`: what a column holds (text, flag, count, number) where its first rows
    may not tell.
    """

    schema: str
    columns: Sequence[str]
    records: Iterable[Sequence[Any]]
    blocks: Sequence[Block]
    top: Mapping[str, Any] = {}
    cases: Sequence[Case] = ()
    kinds: Mapping[str, str] = {}
    many: bool = False

    def spelled(self, spell: Callable[[str], str]) -> Document:
        """Return the document with its parameters named as a door spells them."""
        records = self.records if self.many else (_spelled(record, spell) for record in self.records)
        blocks = [type(block)(*(_spelled(field, spell) for field in block)) for block in self.blocks]
        cases = [case._replace(failure=spell(case.failure)) for case in self.cases]
        return self._replace(records=records, blocks=blocks, cases=cases, top=_spelled(dict(self.top), spell))


class Case(NamedTuple):
    """A test case of a JUnit report; `failure` is "" where it passes."""

    group: str
    name: str
    failure: str = ""


def of_rows(schema: str, rows: Iterable[Mapping[str, Any]], blocks: Sequence[Block], **more: Any) -> Document:
    """Return the document of rows that all have the same fields; those of an iterator are made when they are read."""
    if isinstance(rows, Sequence):
        return Document(schema, list(rows[0]) if rows else [], [list(row.values()) for row in rows], blocks, **more)
    made = iter(rows)
    first = next(made)
    return Document(schema, list(first), (list(row.values()) for row in chain([first], made)), blocks, **more)


PLAIN = frozenset({int, float, bool, type(None), Tone, Column})  # what nothing is to be spelled in


def _spelled(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, dict):
        return {name: each if type(each) in PLAIN else _spelled(each, spell) for name, each in value.items()}
    if isinstance(value, list | tuple) and type(value) not in PLAIN:
        return [each if type(each) in PLAIN else _spelled(each, spell) for each in value]
    return value
