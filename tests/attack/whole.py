"""Whole answers: hostile files, configurations, logs and questions, through everything that an answer is made of.

They are asked through the door of agents, which shows text and rows, and whose outermost boundary names a fault.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from deployfit.errors import DataError, DeployfitError

from . import mutate, oracle

FORMATS = ("markdown", "csv", "html")
QUANTS = ("Q4_K_M", "4bit")
# Larger nodes may leave fewer gaps: with Metal's scratch the allocator's peak can be lower than without.
DIFFERENCES = ("headroom_bytes", "metal_scratch_bytes")
SMALL_LOG = 8_000  # bytes; longer ones say the same more often
CONTEXTS = ("8k", "100001", "max", "1")


def answered(tool: str, arguments: Mapping[str, Any]) -> tuple[str, Sequence[Mapping[str, Any]]] | None:
    """Return text and rows of an answer that is held against itself, None for a refusal, which is one line."""
    from deployfit.mcp.tools import call

    found = call(tool, {"rows": 1000, **arguments})
    assert "a fault of deployfit" not in found.text, found.text
    lines = found.text.split("\n")
    for line in lines:
        assert line.isprintable(), f"not printable: {line!r}"
        assert not line.lstrip().startswith("::"), f"an order to a workflow: {line!r}"
        assert "##[" not in line, f"an order to a workflow: {line!r}"
    if found.report is None:
        assert len(lines) == 1, f"{len(lines)} lines"
        assert len(found.text) < 6000, f"{len(found.text)} characters"
        return None
    rows = found.report["rows"]
    json.dumps(found.report, allow_nan=False)
    for row in rows:
        _adds_up(row)
    return found.text, rows


def _adds_up(row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name.endswith("_bytes") and value is not None and name not in DIFFERENCES:
            assert type(value) is int, f"{name}: {value!r}"
            assert value >= 0, f"{name}: {value!r}"
    if "total_bytes" not in row or row.get("total_bytes") is None or not row.get("parts"):
        return
    total = sum(part["bytes"] for part in row["parts"])
    assert total == row["total_bytes"], f"parts of {total:,} bytes, and {row['total_bytes']:,} in all"
    assert all(part["bytes"] <= part["upper_bytes"] for part in row["parts"])
    if any(part["machine"] for part in row["parts"]):
        return  # each Mac has a limit of its own
    headroom = row["gpu_limit_bytes"] - row["reserve_bytes"] - total
    assert headroom == row["headroom_bytes"], f"{headroom:,} bytes are left, not {row['headroom_bytes']:,}"
    assert row["verdict"] != "fits" or headroom >= 0, "it fits beyond the limit"
    for name in ("decode_tps", "prefill_tps"):
        assert row[name] is None or 0 <= row[name] < 1e9, f"{name}: {row[name]}"


# Files


@cache
def folder() -> str:
    return tempfile.mkdtemp(prefix="deployfit-attack-")


@cache
def small_models() -> list[str]:
    """The models of the catalogue whose files have the fewest tensors, one of each architecture."""
    from deployfit.catalogue import models

    by_architecture: dict[str, tuple[int, str]] = {}
    for name, model in models().items():
        blueprint = model.blueprint
        if blueprint.gguf_architecture:
            entry = len(blueprint.layers), name
            by_architecture[blueprint.gguf_architecture] = min(
                entry, by_architecture.get(blueprint.gguf_architecture, entry)
            )
    return [name for _, name in sorted(by_architecture.values())]


@cache
def key_values(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Scalars, lists and shapes of a model's GGUF file."""
    from gguf_keys import gguf_keys

    from deployfit.catalogue import data_text, models

    return gguf_keys(json.loads(data_text(f"configs/{name}.json")), models()[name].blueprint)


def all_key_values(name: str) -> dict[str, Any]:
    scalars, lists, _ = key_values(name)
    return {**scalars, **lists}


