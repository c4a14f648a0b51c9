"""Headers of files that anybody may have uploaded: real ones read back equal, hostile ones refused in one line."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hub_files import gguf_entries
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.errors import DataError
from deployfit.formats import gguf_reader, safetensors_reader
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.formats.gguf_reader import FileTensor, GgufHeader
from deployfit.formats.safetensors_reader import DTYPE_BITS, StoredTensor
from deployfit.formats.untrusted import NeedMore
from deployfit.units import ceil_to

FUZZ = settings(max_examples=400, deadline=None, derandomize=True)
PLACE = "a.gguf"
ESCAPE = "\x1b[31mred\x07"
MOST_SECONDS = 60  # of the processor, for a whole test; all take below 5
MOST_GROWTH = 100 * 2**20


@pytest.fixture(autouse=True, scope="module")
def alarm() -> Iterator[None]:
    """Let SIGVTALRM fail the test that is running."""

    def late(*_: object) -> None:
        raise AssertionError(f"a reader was kept busy for {MOST_SECONDS} s of the processor's time")

    before = signal.signal(signal.SIGVTALRM, late)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(autouse=True)
def bounded_time(alarm: None) -> None:
    """Start the clock anew: it counts work, not how busy the machine is with other things."""
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)


# Writing: by llama.cpp's own package, and by hand where that one is too honest


def written(
    path: Path, tensors: Iterable[tuple[str, tuple[int, ...], str]], fill: Callable[[gguf.GGUFWriter], None]
) -> tuple[bytes, int]:
    """Return header and file size of a GGUF file as the gguf package writes it; shapes begin with the row."""
    writer = gguf.GGUFWriter(path, "qwen35")
    fill(writer)
    data_bytes = 0
    for name, shape, type_name in tensors:
        kind = gguf.GGMLQuantizationType[type_name]
        block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        nbytes = int(np.prod(shape, dtype=object)) // block_size * block_bytes
        writer.add_tensor_info(name, shape[::-1], np.dtype(np.float32), nbytes, raw_dtype=kind)
        data_bytes += ceil_to(nbytes, writer.data_alignment)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    data = path.read_bytes()
    return data, ceil_to(len(data), writer.data_alignment) + data_bytes


def nothing(writer: gguf.GGUFWriter) -> None:
    """Write no key-values beyond the architecture."""


def string(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded


def key_value(key: str | bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def array(kind: int, count: int, elements: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + elements


def record(
    name: str | bytes = "w", shape: Sequence[int] = (32,), kind: int = 0, offset: int = 0, dimensions: int | None = None
) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


def gguf_file(
    key_values: Sequence[bytes] = (),
    records: Sequence[bytes] = (),
    *,
    version: int = 3,
    magic: bytes = b"GGUF",
    counts: tuple[int, int] | None = None,
) -> bytes:
    tensor_count, key_count = counts or (len(records), len(key_values))
    start = magic + struct.pack("<IQQ", version, tensor_count, key_count)
    return start + b"".join(key_values) + b"".join(records)


def safetensors_file(header: object, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


# Reading: as a reader over the network would, and everything that must hold for what comes out


Read = Callable[[bytes, int, str], Any]


def fetched(read: Read, data: bytes, file_bytes: int, first: int = 4 * 2**20) -> tuple[Any, int]:
    """Read a header in growing windows; return it and the number of requests."""
    window = first
    for requests in range(1, 40):
        try:
            return read(data[: min(window, file_bytes)], file_bytes, PLACE), requests
        except NeedMore as more:
            check_more(more, window, file_bytes)
            window = max(more.nbytes, 2 * window)
    raise AssertionError("it never ends")


def complaint(read: Read, data: bytes, file_bytes: int | None = None) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(DataError) as caught:
        read(data, len(data) + 4096 if file_bytes is None else file_bytes, PLACE)
    return one_line(caught.value)


def one_line(error: DataError) -> str:
    (line,) = error.faults
    assert str(error) == line
    assert line.isprintable()
    assert line.startswith(f"{PLACE}: ")
    assert len(line) < 400
    return line


def check_more(more: NeedMore, held: int, file_bytes: int) -> None:
    assert held < more.nbytes <= file_bytes


def check_gguf(header: GgufHeader, file_bytes: int) -> None:
    assert header.data_start <= file_bytes
    end = 0
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        assert tensor.offset >= end
        assert tensor.nbytes > 0
        assert tensor.name.isprintable()
        assert tensor.type in TENSOR_TYPES
        end = tensor.offset + tensor.nbytes
    assert end <= file_bytes - header.data_start
    assert len({tensor.name for tensor in header.tensors}) == len(header.tensors)


def check_safetensors(tensors: tuple[StoredTensor, ...], file_bytes: int) -> None:
    assert sum(tensor.nbytes for tensor in tensors) <= file_bytes
    for tensor in tensors:
        assert tensor.nbytes * 8 == int(np.prod(tensor.shape, dtype=object)) * DTYPE_BITS[tensor.dtype]
        assert tensor.name.isprintable()


def survives(read: Read, check: Callable[[Any, int], None], data: bytes, file_bytes: int) -> str:
    """Whatever the bytes: a header that can be true, NeedMore or one line."""
    try:
        check(read(data, file_bytes, PLACE), file_bytes)
        how = "read"
    except NeedMore as more:
        check_more(more, len(data), file_bytes)
        how = "more"
    except DataError as error:
        how = one_line(error)
    return how


# What is written is read


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("type_name", TENSOR_TYPES)
def test_every_type_is_read(type_name: str, version: int) -> None:
    kind = TENSOR_TYPES[type_name]
    type_id = {name: number for number, name in gguf_reader.TYPE_IDS.items()}[type_name]
    if type_name in gguf.GGMLQuantizationType.__members__:
        number = gguf.GGMLQuantizationType[type_name]
        assert (type_id, gguf.GGML_QUANT_SIZES[number]) == (number, (kind.block_size, kind.block_bytes))
    data = gguf_file([], [record("w", (512, 3), type_id)], version=version)
    nbytes = 512 * 3 // kind.block_size * kind.block_bytes
    file_bytes = ceil_to(len(data), 32) + nbytes
    header = gguf_reader.read_header(data, file_bytes, PLACE)
    assert header.tensors == (FileTensor("w", (512, 3), type_name, 0, nbytes),)
    assert header.version == version


@pytest.mark.parametrize(
    ("name", "recipe", "mtp"),
    [
        ("Qwen3.5-0.8B", "Q8_0", True),
        ("Qwen3.5-27B", "Q4_K_M", False),
        ("Qwen3.5-35B-A3B", "IQ4_XS", False),
        ("Qwen3.5-397B-A17B", "Q6_K", True),
    ],
)
def test_real_lists_of_tensors_are_read(name: str, recipe: str, mtp: bool, tmp_path: Path) -> None:
    expected = gguf_entries(name, recipe, mtp=mtp)
    data, file_bytes = written(tmp_path / "a.gguf", expected, nothing)
    header = gguf_reader.read_header(data, file_bytes, PLACE)
    assert [tensor[:3] for tensor in header.tensors] == expected
    for tensor in header.tensors:
        block_size, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[tensor.type]]
        assert tensor.nbytes == int(np.prod(tensor.shape, dtype=object)) // block_size * block_bytes
    last = header.tensors[-1]
    assert file_bytes == header.data_start + ceil_to(last.offset + last.nbytes, 32)
    with pytest.raises(DataError, match="ends at byte"):
        gguf_reader.read_header(data, file_bytes - 32, PLACE)


def test_key_values_are_read(tmp_path: Path) -> None:
    def fill(writer: gguf.GGUFWriter) -> None:
        writer.add_custom_alignment(64)
        writer.add_uint8("u8", 255)
        writer.add_int8("i8", -128)
        writer.add_uint16("split.count", 7)
        writer.add_int16("i16", -1)
        writer.add_int32("i32", -(2**31))
        writer.add_float32("f32", 0.5)
        writer.add_bool("bool", True)
        writer.add_uint64("u64", 2**64 - 1)
        writer.add_int64("i64", -(2**63))
        writer.add_float64("f64", 1e300)
        writer.add_string("text", f"Grüße {ESCAPE}\n")
        writer.add_string("long", "x" * 1025)
        writer.add_array("numbers", [1, 2, 3])
        writer.add_array("words", ["a", "", "ccc"])
        writer.add_array("flags", [True, False])

    data, file_bytes = written(tmp_path / "a.gguf", [("w", (32, 1, 1, 2), "Q4_0")], fill)
    header = gguf_reader.read_header(data, file_bytes, PLACE)
    assert header.metadata == {
        "general.architecture": "qwen35",
        "general.alignment": 64,
        "u8": 255,
        "i8": -128,
        "split.count": 7,
        "i16": -1,
        "i32": -(2**31),
        "f32": 0.5,
        "bool": True,
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "f64": 1e300,
        "text": f"Grüße {ESCAPE}\n",
    }
    assert header.metadata["bool"] is True
    assert header.array_lengths == {"numbers": 3, "words": 3, "flags": 2}
    assert header.arrays == {"numbers": (1, 2, 3), "flags": (True, False)}
    assert header.tensors == (FileTensor("w", (32, 1, 1, 2), "Q4_0", 0, 36),)
    assert header.data_start == ceil_to(len(data), 64)


def test_shards_are_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "qwen35", split_max_tensors=2)
    for number in range(5):
        writer.add_tensor(f"w{number}", np.zeros((2, 8 + number), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    paths = sorted(tmp_path.glob("*.gguf"))
    headers = [gguf_reader.read_header(path.read_bytes(), path.stat().st_size, PLACE) for path in paths]
    assert [header.metadata["split.no"] for header in headers] == [0, 1, 2]
    assert {header.metadata["split.count"] for header in headers} == {3}
    names = [tensor.name for header in headers for tensor in header.tensors]
    assert names == ["w0", "w1", "w2", "w3", "w4"]


def test_a_file_without_tensors_and_without_padding_is_read() -> None:
    data = gguf_file([key_value("a", 4, u32(1))])
    header = gguf_reader.read_header(data, len(data), PLACE)
    assert (header.tensors, header.data_start) == ((), len(data))


@pytest.fixture(scope="module")
def vocabulary() -> bytes:
    """A header as the Qwen tokenizer makes it: 248,320 tokens, 247,587 merges."""
    chance = random.Random(1)
    tokens = [b"t" * chance.randrange(1, 14) for _ in range(248_320)]
    merges = [b"m" * chance.randrange(3, 16) for _ in range(247_587)]
    key_values = [
        key_value("tokenizer.ggml.tokens", 9, array(8, len(tokens), b"".join(map(string, tokens)))),
        key_value("tokenizer.ggml.token_type", 9, array(5, len(tokens), bytes(4 * len(tokens)))),
        key_value("tokenizer.ggml.merges", 9, array(8, len(merges), b"".join(map(string, merges)))),
    ]
    return gguf_file(key_values, [record("w", (32,), 0, 0)])


def test_a_real_vocabulary_is_read_in_few_requests(vocabulary: bytes) -> None:
    file_bytes = ceil_to(len(vocabulary), 32) + 128
    header = gguf_reader.read_header(vocabulary, file_bytes, PLACE)
    assert header.array_lengths["tokenizer.ggml.tokens"] == 248_320
    again, requests = fetched(gguf_reader.read_header, vocabulary + bytes(160), file_bytes)
    assert again == header
    assert requests <= 3


def test_windows_of_a_gguf_header_grow_to_its_end(tmp_path: Path) -> None:
    def fill(writer: gguf.GGUFWriter) -> None:
        writer.add_array("tokenizer.ggml.tokens", [f"token {number}" for number in range(40)])
        writer.add_array("tokenizer.ggml.scores", [0.5] * 9)
        writer.add_string("text", "x" * 100)

    tensors = [("a.weight", (256, 3), "Q6_K"), ("b", (32,), "F32"), ("c", (32, 2, 2, 2), "BF16")]
    data, file_bytes = written(tmp_path / "a.gguf", tensors, fill)
    whole = data + bytes(file_bytes - len(data))
    for length in range(len(data)):
        with pytest.raises(NeedMore) as more:
            gguf_reader.read_header(data[:length], file_bytes, PLACE)
        assert length < more.value.nbytes <= len(data)
        with pytest.raises(DataError):
            gguf_reader.read_header(data[:length], length, PLACE)
    header, requests = fetched(gguf_reader.read_header, whole, file_bytes, first=1)
    assert [tensor[:3] for tensor in header.tensors] == tensors
    assert requests < 10


SAFETENSORS = {
    "__metadata__": {"format": "pt", "note": ESCAPE},
    "model.norm.weight": {"dtype": "BF16", "shape": [64], "data_offsets": [0, 128]},
    "model.w": {"dtype": "F8_E4M3", "shape": [3, 5], "data_offsets": [128, 143]},
    "model.none": {"dtype": "F32", "shape": [0, 9], "data_offsets": [143, 143]},
    "model.scalar": {"dtype": "I64", "shape": [], "data_offsets": [143, 151]},
    "model.packed": {"dtype": "F4", "shape": [7, 2], "data_offsets": [151, 158]},
}


def test_a_safetensors_header_is_read_and_windows_grow_to_its_end() -> None:
    data = safetensors_file(json.dumps(SAFETENSORS).encode() + b"   ")
    file_bytes = len(data) + 158
    tensors = safetensors_reader.read_header(data, file_bytes, PLACE)
    assert tensors == (
        StoredTensor("model.norm.weight", (64,), "BF16", 128),
        StoredTensor("model.w", (3, 5), "F8_E4M3", 15),
        StoredTensor("model.none", (0, 9), "F32", 0),
        StoredTensor("model.scalar", (), "I64", 8),
        StoredTensor("model.packed", (7, 2), "F4", 7),
    )
    for length in range(len(data)):
        with pytest.raises(NeedMore) as more:
            safetensors_reader.read_header(data[:length], file_bytes, PLACE)
        assert length < more.value.nbytes <= len(data)
    again, requests = fetched(safetensors_reader.read_header, data + bytes(158), file_bytes, first=1)
    assert (again, requests) == (tensors, 3)
    assert safetensors_reader.read_header(safetensors_file({}), 10, PLACE) == ()


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_dtype_is_read(dtype: str) -> None:
    nbytes = 24 * DTYPE_BITS[dtype] // 8
    data = safetensors_file({"w": {"dtype": dtype, "shape": [4, 6], "data_offsets": [0, nbytes]}})
    (tensor,) = safetensors_reader.read_header(data, len(data) + nbytes, PLACE)
    assert tensor == ("w", (4, 6), dtype, nbytes)


# What is refused

HUGE = 2**64 - 1
GGUF_FILES: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "the header runs past the end of the file"),
    "another format": (b"PK\x03\x04" + bytes(40), r"not a GGUF file: it begins with 'PK\x03\x04'"),
    "one wrong byte": (b"\x1b", r"not a GGUF file: it begins with '\x1b'"),
    "version 1": (gguf_file(version=1), "GGUF version 1; only versions 2 and 3 are read"),
    "version 0": (gguf_file(version=0), "GGUF version 0; only"),
    "version 4": (gguf_file(version=4), "GGUF version 4; only"),
    "big-endian": (gguf_file(version=3 << 24), "a big-endian GGUF file; only little-endian ones are read"),
    "huge tensors": (gguf_file(counts=(HUGE, 0)), "18,446,744,073,709,551,615 tensors; at most 65,536 are read"),
    "huge key-values": (gguf_file(counts=(0, HUGE)), "18,446,744,073,709,551,615 key-values; at most 4,096 are read"),
    "many tensors": (
        gguf_file(counts=(65_536, 0)),
        "a header of 0 key-values and 65,536 tensors runs past the end of the file, which has 4,120 bytes",
    ),
    "many key-values": (gguf_file(counts=(0, 4096)), "a header of 4,096 key-values and 0 tensors runs past the end"),
    "huge key": (gguf_file([struct.pack("<QI", HUGE, 0) + bytes(9)]), "key-value 1 runs past the end of the file"),
    "long key": (gguf_file([key_value("k" * 1025, 0, b"1")]), "key-value 1: a name of more than 1,024 bytes"),
    "long tensor name": (gguf_file([], [record("n" * 64)]), "tensor 1: a name of more than 63 bytes"),
    "empty key": (gguf_file([key_value("", 4, u32(1))]), "key-value 1: expected a printable name, got ''"),
    "escape in a key": (gguf_file([key_value(ESCAPE, 0, b"1")]), r"printable name, got '\x1b[31mred\x07'"),
    "lines in a key": (gguf_file([key_value("a\nb", 0, b"1")]), r"printable name, got 'a\nb'"),
    "bidi in a key": (gguf_file([key_value("\u202eevil", 0, b"1")]), r"printable name, got '\u202eevil'"),
    "bytes in a key": (gguf_file([key_value(b"\xff\xfe", 0, b"1")]), "key-value 1: a string that is not UTF-8"),
    "surrogate in a key": (gguf_file([key_value(b"\xed\xa0\x80", 0, b"1")]), "a string that is not UTF-8"),
    "bytes in a value": (gguf_file([key_value("k", 8, string(b"\xff"))]), "key 'k': a string that is not UTF-8"),
    "key twice": (gguf_file([key_value("k", 0, b"1")] * 2), "key 'k': it stands there twice"),
    "array's key twice": (
        gguf_file([key_value("k", 9, array(0, 0)), key_value("k", 0, b"1")]),
        "key 'k': it stands there twice",
    ),
    "dropped key twice": (
        gguf_file([key_value("k", 8, string("x" * 70_000))] * 2),
        "key 'k': it stands there twice",
    ),
    "value type": (gguf_file([key_value("k", 13, bytes(8))]), "key 'k': unknown value type 13"),
    "element type": (gguf_file([key_value("k", 9, array(77, 1, bytes(8)))]), "key 'k': unknown value type 77"),
    "nested arrays": (gguf_file([key_value("k", 9, array(9, 1, array(9, 1)))]), "key 'k': an array of arrays"),
    "huge string": (gguf_file([key_value("k", 8, struct.pack("<Q", HUGE))]), "key 'k' runs past the end of the file"),
    "string past the end": (
        gguf_file([key_value("k", 8, struct.pack("<Q", 5000))]),
        "key 'k' runs past the end of the file, which has 4,141 bytes",
    ),
    "huge array": (gguf_file([key_value("k", 9, array(12, HUGE))]), "key 'k' runs past the end of the file"),
    "huge array of strings": (gguf_file([key_value("k", 9, array(8, HUGE))]), "more than 4,000,000 strings in arrays"),
    "many strings": (gguf_file([key_value("k", 9, array(8, 3_000_000))]), "key 'k' runs past the end of the file"),
    "huge string in an array": (
        gguf_file([key_value("k", 9, array(8, 2, struct.pack("<Q", HUGE)))]),
        "key 'k' runs past the end of the file",
    ),
    "strings beyond 64 bits": (
        gguf_file([key_value("k", 9, array(8, 3, struct.pack("<Q", 2**63 - 60) + bytes(8)))]),
        "key 'k' runs past the end of the file",
    ),
    "alignment 0": (gguf_file([key_value("general.alignment", 4, u32(0))]), "from 8 to 1,048,576, got '0'"),
    "alignment 48": (gguf_file([key_value("general.alignment", 4, u32(48))]), "power of two from 8 to"),
    "alignment 1": (gguf_file([key_value("general.alignment", 4, u32(1))]), "general.alignment: expected a power of"),
    "alignment 2**31": (gguf_file([key_value("general.alignment", 4, u32(2**31))]), "got '2147483648'"),
    "alignment a text": (
        gguf_file([key_value("general.alignment", 8, string(ESCAPE))]),
        "key 'general.alignment': value type 8; expected 4, a whole number of 32 bits",
    ),
    "alignment true": (gguf_file([key_value("general.alignment", 7, b"\1")]), "value type 7; expected 4"),
    "alignment NaN": (gguf_file([key_value("general.alignment", 6, b"\xff" * 4)]), "value type 6; expected 4"),
    "alignment an array": (
        gguf_file([key_value("general.alignment", 9, array(4, 1, u32(32)))]),
        "value type 9; expected",
    ),
    "alignment too long": (
        gguf_file([key_value("general.alignment", 8, string("3" * 70_000))]),
        "value type 8; expected 4",
    ),
    "no dimensions": (gguf_file([], [record(shape=(), dimensions=0) + bytes(8)]), "tensor 'w': 0 dimensions; expected"),
    "five dimensions": (gguf_file([], [record(shape=(1,) * 5)]), "tensor 'w': 5 dimensions; expected 1 to 4"),
    "huge dimensions": (gguf_file([], [record(dimensions=2**32 - 1)]), "tensor 'w': 4294967295 dimensions"),
    "zero in a shape": (gguf_file([], [record(shape=(32, 0))]), "tensor 'w': a shape of 32 x 0"),
    "overflow": (gguf_file([], [record(shape=(2**32, 2**31))]), "tensor 'w': a shape of 4294967296 x 2147483648"),
    "overflow to a small number": (gguf_file([], [record(shape=(2**32, 2**32, 1, 3))]), "tensor 'w': a shape of "),
    "rows not in blocks": (
        gguf_file([], [record(shape=(96, 8), kind=12)]),
        "tensor 'w': rows of 96 do not divide into blocks of 256, as Q4_K has them",
    ),
    "type 4": (gguf_file([], [record(kind=4)]), "tensor 'w': unknown tensor type 4"),
    "type Q8_1": (gguf_file([], [record(kind=9)]), "tensor 'w': unknown tensor type 9"),
    "huge type": (gguf_file([], [record(kind=2**32 - 1)]), "tensor 'w': unknown tensor type 4294967295"),
    "tensor twice": (gguf_file([], [record(), record(offset=128)]), "tensor 'w': its name stands there twice"),
    "escape in a tensor": (gguf_file([], [record(ESCAPE)]), r"tensor 1: expected a printable name, got '\x1b[31mred"),
    "bytes in a tensor": (gguf_file([], [record(b"\xc3(")]), "tensor 1: a string that is not UTF-8"),
    "no name": (gguf_file([], [record("")]), "tensor 1: expected a printable name, got ''"),
    "huge name": (gguf_file([], [struct.pack("<Q", HUGE) + bytes(40)]), "tensor 1 runs past the end of the file"),
    "offset not aligned": (gguf_file([], [record(offset=33)]), "offset 33 is not a multiple of the alignment 32"),
    "offset past the end": (gguf_file([], [record(offset=2**63)]), "tensor 'w' ends at byte 9,223,372,036,854,775,936"),
    "tensor past the end": (
        gguf_file([], [record(shape=(2000,))]),
        "tensor 'w' ends at byte 8,000 of the data part, o",
    ),
    "overlap": (gguf_file([], [record(offset=64), record("v")]), "tensors 'v' and 'w' overlap"),
    "same place": (gguf_file([], [record(), record("v")]), "tensors 'v' and 'w' overlap"),
    "within another": (
        gguf_file([], [record(shape=(320,)), record("v", offset=128), record("u", offset=640)]),
        "tensors 'w' and 'v' overlap",
    ),
}


@pytest.mark.parametrize(("data", "expected"), GGUF_FILES.values(), ids=GGUF_FILES)
def test_hostile_gguf(data: bytes, expected: str) -> None:
    assert expected in complaint(gguf_reader.read_header, data, 0 if not data else None)


def test_a_short_file_has_no_room_for_what_it_tells_of() -> None:
    """The file ends before its data part begins."""
    data = gguf_file([], [record()])
    line = complaint(gguf_reader.read_header, data, len(data))
    assert "tensor 'w' ends at byte 128 of the data part, of 0" in line


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_json_of_any_depth(opening: str, closing: str) -> None:
    """Near the depth at which Python gives up, a message must not go deeper than the parser did."""
    for depth in range(50, 1200, 25):
        deep = opening * depth + "0" + closing * depth
        for text in (f'{{"w":{deep}}}', f'{{"w":{{"dtype":{deep}}}}}', f'{{"w":{{"dtype":"F4","shape":[{deep}]}}}}'):
            complaint(safetensors_reader.read_header, safetensors_file(text.encode()))


@pytest.mark.parametrize("read", [gguf_reader.read_header, safetensors_reader.read_header])
def test_more_bytes_than_the_file_has(read: Read) -> None:
    assert "24 bytes came of a file that is said to have 20" in complaint(read, gguf_file(), 20)


def test_a_place_with_control_characters_stays_on_one_line() -> None:
    with pytest.raises(DataError, match=r"^'two\\nlines\\x1b': not a GGUF file"):
        gguf_reader.read_header(b"no", 100, "two\nlines\x1b")


def test_a_header_is_not_fetched_without_end() -> None:
    data = gguf_file([key_value("k", 8, struct.pack("<Q", 2 * 10**8))])
    assert "key 'k': more than 40,000,000 bytes of header" in complaint(gguf_reader.read_header, data, 10**12)


def full_of_tensors() -> bytes:
    names = [record(f"t{number:x}", (1, 1, 1, 1), 0, 32 * number) for number in range(65_536)]
    return gguf_file([], names)


def full_of_keys() -> bytes:
    return gguf_file([key_value(f"k{number}", 8, string("é" * 4500)) for number in range(4096)])


def full_of_strings() -> bytes:
    return gguf_file([key_value("k", 9, array(8, 4_000_000, bytes(32_000_000)))])


LARGEST = [full_of_tensors, full_of_keys, full_of_strings]


@pytest.mark.parametrize("build", LARGEST)
def test_the_largest_headers_are_read(build: Callable[[], bytes]) -> None:
    data = build()
    assert survives(gguf_reader.read_header, check_gguf, data, len(data) + 2**25) == "read"


def tensor(dtype: object = "F32", shape: object = (2, 3), offsets: object = (0, 24)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


RECORD = b'{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}'
COUNTS = "expected whole numbers, got"
TWO = "data_offsets: expected two whole numbers, got"
NOT_JSON = "the header is not JSON"
LONG = "a record of more than 1,024 bytes"
SAFETENSORS_FILES: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "the length of the header runs past the end of the file"),
    "huge header": (safetensors_file({}, HUGE), "the header runs past the end of the file, which has 4,106 bytes"),
    "header past the end": (safetensors_file({}, 5000), "the header runs past the end of the file"),
    "GGUF": (gguf_file([], [record()]), "not a safetensors file: its header is not a JSON object"),
    "list": (safetensors_file([]), "not a safetensors file: its header is not a JSON object"),
    "no length": (safetensors_file(b""), NOT_JSON),
    "cut off": (safetensors_file(b'{"w":'), NOT_JSON),
    "two objects": (safetensors_file(b"{}{}"), NOT_JSON),
    "not UTF-8": (safetensors_file(b'{"\xff":1}'), NOT_JSON),
    "UTF-16": (safetensors_file('{"w":1}'.encode("utf-16-le")), NOT_JSON),
    "NUL": (safetensors_file(b"{}\0\0"), NOT_JSON),
    "deep objects": (safetensors_file(b'{"a":' * 100_000), LONG),
    "deep lists": (safetensors_file(b'{"a":' + b"[" * 100_000), LONG),
    "rather deep": (safetensors_file(b'{"w":' + b"[" * 450 + b"]" * 450 + b"}"), "tensor 'w': expected an object, got"),
    "rather deep shape": (
        safetensors_file(b'{"w":{"dtype":"F32","shape":[' + b"[" * 450 + b"]" * 450 + b"]}}"),
        f"shape: {COUNTS} '[...]'",
    ),
    "rather deep metadata": (
        safetensors_file(b'{"__metadata__":{"a":' + b"[" * 800 + b"]" * 800 + b"}}"),
        "__metadata__: expected an object of strings",
    ),
    "many lists": (safetensors_file(b'{"a":[' + b"[]," * 2_000_000 + b"0]}"), LONG),
    "many tensors": (
        safetensors_file({str(number): tensor(shape=[0], offsets=[0, 0]) for number in range(65_537)}),
        "more than 65,536 tensors",
    ),
    "long number": (
        safetensors_file(b'{"a":' + b"9" * 5000 + b"}"),
        "the header is not JSON: it holds a number of 1,024 digits",
    ),
    "NaN": (safetensors_file({"w": tensor(offsets=[0, float("nan")])}), "the header is not JSON: it holds NaN"),
    "infinity": (safetensors_file({"w": tensor(offsets=[0, float("-inf")])}), "it holds -Infinity"),
    "name twice": (safetensors_file(b'{"w":' + RECORD + b',"w":' + RECORD + b"}"), "'w' is there twice"),
    "metadata twice": (safetensors_file(b'{"__metadata__":{},"__metadata__":{}}'), "__metadata__ is there twice"),
    "comma at the end": (safetensors_file(b'{"w":' + RECORD + b",}"), NOT_JSON),
    "long name": (safetensors_file({"n" * 5000: tensor()}), "a name of more than 4,096 bytes"),
    "key twice": (
        safetensors_file(b'{"w":{"dtype":"F32","dtype":"F32"}}'),
        "the header is not JSON: a key is there twice",
    ),
    "metadata a list": (safetensors_file({"__metadata__": []}), "__metadata__: expected an object of strings"),
    "metadata of numbers": (safetensors_file({"__metadata__": {"a": 1}}), "__metadata__: expected an object of str"),
    "escape in a name": (safetensors_file({ESCAPE: tensor()}), r"expected a printable name, got '\x1b[31mred\x07'"),
    "surrogate in a name": (safetensors_file({"\ud800": tensor()}), r"expected a printable name, got '\ud800'"),
    "no name": (safetensors_file({"": tensor()}), "tensor: expected a printable name, got ''"),
    "record a number": (safetensors_file({"w": 1}), "tensor 'w': expected an object, got '1'"),
    "record empty": (safetensors_file({"w": {}}), "tensor 'w': unknown dtype 'None'"),
    "unknown dtype": (safetensors_file({"w": tensor("F33")}), "tensor 'w': unknown dtype 'F33'"),
    "escape as dtype": (safetensors_file({"w": tensor(ESCAPE)}), r"unknown dtype '\x1b[31mred\x07'"),
    "dtype a list": (safetensors_file({"w": tensor(["F32"])}), "tensor 'w': unknown dtype '[F32]'"),
    "shape a number": (safetensors_file({"w": tensor(shape=6)}), f"tensor 'w': shape: {COUNTS} '6'"),
    "shape negative": (safetensors_file({"w": tensor(shape=[-2, -3])}), f"shape: {COUNTS} '[-2, -3]'"),
    "shape true": (safetensors_file({"w": tensor(shape=[True, 6])}), f"shape: {COUNTS} '[True, 6]'"),
    "shape 6.0": (safetensors_file({"w": tensor(shape=[6.0])}), f"shape: {COUNTS} '[6.0]'"),
    "shape 2**63": (safetensors_file({"w": tensor(shape=[2**63])}), f"shape: {COUNTS} '[9223372036854775808]'"),
    "shape 1e999": (safetensors_file(b'{"w":{"dtype":"F32","shape":[1e999]}}'), f"shape: {COUNTS} '[inf]'"),
    "shape overflows": (safetensors_file({"w": tensor(shape=[2**40, 2**40])}), "that can be counted"),
    "shape of a million": (safetensors_file({"w": tensor(shape=[9] * 900_000)}), LONG),
    "shape of a hundred": (safetensors_file({"w": tensor(shape=[9] * 100)}), "that can be counted"),
    "half a byte": (safetensors_file({"w": tensor("F4", [3], [0, 1])}), "a shape of '[3]' is no whole number of bytes"),
    "no offsets": (safetensors_file({"w": tensor(offsets=None)}), f"{TWO} 'None'"),
    "three offsets": (safetensors_file({"w": tensor(offsets=[0, 8, 24])}), f"{TWO} '[0, 8, 24]'"),
    "negative offsets": (safetensors_file({"w": tensor(offsets=[-24, 0])}), f"{TWO} '[-24, 0]'"),
    "offsets as text": (safetensors_file({"w": tensor(offsets=["0", ESCAPE])}), rf"{TWO} '[0, \x1b[31mred\x07]'"),
    "offsets backwards": (safetensors_file({"w": tensor(offsets=[24, 0])}), "takes 24 bytes, data_offsets '[24, 0]'"),
    "offsets disagree": (
        safetensors_file({"w": tensor(offsets=[0, 25])}),
        "tensor 'w': shape '[2, 3]' of F32 takes 24 bytes, data_offsets '[0, 25]' do not",
    ),
    "past the end": (
        safetensors_file({"w": tensor(offsets=[4080, 4104])}),
        "tensor 'w' ends at byte 4,104 of the data part, of 4,096",
    ),
    "overlap": (safetensors_file({"w": tensor(offsets=[20, 44]), "v": tensor()}), "tensors 'v' and 'w' overlap"),
    "empty within another": (
        safetensors_file({"w": tensor(), "v": tensor(shape=[0], offsets=[8, 8])}),
        "tensors 'w' and 'v' overlap",
    ),
}


@pytest.mark.parametrize(("data", "expected"), SAFETENSORS_FILES.values(), ids=SAFETENSORS_FILES)
def test_hostile_safetensors(data: bytes, expected: str) -> None:
    assert expected in complaint(safetensors_reader.read_header, data, 0 if not data else None)


def test_a_safetensors_header_above_25_mb() -> None:
    line = complaint(safetensors_reader.read_header, safetensors_file({}, 25_000_001), 10**12)
    assert "a header of 25,000,001 bytes; at most 25,000,000 are read" in line
    with pytest.raises(NeedMore):
        safetensors_reader.read_header(safetensors_file({}, 25_000_000), 10**12, PLACE)


BOMBS = {
    "objects": b'{"a":[' + b"{}," * 999_000 + b"0]}",
    "pairs": b'{"a":[' + b'{"a":0},' * 660_000 + b"0]}",
    "numbers": b'{"a":[' + b"9," * 1_990_000 + b"0]}",
    "long numbers": b'{"a":[' + (b"9" * 4000 + b",") * 5000 + b"0]}",
    "long decimals": b'{"a":[' + (b"0." + b"1" * 4000 + b",") * 5000 + b"0]}",
    "a long decimal": b'{"a":0.' + b"1" * 20_000_000 + b"}",
    "a long text": b'{"a":"' + b"\\u00e9" * 3_000_000 + b'"}',
    "a wide text": b'{"a":"' + b"x" * 24_990_000 + "\U0001f600".encode() + b'"}',  # four bytes a letter in Python
}


@pytest.mark.parametrize("header", BOMBS.values(), ids=BOMBS)
def test_the_largest_json_is_refused(header: bytes) -> None:
    complaint(safetensors_reader.read_header, safetensors_file(header))


def growth(which: int) -> int:
    """Return by how much this process has grown at most when it has read one of the largest headers."""
    files = [(safetensors_reader.read_header, safetensors_file(header)) for header in BOMBS.values()]
    read, data = files[which] if which < len(files) else (gguf_reader.read_header, LARGEST[which - len(files)]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(DataError):
        read(data, len(data) + 2**25, PLACE)
    unit = 1 if sys.platform == "darwin" else 1024
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def test_the_largest_headers_take_bounded_memory() -> None:
    """Each is read by a process of its own."""
    names = [*BOMBS, *(f"largest {number}" for number in range(len(LARGEST)))]

    def grown_by_one(which: int) -> int:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(growth, which).result()

    with ThreadPoolExecutor(2) as threads:
        grown = dict(zip(names, threads.map(grown_by_one, range(len(names))), strict=True))
    assert {name: nbytes for name, nbytes in grown.items() if nbytes >= MOST_GROWTH} == {}


# Fuzzing


def specimens() -> list[bytes]:
    key_values = [
        key_value("general.architecture", 8, string("qwen35")),
        key_value("general.alignment", 4, u32(32)),
        key_value("split.count", 2, b"\2\0"),
        key_value("f", 6, struct.pack("<f", 0.5)),
        key_value("tokens", 9, array(8, 5, b"".join(map(string, ["a", "", "bc", "é", "x" * 20])))),
        key_value("scores", 9, array(12, 3, bytes(24))),
    ]
    records = [record("a.weight", (256, 2), 12, 0), record("b", (8, 4), 0, 288), record("c", (32, 2, 2, 2), 8, 416)]
    return [
        gguf_file(key_values, records),
        gguf_file(key_values[:1], records[:1], version=2),
        gguf_file(key_values[2:3], []),
        gguf_file([], records),
    ]


VALID = {
    "gguf": (gguf_reader.read_header, check_gguf, specimens()),
    "safetensors": (
        safetensors_reader.read_header,
        check_safetensors,
        [safetensors_file(SAFETENSORS), safetensors_file({"w": tensor()}), safetensors_file({})],
    ),
}
ODD = [bytes(8), b"\xff" * 8, b"\xff" * 4, b"\0", b"\x80", struct.pack("<Q", 2**63), struct.pack("<Q", 2**32), b"\x1b"]
TEXTS = [b"[", b"{", b"]", b"}", b",", b'"', b"-", b"9", b"1e9", b"NaN", b"null", b"true", b"\\u001b", b"\\ud800"]


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Return data with one to four flips, truncations, insertions, overwritings or splices."""
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(6)
        if how == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        elif how == 1:
            data = data[: max(at, chance.randrange(len(data) + 1))]
        elif how == 2:
            data = data[:at] + chance.choice(ODD + TEXTS) + data[at:]
        elif how == 3:
            odd = chance.choice(ODD + TEXTS)
            data = data[:at] + odd + data[at + len(odd) :]
        elif how == 4:
            other = chance.choice(others)
            data = data[:at] + other[chance.randrange(len(other)) :]
        else:
            end = min(len(data), at + chance.randrange(64))
            data = data[:end] + data[at:end] * chance.randrange(3) + data[end:]
    return data


