"""Macs as people name them: a memory size, a chip with one, About This Mac's words, a model identifier, several.

Words before the chip, such as the kind of Mac and its screen, say nothing that an answer needs, and are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from deployfit.errors import InputError, quoted
from deployfit.hardware.mac import Mac, MacRow
from deployfit.parameters import param
from deployfit.tables import Row, Table
from deployfit.units import GIB
from deployfit.values import NamedTuple
from deployfit.words.text import LONGEST, cleaned

MOST_MACHINES = 32
KINDS = ("MacBook Air", "MacBook Pro", "MacBook Neo", "Mac mini", "Mac Studio", "Mac Pro", "iMac")

_TIERS = ("pro", "max", "ultra")
_MEMORY_UNITS = ("gb", "gib", "g", "gig", "gigs", "gigabyte", "gigabytes")
_STORAGE = ("ssd", "storage", "disk")
_COUNTS = ("core", "cores", "c", "cpu", "gpu", "inch", "in", "tb", "tib", "t")  # a number before these is no memory
_YEARS = range(2020, 2030)
_YEARS_OF_INTEL = range(2006, 2020)
_COUNTING = frozenset({"x", "two", "three", "four", "both", "pair"})
# Words for several Macs that are not understood, so that the way out is another one.
_LIKE_SEVERAL = re.compile(
    r"[+&;]|\b(?:and|two|three|four|both|pair)\b|\b(?:x ?[0-9]|[0-9]*x\b|[0-9]{1,2} +m ?[0-9])",
    re.ASCII | re.IGNORECASE,
)
_INCHES = '(?<=[0-9])["\u2033\u201d]'
_CHIP = r"(?<![a-z])(?:m ?|a)[0-9]"
# Words that may stand anywhere; others after the chip are not understood.
_FILLING = {
    *("mac", "macbook", "imac", "air", "pro", "mini", "studio", "neo", "macbookpro", "macbookair", "macmini"),
    *("apple", "silicon", "chip", "machine", "laptop", "the", "my", "a", "an", "with", "w", "and", "of", "in", "inch"),
    *("model", "name", "identifier", "hw", "ram", "memory", "memsize", "unified", "core", "cores", "c", "cpu", "gpu"),
    *("neural", "engine", "tb", "ssd", "storage", "disk", "mid", "late", "early"),
}
# What programs say of a Mac that no answer needs: the kind of its memory, its clock, the architecture.
_ASIDE = r"\b(?:lpddr[0-9]x?|arm64)\b|@? ?\b[0-9]\.[0-9]+ ?ghz\b|(?<=[0-9])\.0+(?= ?gi?b)"
_BYTES = r"(?<![0-9])[0-9]{10,13}(?![0-9])"  # as `sysctl hw.memsize` prints it


class MacModelRow(NamedTuple):
    """A row of `data/mac_models.csv`: an identifier that macOS gives as its hardware's model, and the chip in it."""

    identifier: str
    chip: str
    mac: str


def _mac_model_row(row: Row) -> MacModelRow:
    return MacModelRow(identifier=row.text("identifier"), chip=row.text("chip"), mac=row.text("mac"))


MAC_MODELS = Table("mac_models.csv", ["identifier", "chip", "mac"], _mac_model_row)

Identifiers = Callable[[], Sequence[MacModelRow]]


class _Said(NamedTuple):
    """What a text says of a Mac: chip as it is known, sizes that may be its memory, the kind of Mac."""

    chip: str
    sizes: tuple[int, ...]
    kind: str


