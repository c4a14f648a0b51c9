"""What anybody may have uploaded: asking for more of a file's first bytes, or refusing them in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from deployfit.errors import DataError, quoted
from deployfit.values import NamedTuple

MOST_HEADER_BYTES = 40_000_000  # twice the largest GGUF headers of 2026; to read one takes up to 100 MB
MOST_TENSORS = 65_536
MOST_COUNT = 2**63 - 1  # what ggml and safetensors can count
MOST_MARKS = 1_000_000  # of JSON that is read as a whole; each can take 75 bytes of memory
MOST_DIGITS = 20  # of a whole number: 64 bits. The time for int() grows with the square of them
MARKS = (b"{", b"[", b",", b":")
MOST_TEXT = 32 * 2**20  # bytes of memory that a JSON text may take as text
ASTRAL = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")  # one such letter, and every letter of a text takes four bytes


class NeedMore(Exception):
    """The header goes on: at least `nbytes` bytes of the file are needed, never more than the file has.

    It is a lower bound. Who asks for twice the bytes held, if that is more, has the whole of a header in few
    requests.
    """

    def __init__(self, nbytes: int) -> None:
        super().__init__(f"at least {nbytes:,} bytes of the file are needed")
        self.nbytes = nbytes


class Span(NamedTuple):
    """Where a tensor lies within the data part of its file."""

    begin: int
    end: int
    name: str


class Prefix(NamedTuple):
    """The first bytes of a file of `file_bytes` bytes; `place` names it in messages."""

    data: bytes
    file_bytes: int
    place: str

    def need(self, end: int, what: str, least_rest: int = 0) -> None:
        """Raise NeedMore unless the data reach to `end`, DataError if the file cannot hold what the header tells of.

        `least_rest` is how many bytes of header must follow after `end` at least.

        >>> Prefix(b"GGUF", 1000, "a.gguf").need(24, "the header", 100)
        Traceback (most recent call last):
        deployfit.formats.untrusted.NeedMore: at least 124 bytes of the file are needed
        """
        least = end + least_rest
        if least > self.file_bytes:
            raise self.fault(f"{what} runs past the end of the file, which has {self.file_bytes:,} bytes")
        if least > MOST_HEADER_BYTES:
            raise self.fault(f"{what}: more than {MOST_HEADER_BYTES:,} bytes of header")
        if end > len(self.data):
            raise NeedMore(least)

    def fault(self, text: str) -> DataError:
        """Return the error for this file; what the text echoes must be quoted."""
        place = self.place if self.place.isprintable() else quoted(self.place)
        return DataError([f"{place}: {text}"])

    def check_name(self, name: str, what: str) -> None:
        """Raise DataError for a name that cannot be shown as it is.

        >>> Prefix(b"", 0, "a.gguf").check_name("output.weight", "tensor")
        """
        if not name or not name.isprintable():
            raise self.fault(f"{what}: expected a printable name, got {quoted(name)}")

    def check_spans(self, spans: Iterable[Span], data_bytes: int) -> None:
        """Raise DataError unless every tensor has its own place in the data part.

        >>> Prefix(b"", 0, "a.gguf").check_spans([Span(0, 64, "a"), Span(32, 96, "b")], 1000)
        Traceback (most recent call last):
        deployfit.errors.DataError: a.gguf: tensors 'a' and 'b' overlap
        """
        last = Span(0, 0, "")
        for span in sorted(spans):
            if span.begin < last.end:
                raise self.fault(f"tensors {quoted(last.name)} and {quoted(span.name)} overlap")
            if span.end > data_bytes:
                raise self.fault(
                    f"tensor {quoted(span.name)} ends at byte {span.end:,} of the data part, of {data_bytes:,}"
                )
            last = span


def first_bytes(data: bytes, file_bytes: int, place: str) -> Prefix:
    """Return the first bytes of a file; raise DataError if there are more than the file is said to have."""
    prefix = Prefix(data, file_bytes, place)
    if len(data) > file_bytes:
        raise prefix.fault(f"{len(data):,} bytes came of a file that is said to have {file_bytes:,}")
    return prefix


def whole_number(digits: str) -> int:
    """Return a whole number of JSON; raise ValueError for one that no field of anything has room for."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def read_json(content: bytes, place: str) -> Any:
    """Return what a JSON text says; raise DataError if it says nothing, or more than anything that is read.

    >>> read_json(b'{"bits": 4}', "config.json")
    {'bits': 4}
    >>> read_json(b"<html>", "config.json")
    Traceback (most recent call last):
    deployfit.errors.DataError: config.json is not JSON
    """
    if sum(map(content.count, MARKS)) > MOST_MARKS or len(content) * _letter_bytes(content) > MOST_TEXT:
        raise DataError([f"{place} holds far more than it should"])
    try:
        return json.loads(content.decode("utf-8-sig"), parse_int=whole_number, parse_constant=_stand_in)
    except (ValueError, RecursionError):
        raise DataError([f"{place} is not JSON"]) from None


def _letter_bytes(content: bytes) -> int:
    """Return how many bytes each letter of a text may take in memory, which its widest letter decides."""
    if len(content) * 4 <= MOST_TEXT or (content.isascii() and b"\\u" not in content):
        return 1
    return 4 if ASTRAL.search(content) else 2


def _stand_in(name: str) -> str:
    """Return NaN and Infinity as texts: published configurations hold them, and they are no number of anything."""
    return name


def read_object(content: bytes, place: str) -> dict[str, Any]:
    """Return the object that a JSON text is; raise DataError if it is none."""
    value = read_json(content, place)
    if not isinstance(value, dict):
        raise DataError([f"{place} is not an object"])
    return value
