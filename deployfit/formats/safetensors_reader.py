"""Reading the header of a safetensors file, of which nothing is believed.

Source: safetensors' tensor.rs (2026-05-12). What that reader refuses is refused here, except for gaps between
tensors and after them. The header is read record by record, so that it takes hardly more memory than its bytes.
"""

from __future__ import annotations

import codecs
import json
import re
import struct
from collections.abc import Iterator
from typing import Any, TypeGuard

from deployfit.errors import DataError, quoted
from deployfit.formats.untrusted import (
    MOST_COUNT,
    MOST_TENSORS,
    NeedMore,
    Prefix,
    Span,
    first_bytes,
    whole_number,
)
from deployfit.values import NamedTuple

__all__ = ["NeedMore", "StoredTensor", "read_header"]

LENGTH = struct.Struct("<Q")
METADATA = "__metadata__"
MOST_BYTES = 25_000_000  # as huggingface_hub's parser; safetensors' own bound is 100 MB
MOST_NAME = 4096  # bytes of a tensor's name, as JSON writes it
MOST_RECORD = 1024  # bytes of a tensor's record; real ones have some 100
MOST_METADATA = 10_000  # entries
CHUNK = 1 << 20

BLANKS = re.compile(rb"[ \t\n\r]*+")
STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+"')

DTYPE_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}


class StoredTensor(NamedTuple):
    """A tensor of a file, as its record in the header has it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


def read_header(data: bytes, file_bytes: int, place: str) -> tuple[StoredTensor, ...]:
    """Return the tensors of a safetensors file of `file_bytes` bytes that begins with `data`, in the header's order.

    Raise NeedMore if the header goes on after the data, DataError with one line if it is none that can be true.

    >>> header = b'{"lm_head.weight":{"dtype":"BF16","shape":[248320,5120],"data_offsets":[0,2542796800]}}'
    >>> data = struct.pack("<Q", len(header)) + header
    >>> read_header(data, len(data) + 2542796800, "a.safetensors")[0].nbytes
    2542796800
    >>> read_header(data[:20], len(data) + 2542796800, "a.safetensors")
    Traceback (most recent call last):
    deployfit.formats.untrusted.NeedMore: at least 95 bytes of the file are needed
    """
    prefix = first_bytes(data, file_bytes, place)
    prefix.need(LENGTH.size, "the length of the header")
    header_bytes = LENGTH.unpack_from(data)[0]
    data_start = LENGTH.size + header_bytes
    if data[LENGTH.size : LENGTH.size + 1] not in (b"", b"{"):
        raise prefix.fault("not a safetensors file: its header is not a JSON object")
    if MOST_BYTES < header_bytes <= file_bytes:
        raise prefix.fault(f"a header of {header_bytes:,} bytes; at most {MOST_BYTES:,} are read")
    prefix.need(data_start, "the header")
    tensors: dict[str, StoredTensor] = {}
    spans = []
    for name, record in _records(prefix, data_start):
        if name in tensors:
            raise prefix.fault(f"{quoted(name)} is there twice")
        tensors[name], span = _tensor(prefix, name, record)
        spans.append(span)
        if len(tensors) > MOST_TENSORS:
            raise prefix.fault(f"more than {MOST_TENSORS:,} tensors")
    prefix.check_spans(spans, file_bytes - data_start)
    return tuple(tensors.values())


class _Header:
    """Walks over the bytes of the header, which are JSON."""

    def __init__(self, prefix: Prefix, end: int) -> None:
        self.prefix = prefix
        self.data = prefix.data
        self.position = LENGTH.size
        self.end = end
        self.faults: list[str] = []
        self._decode = _decoder(self.faults).raw_decode

    def not_json(self) -> DataError:
        """Return the error for what is no JSON, with the reason if there is one to tell."""
        return self.prefix.fault("the header is not JSON" + "".join(f": {fault}" for fault in self.faults[:1]))

    def check_text(self) -> None:
        """Raise DataError unless all of it is UTF-8."""
        decode = codecs.getincrementaldecoder("utf-8")().decode
        try:
            for at in range(self.position, self.end, CHUNK):
                decode(self.data[at : min(at + CHUNK, self.end)])
            decode(b"", True)
        except UnicodeDecodeError:
            raise self.not_json() from None

    def at(self, letter: bytes) -> bool:
        """Whether this letter comes next."""
        return self.data.startswith(letter, self.position, self.end)

    def skip_blanks(self) -> None:
        """Step over blanks; there may be megabytes of them, for the data to be aligned."""
        match = BLANKS.match(self.data, self.position, self.end)
        self.position = match.end() if match else self.position

    def take(self, *letters: bytes) -> bytes:
        """Step over one of these letters and the blanks around it."""
        self.skip_blanks()
        for letter in letters:
            if self.at(letter):
                self.position += 1
                self.skip_blanks()
                return letter
        raise self.not_json()

    def skip_string(self) -> int:
        """Step over a string, however long it is; return where it begins."""
        match = STRING.match(self.data, self.position, self.end)
        if match is None:
            raise self.not_json()
        self.position = match.end()
        return match.start()

    def keys(self) -> Iterator[str]:
        """Yield the keys of an object; after each, its value must be read."""
        self.take(b"{")
        while not self.at(b"}"):
            begin = self.skip_string()
            if self.position - begin > MOST_NAME:
                raise self.prefix.fault(f"a name of more than {MOST_NAME:,} bytes")
            key = json.loads(self.data[begin : self.position])
            self.take(b":")
            yield key
            if self.take(b",", b"}") == b"}":
                return
            if self.at(b"}"):
                raise self.not_json()
        self.position += 1

    def record(self, name: str) -> Any:
        """Read the record of a tensor; a letter a byte, so that where it ends is where the bytes do."""
        text = self.data[self.position : min(self.position + MOST_RECORD, self.end)].decode("latin-1")
        try:
            record, length = self._decode(text)
        except (ValueError, RecursionError):
            if len(text) == MOST_RECORD and not self.faults:
                what = f"tensor {quoted(name)}: a record of more than {MOST_RECORD:,} bytes"
                raise self.prefix.fault(what) from None
            raise self.not_json() from None
        self.position += length
        return record


def _decoder(faults: list[str]) -> json.JSONDecoder:
    """Return a reader of JSON that notes why it does not take something."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            faults.append("a key is there twice")
            raise ValueError
        return found

    def constant(name: str) -> None:
        faults.append(f"it holds {name}")
        raise ValueError

    def whole(digits: str) -> int:
        try:
            return whole_number(digits)
        except ValueError as error:
            faults.append(f"it holds {error}")
            raise

    return json.JSONDecoder(object_pairs_hook=unique, parse_int=whole, parse_constant=constant)


