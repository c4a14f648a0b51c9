"""How mlx-lm is started: plain data, and the parameters that set it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted
from deployfit.parameters import Parameter, param
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.runtimes.runtime import DraftModel

NAME = "mlx"
FORMATS: Sequence[str] = ("MLX",)

UNQUANTIZED_BITS = 16
KV_BITS = (16, 8, 6, 5, 4, 3, 2)
DEFAULT_PREFILL_STEP = 2048
MOST_PREFILL_STEP = 2**18

MOST_PARALLEL = 256
MOST_PROMPT_CACHES = 100_000
PROMPTS_AT_ONCE = 8  # --prompt-concurrency: so many prompts are read in together
UNITS: Mapping[str, int] = {"": 1, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9}  # mlx-lm's own, decimal

PARAMETERS: Sequence[Parameter] = (
    Parameter("kv_bits", "mlx's KV cache: 16, 8, 6, 5, 4, 3 or 2 bits.", "BITS", str(UNQUANTIZED_BITS)),
    Parameter("prefill_step_size", "mlx: tokens of the prompt at once.", "TOKENS", str(DEFAULT_PREFILL_STEP)),
    Parameter("prompt", "mlx: tokens of the prompt; the rest of the context is the answer.", "TOKENS", "all of it"),
    Parameter("parallel", "Sequences (slots) at once.", "N", "what the application starts"),
    Parameter("max_kv_size", "mlx_lm.generate: tokens that caches hold at most.", "TOKENS"),
    Parameter("prompt_cache_size", "mlx_lm.server: prompts whose caches are kept.", "N", "what the application sets"),
    Parameter("prompt_cache_bytes", "mlx_lm.server: bytes of the caches that are kept.", "SIZE", "no limit"),
    Parameter("draft_model", "A model that drafts: NAME:QUANT.", "MODEL"),
)


class MlxSettings(NamedTuple):
    """How mlx-lm is started; `context_tokens` are prompt and answer together, of each sequence.

    `prompt`: tokens of the prompt, 0 for the whole context. `max_kv_size`: 0 if caches grow without end. Prompt caches
    are kept up to a number and, unless it is 0, up to so many bytes.
    """

    context_tokens: int
    kv_bits: int = UNQUANTIZED_BITS
    prefill_step_size: int = DEFAULT_PREFILL_STEP
    prompt: int = 0
    parallel: int = 1
    max_kv_size: int = 0
    prompt_cache_size: int = 0
    prompt_cache_bytes: int = 0
    draft_model: DraftModel | None = None

    def with_context(self, tokens: int) -> MlxSettings:
        """Return the same settings for another context."""
        return self._replace(context_tokens=tokens)

    @property
    def at_once(self) -> int:
        """Sequences that are computed together: quantized caches and drafting switch batching off."""
        return 1 if self.quantized or self.draft_model else self.parallel

    @property
    def prompts_at_once(self) -> int:
        """Prompts that are read in together."""
        return min(self.at_once, PROMPTS_AT_ONCE)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt; no more than the context."""
        return min(self.prompt or self.context_tokens, self.context_tokens)

    @property
    def quantized(self) -> bool:
        """Whether the KV cache is quantized."""
        return self.kv_bits != UNQUANTIZED_BITS

    @property
    def chunk(self) -> int:
        """Tokens of the prompt that are computed at once."""
        return min(self.prefill_step_size, self.context_tokens)


COLUMNS: Sequence[str] = MlxSettings._fields[1:]  # in a row, beside the context


def settings_of(context_tokens: int, typed: Mapping[str, str]) -> MlxSettings:
    """Return settings from what was typed, by parameter; raise InputError for what cannot be.

    >>> settings_of(32768, {"kv_bits": "4"})[:3]
    (32768, 4, 2048)
    """
    bits = _whole_number("kv_bits", typed.get("kv_bits", str(UNQUANTIZED_BITS)))
    if bits not in KV_BITS:
        raise InputError(f"{param('kv_bits')}: {bits} is not one of {', '.join(map(str, sorted(KV_BITS)))}")

    def tokens(name: str, most: int, default: int = 0) -> int:
        found = _tokens(name, typed[name]) if name in typed else default
        if name in typed and not 1 <= found <= most:
            raise InputError(f"{param(name)}: {found:,} tokens; choose from 1 to {most:,}")
        return found

    parallel = _whole_number("parallel", typed.get("parallel", "1"))
    if not 1 <= parallel <= MOST_PARALLEL:
        raise InputError(f"{param('parallel')}: {parallel:,} sequences; choose from 1 to {MOST_PARALLEL}")
    kept = _whole_number("prompt_cache_size", typed.get("prompt_cache_size", "0"))
    if kept > MOST_PROMPT_CACHES:
        raise InputError(f"{param('prompt_cache_size')}: {kept:,}; choose from 0 to {MOST_PROMPT_CACHES:,}")
    return MlxSettings(
        context_tokens=context_tokens,
        kv_bits=bits,
        prefill_step_size=tokens("prefill_step_size", MOST_PREFILL_STEP, DEFAULT_PREFILL_STEP),
        prompt=tokens("prompt", 10**9),
        parallel=parallel,
        max_kv_size=tokens("max_kv_size", 10**9),
        prompt_cache_size=kept,
        prompt_cache_bytes=_size("prompt_cache_bytes", typed.get("prompt_cache_bytes", "0")),
    )


def _tokens(name: str, text: str) -> int:
    """Return tokens; k is 1,024, as for a context."""
    typed = text.strip().lower().replace(",", "")
    thousands = typed.endswith("k")
    return _whole_number(name, typed.removesuffix("k").strip()) * (1_024 if thousands else 1)


def _size(name: str, text: str) -> int:
    typed = text.strip().lower()
    digits = typed.rstrip("mgb ")
    unit = UNITS.get(typed[len(digits) :].strip())
    if unit is None or not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise InputError(f"{param(name)}: expected a size such as 8g or 500m, got {quoted(text)}")
    return int(digits) * unit


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{param(name)}: expected a whole number such as 8 or 2048, got {quoted(text)}")
    return int(text)
