"""How llama.cpp is started: plain data, and the parameters that set it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted, unknown
from deployfit.parameters import Parameter, param
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.runtimes.runtime import DraftModel

NAME = "llama.cpp"
FORMATS: Sequence[str] = ("GGUF",)

KV_TYPES: Sequence[str] = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")

CONTEXT_STEP = 256  # the cells of a cache are padded to this
DEFAULT_BATCH = 2_048
DEFAULT_UBATCH = 512
MOST_UBATCH = 2**18
MOST_PARALLEL = 256  # LLAMA_MAX_SEQ
DEFAULT_DRAFT_MAX = 3  # --spec-draft-n-max
MOST_DRAFT_MAX = 1_024
MOST_CHECKPOINTS = 1_000_000
MOST_CACHE_RAM = 2**20  # MiB
NO_LIMIT = -1  # of cache_ram
EVERY_LAYER = -1  # of gpu_layers
MOST_LAYERS = 10_000

# Which tokens get logits: as the library reserves for a whole micro-batch, or as a server does for its slots.
ALL, SLOTS = "all", "slots"
OUTPUTS: Sequence[str] = (ALL, SLOTS)
# Whose scratch is counted: of no device, or of Metal as it is and as it was (`metal.GENERATIONS`).
NO_METAL = "none"
METAL: Sequence[str] = (NO_METAL, "current", "before")
LOAD_MODES: Sequence[str] = ("auto", "mmap", "none", "mlock", "mmap+mlock", "dio")
MAPPED: Sequence[str] = ("auto", "mmap", "mmap+mlock")  # the file's own pages serve as the weights' memory
ON: Sequence[str] = ("on", "true", "auto")
OFF: Sequence[str] = ("off", "false")

PARAMETERS: Sequence[Parameter] = (
    Parameter("kv_type", f"llama.cpp's KV cache: {', '.join(KV_TYPES)}.", "TYPE", "f16"),
    Parameter("kv_type_k", "The keys' type, if it differs.", "TYPE"),
    Parameter("kv_type_v", "The values' type, if it differs.", "TYPE"),
    Parameter("parallel", "Sequences (slots) at once.", "N", "what the application starts"),
    Parameter("kv_unified", "llama.cpp: one cache for all sequences.", default="as the application", off=True),
    Parameter("batch", "llama.cpp: batch (-b).", "TOKENS", "what the application sets"),
    Parameter("ubatch", "llama.cpp: micro-batch (-ub).", "TOKENS", str(DEFAULT_UBATCH)),
    Parameter("flash_attn", "llama.cpp: flash attention: on, off or auto.", "WHEN", "auto"),
    Parameter("swa_full", "llama.cpp: layers with a window keep the whole context.", default="no", off=True),
    Parameter("ctx_checkpoints", "llama-server: context checkpoints of a slot.", "N", "what the application sets"),
    Parameter("cache_ram", "llama-server: prompt cache in MiB; -1 no limit.", "MIB", "what the application sets"),
    Parameter("draft_max", "llama-server: tokens drafted at once.", "N", "what the application sets"),
    Parameter("draft_model", "A model that drafts: NAME:QUANT.", "MODEL"),
    Parameter("gpu_layers", "llama.cpp: layers in the GPU's buffers: a number or all.", "N", "all"),
    Parameter("cpu_moe", "llama.cpp: experts in the CPU's buffers.", default="no", off=True),
    Parameter("n_cpu_moe", "llama.cpp: experts of the first N layers in the CPU's buffers.", "N", "0"),
    Parameter("load_mode", f"llama.cpp: {', '.join(LOAD_MODES)}.", "MODE", "auto"),
)


class LlamaCppSettings(NamedTuple):
    """How llama.cpp is started.

    `context_tokens` is `-c`: all sequences together. They share one cache if it is unified; otherwise each of the
    `parallel` sequences has its own part of it. `swa_full`: layers with a window cache the whole context.
    `flash_attn`: flash attention, which Metal has for every model here. `batch`: 0 if it limits nothing. `outputs`:
    which tokens get logits, `metal`: whose scratch is counted; applications decide about both. `ctx_checkpoints` are
    those of a slot, `cache_ram` the prompt cache in MiB. `gpu_layers`: EVERY_LAYER for all, the head among them.
    `drafting` is how many tokens are drafted at once, 0 if nothing drafts; the engine sets it from `draft_max`.
    """

    context_tokens: int
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    parallel: int = 1
    ubatch: int = DEFAULT_UBATCH
    kv_unified: bool = False
    swa_full: bool = False
    flash_attn: bool = True
    batch: int = 0
    outputs: str = ALL
    metal: str = NO_METAL
    ctx_checkpoints: int = 0
    cache_ram: int = 0
    draft_max: int = DEFAULT_DRAFT_MAX
    draft_model: DraftModel | None = None
    gpu_layers: int = EVERY_LAYER
    cpu_moe: bool = False
    n_cpu_moe: int = 0
    load_mode: str = "auto"
    drafting: int = 0

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
    def largest_batch(self) -> int:
        """Tokens that are handed over at once; never more than the context."""
        return min(self.batch or max(self.ubatch, DEFAULT_BATCH), self.context_tokens)

    @property
    def micro_batch(self) -> int:
        """Tokens computed at once."""
        return min(self.ubatch, self.largest_batch)

    @property
    def output_rows(self) -> int:
        """How many tokens of a batch get logits at most: of each slot one, and those that were drafted."""
        rows = self.parallel * (1 + self.drafting)
        return min(rows, self.batch) if self.batch else rows

    @property
    def outputs_at_once(self) -> int:
        """How many tokens of a micro-batch get logits."""
        return self.micro_batch if self.outputs == ALL else min(self.micro_batch, self.output_rows)


# In a row, beside the context; which tokens get logits and whose scratch is counted is the application's.
COLUMNS: Sequence[str] = tuple(
    name for name in LlamaCppSettings._fields[1:] if name not in ("outputs", "metal", "drafting")
)


def settings_of(context_tokens: int, typed: Mapping[str, str]) -> LlamaCppSettings:
    """Return settings from what was typed, by parameter; raise InputError for what cannot be read.

    >>> settings_of(32768, {"kv_type": "q8_0", "parallel": "4"})[:4]
    (32768, 'q8_0', 'q8_0', 4)
    """
    both = _kv_type(typed.get("kv_type", "f16"))

    def number(name: str, default: int, least: int = 0, most: int = MOST_UBATCH) -> int:
        return _number(name, typed.get(name, str(default)), least, most)

    return LlamaCppSettings(
        context_tokens=context_tokens,
        kv_type_k=_kv_type(typed.get("kv_type_k", both)),
        kv_type_v=_kv_type(typed.get("kv_type_v", both)),
        parallel=number("parallel", 1, most=10**9),
        ubatch=number("ubatch", DEFAULT_UBATCH, most=10**9),
        kv_unified=_flag("kv_unified", typed.get("kv_unified", "false")),
        swa_full=_flag("swa_full", typed.get("swa_full", "false")),
        flash_attn=_flag("flash_attn", typed.get("flash_attn", "auto"), (*ON, *OFF)),
        batch=number("batch", 0) if "batch" not in typed else number("batch", 0, least=1),
        outputs=_one_of("outputs", typed.get("outputs", ALL), OUTPUTS),
        metal=_one_of("metal", typed.get("metal", NO_METAL), METAL),
        ctx_checkpoints=number("ctx_checkpoints", 0, most=MOST_CHECKPOINTS),
        cache_ram=number("cache_ram", 0, least=NO_LIMIT, most=MOST_CACHE_RAM),
        draft_max=number("draft_max", DEFAULT_DRAFT_MAX, least=1, most=MOST_DRAFT_MAX),
        gpu_layers=_gpu_layers(typed.get("gpu_layers", "all")),
        cpu_moe=_flag("cpu_moe", typed.get("cpu_moe", "false")),
        n_cpu_moe=number("n_cpu_moe", 0, most=MOST_LAYERS),
        load_mode=_one_of("load_mode", typed.get("load_mode", "auto"), LOAD_MODES),
    )


def _kv_type(text: str) -> str:
    name = text.strip().lower()
    if name not in KV_TYPES:
        raise unknown("KV type", text, KV_TYPES)
    return name


def _number(name: str, text: str, least: int, most: int) -> int:
    digits = text.removeprefix("-") if least < 0 else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise InputError(f"{param(name)}: expected a whole number such as 1 or 512, got {quoted(text)}")
    if not least <= int(text) <= most:
        raise InputError(f"{param(name)}: {int(text):,}; choose from {least:,} to {most:,}")
    return int(text)


def _gpu_layers(text: str) -> int:
    if text.strip().lower() in ("all", "auto", "-1"):
        return EVERY_LAYER
    return _number("gpu_layers", text, 0, MOST_LAYERS)


def _flag(name: str, text: str, known: Sequence[str] = ("true", "false")) -> bool:
    return _one_of(name, text, known) in ON


def _one_of(name: str, text: str, known: Sequence[str]) -> str:
    found = text.strip().lower()
    if found not in known:
        raise InputError(f"{param(name)}: expected {', '.join(known[:-1])} or {known[-1]}, got {quoted(text)}")
    return found