def refitted(data: bytes, chance: random.Random) -> bytes:
    """A safetensors header whose length is right again, so that its JSON gets read."""
    return struct.pack("<Q", len(data) - 8) + data[8:] if len(data) >= 8 and chance.random() < 0.8 else data


def mutation(kind: str, seed: int) -> tuple[bytes, int]:
    """Return a mutated file and the size that it is said to have."""
    chance = random.Random(seed)
    originals = VALID[kind][2]
    data = mutated(chance.choice(originals), chance, originals)
    if kind == "safetensors":
        data = refitted(data, chance)
    return data, len(data) + chance.choice([0, 1, 31, 700, 2000, 10**7, 10**12])


@pytest.mark.parametrize("kind", VALID)
def test_the_specimens_are_read(kind: str) -> None:
    read, check, originals = VALID[kind]
    for data in originals:
        assert survives(read, check, data, len(data) + 2000) == "read"


@pytest.mark.parametrize("kind", VALID)
@FUZZ
@given(data=st.binary(max_size=300), beyond=st.sampled_from([0, 100, 10**12]))
def test_random_bytes(kind: str, data: bytes, beyond: int) -> None:
    read, check, _ = VALID[kind]
    start = b"GGUF\3\0\0\0" if kind == "gguf" else struct.pack("<Q", len(data) + 1) + b"{"
    for each in (data, start + data):
        survives(read, check, each, len(each) + beyond)


@pytest.mark.parametrize("kind", VALID)
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_mutations(kind: str, seed: int) -> None:
    read, check, _ = VALID[kind]
    for step in range(10):
        survives(read, check, *mutation(kind, seed + step))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(sorted(DTYPE_BITS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(sorted(DTYPE_BITS)) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 9), max_size=3) | JSON_VALUES,
        "data_offsets": st.lists(st.integers(-1, 99), min_size=2, max_size=2) | JSON_VALUES,
    },
)


@FUZZ
@given(st.dictionaries(st.text(max_size=4) | st.just("__metadata__"), RECORDS | JSON_VALUES, max_size=3))
def test_any_json(header: dict[str, Any]) -> None:
    data = safetensors_file(header)
    survives(safetensors_reader.read_header, check_safetensors, data, len(data) + 100)
