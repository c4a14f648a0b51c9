"""Reading the header of a GGUF file, of which nothing is believed: key-values, tensor records, where the data begin.

Source: llama.cpp's gguf.cpp and ggml.h (2026-10-01). What that reader refuses is refused here, except for tensors
that leave gaps.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from typing import Any

from deployfit.errors import DataError, quoted
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.formats.untrusted import MOST_COUNT, MOST_TENSORS, NeedMore, Prefix, Span, first_bytes
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

__all__ = ["FileTensor", "GgufHeader", "NeedMore", "Scalar", "read_header"]

Scalar = int | float | bool | str

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
LEAST_ALIGNMENT, MOST_ALIGNMENT = 8, 2**20

MOST_KEYS = 4096
MOST_KEPT_STRING = 1024  # bytes; a longer one, such as a chat template, is walked over
MOST_KEPT_NUMBERS = 4096  # in an array; a longer one, such as the tokens' scores, is walked over
MOST_KEPT_IN_ALL = 262_144  # numbers in arrays
MOST_KEY = 1024  # bytes; the specification allows more, and nobody uses more than 100
MOST_TENSOR_NAME = 63  # bytes; GGML_MAX_NAME without the end
MOST_STRINGS = 4_000_000  # in arrays; tokens and merges of the largest vocabularies of 2026 are below 1,000,000
MOST_DIMENSIONS = 4

TYPE_IDS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
    42: "Q2_0",
}

START = struct.Struct("<4sIQQ")  # magic, version, how many tensors, how many key-values
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
ARRAY_START = struct.Struct("<IQ")  # type of the elements, how many
SHAPE_TYPE_OFFSET = {count: struct.Struct(f"<{count}QIQ") for count in range(1, MOST_DIMENSIONS + 1)}
SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
UNSIGNED, STRING, ARRAY = 4, 8, 9

LEAST_KEY_VALUE = U64.size + 1 + U32.size + 1  # a name of one letter, a value of one byte
LEAST_TENSOR = U64.size + 1 + U32.size + SHAPE_TYPE_OFFSET[1].size


class FileTensor(NamedTuple):
    """A tensor of a file: its shape begins with the row length, its offset counts within the data part."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


class GgufHeader(NamedTuple):
    """What a GGUF file says of itself.

    Of arrays the lengths are kept, and the numbers of short ones, such as those with an entry per layer; strings longer
    than 1 KiB are left out. Types and values are as the file has them: strings may hold anything, floats may be NaN.
    """

    version: int
    metadata: Mapping[str, Scalar]
    array_lengths: Mapping[str, int]
    arrays: Mapping[str, tuple[int | float | bool, ...]]
    tensors: tuple[FileTensor, ...]
    data_start: int


def read_header(data: bytes, file_bytes: int, place: str) -> GgufHeader:
    """Return the header of a GGUF file of `file_bytes` bytes that begins with `data`.

    Raise NeedMore if the header goes on after the data, DataError with one line if it is none that can be true.

    >>> record = b"output.weight", 2, 5120, 248320, 14, 0
    >>> data = struct.pack("<4sIQQ Q13sIQQIQ", b"GGUF", 3, 1, 0, 13, *record)
    >>> read_header(data, 1042993280, "a.gguf").tensors[0].nbytes
    1042944000
    >>> read_header(data, 999, "a.gguf")
    Traceback (most recent call last):
    deployfit.errors.DataError: a.gguf: tensor 'output.weight' ends at byte 1,042,944,000 of the data part, of 903
    """
    prefix = first_bytes(data, file_bytes, place)
    cursor = _Cursor(prefix)
    version, tensor_count, key_count = _start(cursor)
    found = _key_values(cursor, key_count, tensor_count * LEAST_TENSOR)
    alignment = _alignment(prefix, found.scalars)
    tensors = _tensors(cursor, tensor_count, alignment)
    data_start = min(ceil_to(cursor.position, alignment), file_bytes)
    prefix.check_spans(
        (Span(tensor.offset, tensor.offset + tensor.nbytes, tensor.name) for tensor in tensors),
        file_bytes - data_start,
    )
    return GgufHeader(version, *found, tensors, data_start)


