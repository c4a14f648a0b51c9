"""LM Studio: how its MLX engine fits the context to the Mac (1.10.1 and later), and the names around llama.cpp's lines.

The fit's figures are the application's: what was loaded is measured, what the context will need is its own estimate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.log import (
    UNITS,
    EngineLog,
    Figure,
    LoggedMac,
    LoggedModel,
    LoggedPart,
    LoggedSettings,
    rounded,
)
from deployfit.measured.logs.names import said_name
from deployfit.runtimes.runtime import HOST

WORDS = frozenset[str]()
STARTS = ()
MARKS = ("fitted=", "safe_ceiling=", "B/token", "[LM")
ORDER = 3

_GIB = re.compile(
    r"\b(working_set|reserve|safe_ceiling|baseline|rotating_peak|fixed_ssm|estimated_peak)=(\d{1,9}\.\d{1,6})GiB"
)
_TOKEN = re.compile(r"\b(full_kv|prompt_inputs|attention)=(\d{1,12})B/token")
_COUNT = re.compile(r"\b(max|fitted|configured|effective)=([\d,]{1,15})")
_ENGINE = re.compile(
    r"(mlx-llm|llama\.cpp)-mac[\w-]{0,80}@(\d{1,4}\.\d{1,4}\.\d{1,4}[\w.+-]{0,20})"
    r"(?: \(mlx-llm\) (\S{1,120}) pid=)?"
)


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what LM Studio says; None if no line is its own."""
    sizes: dict[str, Figure] = {}
    per_token: dict[str, int] = {}
    counts: dict[str, int] = {}
    version = name = ""
    is_own = False
    for line in lines:
        text = line.text
        is_own = is_own or "safe_ceiling=" in text or "[LM STUDIO" in text or "[LMSInternal]" in text
        for field, number in _GIB.findall(text):
            sizes[field] = rounded(number, UNITS["GiB"])
        for field, number in _TOKEN.findall(text):
            per_token[field] = int(number)
        for field, number in _COUNT.findall(text):
            digits = number.replace(",", "")
            counts[field] = int(digits) if digits else 0
        engine = _ENGINE.search(text)
        if engine:
            version, name = engine[2], said_name(engine[3] or "") or name
    is_fit = "safe_ceiling" in sizes
    if not (is_own or is_fit):
        return None
    fitted = counts.get("fitted")
    return EngineLog(
        program="LM Studio",
        runtime="mlx" if is_fit else "llama.cpp",
        version=version,
        model=LoggedModel(name=name),
        settings=LoggedSettings(context_tokens=fitted, fitted_from=counts.get("configured")),
        mac=LoggedMac(limit=sizes.get("working_set"), device="Metal" if is_fit else ""),
        parts=tuple(_parts(sizes, per_token, fitted or 0)) if is_fit else (),
        notes=tuple(_notes(sizes, counts)) if is_fit else (),
    )


def _parts(sizes: dict[str, Figure], per_token: dict[str, int], tokens: int) -> list[LoggedPart]:
    parts = []
    if "baseline" in sizes:
        parts.append(LoggedPart("weights", sizes["baseline"]))
    if tokens and "full_kv" in per_token:
        parts.append(LoggedPart("kv_cache", Figure(per_token["full_kv"] * tokens), said=True))
    if "fixed_ssm" in sizes:
        parts.append(LoggedPart("recurrent_state", sizes["fixed_ssm"]))
    if tokens and "attention" in per_token:
        work = (per_token["attention"] + per_token.get("prompt_inputs", 0)) * tokens
        parts.append(LoggedPart("compute", Figure(work), said=True))
    if "estimated_peak" in sizes:
        parts.append(LoggedPart("peak", sizes["estimated_peak"], said=True))
    if "reserve" in sizes:
        parts.append(LoggedPart("reserve", sizes["reserve"], HOST, said=True))
    return parts


def _notes(sizes: dict[str, Figure], counts: dict[str, int]) -> list[str]:
    notes = []
    configured, fitted = counts.get("configured"), counts.get("fitted")
    if configured and fitted and configured != fitted:
        notes.append(f"LM Studio fitted the context to the memory: {fitted:,} tokens instead of {configured:,}")
    if "estimated_peak" in sizes:
        notes.append("cache, attention and peak are LM Studio's estimates, not measured")
    return notes