def file_of_model(chance: random.Random) -> tuple[dict[str, Any], list[tuple[str, tuple[int, ...], int]]]:
    """Key-values and tensors of a file of one of the known architectures, a few of them other than they should be."""
    name = chance.choice(small_models())
    values: Any = all_key_values(name)
    entries = [(tensor, shape, 8 if shape[0] % 32 == 0 else 0) for tensor, shape in key_values(name)[2].items()]
    for _ in range(chance.choice([0, 0, 1, 1, 2])):
        values = mutate.json_changed(values, chance)
    for _ in range(chance.choice([0, 0, 1, 2])):
        at = chance.randrange(len(entries))
        tensor, shape, kind = entries[at]
        how = chance.randrange(7)
        if how == 0:
            del entries[at]
        elif how == 1:
            entries[at] = tensor, shape, chance.choice([0, 1, 2, 8, 12, 14, 30, 39])
        elif how == 2:
            size = chance.choice([*mutate.ODD_NUMBERS, shape[0] * 2, shape[-1] + 1])
            entries[at] = tensor, (*shape[:-1], size) if chance.random() < 0.5 else (size, *shape[1:]), kind
        elif how == 3:
            entries[at] = chance.choice([*mutate.ODD_TEXTS, tensor + "x", "blk.99." + tensor]), shape, kind
        elif how == 4:
            entries.append((tensor.replace("blk.0.", "blk.77."), shape, kind))
        elif how == 5:
            entries[at] = tensor, (*shape, chance.choice([1, 2, 64])), kind
        else:
            entries = entries[:at]
    return values if isinstance(values, dict) else {"x": values}, entries or [("x", (32,), 0)]


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded


