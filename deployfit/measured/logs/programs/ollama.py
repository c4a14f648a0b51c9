"""Ollama: its server's log around llama-server's lines, and what its own engines of 2025 and 2026 say of memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from deployfit.errors import InputError
from deployfit.measured.logs.flags import llamacpp_settings, words_of
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.log import (
    UNITS,
    EngineLog,
    Figure,
    LoggedMac,
    LoggedModel,
    LoggedPart,
    LoggedSettings,
    completed,
    rounded,
)
from deployfit.measured.logs.names import said_name
from deployfit.runtimes.runtime import DEVICE, HOST

WORDS = frozenset[str]()
STARTS = ()
MARKS = ("msg=",)
ORDER = 2
STARTS_SERVER = "Ollama started llama-server, with settings of its own"

_PAIR = re.compile(r'(?<![\w.])([\w.]{1,40})=("(?:[^"\\]|\\.)*"|\S+)')
_VERSION = re.compile(r"\(version (\d{1,4}\.\d{1,4}\.\d{1,4}[\w.-]{0,20})\)")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([KMGT]?i?B)")
_LOAD = re.compile(r"\b(Parallel|BatchSize|KvSize|KvCacheType|FlashAttention|UseMmap):([\w.]*)")
_CHIP = re.compile(r"Apple (A\d{2} Pro|M\d{1,2}(?: (?:Pro|Max|Ultra))?)\b")
_OFFLOADED = re.compile(r"\bGPULayers:(\d{1,5})\[")
_LAYERS = re.compile(r'"model layers"=(\d{1,5})\b')
# What it plans before it starts a runner, by the versions up to the summer of 2025.
_PLAN = {
    "weights": "memory.weights.total",
    "kv_cache": "memory.required.kv",
    "compute": "memory.graph.full",
    "vision": "projector.weights",
}
_LIBRARIES = {"metal": "Metal", "cuda": "CUDA", "rocm": "ROCm", "cpu": "CPU"}
_PARTS = {"model weights": "weights", "kv cache": "kv_cache", "compute graph": "compute"}


def _pairs(text: str) -> Mapping[str, str]:
    return {name: value.strip('"') for name, value in _PAIR.findall(text)}


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what Ollama itself says; None if no line is its own."""
    version, settings, mac = "", LoggedSettings(), LoggedMac()
    model = LoggedModel()
    parts: dict[tuple[str, str], LoggedPart] = {}
    started: dict[str, None] = {}
    notes: dict[str, None] = {}
    is_own = False
    for line in lines:
        if "level=" not in line.text or "source=" not in line.text:
            continue
        is_own = True
        pairs = _pairs(line.text)
        said = pairs.get("msg", "")
        if said.startswith("Listening on"):
            found = _VERSION.search(said)
            version = found[1] if found else version
        elif said == "inference compute":
            chip = _CHIP.search(pairs.get("description", ""))
            limit = _figure(pairs.get("total", ""))
            mac = completed(mac, LoggedMac(chip[1] if chip else "", 0, limit, "Metal" if chip else ""))
        elif said == "system memory":
            total = _figure(pairs.get("total", ""))
            mac = completed(mac, LoggedMac("", total.nbytes if total else 0))
        elif said in ("starting llama-server", "starting runner", "starting llama server", "starting ollama engine"):
            words = words_of(pairs.get("cmd", ""))
            if said == "starting llama-server":
                notes[STARTS_SERVER] = None
            started |= {word: None for flag, word in pairwise(words) if flag == "--model"}
            settings = completed(llamacpp_settings(words), settings)
        elif said in _PARTS:
            _add(parts, _PARTS[said], pairs)
        elif said.startswith("offload") and "memory.required.full" in pairs:
            settings, parts = _planned(settings, pairs)
            mac = completed(mac, LoggedMac(device=_LIBRARIES.get(pairs.get("library", said.rpartition(" ")[2]), "")))
        elif "num_tensors" in pairs and "architecture" in pairs:
            model = completed(_described(pairs), model)
        elif said == "load" or 'request="{Operation:' in line.text:
            settings = completed(settings, _load_request(line.text))
        elif "loading model" in said:
            model = completed(model, LoggedModel(name=said_name(pairs.get("name", ""))))
            settings = settings._replace(layers=_count(_LAYERS.search(line.text)) or settings.layers)
    if not is_own:
        return None
    if len(started) > 1:
        raise InputError(
            f"log: {len(started)} models in it, by the files that Ollama started; give the lines from one start on"
        )
    return EngineLog(
        program="Ollama",
        runtime="llama.cpp",
        version=version,
        model=model,
        settings=settings,
        mac=mac,
        parts=tuple(parts.values()),
        notes=tuple(notes),
    )


def _count(found: re.Match[str] | None) -> int | None:
    return int(found[1]) if found else None


def _described(pairs: Mapping[str, str]) -> LoggedModel:
    """Return the model of a file's header, as its own engine says it."""
    kind = pairs.get("file_type", "")
    quant = kind if re.fullmatch(r"[A-Z0-9_]{2,12}", kind) else ""
    return LoggedModel(
        name=said_name(pairs.get("name", "")), architecture=said_name(pairs["architecture"]), quant=quant
    )


def _planned(
    settings: LoggedSettings, pairs: Mapping[str, str]
) -> tuple[LoggedSettings, dict[tuple[str, str], LoggedPart]]:
    """Return the settings and parts of a plan: what it thinks that a runner will take."""
    parts = {}
    for name, key in _PLAN.items():
        if (figure := _figure(pairs.get(key, ""))) and figure.nbytes:
            parts[name, DEVICE] = LoggedPart(name, figure, said=True)
    offloaded, layers = (
        int(value) if (value := pairs.get(f"layers.{key}", "")).isdecimal() and len(value) < 6 else None
        for key in ("offload", "model")
    )
    return settings._replace(offloaded=offloaded, layers=layers), parts


def _figure(text: str) -> Figure | None:
    found = _SIZE.fullmatch(text.strip())
    return rounded(found[1], UNITS[found[2]]) if found and found[2] in UNITS else None


def _add(parts: dict[tuple[str, str], LoggedPart], name: str, pairs: Mapping[str, str]) -> None:
    """Take a part; of a load that is tried several times the last counts."""
    figure = _figure(pairs.get("size", ""))
    if figure:
        where = HOST if pairs.get("device", pairs.get("buffer", "")).startswith("CPU") else DEVICE
        parts[name, where] = LoggedPart(name, figure, where, said=True)


def _load_request(text: str) -> LoggedSettings:
    said = dict(_LOAD.findall(text))

    def count(name: str) -> int | None:
        value = said.get(name, "")
        return int(value) if value.isdecimal() and 0 < len(value) < 13 else None

    flash = {"true": True, "false": False, "Enabled": True, "Disabled": False}
    kind = said.get("KvCacheType", "").lower() or ("f16" if "KvSize" in said else None)
    return LoggedSettings(
        context_tokens=count("KvSize"),
        offloaded=_count(_OFFLOADED.search(text)),
        parallel=count("Parallel"),
        batch=count("BatchSize"),
        ubatch=count("BatchSize"),
        kv_type_k=kind,
        kv_type_v=kind,
        flash_attention=flash.get(said.get("FlashAttention", "")),
        mmap={"true": True, "false": False}.get(said.get("UseMmap", "")),
    )
