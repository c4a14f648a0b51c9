"""Reading the header of a safetensors file, of which nothing is believed.

Source: safetensors' tensor.rs (2026-05-12). What that reader refuses is refused here, except for gaps between
tensors and after them.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple, NoReturn, TypeGuard

from deployfit.errors import quoted
from deployfit.formats.prefix import MOST_COUNT, MOST_TENSORS, NeedMore, Prefix, Span, first_bytes

__all__ = ["NeedMore", "StoredTensor", "read_header"]

LENGTH = struct.Struct("<Q")
METADATA = "__metadata__"
MARKS = (b"{", b"[", b",", b":")
MOST_BYTES = 25_000_000  # as huggingface_hub's parser; safetensors' own bound, 100 MB, could take 1 GB to read
MOST_DIGITS = 20  # 64 bits
MOST_MARKS = 2_000_000  # before JSON is parsed; a record of a tensor has about 14

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
    deployfit.formats.prefix.NeedMore: at least 95 bytes of the file are needed
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
    records = _parsed(prefix, data[LENGTH.size : data_start])
    tensors, spans = [], []
    for name, record in records.items():
        tensor, span = _tensor(prefix, name, record)
        tensors.append(tensor)
        spans.append(span)
    prefix.check_spans(spans, file_bytes - data_start)
    return tuple(tensors)


def _parsed(prefix: Prefix, header: bytes) -> dict[str, Any]:
    """Return the records of the tensors by name."""
    if sum(header.count(mark) for mark in MARKS) > MOST_MARKS:
        raise prefix.fault("the header holds far more than records of tensors")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise prefix.fault(f"{quoted(_first_twice(pairs))} stands there twice")
        return found

    def constant(name: str) -> NoReturn:
        raise prefix.fault(f"the header is not JSON: it holds {name}")

    def whole(digits: str) -> int:
        if len(digits) > MOST_DIGITS:  # the time for int() grows with the square of them
            raise prefix.fault(f"the header holds a number of {len(digits):,} digits")
        return int(digits)

    try:
        records = json.loads(header.decode(), object_pairs_hook=unique, parse_int=whole, parse_constant=constant)
    except (ValueError, RecursionError):  # not UTF-8, not JSON; too deep
        raise prefix.fault("the header is not JSON") from None
    if not isinstance(records, dict):
        raise prefix.fault("not a safetensors file: its header is not a JSON object")
    _check_metadata(prefix, records.pop(METADATA, {}))
    if len(records) > MOST_TENSORS:
        raise prefix.fault(f"{len(records):,} tensors; at most {MOST_TENSORS:,} are read")
    return records


def _first_twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("every name is there once")


def _check_metadata(prefix: Prefix, metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise prefix.fault(f"{METADATA}: expected an object of strings")


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