def _packed(value: Any) -> bytes | None:
    """A GGUF value with the number of its type before it, None for what no file can hold."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<Iq", 11, value) if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return struct.pack("<Id", 12, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, list):
        packed = [_packed(each) for each in value]
        if not packed or None in packed or len({each[:4] for each in packed if each}) > 1:
            return struct.pack("<IIQ", 9, 4, 0)
        return struct.pack("<I", 9) + packed[0][:4] + struct.pack("<Q", len(packed)) + b"".join(p[4:] for p in packed)
    return None


def gguf_of(values: Mapping[str, Any], entries: Sequence[tuple[str, tuple[int, ...], int]]) -> tuple[bytes, int]:
    """The header, and how many bytes the file has."""
    packed = {key: pack for key, value in values.items() if (pack := _packed(value)) is not None}
    records, offset = [], 0
    for name, shape, kind in entries:
        numbers, nbytes = oracle.blocks()[kind]
        size = 1
        for each in shape:
            size *= each
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *(each & (2**64 - 1) for each in shape))
        records.append(_string(name) + dimensions + struct.pack("<IQ", kind, offset & (2**64 - 1)))
        offset += -(-(size // numbers * nbytes) // 32) * 32
    start = struct.pack("<4sIQQ", b"GGUF", 3, len(records), len(packed))
    header = start + b"".join(_string(key) + pack for key, pack in packed.items()) + b"".join(records)
    header += bytes(-len(header) % 32)
    return header, min(len(header) + offset, 2**53)


def try_file(given: tuple[Mapping[str, Any], Sequence[tuple[str, tuple[int, ...], int]]]) -> str:
    header, size = gguf_of(*given)
    path = os.path.join(folder(), "m.gguf")
    with open(path, "wb") as file:
        file.write(header)
        with contextlib.suppress(OSError):  # larger than this disk can count
            file.truncate(max(size, len(header)))
    found = answered("fit", {"model": path, "mac": "M4 Max 64", "context": CONTEXTS[len(header) % 4]})
    if found is None:
        return "refused"
    total = oracle.gguf_sums(header)[1]
    for row in found[1]:
        held = row.get("weights_bytes"), row.get("tensor_bytes")
        assert total in held, f"{total:,} bytes of tensors, and the answer has {held}"
    return "accepted"


# Configurations


def config(chance: random.Random) -> tuple[bytes, str]:
    from .fuzz import config_text

    return config_text(chance), chance.choice(CONTEXTS)


def try_config(given: tuple[bytes, str]) -> str:
    """A configuration as a catalogue: `fit` and `sweep` say the same, or refuse it in the same words."""
    from deployfit import sweep

    text, context = given
    path = os.path.join(folder(), "config.json")
    Path(path).write_bytes(text)
    asked = {"quant": list(QUANTS), "mac": "64", "catalog": path}
    found = answered("fit", {"model": "x", "context": context, **asked})
    try:
        swept = sweep("x", QUANTS, context=context, mac="64", catalog=path).frame() if context != "max" else None
    except DeployfitError as error:
        for line in error.faults if isinstance(error, DataError) else [str(error)]:
            assert line.isprintable()
        assert found is None, f"fit answers, sweep does not: {error}"
        return "refused"
    if found is None or swept is None:
        return "refused" if found is None else "accepted"
    totals = {(row["recipe"], row["runtime"]): row["total_bytes"] for row in found[1]}
    for row in swept.itertuples():
        total = totals.get((row.recipe, row.runtime))
        assert total is None or int(row.total_bytes) == total, f"sweep {row.total_bytes}, fit {total}"
    return "accepted"


# Logs


@cache
def logs() -> list[str]:
    paths = sorted((Path(__file__).parent.parent / "data" / "logs").glob("*.log"))
    return [path.read_text(encoding="utf-8") for path in paths if path.stat().st_size <= SMALL_LOG]


def log_text(chance: random.Random) -> str:
    """A log with one to four lines or numbers of it changed, or with a line of another."""
    lines = chance.choice(logs()).split("\n")
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(lines))
        how = chance.randrange(8)
        if how == 0:
            del lines[at]
            lines = lines or [""]
        elif how == 1:
            lines[at : at + 1] = [lines[at]] * chance.choice([2, 3, 40])
        elif how == 2:
            lines.insert(at, chance.choice(chance.choice(logs()).split("\n")))
        elif how == 3:
            raw = lines[at].encode("utf-8", "surrogatepass")
            lines[at] = mutate.bytes_changed(raw, chance, [raw]).decode("utf-8", "replace")
        elif how == 4:
            lines = lines[: at + 1]
        else:
            words = lines[at].split(" ")
            place = chance.randrange(len(words))
            words[place] = str(chance.choice(mutate.ODD_VALUES))
            lines[at] = " ".join(words)
    return "\n".join(lines) + "\n"


def try_log(text: str) -> str:
    return "refused" if answered("verify", {"log": text}) is None else "accepted"


# Questions of agents


HONEST: Mapping[str, Sequence[Any]] = {
    "model": ("Qwen3.5-27B", "gpt-oss-20b", "qwen3.5:27b", "unsloth/Qwen3.5-9B-GGUF", "llama 3.1 8b"),
    "quant": ("Q4_K_M", "4bit", "unsloth:UD-Q4_K_XL", "q8_0", "mxfp4"),
    "mac": ("M4 Max 64", "32", "m2pro-32", "2x M3 Ultra 256", "Mac16,7"),
    "macos": ("26", "15.4"),
    "wired_limit": ("28g", "75%", "26000m"),
    "context": ("8k", "32768", "max", "1"),
    "app": ("ollama", "llama-server", "lmstudio", "llama-bench", "mlx_lm.server"),
    "runtime": ("llama.cpp", "mlx"),
    "publisher": ("unsloth", "ollama"),
    "kv_type": ("q8_0", "f16"),
    "parallel": ("1", 4),
    "ubatch": ("512", 2048),
    "draft_model": ("Qwen3.5-0.8B",),
    "split": ("pipeline", "tensor"),
    "other": ("8g",),
    "image": ("1024x768",),
    "min_speed": ("10", 2.5),
    "use": ("code", "chat"),
    "rows": ("3", 20),
    **dict.fromkeys(("mtp", "vision", "imatrix", "own", "macs_needed"), (True, False, "true")),
}
FIRST = {"fit": ("model", "quant", "mac"), "plan": ("model", "mac"), "quants": ("model",), "recommend": ("mac",)}


def question(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A tool and its arguments: most as they should be, some of another kind, some unheard of."""
    tool = chance.choice(["fit", "fit", "fit", "plan", "quants", "recommend", "models", "macs"])
    names = [*FIRST.get(tool, ()), *(chance.choice(list(HONEST)) for _ in range(chance.choice([0, 0, 1, 1, 2])))]
    arguments: dict[str, Any] = {}
    for name in names:
        value = chance.choice(HONEST[name])
        if chance.random() < 0.12:
            value = chance.choice(mutate.ODD_VALUES)
        elif isinstance(value, str) and chance.random() < 0.12:
            value = _spoilt(value, chance)
        arguments[name] = [value, value] if chance.random() < 0.05 else value
    if chance.random() < 0.03:
        arguments[chance.choice(mutate.ODD_TEXTS)] = "x"
    return tool, arguments


def _spoilt(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return (
        text[:at] + chance.choice([*mutate.ODD_TEXTS, "8", "x", "-", ",", "+", "."]) + text[at + chance.randrange(2) :]
    )


def try_question(given: tuple[str, dict[str, Any]]) -> str:
    return "refused" if answered(*given) is None else "accepted"
