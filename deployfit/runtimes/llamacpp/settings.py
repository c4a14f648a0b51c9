"""How llama.cpp is started: plain data, and the parameters that set it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deployfit.errors import InputError, quoted, unknown
from deployfit.parameters import Parameter, param
from deployfit.units import ceil_to

NAME = "llama.cpp"
FORMATS: Sequence[str] = ("GGUF",)

KV_TYPES: Sequence[str] = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")

CONTEXT_STEP = 256  # the cells of a cache are padded to this
DEFAULT_UBATCH = 512
MOST_UBATCH = 2**18
MOST_PARALLEL = 256  # LLAMA_MAX_SEQ

PARAMETERS: Sequence[Parameter] = (
    Parameter("kv_type", f"llama.cpp's KV cache: {', '.join(KV_TYPES)}.", "TYPE", "f16"),
    Parameter("kv_type_k", "The keys' type, if it differs.", "TYPE"),
    Parameter("kv_type_v", "The values' type, if it differs.", "TYPE"),
    Parameter("parallel", "llama.cpp: sequences at once; they share the context.", "N", "1"),
    Parameter("ubatch", "llama.cpp: micro-batch (-ub).", "TOKENS", str(DEFAULT_UBATCH)),
    Parameter("kv_unified", "llama.cpp: one cache for all sequences.", default="no", off=True),
    Parameter("swa_full", "llama.cpp: layers with a window keep the whole context.", default="no", off=True),
    Parameter("flash_attn", "llama.cpp: flash attention.", default="yes", off=True),
)


class LlamaCppSettings(NamedTuple):
    """How llama.cpp is started.

    `context_tokens` is `-c`: all sequences together. They share one cache if it is unified; otherwise each of the
    `parallel` sequences has its own part of it. `swa_full`: layers with a window cache the whole context.
    `flash_attn`: flash attention, which Metal has for every model here.
    """

    context_tokens: int
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    parallel: int = 1
    ubatch: int = DEFAULT_UBATCH
    kv_unified: bool = False
    swa_full: bool = False
    flash_attn: bool = True

    def with_context(self, tokens: int) -> LlamaCppSettings:
        """Return the same settings for another context."""
        return self._replace(context_tokens=tokens)

    @property
    def streams(self) -> int:
        """How many separate KV caches there are."""
        return 1 if self.kv_unified else self.parallel

    @property
    def cells(self) -> int:
        """Cells of one of the caches: its share of the context, padded as the engine pads it."""
        return ceil_to(ceil_to(self.context_tokens, CONTEXT_STEP) // self.streams, CONTEXT_STEP)

    @property
    def micro_batch(self) -> int:
        """Tokens computed at once; never more than the context."""
        return min(self.ubatch, self.context_tokens)


COLUMNS: Sequence[str] = LlamaCppSettings._fields[1:]  # in a row, beside the context


def settings_of(context_tokens: int, typed: Mapping[str, str]) -> LlamaCppSettings:
    """Return settings from what was typed, by parameter; raise InputError for what cannot be read.

    >>> settings_of(32768, {"kv_type": "q8_0", "parallel": "4"})[:4]
    (32768, 'q8_0', 'q8_0', 4)
    """
    both = _kv_type(typed.get("kv_type", "f16"))
    return LlamaCppSettings(
        context_tokens=context_tokens,
        kv_type_k=_kv_type(typed.get("kv_type_k", both)),
        kv_type_v=_kv_type(typed.get("kv_type_v", both)),
        parallel=_whole_number("parallel", typed.get("parallel", "1")),
        ubatch=_whole_number("ubatch", typed.get("ubatch", str(DEFAULT_UBATCH))),
        kv_unified=_flag("kv_unified", typed.get("kv_unified", "false")),
        swa_full=_flag("swa_full", typed.get("swa_full", "false")),
        flash_attn=_flag("flash_attn", typed.get("flash_attn", "true")),
    )


def _kv_type(text: str) -> str:
    name = text.strip().lower()
    if name not in KV_TYPES:
        raise unknown("KV type", text, KV_TYPES)
    return name


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{param(name)}: expected a whole number such as 1 or 512, got {quoted(text)}")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise InputError(f"{param(name)}: expected true or false, got {quoted(text)}")
    return text.strip().lower() == "true"