def _records(prefix: Prefix, end: int) -> Iterator[tuple[str, Any]]:
    """Yield names and records of the tensors."""
    header = _Header(prefix, end)
    header.check_text()
    metadata_seen = False
    for name in header.keys():  # noqa: SIM118 (no mapping)
        if name != METADATA:
            yield name, header.record(name)
        elif metadata_seen:
            raise prefix.fault(f"{METADATA} is there twice")
        else:
            metadata_seen = True
            _walk_metadata(header)
    header.skip_blanks()
    if header.position < end:
        raise header.not_json()


def _walk_metadata(header: _Header) -> None:
    """Step over the notes that whoever wrote the file left in it: texts by name."""
    expected = header.prefix.fault(f"{METADATA}: expected an object of strings")
    if not header.at(b"{"):
        raise expected
    for number, _ in enumerate(header.keys()):
        if not header.at(b'"') or number >= MOST_METADATA:
            raise expected
        header.skip_string()


def _tensor(prefix: Prefix, name: str, record: object) -> tuple[StoredTensor, Span]:
    """Return a tensor and where it lies, from its record."""
    prefix.check_name(name, "tensor")
    what = f"tensor {quoted(name)}"
    if not isinstance(record, dict):
        raise prefix.fault(f"{what}: expected an object, got {_shown(record)}")
    dtype, shape, offsets = record.get("dtype"), record.get("shape"), record.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise prefix.fault(f"{what}: unknown dtype {_shown(dtype)}")
    if not _are_counts(shape):
        raise prefix.fault(f"{what}: shape: expected whole numbers, got {_shown(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise prefix.fault(f"{what}: data_offsets: expected two whole numbers, got {_shown(offsets)}")
    nbytes = _nbytes(shape, dtype)
    if nbytes is None:
        raise prefix.fault(f"{what}: a shape of {_shown(shape)} is no whole number of bytes that can be counted")
    begin, end = offsets
    if end - begin != nbytes:
        raise prefix.fault(
            f"{what}: shape {_shown(shape)} of {dtype} takes {nbytes:,} bytes, data_offsets {_shown(offsets)} do not"
        )
    return StoredTensor(name, tuple(shape), dtype, nbytes), Span(begin, end, name)


def _are_counts(values: object) -> TypeGuard[list[int]]:
    """Return whether this is a list of whole numbers; JSON's true and 1.0 are none."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= MOST_COUNT for value in values)


def _shown(value: object) -> str:
    """Return a JSON value for a message without going into it: it may be deep.

    >>> _shown([1, [2, [3]], "x"])
    "'[1, ..., x]'"
    """
    if isinstance(value, dict):
        return "an object"
    if not isinstance(value, list):
        return quoted(value)
    items = ["..." if isinstance(item, list | dict) else str(item) for item in value[:10]]
    return quoted(f"[{', '.join(items + ['...'] * (len(value) > 10))}]")


def _nbytes(shape: list[int], dtype: str) -> int | None:
    """Return the bytes of a tensor; None if they are not whole, or its numbers cannot be counted."""
    bits = DTYPE_BITS[dtype]
    for size in shape:
        bits *= size
        if bits > 8 * MOST_COUNT:
            return None
    return None if bits % 8 else bits // 8
