"""MLX: mlx-lm, and what is built on it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployfit.layers.blueprint import Blueprint
from deployfit.measured.free_text import NotJudged, read_number, read_tokens
from deployfit.runtimes.mlx.settings import DEFAULT_PREFILL_STEP, NAME, UNQUANTIZED_BITS

__all__ = ["NAME"]

LABEL = "MLX"
ORDER = 1
FIGURE_PARTS = ("peak", "footprint")
NEEDS_QUANT = True  # a peak has the weights in it
UNIT = "GB"
BENCHMARK_PROMPT = 0  # a prompt of no tokens is none
# A step of a prompt is evaluated for what it leaves in the caches (mlx_lm/generate.py: mx.eval of their states), so
# that nothing behind the last layer that has one is computed: of Gemma 4's E2B 15 layers of 35 are.
PREFILL_STEP, PREFILL_TAIL = DEFAULT_PREFILL_STEP, False

_MLX_NAME = re.compile(r"(mxfp4-q[48]|mxfp[48]|nvfp4|bf16|fp16)|(\d)[- ]?bit|int(\d)", re.IGNORECASE)


def is_meant(runtime: str, model: str) -> bool:
    """Return whether a text means MLX; Ollama and LM Studio run it for models that are named so.

    >>> is_meant("rapid-mlx 0.12.7", ""), is_meant("ollama", "qwen3.5:9b-mlx"), is_meant("ollama", "qwen3.5:9b")
    (True, True, False)
    """
    return "mlx" in runtime or bool(re.match("ollama|lm ?studio", runtime) and "mlx" in model)


def quant_name(text: str) -> str:
    """Return the quant that a text names.

    >>> quant_name("MLX-8bit"), quant_name("int4"), quant_name("gpt-oss-20b-MXFP4-Q8")
    ('8bit', '4bit', 'mxfp4-q8')
    """
    match = _MLX_NAME.search(text)
    if match is None:
        return ""
    name = (match[1] or f"{match[2] or match[3]}bit").lower()
    return "BF16" if name == "fp16" else name


def read_prompt(text: str) -> int:
    """Return the length of the prompt that a text states; k is 1,000, as in the threads that measured so.

    >>> read_prompt("192k prompt"), read_prompt("2048 prompt, 128 gen")
    (192000, 2048)
    """
    several = re.search(r"\d\w*\s*(?:&|-|\u2013|to|and)\s*\d\w*\s+prompts?", text)
    match = re.search(r"([\d.,]+ ?k?)[- ]?(?:tok\w* )?prompt", text, re.IGNORECASE)
    if match is None:
        match = re.fullmatch(r"([\d.,]+k?)(?:/\d+)?", text, re.IGNORECASE)
    tokens = read_tokens(match[1], kilo=1000) if match and not several else None
    if tokens is None:
        raise NotJudged("no length of the prompt, or more than one")
    return tokens


def check_version(text: str, blueprint: Blueprint) -> None:
    """No version is known whose speed is another one's."""


def _typed(bits: int, step: int) -> Mapping[str, str]:
    return {"kv_bits": str(bits), "prefill_step_size": str(step)}


def memory_settings(
    context: str, kv_type: str, batch: str, ubatch: str, parallel: str, part: str
) -> tuple[int, Mapping[str, str]]:
    """Return context and settings of a row of `data/memory_logs.csv`."""
    bits = read_number(kv_type, "", UNQUANTIZED_BITS)
    return read_prompt(context), _typed(bits, read_number(batch, "(?:step|chunk)", DEFAULT_PREFILL_STEP))


def run_settings(flags: str) -> Mapping[str, str]:
    """Return the settings that the flags of a user's report state."""
    return _typed(
        read_number(flags, "kv.?bits", UNQUANTIZED_BITS), read_number(flags, "step(?:.size)?", DEFAULT_PREFILL_STEP)
    )


def speed_settings() -> Mapping[str, str]:
    """Return the settings that speeds are measured with: nothing quantized."""
    return _typed(UNQUANTIZED_BITS, DEFAULT_PREFILL_STEP)