class _Cursor:
    """Walks over the header. `what` it is at goes into messages, `least_rest` is what must at least follow that."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self.position = 0
        self.what = "the header"
        self.least_rest = 0
        self.strings_left = MOST_STRINGS

    def skip(self, nbytes: int) -> int:
        """Step over bytes that are there; return where they begin."""
        begin = self.position
        self.prefix.need(begin + nbytes, self.what, self.least_rest)
        self.position = begin + nbytes
        return begin

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Read numbers."""
        return layout.unpack_from(self.prefix.data, self.skip(layout.size))

    def string(self, most: int) -> str | None:
        """Read a string; None if it has more than `most` bytes."""
        (nbytes,) = self.unpack(U64)
        begin = self.skip(nbytes)
        if nbytes > most:
            return None
        try:
            return self.prefix.data[begin : self.position].decode()
        except UnicodeDecodeError:
            raise self.fault("a string that is not UTF-8") from None

    def name(self, most: int) -> str:
        """Read the name of a key or tensor: printable, not empty."""
        name = self.string(most)
        if name is None:
            raise self.fault(f"a name of more than {most:,} bytes")
        self.prefix.check_name(name, self.what)
        return name

    def walk_strings(self, count: int) -> None:
        """Step over strings: 250,000 in some 20 ms, which is why this is one plain loop."""
        self.strings_left -= count
        if self.strings_left < 0:
            raise self.fault(f"more than {MOST_STRINGS:,} strings in arrays")
        data, position, unpack = self.prefix.data, self.position, U64.unpack_from
        left = count
        try:
            for left in range(count - 1, -1, -1):  # noqa: B007 (how many strings follow is asked after the loop)
                position += 8
                position += unpack(data, position - 8)[0]
        except (struct.error, OverflowError):  # the data end before this string's length; `need` says more
            pass
        self.prefix.need(position, self.what, U64.size * left + self.least_rest)
        self.position = position

    def fault(self, text: str) -> DataError:
        """Return the error for what the cursor is at."""
        return self.prefix.fault(f"{self.what}: {text}")


def _start(cursor: _Cursor) -> tuple[int, int, int]:
    """Return version, number of tensors and number of key-values."""
    prefix = cursor.prefix
    if not MAGIC.startswith(prefix.data[:4]):
        raise prefix.fault(f"not a GGUF file: it begins with {quoted(prefix.data[:4].decode('latin-1'))}")
    _, version, tensor_count, key_count = cursor.unpack(START)
    if version & 0xFFFF == 0 and version:
        raise prefix.fault("a big-endian GGUF file; only little-endian ones are read")
    if version not in VERSIONS:
        raise prefix.fault(f"GGUF version {version}; only versions 2 and 3 are read")
    for count, most, kind in ((tensor_count, MOST_TENSORS, "tensors"), (key_count, MOST_KEYS, "key-values")):
        if count > most:
            raise prefix.fault(f"{count:,} {kind}; at most {most:,} are read")
    cursor.what = f"a header of {key_count:,} key-values and {tensor_count:,} tensors"
    cursor.least_rest = key_count * LEAST_KEY_VALUE + tensor_count * LEAST_TENSOR
    cursor.skip(0)
    return version, tensor_count, key_count


class _KeyValues(NamedTuple):
    """Scalars and strings, the lengths of the arrays, the numbers of short ones."""

    scalars: dict[str, Scalar]
    array_lengths: dict[str, int]
    arrays: dict[str, tuple[int | float | bool, ...]]


def _key_values(cursor: _Cursor, count: int, tensor_bytes: int) -> _KeyValues:
    """Return the key-values."""
    found = _KeyValues({}, {}, {})
    seen: set[str] = set()
    left = MOST_KEPT_IN_ALL
    for number in range(1, count + 1):
        cursor.what = f"key-value {number}"
        cursor.least_rest = (count - number) * LEAST_KEY_VALUE + tensor_bytes
        key = cursor.name(MOST_KEY)
        cursor.what = f"key {quoted(key)}"
        if key in seen:
            raise cursor.fault("it stands there twice")
        seen.add(key)
        (value_type,) = cursor.unpack(U32)
        if key == ALIGNMENT_KEY and value_type != UNSIGNED:
            raise cursor.fault(f"value type {value_type}; expected {UNSIGNED}, a whole number of 32 bits")
        if value_type == ARRAY:
            length, numbers = _array(cursor, min(MOST_KEPT_NUMBERS, left))
            found.array_lengths[key] = length
            if numbers is not None:
                found.arrays[key] = numbers
                left -= length
        elif (value := _value(cursor, value_type)) is not None:
            found.scalars[key] = value
    return found


