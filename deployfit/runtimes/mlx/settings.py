"""How mlx-lm is started: plain data, and the parameters that set it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deployfit.errors import InputError, quoted
from deployfit.parameters import Parameter, param

NAME = "mlx"
FORMATS: Sequence[str] = ("MLX",)

UNQUANTIZED_BITS = 16
KV_BITS = (16, 8, 6, 5, 4, 3, 2)
DEFAULT_PREFILL_STEP = 2048
MOST_PREFILL_STEP = 2**18

PARAMETERS: Sequence[Parameter] = (
    Parameter("kv_bits", "mlx's KV cache: 16, 8, 6, 5, 4, 3 or 2 bits.", "BITS", str(UNQUANTIZED_BITS)),
    Parameter("prefill_step_size", "mlx: tokens of the prompt at once.", "TOKENS", str(DEFAULT_PREFILL_STEP)),
)


class MlxSettings(NamedTuple):
    """How mlx-lm is started; `context_tokens` are prompt and answer together."""

    context_tokens: int
    kv_bits: int = UNQUANTIZED_BITS
    prefill_step_size: int = DEFAULT_PREFILL_STEP

    def with_context(self, tokens: int) -> MlxSettings:
        """Return the same settings for another context."""
        return self._replace(context_tokens=tokens)

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

    >>> settings_of(32768, {"kv_bits": "4"})
    MlxSettings(context_tokens=32768, kv_bits=4, prefill_step_size=2048)
    """
    bits = _whole_number("kv_bits", typed.get("kv_bits", str(UNQUANTIZED_BITS)))
    step = _whole_number("prefill_step_size", typed.get("prefill_step_size", str(DEFAULT_PREFILL_STEP)))
    if bits not in KV_BITS:
        raise InputError(f"{param('kv_bits')}: {bits} is not one of {', '.join(map(str, sorted(KV_BITS)))}")
    if not 1 <= step <= MOST_PREFILL_STEP:
        raise InputError(f"{param('prefill_step_size')}: {step:,} tokens; choose from 1 to {MOST_PREFILL_STEP:,}")
    return MlxSettings(context_tokens, bits, step)


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{param(name)}: expected a whole number such as 8 or 2048, got {quoted(text)}")
    return int(text)
