"""llama.cpp, and what is built on it: Ollama, LM Studio."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployfit.layers.blueprint import Blueprint
from deployfit.layers.recurrent import DeltaNet
from deployfit.measured.free_text import NotJudged, read_number, read_tokens
from deployfit.runtimes.llamacpp.engine import NOT_IN_METAL_FLASH_ATTENTION
from deployfit.runtimes.llamacpp.settings import DEFAULT_UBATCH, NAME

__all__ = ["NAME"]

LABEL = "llama.cpp"
ORDER = 2
FIGURE_PARTS = ("kv_cache", "recurrent_state", "compute_buffer")
NEEDS_QUANT = False  # no part that it logs is the weights'
UNIT = "MiB"
BENCHMARK_PROMPT = 512  # llama-bench reads so many tokens at an empty context
PREFILL_STEP, PREFILL_TAIL = DEFAULT_UBATCH, True  # every layer is computed for every token of a micro-batch

# Before, Metal read the state of the Gated DeltaNet layers column by column, and an M4 Pro decoded the 9B at 21.6
# instead of 25.1 tokens/s (ggml-org/Llama-macOS issue 67).
FIRST_BUILD = 8333
_BUILD = re.compile(r"\bb(\d{4,5})\b")

_GGUF_NAME = re.compile(
    r"(?<![a-z0-9])(?P<ud>ud-)?(?P<name>i?q\d_(?:k_xl|k_[sml]|k|xxs|xs|nl|s|m|0|1)|bf16|f16|fp16|mxfp4)(?![a-z0-9])",
    re.IGNORECASE,
)
SIXTEEN_BITS = ("fp16", "f16")  # as wide as BF16, and read at the same speed


def is_meant(runtime: str, model: str) -> bool:
    """Return whether a text means llama.cpp.

    >>> is_meant("lm studio", ""), is_meant("rapid-mlx 0.12.7", "")
    (True, False)
    """
    return bool(re.search(r"llama|lm ?studio", runtime))


def quant_name(text: str) -> str:
    """Return the quant that a text names; UD- and _XL are unsloth's.

    >>> quant_name("Q4_K_M (19.91 GiB)"), quant_name("Qwen3.5-9B-UD-Q4_K_XL.gguf"), quant_name("fp16")
    ('Q4_K_M', 'unsloth:UD-Q4_K_XL', 'BF16')
    """
    match = _GGUF_NAME.search(text)
    if match is None:
        return ""
    name = match["name"].upper()
    if name.lower() in SIXTEEN_BITS:
        return "BF16"
    return f"unsloth:UD-{name}" if match["ud"] or name.endswith("K_XL") else name


_KV_TYPE = re.compile(r"(?<![a-z0-9])(bf16|f16|f32|q8_0|q5_[01]|q4_[01]|iq4_nl)(?![a-z0-9])", re.IGNORECASE)


def read_kv_types(text: str) -> tuple[str, str]:
    """Return the types of keys and values that a text states, F16 if it states none.

    >>> read_kv_types("K q5_1 / V q8_0"), read_kv_types("32K f16 / 64K turbo3"), read_kv_types("")
    (('q5_1', 'q8_0'), ('f16', 'f16'), ('f16', 'f16'))
    """
    first = re.split(r"/(?=\s*\d)", text)[0]
    types = [found.lower() for found in _KV_TYPE.findall(first)] or ["f16"]
    if "turbo" in first.casefold():
        raise NotJudged("kernels or a KV format of a fork")
    return types[0], types[min(1, len(types) - 1)]


def check_version(text: str, blueprint: Blueprint) -> None:
    """Raise NotJudged for a version whose speed is another one's."""
    build = _BUILD.search(text)
    if build and int(build[1]) < FIRST_BUILD and any(isinstance(mixer, DeltaNet) for mixer in blueprint.recurrents):
        raise NotJudged(f"llama.cpp before b{FIRST_BUILD}, which reads the state of delta nets slowly")


def _typed(types: tuple[str, str], parallel: int, ubatch: int) -> Mapping[str, str]:
    return {"kv_type_k": types[0], "kv_type_v": types[1], "parallel": str(parallel), "ubatch": str(ubatch)}


def memory_settings(
    context: str, kv_type: str, batch: str, ubatch: str, parallel: str, part: str
) -> tuple[int, Mapping[str, str]]:
    """Return context and settings of a row of `data/memory_logs.csv`, for one of its parts."""
    tokens = read_tokens(context)
    if tokens is None:
        raise NotJudged("no context is stated")
    if part == "compute_buffer" and not ubatch:
        raise NotJudged("no micro-batch is stated")
    types = read_kv_types(kv_type)
    if part == "compute_buffer" and (types[0] != types[1] or types[0] in NOT_IN_METAL_FLASH_ATTENTION):
        raise NotJudged("KV types that Metal has no attention for: it falls to the CPU, which is said and not counted")
    return tokens, _typed(types, int(parallel or 1), int(ubatch or DEFAULT_UBATCH))


def run_settings(flags: str) -> Mapping[str, str]:
    """Return the settings that the flags of a user's report state."""
    return _typed(
        read_kv_types(flags),
        read_number(flags, "(?:-np|--parallel)", 1),
        read_number(flags, "(?:-ub|--ubatch-size)", DEFAULT_UBATCH),
    )


def speed_settings() -> Mapping[str, str]:
    """Return the settings that speeds are measured with: one sequence, nothing quantized."""
    return _typed(("f16", "f16"), 1, DEFAULT_UBATCH)
