"""oMLX: the memory it found for a loaded model, its ceiling, and its speeds. Its GB are GiB.

A Mac of 96 GB has "Metal cap (72.0GB)", which is 72 GiB, and the limit that it advises as 94208 MiB is "92.0GB".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployfit.errors import InputError, quoted
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.log import (
    EngineLog,
    Figure,
    LoggedMac,
    LoggedModel,
    LoggedPart,
    LoggedSettings,
    LoggedSpeed,
    rounded,
)
from deployfit.measured.logs.names import public_name, said_name
from deployfit.runtimes.runtime import HOST
from deployfit.units import GIB

WORDS = frozenset({"completion", "Completion", "message", "API", "model"})
STARTS = ()
MARKS = (" - omlx.",)
ORDER = 1

_LOADED = re.compile(r"Loaded model: (\S{1,120}) \((actual|estimated): (\d{1,9}\.\d{1,6})GB")
_CAP = re.compile(r"Metal cap \((\d{1,9}\.\d{1,6})GB")
_CEILING = re.compile(r"enforcer started \(tier=(\w+), ceiling=(\d{1,9}\.\d{1,6})GB")
_LEVEL = re.compile(r"Memory pressure level: \w+ -> \w+ \(current=(\d{1,9}\.\d{1,6})GB")
_PREFILL = re.compile(r"Prefill would require ~?(\d{1,9}\.\d{1,6}) GB peak")
_DONE = re.compile(
    r"(?:Chat completion|Completion|Anthropic message|Responses API): model=(\S{1,120}), (\d{1,9}) tokens in [\d.]+s"
    r" \((\d{1,9}\.\d{1,6}) tok/s[^)]*\)(?:, prompt: (\d{1,9}))?"
)
_VERSION = re.compile(r"oMLX v?(\d{1,4}\.\d{1,4}\.\d{1,4})")


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what oMLX says; None if no line is its own."""
    loaded: dict[str, Figure] = {}
    speeds: list[LoggedSpeed] = []
    prompts: dict[str, int] = {}
    cap: Figure | None = None
    footprint: Figure | None = None
    version = ""
    notes: dict[str, None] = {}
    is_own, measured = False, True
    for word, text in lines:
        line = f"{_SAID[word]}: {text}" if word in _SAID else text
        is_own = is_own or " - omlx." in line or "tok/s), prompt: " in line
        model = _LOADED.search(line)
        if model:
            loaded[said_name(model[1])] = rounded(model[3], GIB)
            measured = model[2] == "actual"  # older versions know the files' size only
        limit = _CAP.search(line)
        if limit:
            cap = rounded(limit[1], GIB)
        ceiling = _CEILING.search(line)
        if ceiling:
            notes[f"oMLX keeps to a ceiling of {ceiling[2]} GiB (tier {ceiling[1]})"] = None
        level = _LEVEL.search(line)
        if level and (footprint is None or rounded(level[1], GIB).nbytes > footprint.nbytes):
            footprint = rounded(level[1], GIB)
        refused = _PREFILL.search(line)
        if refused:
            notes[f"oMLX refused a prompt that would have needed {refused[1]} GiB"] = None
        version = version or (found[1] if (found := _VERSION.search(line)) else "")
        done = _DONE.search(line)
        if done:
            is_own = True
            loaded.setdefault(said_name(done[1]), Figure(0))
            tokens, prompt = int(done[2]), int(done[4]) if done[4] else None
            if prompt:
                prompts[said_name(done[1])] = max(prompt, prompts.get(said_name(done[1]), 0))
            # Its rate leaves the time to the first token out where it is streamed, and has it in otherwise.
            if tokens > 1 and "stream_model_ttft=" in line and "ttft=unavailable" not in line and float(done[3]):
                speeds.append(LoggedSpeed("decode", tokens, prompt, float(done[3])))
    if not is_own:
        return None
    if len(loaded) > 1:
        first, second = list(loaded)[:2]
        shown = " and ".join(quoted(public_name(name) or "another") for name in (first, second))
        raise InputError(f"log: {len(loaded)} models in it, {shown}; give the lines of one")
    name = next(iter(loaded), "")
    weights = loaded.get(name, Figure(0))
    parts = [LoggedPart("weights", weights, said=not measured)] if weights.nbytes else []
    if footprint:
        parts.append(LoggedPart("footprint", footprint, HOST))
    return EngineLog(
        program="oMLX",
        runtime="mlx",
        version=version,
        model=LoggedModel(name=name),
        settings=LoggedSettings(prompt_tokens=prompts.get(name), context_tokens=prompts.get(name)),
        mac=LoggedMac(limit=cap, device="Metal"),
        parts=tuple(parts),
        speeds=tuple(speeds),
        notes=tuple(notes),
    )


_SAID = {
    "completion": "Chat completion",
    "Completion": "Completion",
    "message": "Anthropic message",
    "API": "Responses API",
    "model": "Loaded model",
}
