"""What MLX allocates for a Qwen3.5 model: KV cache, state, and the working memory of prefill.

Source: mlx-lm 0.32.2 on mlx 0.32.4. Caches equal the library's own to the byte. The working memory is a rule:
what the last chunk of the prompt keeps alive, added up from the model's shapes, and held against peaks
measured on Macs (`tests/data/README.md` says which).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from deployfit.architectures.qwen35 import Qwen35
from deployfit.errors import InputError
from deployfit.runtimes.running import NO_COLUMNS, Memory
from deployfit.units import MIB, ceil_to

NAME = "mlx"

CACHE_STEP = 256  # tokens by which a KV cache grows
DEFAULT_PREFILL_STEP = 2048
MOST_PREFILL_STEP = 2**18
UNQUANTIZED_BITS = 16
KV_BITS = (16, 8, 6, 5, 4, 3, 2)
KV_GROUP = 64
QUANTIZED_KV_START = 5000  # mlx-lm's default: a shorter cache stays as it is
BF16_BYTES = 2
F32_BYTES = 4
SCALE_AND_BIAS_BYTES = 2 * BF16_BYTES


class MlxSettings(NamedTuple):
    """How mlx-lm is started; `context_tokens` are prompt and answer together."""

    context_tokens: int
    kv_bits: int = UNQUANTIZED_BITS
    prefill_step_size: int = DEFAULT_PREFILL_STEP

    @property
    def runtime(self) -> str:
        """The runtime's name."""
        return NAME

    @property
    def sequences(self) -> int:
        """One: the caches are those of one sequence."""
        return 1

    @property
    def context_step(self) -> int:
        """In which steps the caches grow."""
        return CACHE_STEP

    @property
    def words(self) -> str:
        """The settings in a headline."""
        kv = "bf16" if self.kv_bits == UNQUANTIZED_BITS else f"{self.kv_bits}-bit"
        return f"context {self.context_tokens:,} tokens, KV {kv}, prefill step {self.prefill_step_size:,}"

    @property
    def work_name(self) -> str:
        """What it is."""
        return "prefill memory"

    def work_words(self, upper: str) -> str:
        """How the upper bound of the working memory is explained."""
        return f"peak while a full context is read in; {upper} with Metal's buffer cache"

    def upper_note(self, upper: str) -> str:
        """What a user should know when the upper bound is much higher, given in GiB."""
        return (
            f"with Metal's buffer cache up to {upper} GiB of prefill memory were seen to stay with the process;"
            " MLX gives the cache back when memory is short"
        )

    @property
    def columns(self) -> Mapping[str, int | str | None]:
        """The settings as columns of a report."""
        return {**NO_COLUMNS, "kv_bits": self.kv_bits, "prefill_step_size": self.prefill_step_size}

    def check(self, config: Qwen35) -> None:
        """Raise InputError for settings that mlx-lm would refuse or that the model was not trained for."""
        trained = config.max_position_embeddings
        if not 1 <= self.context_tokens <= trained:
            raise InputError(f"context: {self.context_tokens:,} tokens; choose from 1 to the trained {trained:,}")
        if self.kv_bits not in KV_BITS:
            raise InputError(f"kv-bits: {self.kv_bits} is not one of {', '.join(map(str, sorted(KV_BITS)))}")
        if self.kv_bits != UNQUANTIZED_BITS and config.head_dim % KV_GROUP:
            raise InputError(f"kv-bits: heads of {config.head_dim} do not divide into groups of {KV_GROUP}; choose 16")
        if not 1 <= self.prefill_step_size <= MOST_PREFILL_STEP:
            raise InputError(
                f"prefill-step-size: {self.prefill_step_size:,} tokens; choose from 1 to {MOST_PREFILL_STEP:,}"
            )

    def with_context(self, tokens: int) -> MlxSettings:
        """Return the same settings for another context."""
        return self._replace(context_tokens=tokens)

    def memory(self, config: Qwen35) -> Memory:
        """Return what mlx-lm allocates beside the weights."""
        return Memory(
            kv_cache_bytes=kv_cache_bytes(config, self),
            recurrent_state_bytes=state_bytes(config),
            work_bytes=prefill_bytes(config, self),
            work_upper_bytes=prefill_upper_bytes(config, self),
        )

    def least_bytes(self, config: Qwen35) -> int:
        """Return a lower bound of all of `memory` that never falls as the context grows: here it is exact."""
        return kv_cache_bytes(config, self) + state_bytes(config) + prefill_bytes(config, self)

    def straight_until(self, config: Qwen35) -> int:
        """Return the context up to which the memory grows in a straight line: all of it, once a chunk is full."""
        if self.context_tokens < self.prefill_step_size or self.context_tokens % CACHE_STEP:
            return self.context_tokens
        return config.max_position_embeddings // CACHE_STEP * CACHE_STEP

    def mtp_bytes(self, config: Qwen35) -> int:
        """Raise InputError: mlx-lm does not draft with the MTP layer."""
        raise InputError("mlx-lm and mlx-vlm drop the MTP layer; leave out --mtp")

    def thriftier(self) -> Iterable[tuple[str, MlxSettings]]:
        """Yield what needs less: a smaller prefill step costs speed, a quantized cache precision."""
        if self.prefill_step_size > THRIFTY_PREFILL_STEP:
            yield (
                f"--prefill-step-size {THRIFTY_PREFILL_STEP}",
                self._replace(prefill_step_size=THRIFTY_PREFILL_STEP),
            )
        if self.kv_bits == UNQUANTIZED_BITS:
            for bits in (8, 4):
                yield f"--kv-bits {bits}", self._replace(kv_bits=bits)

    def notes(self, weights_bytes: int, total_bytes: int, limit_bytes: int) -> Sequence[str]:
        """Return what a user should know of these settings."""
        notes = []
        if weights_bytes > limit_bytes * WARNED_SHARE // 100:
            notes.append(
                f"mlx-lm warns that a model of {weights_bytes // MIB} MB is close to the maximum recommended"
                f" size of {limit_bytes // MIB} MB and can be slow"
            )
        if total_bytes > limit_bytes:
            notes.append(
                f"beyond the GPU limit MLX does not fail but goes on, up to {MEMORY_LIMIT_SHARE} % of the memory;"
                " macOS then swaps, and it gets slow"
            )
        if self.kv_bits != UNQUANTIZED_BITS:
            notes.append(
                f"KV of {self.kv_bits} bits is counted from the first token: --quantized-kv-start 0;"
                f" by default mlx-lm quantizes from {QUANTIZED_KV_START:,} tokens on"
            )
        return notes

    @property
    def left_out(self) -> Sequence[str]:
        """What may be allocated that is not counted."""
        return ["prompt caches that mlx_lm.server keeps (up to 10)"]


