"""The lines of a log that matter, found fast: an engine prints a hundred times more than says anything of memory.

A line is known by the word before its first colon, or by a text that stands in it. How many are kept is bounded, so
that a log of any size, and any hostile one, costs a bounded time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from deployfit.values import NamedTuple

MOST_LINES = 1_500_000  # that are looked at
MOST_CHARACTERS = 4_096  # of a line; the longest that says anything is a command line
MOST_OF_A_WORD = 20_000  # lines that are kept of each kind
SHORTEST = 12  # characters; no line that says anything is shorter

_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # and what else a terminal is told
# What others put before an engine's line, with a colon behind it.
_WRAPPERS = ("llama.cpp", "stderr", "stdout", "DEBUG", "INFO", "WARNING", "ERROR")
# llama-server's, Docker's, journalctl's and others' name of a line's text.
_MESSAGE = re.compile(r'"(?:msg|log|MESSAGE|message)" ?: ?"')
MOST_WRAPPERS = 4  # in front of a line


class Line(NamedTuple):
    """A line that matters: its word ("" if it was known otherwise) and what stands behind it."""

    word: str
    text: str


class Wanted(NamedTuple):
    """What a program wants to read: see `programs`."""

    words: frozenset[str]
    starts: tuple[str, ...]
    marks: tuple[str, ...]


class Sifted(NamedTuple):
    """The lines that each program wants, in order; whether any line was there, and whether some were not looked at."""

    lines: Mapping[str, Sequence[Line]]
    seen: int
    cut_short: bool


def sift(lines: Iterable[str], wanted: Mapping[str, Wanted]) -> Sifted:
    """Return the lines that each program wants; a line whose word is known is not searched for marks."""
    by_word: dict[str, list[str]] = {}
    for program, wish in wanted.items():
        for word in wish.words:
            by_word.setdefault(word, []).append(program)
    starts = tuple((start, program) for program, wish in wanted.items() for start in wish.starts)
    all_starts = tuple(start for start, _ in starts)
    by_mark: dict[str, list[str]] = {}
    for program, wish in wanted.items():
        for mark in wish.marks:
            by_mark.setdefault(mark, []).append(program)
    marks = tuple(by_mark.items())
    kept: dict[str, list[Line]] = {program: [] for program in wanted}
    counts: dict[str, int] = {}
    seen = 0
    for line in lines:
        seen += 1
        if seen > MOST_LINES:
            return Sifted(kept, seen, True)
        if len(line) < SHORTEST:
            continue
        if len(line) > MOST_CHARACTERS:
            line = line[:MOST_CHARACTERS]
        if "\x1b" in line:
            line = _COLOUR.sub("", line)
        if line[0] == "{" and line[1:2] == '"':
            line = _message(line)
        whole = line
        head, colon, text = line.partition(": ")
        word = head[head.rfind(" ") + 1 :]
        left = MOST_WRAPPERS
        while left and colon and word not in by_word and (word[-1:] in ("]", ")") or word in _WRAPPERS):
            left -= 1
            line = text
            head, colon, text = line.partition(": ")
            word = head[head.rfind(" ") + 1 :]
        if colon and word not in by_word:
            behind = word[max(word.rfind(":"), word.rfind("\t")) + 1 :]  # a file's name or a logger's
            word = "" if behind.isdecimal() else behind
        programs = by_word.get(word) if colon else None
        if programs is not None:
            counts[word] = count = counts.get(word, 0) + 1
            if count <= MOST_OF_A_WORD:
                entry = Line(word, text.rstrip())
                for program in programs:
                    kept[program].append(entry)
            continue
        if line.startswith(all_starts):
            for start, program in starts:
                if line.startswith(start):
                    _keep(kept[program], counts, start, line)
            continue
        taken: tuple[str, ...] = ()
        for mark, programs in marks:
            if mark in whole:
                for program in programs:
                    if program not in taken:
                        taken += (program,)
                        _keep(kept[program], counts, mark, whole)
    return Sifted(kept, seen, False)


def _keep(kept: list[Line], counts: dict[str, int], kind: str, line: str) -> None:
    counts[kind] = count = counts.get(kind, 0) + 1
    if count <= MOST_OF_A_WORD:
        kept.append(Line("", line.rstrip("\n")))


def _message(line: str) -> str:
    """Return the message of a line that was logged as JSON; the line itself if it is none."""
    from json.decoder import scanstring  # type: ignore[attr-defined]

    found = _MESSAGE.search(line)
    if found is None:
        return line
    try:
        return str(scanstring(line, found.end())[0])
    except ValueError:
        return line
