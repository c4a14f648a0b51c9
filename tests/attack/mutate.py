"""Hostile input, made from honest input: seeded, and knowing where lengths, counts, names and numbers stand."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

ODD_NUMBERS = (0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 127, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32)
HUGE_NUMBERS = (2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**18, 10**309, -1, -(2**63), -(10**400))
ODD_TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\x1b]0;pwned\x07",
        "\n",
        "\r",
        "\u2028",
        "\u202e",
        "\x9b",
        "\u200b",
        "\ud800",
        "\U0001f600",
    ),
    *(
        "..",
        "../../etc/passwd",
        "/dev/zero",
        "a" * 5000,
        "\u00b2",
        "\u2460",
        "\u0661",
        "1e999",
        "NaN",
        "-0",
        "0x10",
        "1_000",
    ),
    *(
        "::error::x",
        "##[add-mask]x",
        "--help",
        "%s%n",
        "${HOME}",
        "'; drop",
        "\ufeff",
        "INF",
        "true",
        "null",
        "blk.\u00b2.w",
    ),
)
ODD_VALUES: tuple[Any, ...] = (
    *ODD_NUMBERS,
    *HUGE_NUMBERS,
    *ODD_TEXTS,
    None,
    True,
    False,
    [],
    {},
    0.5,
    1e308,
    [[]],
    [None],
)
BYTES = (
    b"\0" * 8,
    b"\xff" * 8,
    b"\xff" * 4,
    b"\0",
    b"\x80",
    struct.pack("<Q", 2**63),
    struct.pack("<Q", 2**32),
    b"\x1b",
)


def bytes_changed(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Flip, cut, insert, overwrite, splice or repeat, one to four times."""
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(6)
        if how == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        elif how == 1:
            data = data[: max(at, chance.randrange(len(data) + 1))]
        elif how == 2:
            data = data[:at] + chance.choice(BYTES) + data[at:]
        elif how == 3:
            odd = chance.choice(BYTES)
            data = data[:at] + odd + data[at + len(odd) :]
        elif how == 4:
            other = chance.choice(others)
            data = data[:at] + other[chance.randrange(len(other) + 1) :]
        else:
            end = min(len(data), at + chance.randrange(64))
            data = data[:end] + data[at:end] * chance.randrange(3) + data[end:]
    return data


# GGUF: built from parts, each of which may be other than it should be


def _string(text: str, chance: random.Random, rarely: float) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    length = chance.choice([*ODD_NUMBERS, 2**63, len(encoded) + 1]) if chance.random() < rarely else len(encoded)
    return struct.pack("<Q", length & (2**64 - 1)) + encoded


