"""The text of a log, whatever wrote the file: UTF-8, UTF-16 as PowerShell's redirection has it, or either in gzip."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import IO, cast

from deployfit.errors import InputError
from deployfit.measured.logs.lines import MOST_CHARACTERS
from deployfit.measured.logs.reading import known_programs

MOST_SKIPPED = 2**28  # characters of lines that are too long to say anything
GZIP = b"\x1f\x8b"
FIRST_BYTES = 64  # of which the encoding is told


def lines_of(stream: io.BufferedReader) -> Iterator[str]:
    r"""Yield the lines of a log, of long ones the beginning; raise InputError for what is no text.

    >>> list(lines_of(io.BufferedReader(io.BytesIO("n_ctx = 4096\r\n".encode("utf-16")))))
    ['n_ctx = 4096\n']
    """
    start = stream.peek(FIRST_BYTES)
    if not start.startswith(GZIP):
        yield from _lines(stream, encoding_of(start))
        return
    import gzip
    import zlib

    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield from _lines(cast(IO[bytes], unpacked), encoding_of(unpacked.peek(FIRST_BYTES)))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError("log: a gzip file that is not whole; give the text") from None


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text by its first bytes.

    >>> encoding_of("llama".encode("utf-16-le")), encoding_of(b"llama")
    ('utf-16-le', 'utf-8-sig')
    """
    start = start[:FIRST_BYTES]
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = any(start[::2]), any(start[1::2])
    if len(start) > 3 and even != odd:
        return "utf-16-le" if even else "utf-16-be"
    return "utf-8-sig"


def _lines(stream: IO[bytes], encoding: str) -> Iterator[str]:
    """Yield lines; raise InputError for a text that has next to none."""
    text, left = io.TextIOWrapper(stream, encoding, errors="replace"), MOST_SKIPPED
    try:
        while line := text.readline(MOST_CHARACTERS):
            yield line
            while line and line[-1] != "\n":  # the rest of a long one
                line = text.readline(MOST_CHARACTERS)
                left -= len(line)
                if left < 0:
                    raise InputError(f"log: lines without an end; give what {known_programs()} printed")
    finally:
        text.detach()  # the stream is not ours to close
