"""Command lines in a log: which options of a program say how it was started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.measured.logs.log import LoggedSettings

_LLAMACPP: Mapping[str, str] = {
    "-c": "context_tokens",
    "--ctx-size": "context_tokens",
    "-np": "parallel",
    "--parallel": "parallel",
    "-b": "batch",
    "--batch-size": "batch",
    "-ub": "ubatch",
    "--ubatch-size": "ubatch",
    "-ctk": "kv_type_k",
    "--cache-type-k": "kv_type_k",
    "-ctv": "kv_type_v",
    "--cache-type-v": "kv_type_v",
    "-fa": "flash_attention",
    "--flash-attn": "flash_attention",
    "--spec-draft-n-max": "draft_max",
    "--draft-max": "draft_max",
    "--ctx-checkpoints": "checkpoints",
    "--cache-ram": "prompt_cache_mib",
    "--n-cpu-moe": "n_cpu_moe",
    "-ncmoe": "n_cpu_moe",
}
_MLX: Mapping[str, str] = {
    "--kv-bits": "kv_bits",
    "--prefill-step-size": "prefill_step_size",
    "--prompt-tokens": "prompt_tokens",
    "-b": "parallel",
    "--batch-size": "parallel",
    "-p": "prompt_tokens",
    "--max-kv-size": "context_tokens",
}
_TEXTS = ("kv_type_k", "kv_type_v")
_SWITCHES: Mapping[str, bool | None] = {"on": True, "off": False, "1": True, "0": False, "auto": None}


def words_of(text: str) -> list[str]:
    """Return the words of a command line, quotes around them taken off."""
    return [word.strip("\"'") for word in text.split()]


def _settings(words: Sequence[str], known: Mapping[str, str]) -> LoggedSettings:
    found: dict[str, int | str | bool | None] = {}
    for flag, value in zip(words, [*words[1:], ""], strict=True):
        name = known.get(flag, "")
        if name in _TEXTS and value.isalnum() | ("_" in value):
            found[name] = value.lower()[:12]
        elif name == "flash_attention":
            found[name] = _SWITCHES.get(value, True)
        elif name and value.isdecimal() and len(value) < 13:
            found[name] = int(value)
    return LoggedSettings._make(found.get(name) for name in LoggedSettings._fields)


def llamacpp_settings(words: Sequence[str]) -> LoggedSettings:
    """Return what llama.cpp's options say.

    >>> llamacpp_settings("llama-server -c 8192 -np 2 --flash-attn auto -ctk q8_0".split()).parallel
    2
    """
    settings = _settings(words, _LLAMACPP)
    if "-kvu" in words or "--kv-unified" in words:
        settings = settings._replace(kv_unified=True)
    if "--swa-full" in words:
        settings = settings._replace(swa_full=True)
    if "--cpu-moe" in words or "-cmoe" in words:
        settings = settings._replace(cpu_moe=True)
    if "--mmproj" in words or "-mm" in words:
        settings = settings._replace(vision=True)
    if "draft-mtp" in words:
        settings = settings._replace(draft="mtp")
    elif "-md" in words or "--model-draft" in words:
        settings = settings._replace(draft="model")
    return settings


def mlx_settings(words: Sequence[str]) -> LoggedSettings:
    """Return what the options of MLX's programs say."""
    settings = _settings(words, _MLX)
    return settings._replace(draft="model") if "--draft-model" in words else settings