def mac_named(text: str, macs: Sequence[MacRow], identifiers: Identifiers = tuple) -> Mac:
    """Return the Mac that a text names; raise InputError with what it may be where that is several, or none was sold.

    Identifiers are read only where the text has one.

    >>> rows = [MacRow("M4 Max", 410, (36,)), MacRow("M4 Max", 546, (48, 64, 128))]
    >>> mac_named("MacBook Pro M4 Max 64GB", rows) == mac_named("m4max64", rows) == Mac("M4 Max", 64 * GIB)
    True
    >>> mac_named("64 GB", rows).name
    '64 GB'
    """
    found = macs_meant(text, macs, identifiers)
    if len(found) == 1:
        return found[0]
    by_chip: dict[str, list[int]] = {}
    for mac in found:
        by_chip.setdefault(mac.chip, []).append(mac.memory_bytes // GIB)
    if len(by_chip) == 1:
        chip, sizes = next(iter(by_chip.items()))
        raise InputError(f"{param('mac')} {quoted(text)}: memory size missing; {_sold(chip, sizes)}")
    listed = "; ".join(f"{chip} {', '.join(map(str, sorted(sizes)))}" for chip, sizes in by_chip.items())
    raise InputError(f"{param('mac')} {quoted(text)} may be {listed} GB; say which, such as '{found[0].name}'")


def macs_meant(text: str, macs: Sequence[MacRow], identifiers: Identifiers = tuple) -> list[Mac]:
    """Return every Mac that a text may mean: a chip without its memory is each that it was sold with.

    >>> [mac.name for mac in macs_meant("M4 Max", [MacRow("M4 Max", 546, (48, 64))])]
    ['M4 Max 48 GB', 'M4 Max 64 GB']
    """
    said = _said(text, macs, identifiers)
    if said.chip:
        rows = [row for row in macs if row.chip == said.chip]
    else:
        rows = [row for row in macs if said.sizes or said.kind.casefold() in row.macs.casefold()]
    if not said.sizes:
        return [Mac(row.chip, size * GIB) for row in rows for size in row.memory_gib]
    sizes = {size for row in rows for size in row.memory_gib}
    sold = [size for size in said.sizes if size in sizes]
    if len(sold) > 1:
        raise InputError(f"{param('mac')} {quoted(text)}: which is the memory, {' or '.join(map(str, sold))} GB?")
    if not sold:
        raise InputError(f"no {said.chip or 'Mac'} with {said.sizes[0]} GB; {_sold(said.chip, sizes)}")
    return [Mac(said.chip, sold[0] * GIB)]


def machines_named(text: str, macs: Sequence[MacRow], identifiers: Identifiers = tuple) -> tuple[Mac, ...]:
    """Return the Macs of a cluster: `2x M3 Ultra 256`, `M3 Ultra 512 + M4 Max 128`; of a plain name the one Mac.

    >>> rows = [MacRow("M3 Ultra", 819, (96, 256, 512))]
    >>> [mac.name for mac in machines_named("2x M3 Ultra 256 + M3 Ultra 512", rows)]
    ['M3 Ultra 256 GB', 'M3 Ultra 256 GB', 'M3 Ultra 512 GB']
    """
    found: list[Mac] = []
    for part in map(str.strip, text.replace("\u00d7", "x").split("+")):
        if not part:
            raise InputError(f"{param('mac')} {quoted(text)}: a Mac is missing beside a +; {_SEVERAL}")
        if part.count("(") != part.count(")"):
            raise _not_understood(text)
        counted = re.fullmatch(r"([0-9]{1,9}) ?[x*] ?(.+)", part, re.ASCII | re.IGNORECASE)
        count = int(counted[1]) if counted else 1
        if not 1 <= count <= MOST_MACHINES - len(found):
            raise InputError(f"{param('mac')} {quoted(text)}: expected 1 to {MOST_MACHINES} Macs")
        found += [mac_named(counted[2] if counted else part, macs, identifiers)] * count
    return tuple(found)


def _said(text: str, macs: Sequence[MacRow], identifiers: Identifiers) -> _Said:
    typed = cleaned(re.sub(_INCHES, " inch ", _unquoted(text))).casefold()
    if len(typed) > LONGEST or not (typed.isprintable() and typed.isascii()):
        raise _not_understood(text)
    typed = re.sub(_BYTES, lambda found: _in_gib(found[0]), re.sub(_ASIDE, "", typed))
    chip, rest = _identified(typed, identifiers)
    tokens = _tokens(rest)
    if chip:
        if named := re.search(_CHIP, rest):  # the chip is said too, as `system_profiler` does
            same, after = _chip(_tokens(rest[named.start() :]), macs)
            if same != chip:
                raise InputError(f"{param('mac')} {quoted(text)}: the identifier is that of an {chip}, not {same}")
            tokens = [*_tokens(rest[: named.start()]), *after]
        sizes = _sizes(tokens, bare=True)
    elif found := re.search(_CHIP, typed):
        before = _tokens(typed[: found.start()])
        chip, tokens = _chip(_tokens(typed[found.start() :]), macs)
        sizes, earlier = _sizes(tokens, bare=True), _sizes(before, bare=len(before) == 1)
        if _COUNTING.intersection(before) or (sizes and earlier and sizes != earlier):
            raise _not_understood(text)
        sizes = sizes or earlier
    else:
        if year := next((word for word in tokens if word.isdigit() and int(word) in _YEARS_OF_INTEL), None):
            raise InputError(f"{param('mac')} {quoted(text)}: Macs of {year} have Intel chips; those are not answered")
        sizes = _sizes(tokens, bare=typed[:1].isdigit())  # "MacBook Pro 16" is as wide as that
    kind = "" if chip else _kind(typed)
    understood = all(word in _FILLING or word in _MEMORY_UNITS or word.isdigit() for word in tokens)
    if not (understood and (chip or sizes or kind)):
        raise _not_understood(text)
    return _Said(chip, sizes, kind)


def _in_gib(digits: str) -> str:
    """Return an amount of bytes with its unit, as it is where it is no whole number of GiB."""
    size, rest = divmod(int(digits), GIB)
    return digits if rest else f"{size} gib"


def _unquoted(text: str) -> str:
    typed = text.strip()
    return typed[1:-1] if len(typed) > 1 and typed[0] == typed[-1] and typed[0] in "\"'`" else typed


def _tokens(typed: str) -> list[str]:
    """Return the words and whole numbers of a text; a decimal point between digits is a word of its own."""
    return re.findall(r"[a-z]+|[0-9]+|(?<=[0-9])[.,](?=[0-9])", typed)


def _identified(typed: str, identifiers: Identifiers) -> tuple[str, str]:
    """Return the chip of the identifier in a text, and the rest; "" and the whole text if it has none."""
    match = re.search(r"\b(?:macbookair|macbookpro|macmini|imac|mac)[0-9]{1,2},[0-9]{1,2}\b", typed)
    if match is None:
        return "", typed
    row = next((row for row in identifiers() if row.identifier.casefold() == match[0]), None)
    if row is None:
        raise InputError(f"no Mac with the identifier {quoted(match[0])} is known; give its chip and memory")
    return row.chip, typed[: match.start()] + typed[match.end() :]


def _chip(tokens: list[str], macs: Sequence[MacRow]) -> tuple[str, list[str]]:
    """Return the chip that the words begin with, and the words after it."""
    letter, number, *rest = tokens
    tier = rest[0] if rest and rest[0] in _TIERS else ""
    names = {row.chip.casefold(): row.chip for row in macs}
    typed = f"{letter}{number} {tier}".strip()
    if typed in names:
        return names[typed], rest[1:] if tier else rest
    for cut in range(1, len(number)):  # chip and memory typed together: m416
        row = next((row for row in macs if row.chip.casefold() == f"{letter}{number[:cut]}" and not tier), None)
        if row is not None:
            return row.chip, [number[cut:], *rest]
    alike = [chip for folded, chip in names.items() if folded.split()[0] == f"{letter}{number}"]
    known = f"of {letter.upper()}{number} there are" if alike else "known:"
    raise InputError(f"no Mac chip {quoted(typed.title())}; {known} {', '.join(alike or names.values())}")


def _sizes(tokens: Sequence[str], *, bare: bool) -> tuple[int, ...]:
    """Return the numbers that may be a memory size in GB: those with its unit, or if there are none the bare ones."""
    with_unit: list[int] = []
    without: list[int] = []
    for at, word in enumerate(tokens):
        after = [*tokens[at + 1 : at + 3], "", ""]
        if not word.isdigit() or len(word) > 4:
            continue
        if after[0] in _MEMORY_UNITS:
            if after[1] not in _STORAGE:
                with_unit.append(int(word))
        elif after[0] not in _COUNTS and int(word) not in _YEARS:
            without.append(int(word))
    return tuple(dict.fromkeys(with_unit or (without if bare else ())))


def _kind(typed: str) -> str:
    joined = re.sub(r"[^a-z]", "", typed)
    return next((kind for kind in KINDS if kind.replace(" ", "").casefold() in joined), "")


def _sold(chip: str, sizes: Iterable[int]) -> str:
    listed = ", ".join(map(str, sorted(sizes)))
    return f"{'it was' if chip else 'Macs were'} sold with {listed} GB"


_SEVERAL = "several Macs are '2x M3 Ultra 256' or 'M3 Ultra 512 + M4 Max 128'"


def _not_understood(text: str) -> InputError:
    several = f"; {_SEVERAL}" if _LIKE_SEVERAL.search(text[:LONGEST]) else ""
    return InputError(
        f"{param('mac')}: expected a memory size or a chip with one, such as 32 or 'M4 Max 64', got"
        f" {quoted(text)}{several}"
    )