def _value(cursor: _Cursor, value_type: int) -> Scalar | None:
    """Read a scalar or string; None if it is too long to be kept."""
    if value_type == STRING:
        return cursor.string(MOST_KEPT_STRING)
    if value_type not in SCALARS:
        raise cursor.fault(f"unknown value type {value_type}")
    value: Scalar = cursor.unpack(SCALARS[value_type])[0]
    return value


def _array(cursor: _Cursor, most_kept: int) -> tuple[int, tuple[int | float | bool, ...] | None]:
    """Walk over an array; return its length, and its numbers if it holds so many at most."""
    element_type, count = cursor.unpack(ARRAY_START)
    if element_type == ARRAY:
        raise cursor.fault("an array of arrays")
    if element_type == STRING:
        cursor.walk_strings(count)
        return count, None
    if element_type not in SCALARS:
        raise cursor.fault(f"unknown value type {element_type}")
    layout = SCALARS[element_type]
    begin = cursor.skip(count * layout.size)
    if count > most_kept:
        return count, None
    return count, struct.unpack_from(f"<{count}{layout.format[-1]}", cursor.prefix.data, begin)


def _alignment(prefix: Prefix, metadata: Mapping[str, Scalar]) -> int:
    """Return what the data part and each tensor in it are aligned to."""
    value = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or not LEAST_ALIGNMENT <= value <= MOST_ALIGNMENT or value.bit_count() != 1:
        expected = f"a power of two from {LEAST_ALIGNMENT} to {MOST_ALIGNMENT:,}"
        raise prefix.fault(f"{ALIGNMENT_KEY}: expected {expected}, got {quoted(value)}")
    return value


def _tensors(cursor: _Cursor, count: int, alignment: int) -> tuple[FileTensor, ...]:
    """Return the tensor records."""
    tensors: dict[str, FileTensor] = {}
    for number in range(1, count + 1):
        cursor.what = f"tensor {number}"
        cursor.least_rest = (count - number) * LEAST_TENSOR
        tensor = _tensor(cursor)
        if tensor.name in tensors:
            raise cursor.fault("its name stands there twice")
        if tensor.offset % alignment:
            raise cursor.fault(f"offset {tensor.offset} is not a multiple of the alignment {alignment}")
        tensors[tensor.name] = tensor
    return tuple(tensors.values())


def _tensor(cursor: _Cursor) -> FileTensor:
    name = cursor.name(MOST_TENSOR_NAME)
    cursor.what = f"tensor {quoted(name)}"
    (dimensions,) = cursor.unpack(U32)
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise cursor.fault(f"{dimensions} dimensions; expected 1 to {MOST_DIMENSIONS}")
    *sizes, type_id, offset = cursor.unpack(SHAPE_TYPE_OFFSET[dimensions])
    if type_id not in TYPE_IDS:
        raise cursor.fault(f"unknown tensor type {type_id}")
    tensor_type = TENSOR_TYPES[TYPE_IDS[type_id]]
    shape = tuple(sizes)
    return FileTensor(name, shape, tensor_type.name, offset, _tensor_bytes(cursor, shape, tensor_type))


def _tensor_bytes(cursor: _Cursor, shape: tuple[int, ...], tensor_type: TensorType) -> int:
    """Return the bytes of a tensor; raise DataError for a shape that none can have."""
    params = prod(shape)
    if not 0 < params <= MOST_COUNT:
        raise cursor.fault(f"a shape of {' x '.join(map(str, shape))}")
    if shape[0] % tensor_type.block_size:
        raise cursor.fault(
            f"rows of {shape[0]} do not divide into blocks of {tensor_type.block_size}, as {tensor_type.name} has them"
        )
    return tensor_type.nbytes(params)
