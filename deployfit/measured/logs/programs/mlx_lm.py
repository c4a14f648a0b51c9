"""mlx_lm: what generate, chat, server and benchmark print of speed and of MLX's peak memory (GB are 10**9 bytes)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployfit.errors import InputError
from deployfit.measured.logs.flags import mlx_settings, words_of
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.log import (
    EngineLog,
    Figure,
    LoggedMac,
    LoggedModel,
    LoggedPart,
    LoggedSettings,
    LoggedSpeed,
    completed,
    cut_off,
    rounded,
)
from deployfit.measured.logs.names import model_word
from deployfit.units import GB, MIB

NAME = "mlx"

WORDS = frozenset(
    {"Prompt", "Generation", "memory", "Averages", "Cache", "progress", *(str(trial) for trial in range(1, 21))}
)
STARTS = ("Timing with prompt_tokens=",)
MARKS = ("mlx_", "close to the maximum recommended size")
ORDER = 0

_TOKENS = re.compile(r"(\d{1,9}) tokens, (\d{1,9}\.\d{1,6}) tokens-per-sec")
_PEAK = re.compile(r"(\d{1,9}\.\d{1,6}) GB")
_BENCH = re.compile(r"prompt_tps=(\d{1,9}\.\d{1,6}), generation_tps=(\d{1,9}\.\d{1,6}), peak_memory=(\d{1,9}\.\d{1,6})")
_TIMING = re.compile(r"prompt_tokens=(\d{1,9}), generation_tokens=(\d{1,9}), batch_size=(\d{1,6})")
_CLOSE = re.compile(r"requires (\d{1,9}) MB which is close to the maximum recommended size of (\d{1,9})")
_CACHED = re.compile(r"\d+ sequences, (\d{1,9}\.\d{1,6}) GB")
_COMMAND = re.compile(r"mlx_lm(?:[. ]+(generate|server|benchmark|chat))?")


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what mlx_lm printed; None if nothing was."""
    program = ""
    model, settings = LoggedModel(), LoggedSettings()
    models: dict[str, LoggedModel] = {}
    parts: dict[str, LoggedPart] = {}
    speeds: list[LoggedSpeed] = []
    limit: Figure | None = None
    timing: tuple[int, int, int] | None = None
    for word, text in lines:
        if word == "Prompt" or word == "Generation":
            found = _TOKENS.match(text)
            if found:
                prompt = next((speed.tokens for speed in reversed(speeds) if speed.what == "prefill"), None)
                is_prompt = word == "Prompt"
                what, before = ("prefill", 0) if is_prompt else ("decode", prompt)
                speeds += _speed(what, int(found[1]), before, found[2])
        elif word == "memory":
            found = _PEAK.fullmatch(text)
            if found:
                parts["peak"] = LoggedPart("peak", rounded(found[1], GB))
        elif word == "Cache":
            found = _CACHED.match(text)
            if found:
                parts["prompt_cache"] = LoggedPart("prompt_cache", rounded(found[1], GB))
                program = program or "mlx_lm.server"
        elif word == "progress":
            program = program or ("mlx_lm.server" if re.match(r"\d+/\d+", text) else "")
        elif "prompt_tps=" in text:
            found = _BENCH.search(text)
            if found:
                program = "mlx_lm.benchmark"
                # Averages mix trials; MLX's peak only grows, so that the largest is the one that was reached.
                peak = rounded(found[3], GB)
                if "peak" not in parts or peak.nbytes > parts["peak"].figure.nbytes:
                    parts["peak"] = LoggedPart("peak", peak)
                if word == "Averages" and timing:
                    speeds += _speed("prefill", timing[0], 0, found[1]) + _speed(
                        "decode", timing[1], timing[0], found[2]
                    )
        elif text.startswith("Timing with"):
            found = _TIMING.search(text)
            if found:
                program = "mlx_lm.benchmark"
                timing = int(found[1]), int(found[2]), int(found[3])
                settings = settings._replace(prompt_tokens=timing[0], parallel=timing[2])
        elif "close to the maximum recommended size" in text:
            found = _CLOSE.search(text)
            if found:
                parts["weights"] = LoggedPart("weights", cut_off(found[1], MIB))
                limit = cut_off(found[2], MIB)
        elif "mlx_lm" in text:
            found = _COMMAND.search(text)
            words = words_of(text[found.start() :]) if found else []
            if "--model" in words[:-1]:
                given = words[words.index("--model") + 1]
                models[given] = model = completed(model, LoggedModel(*model_word(given)))
            settings = completed(settings, mlx_settings(words))
            program = program or (f"mlx_lm.{found[1]}" if found and found[1] else "")
    if not (speeds or parts or program):
        return None
    if len(models) > 1:
        raise InputError(f"log: {len(models)} models in it, as --model names them; give the lines of one")
    if settings.prompt_tokens is None:
        prompts = [speed.tokens for speed in speeds if speed.what == "prefill"]
        settings = settings._replace(prompt_tokens=max(prompts) if prompts else None)
    if settings.context_tokens is None and settings.prompt_tokens is not None:
        answers = [speed.tokens for speed in speeds if speed.what == "decode"]
        settings = settings._replace(context_tokens=settings.prompt_tokens + (max(answers) if answers else 0))
    return EngineLog(
        program=program or "mlx_lm",
        runtime=NAME,
        model=model,
        settings=settings,
        mac=LoggedMac(limit=limit, device="Metal"),
        parts=tuple(parts.values()),
        speeds=tuple(speeds),
    )


def _speed(what: str, tokens: int, before: int | None, tps: str) -> list[LoggedSpeed]:
    speed = float(tps)
    return [LoggedSpeed(what, tokens, before, speed)] if tokens > 1 and 0 < speed < 10**6 else []
