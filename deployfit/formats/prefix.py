"""The first bytes of a file that anybody may have uploaded: asking for more of them, or refusing them in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from deployfit.errors import DataError, quoted

MOST_HEADER_BYTES = 100_000_000  # the largest GGUF headers of 2026 have some 20 MB
MOST_TENSORS = 65_536
MOST_COUNT = 2**63 - 1  # what ggml and safetensors can count


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
        deployfit.formats.prefix.NeedMore: at least 124 bytes of the file are needed
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