SCALARS: dict[int, str] = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def gguf(chance: random.Random, rarely: float = 0.008) -> bytes:
    """A GGUF header of a few key-values and tensors, with something wrong in it rarely, for each thing that can be."""

    def odd(honest: Any, values: Sequence[Any]) -> Any:
        return chance.choice(values) if chance.random() < rarely else honest

    key_values = []
    for number in range(chance.randrange(0, 8)):
        key = odd(
            chance.choice(["general.architecture", "general.alignment", "a.block_count", f"k{number}"]), ODD_TEXTS
        )
        kind = odd(chance.choice([4, 5, 6, 7, 8, 9, 10, 12]), [*range(14), 255, 2**31])
        key_values.append(_string(key, chance, rarely) + struct.pack("<I", kind) + _value(kind, key, chance, rarely))
    records, offset = [], 0
    for number in range(chance.randrange(0, 12)):
        kind = odd(chance.choice([0, 1, 2, 8, 12, 14, 30, 39]), [*range(50), 2**31])
        rows = odd(chance.choice([1, 2, 3, 64]), ODD_NUMBERS)
        shape = [odd(256, [*ODD_NUMBERS, 2**62]), rows, *[2] * odd(0, [1, 2, 3])]
        words = ["attn_q.weight", "ffn_up_exps.weight", "mystery.weight", "attn_k.bias", "ssm_a"]
        layer = odd(str(chance.randrange(4)), ["\u00b2", "\u2460", "9" * 4301, "-1", "", "00001"])
        name = odd(f"blk.{layer}.{chance.choice(words)}.{number}", [*ODD_TEXTS, "token_embd.weight", "output.weight"])
        body = struct.pack("<I", odd(len(shape), [0, 1, 5, 2**31])) + b"".join(
            struct.pack("<Q", size) for size in shape
        )
        records.append(
            _string(name, chance, rarely) + body + struct.pack("<IQ", kind, odd(offset, [*ODD_NUMBERS, 2**63]))
        )
        offset += -(-max(1, 256 * rows * 4) // 32) * 32
    counts = odd(len(records), [*ODD_NUMBERS, 2**63]), odd(len(key_values), [*ODD_NUMBERS, 2**63])
    start = odd(b"GGUF", [b"GGML", b"FUGG", b"\0\0\0\0"]) + struct.pack(
        "<IQQ", odd(3, [0, 1, 2, 4, 2**24, 2**31]), *counts
    )
    return start + b"".join(key_values) + b"".join(records)


def _value(kind: int, key: str, chance: random.Random, rarely: float) -> bytes:
    if kind == 8:
        return _string(
            "qwen35" if key == "general.architecture" else chance.choice(["x", "llama", *ODD_TEXTS]), chance, rarely
        )
    if kind == 9:
        element = chance.choice([4, 5, 6, 7, 8, 9, 12, 13])
        count = chance.choice([0, 1, 3, 40])
        said = chance.choice([*ODD_NUMBERS, 2**63]) if chance.random() < rarely else count
        if element == 8:
            return struct.pack("<IQ", element, said) + b"".join(_string("t", chance, rarely) for _ in range(count))
        size = struct.calcsize(SCALARS.get(element, "B"))
        return struct.pack("<IQ", element, said) + bytes(chance.randrange(256) for _ in range(size * count))
    if kind not in SCALARS:
        return bytes(8)
    if key == "general.alignment" and chance.random() > rarely:
        return struct.pack("<I", 32)
    size = struct.calcsize(SCALARS[kind])
    return chance.choice([b"\xff" * size, b"\0" * size, chance.randbytes(size), (1).to_bytes(size, "little")])


# JSON: a value somewhere in it is another


def json_changed(value: Any, chance: random.Random) -> Any:
    """A copy of a JSON value in which one place holds something else."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        changed = dict(value)
        how = chance.randrange(8)
        if how == 0:
            del changed[key]
        elif how == 1:
            changed[chance.choice(list(ODD_TEXTS))] = changed.pop(key)
        else:
            changed[key] = json_changed(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        how = chance.randrange(6)
        if how == 0:
            return value[:at] + value[at + 1 :]
        if how == 1:
            return value[:at] + [value[at]] * chance.choice([2, 3, 50]) + value[at + 1 :]
        return [*value[:at], json_changed(value[at], chance), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.5:
        return value + chance.choice([-1, 1, value, -2 * value, 7])
    return chance.choice(ODD_VALUES)


def numbers_enlarged(value: Any, chance: random.Random, share: float) -> Any:
    """A copy of a JSON value in which a share of its numbers is as large as is believed, or nearly."""
    if isinstance(value, dict):
        return {key: numbers_enlarged(each, chance, share) for key, each in value.items()}
    if isinstance(value, list):
        return [numbers_enlarged(each, chance, share) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < share:
        return chance.choice([value * 1000, 1000, 16_384, 200_000, 10**6, 20_000_000])
    return value


def json_text(value: Any, chance: random.Random, honest: Sequence[bytes]) -> bytes:
    """The text of a JSON value with one to three places changed, and rarely with bytes changed as well."""
    for _ in range(chance.randrange(1, 4)):
        value = json_changed(value, chance)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return bytes_changed(text, chance, honest) if chance.random() < 0.2 else text


def safetensors(chance: random.Random) -> bytes:
    """A safetensors header with something changed in it."""
    records: dict[str, Any] = {"__metadata__": {"format": "pt"}} if chance.random() < 0.5 else {}
    offset = 0
    for number in range(chance.randrange(1, 10)):
        dtype, width = chance.choice([("BF16", 2), ("F32", 4), ("U32", 4), ("F8_E4M3", 1), ("U8", 1)])
        shape = [chance.choice([1, 4, 64]) for _ in range(chance.randrange(0, 4))]
        nbytes = width
        for size in shape:
            nbytes *= size
        layer = chance.choice(["0", "1", "\u00b2", "9" * 4301]) if chance.random() < 0.05 else str(chance.randrange(3))
        kind = chance.choice(["self_attn.q_proj.weight", "mlp.experts.3.up_proj.weight", "mlp.gate.scales", "x"])
        records[f"model.layers.{layer}.{kind}.{number}"] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [offset, offset + nbytes],
        }
        offset += nbytes
    honest = json.dumps(records).encode()
    text = honest if chance.random() < 0.2 else json_text(records, chance, [honest])
    length = len(text) if chance.random() < 0.9 else chance.choice([*ODD_NUMBERS, 2**63, len(text) - 1])
    return struct.pack("<Q", length & (2**64 - 1)) + text


def csv_text(honest: str, chance: random.Random) -> str:
    """A table with one to three cells, lines or separators changed."""
    lines = honest.split("\n")
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        cells = lines[at].split(",")
        how = chance.randrange(7)
        if how == 0:
            lines[at] = ",".join(cells[: chance.randrange(len(cells) + 1)])
        elif how == 1:
            lines[at : at + 1] = [lines[at]] * chance.choice([0, 2, 30])
            lines = lines or [""]
        elif how == 2:
            lines[at] += chance.choice(['"', ",", '",', "\r", "\0", '"a""'])
        else:
            cells[chance.randrange(len(cells))] = str(chance.choice(ODD_VALUES))
            lines[at] = ",".join(cells)
    return "\n".join(lines)


def command_line(commands: dict[str, Sequence[str]], values: Sequence[str], chance: random.Random) -> list[str]:
    """Words for the program: a command, options that it has or others have, values of all kinds."""
    command = chance.choice([*commands, *commands, *ODD_TEXTS, "fti"])
    words = [command] if chance.random() < 0.97 else []
    known = commands.get(command, ())
    everybody = [option for options in commands.values() for option in options]
    for _ in range(chance.randrange(0, 6)):
        if known and chance.random() < 0.85:
            words.append(chance.choice(known))
        elif chance.random() < 0.3:
            words.append(chance.choice(everybody))
        if chance.random() < 0.8:
            words.append(chance.choice([*values, *values, *ODD_TEXTS]))
    return [word for word in words if "\0" not in word]


Builder = Callable[[random.Random], bytes]