THRIFTY_PREFILL_STEP = 512
MEMORY_LIMIT_SHARE = 95  # percent of the memory: mlx's own limit on every Mac whose GPU limit was not lowered
WARNED_SHARE = 90  # percent of the GPU limit from which mlx-lm warns


def kv_cache_bytes(config: Qwen35, settings: MlxSettings) -> int:
    """Return the bytes of the KV cache: keys and values of the full-attention layers, grown in steps of 256.

    >>> from deployfit.catalog import models
    >>> kv_cache_bytes(models()["Qwen3.5-27B"].config, MlxSettings(32768, kv_bits=4))
    603979776
    """
    cells = ceil_to(settings.context_tokens, CACHE_STEP) * config.num_key_value_heads
    per_cell = config.head_dim * BF16_BYTES
    if settings.kv_bits != UNQUANTIZED_BITS:
        per_cell = config.head_dim * settings.kv_bits // 8 + config.head_dim // KV_GROUP * SCALE_AND_BIAS_BYTES
    return config.full_attention_layers * cells * 2 * per_cell


def state_bytes(config: Qwen35) -> int:
    """Return the bytes of the linear layers' state: the recurrent one F32, that of the convolution BF16."""
    recurrent = config.linear_num_value_heads * config.linear_key_head_dim * config.linear_value_head_dim
    conv = (config.linear_conv_kernel_dim - 1) * config.conv_channels
    return config.linear_attention_layers * (F32_BYTES * recurrent + BF16_BYTES * conv)


FUSED_QUERIES = 8  # up to so many queries at once Metal's attention is fused at any head size
MASK_BYTES = 1
LINEAR_LAYERS_DONE = 3  # whose convolution's input is free again while the last are computed

# Results of kernels that are queued but not done: up to ten command buffers. Held against a replay of MLX's
# evaluation for all eight models (0.3 to 1.0 GB, mostly 0.5 to 0.75) and against the peaks of Macs.
IN_FLIGHT_BYTES = 500_000_000
IN_FLIGHT_BYTES_PER_TOKEN = 75_000
MOST_IN_FLIGHT_PER_TOKEN = 1_000_000  # a short chunk has less to queue

# What a server on an M2 Pro with 32 GB had beyond MLX's peak (1.4 to 1.8 GB for three models), and one on an
# M3 Ultra logged as cache: buffers that are free but not given back, and the process itself.
BUFFER_CACHE_BYTES = 1_620_000_000
SAFE_CHUNK = 1024  # in shorter chunks the replay had up to three layers' scores at once
MOST_SCORES = 3


def prefill_bytes(config: Qwen35, settings: MlxSettings) -> int:
    """Return the working memory at its peak: when the last chunk of the prompt is computed.

    Attention at head size 256 is not fused, so one layer's scores of the whole chunk are there at once, with a
    mask of a byte each; the linear layers keep the input of their convolution until the chunk is done, because
    MLX evaluates the small states that are cut from it last; a growing cache has one layer's keys twice.
    Not for M5 chips with mlx after 0.32.1, which fuse attention: they need less.
    """
    tokens = settings.context_tokens
    chunk = min(settings.prefill_step_size, tokens)
    waiting_layers = max(0, config.linear_attention_layers - LINEAR_LAYERS_DONE)
    window = chunk + config.linear_conv_kernel_dim - 1
    conv_inputs = BF16_BYTES * waiting_layers * window * config.conv_channels
    grown_keys = BF16_BYTES * ceil_to(tokens, CACHE_STEP) * config.num_key_value_heads * config.head_dim
    in_flight = min(IN_FLIGHT_BYTES, MOST_IN_FLIGHT_PER_TOKEN * chunk) + IN_FLIGHT_BYTES_PER_TOKEN * chunk
    return _scores_bytes(config, chunk, tokens) + conv_inputs + grown_keys + in_flight


def prefill_upper_bytes(config: Qwen35, settings: MlxSettings) -> int:
    """Return an upper bound: with the buffers that MLX keeps for reuse."""
    work = prefill_bytes(config, settings)
    chunk = min(settings.prefill_step_size, settings.context_tokens)
    scores = _scores_bytes(config, chunk, settings.context_tokens) if chunk < SAFE_CHUNK else 0
    return work + min(work, BUFFER_CACHE_BYTES) + (MOST_SCORES - 1) * scores


def _scores_bytes(config: Qwen35, chunk: int, tokens: int) -> int:
    """Return the bytes of one layer's attention scores and mask."""
    return (BF16_BYTES * config.num_attention_heads + MASK_BYTES) * chunk * tokens if chunk > FUSED_QUERIES else 0
