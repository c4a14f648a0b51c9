"""What llama.cpp allocates for a Qwen3.5 model: KV cache, recurrent state, compute buffers.

Source: llama.cpp of 2026-10-01 (ggml 0.25.3), flash attention on, as it is on Metal. Every figure
equals the engine's own to the byte, for a device that needs no scratch of its own; Metal needs more for long
contexts, see `ComputeBuffers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from deployfit.architectures.qwen35 import Qwen35
from deployfit.errors import InputError, unknown
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.runtimes.llamacpp_allocator import Curve, Piece, compiled
from deployfit.runtimes.llamacpp_graph import F16_BYTES, F32_BYTES, Batch, build_graph, host_bytes, is_quantized
from deployfit.runtimes.running import NO_COLUMNS, Memory
from deployfit.units import MIB, ceil_to

NAME = "llama.cpp"

KV_TYPES: Sequence[str] = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
NOT_IN_METAL_FLASH_ATTENTION = ("iq4_nl",)

CONTEXT_STEP = 256  # each sequence's cells are padded to this
BATCH = 2048  # llama.cpp's default -b; a larger micro-batch is taken to come with as large a batch
DEFAULT_UBATCH = 512
MOST_UBATCH = 2**18
MOST_PARALLEL = 256  # LLAMA_MAX_SEQ


class LlamaCppSettings(NamedTuple):
    """How llama.cpp is started.

    `context_tokens` is `-c`: all sequences together, split evenly over `parallel` slots.
    """

    context_tokens: int
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    parallel: int = 1
    ubatch: int = DEFAULT_UBATCH

    @property
    def sequence_tokens(self) -> int:
        """Cells that one sequence gets: its share of the context, padded as the engine pads it."""
        return ceil_to(ceil_to(self.context_tokens, CONTEXT_STEP) // self.parallel, CONTEXT_STEP)

    @property
    def micro_batch(self) -> int:
        """Tokens computed at once; never more than the context."""
        return min(self.ubatch, self.context_tokens)

    @property
    def runtime(self) -> str:
        """The runtime's name."""
        return NAME

    @property
    def sequences(self) -> int:
        """How many sequences share the caches."""
        return self.parallel

    @property
    def context_step(self) -> int:
        """In which steps the context grows: each sequence's cells are padded."""
        return CONTEXT_STEP * self.parallel

    @property
    def words(self) -> str:
        """The settings in a headline."""
        per_sequence = f" for {self.parallel} sequences" if self.parallel > 1 else ""
        return (
            f"context {self.context_tokens:,} tokens{per_sequence},"
            f" KV {self.kv_type_k}/{self.kv_type_v}, micro-batch {self.ubatch}"
        )

    @property
    def work_name(self) -> str:
        """What the working memory is called."""
        return "compute buffers"

    def work_words(self, upper: str) -> str:
        """How the upper bound of the working memory is explained."""
        return f"at most {upper} on Metal"

    def upper_note(self, upper: str) -> str:
        """What a user should know when the upper bound is much higher, given in GiB."""
        return (
            f"compute buffers can reach {upper} GiB on Metal"
            " (attention scratch, fragmentation); the reserve is for that"
        )

    @property
    def columns(self) -> Mapping[str, int | str | None]:
        """The settings as columns of a report."""
        return {
            **NO_COLUMNS,
            "kv_type_k": self.kv_type_k,
            "kv_type_v": self.kv_type_v,
            "parallel": self.parallel,
            "ubatch": self.ubatch,
        }

    def check(self, config: Qwen35) -> None:
        """Raise InputError for settings that the engine would refuse or that the model was not trained for."""
        trained = config.max_position_embeddings
        if not 1 <= self.context_tokens <= trained:
            raise InputError(f"context: {self.context_tokens:,} tokens; choose from 1 to the trained {trained:,}")
        if not 1 <= self.parallel <= MOST_PARALLEL:
            raise InputError(f"parallel: {self.parallel:,} sequences; choose from 1 to {MOST_PARALLEL}")
        if not 1 <= self.ubatch <= MOST_UBATCH:
            raise InputError(f"ubatch: {self.ubatch:,} tokens; choose from 1 to {MOST_UBATCH:,}")
        kv_dim = config.num_key_value_heads * config.head_dim
        for name in (self.kv_type_k, self.kv_type_v):
            if name not in KV_TYPES:
                raise unknown("KV type", name, KV_TYPES)
            if kv_dim % kv_tensor_type(name).block_size:
                raise InputError(f"KV type {name}: rows of {kv_dim} do not divide into its blocks; choose f16")

    def with_context(self, tokens: int) -> LlamaCppSettings:
        """Return the same settings for another context."""
        return self._replace(context_tokens=tokens)

    def memory(self, config: Qwen35) -> Memory:
        """Return what the engine allocates beside the weights."""
        compute = compute_buffers(config, self)
        return Memory(
            kv_cache_bytes=kv_cache_bytes(config, self),
            recurrent_state_bytes=recurrent_state_bytes(config, self),
            work_bytes=compute.total_bytes,
            work_upper_bytes=compute.upper_bytes,
        )

    def least_bytes(self, config: Qwen35) -> int:
        """Return a lower bound of all of `memory` that never falls as the context grows."""
        caches = kv_cache_bytes(config, self) + recurrent_state_bytes(config, self)
        return caches + least_compute_bytes(config, self)

    def straight_until(self, config: Qwen35) -> int:
        """Return the context up to which the memory grows in a straight line, in whole steps from this one."""
        if self.context_tokens < self.ubatch or self.context_tokens % self.context_step:
            return self.context_tokens
        cells = device_part(config, _batch(self), self.sequence_tokens).last_cells
        steps = min(cells // CONTEXT_STEP, config.max_position_embeddings // self.context_step)
        return steps * self.context_step

    def mtp_bytes(self, config: Qwen35) -> int:
        """Return what drafting with the MTP layer allocates beside its weights."""
        return mtp_runtime_bytes(config, self)

    def thriftier(self) -> Iterable[tuple[str, LlamaCppSettings]]:
        """Yield smaller KV caches."""
        if self.kv_type_k in ("f32", "f16", "bf16"):
            for kv_type in ("q8_0", "q4_0"):
                yield f"--kv-type {kv_type}", self._replace(kv_type_k=kv_type, kv_type_v=kv_type)

    def notes(self, weights_bytes: int, total_bytes: int, limit_bytes: int) -> Sequence[str]:
        """Return what a user should know of these settings."""
        if self.kv_type_k == self.kv_type_v and self.kv_type_k not in NOT_IN_METAL_FLASH_ATTENTION:
            return []
        return [
            f"KV {self.kv_type_k}/{self.kv_type_v}: Metal's flash attention wants equal"
            " types and has no iq4_nl; attention falls to the CPU, slow and with memory not counted here"
        ]

    @property
    def left_out(self) -> Sequence[str]:
        """What may be allocated that is not counted."""
        return ["llama-server's prompt cache (up to 8 GiB of ordinary memory unless --cache-ram 0)"]


def kv_tensor_type(name: str) -> TensorType:
    """Return the tensor type of a KV type."""
    return TENSOR_TYPES[name.upper()]


def kv_cache_bytes(config: Qwen35, settings: LlamaCppSettings) -> int:
    """Return the bytes of the KV cache: keys and values of the full-attention layers only."""
    return config.full_attention_layers * _kv_layer_bytes(config, settings)


def _kv_layer_bytes(config: Qwen35, settings: LlamaCppSettings) -> int:
    cells = settings.sequence_tokens * settings.parallel
    kv_dim = config.num_key_value_heads * config.head_dim
    types = (settings.kv_type_k, settings.kv_type_v)
    return cells * sum(kv_tensor_type(name).nbytes(kv_dim) for name in types)


def recurrent_state_bytes(config: Qwen35, settings: LlamaCppSettings) -> int:
    """Return the bytes of the linear layers' state: fixed per sequence, F32 whatever the KV type."""
    delta_state = config.linear_num_value_heads * config.linear_key_head_dim * config.linear_value_head_dim
    conv_state = (config.linear_conv_kernel_dim - 1) * config.conv_channels
    return settings.parallel * config.linear_attention_layers * F32_BYTES * (delta_state + conv_state)


class ComputeBuffers(NamedTuple):
    """The working memory of one forward pass.

    `device_bytes` and `host_bytes` are the engine's own figures for a GPU-like device; `device_upper_bytes`
    also covers Metal, whose flash attention wants scratch that grows with the context.
    """

    device_bytes: int
    device_upper_bytes: int
    host_bytes: int

    @property
    def total_bytes(self) -> int:
        """Device and host part together."""
        return self.device_bytes + self.host_bytes

    @property
    def upper_bytes(self) -> int:
        """The same at its upper bound."""
        return self.device_upper_bytes + self.host_bytes


@lru_cache(maxsize=256)
def compute_buffers(config: Qwen35, settings: LlamaCppSettings) -> ComputeBuffers:
    """Return the compute buffers: the logits of one micro-batch, its activations, and the attention mask.

    The engine's allocator is replayed, so that its fragmentation is in the figure too: a little more context
    can need a little less memory.
    """
    batch, cells = _batch(settings), settings.sequence_tokens
    device = device_part(config, batch, cells).peak_bytes(cells)
    return ComputeBuffers(
        device_bytes=device,
        device_upper_bytes=max(
            device, _fragmented_bytes(config, batch, cells), _metal_attention_bytes(config, settings)
        ),
        host_bytes=host_bytes(config, batch, cells),
    )


def device_part(config: Qwen35, batch: Batch, cells: int) -> Piece:
    """Return the device part of the compute buffers from so many cells of a sequence on: a straight line."""
    piece = _curve(config, batch, _replayed_layers(config)).piece(cells)
    room = _fragmented_bytes(config, batch, cells) - piece.peak_bytes(cells)
    growth = batch.mask_bytes_per_cell - piece.bytes_per_cell
    last = piece.last_cells
    if room < 0:  # a rare hole that grows with every layer
        room, growth = -room - 1, -growth
        piece = _curve(config, batch, config.num_hidden_layers).piece(cells)
    if growth < 0:
        last = min(last, cells + room // -growth)
    return piece._replace(first_cells=cells, last_cells=min(last, piece.last_cells))


@lru_cache(maxsize=32)
def _curve(config: Qwen35, batch: Batch, layers: int) -> Curve:
    return Curve(compiled(build_graph(config, batch, layers).nodes))


def _batch(settings: LlamaCppSettings) -> Batch:
    return Batch(
        tokens=ceil_to(settings.micro_batch, settings.parallel),
        outputs=settings.micro_batch,
        sequences=settings.parallel,
        kv_types=(_kind_in_graph(settings.kv_type_k), _kind_in_graph(settings.kv_type_v)),
    )


def _kind_in_graph(kv_type: str) -> TensorType:
    """Return a KV type that makes the same graph: all that count in blocks make one, and all of 16 bits."""
    tensor_type = kv_tensor_type(kv_type)
    return TENSOR_TYPES["F32" if kv_type == "f32" else "Q8_0" if is_quantized(tensor_type) else "F16"]


REPLAYED_PERIODS = 6  # layers repeat: more periods reach no higher address (tested on all models)


def _replayed_layers(config: Qwen35) -> int:
    """Return how many layers to replay: an odd number of periods ends in another phase than an even one."""
    periods, rest = divmod(config.num_hidden_layers, config.full_attention_interval)
    if rest or periods <= REPLAYED_PERIODS:
        return config.num_hidden_layers
    return (REPLAYED_PERIODS + periods % 2) * config.full_attention_interval


def _fragmented_bytes(config: Qwen35, batch: Batch, cells: int) -> int:
    """Return an upper bound of the fragmented buffer: the mask and one hidden state left as holes.

    It covers all 224 device figures and 208 replays of Metal's rules that it was held against.
    """
    hole = F32_BYTES * config.hidden_size * batch.tokens
    return least_device_bytes(config, batch) + batch.mask_bytes_per_cell * cells + hole + 2 * MIB


METAL_WORK_GROUPS = 32  # of flash attention, each with partial results for up to METAL_QUERIES queries
METAL_QUERIES = 32
METAL_SLACK = 48 * MIB  # padding of the last keys, block list, holes: up to 36 MB in 208 replays of Metal's rules


def _metal_attention_bytes(config: Qwen35, settings: LlamaCppSettings) -> int:
    """Return an upper bound of what a full-attention layer needs on Metal.

    The mask, F16 copies of the layer's keys and values, partial results, and six activations as wide as the
    queries. Source: llama.cpp's Metal backend of 2026-10-01; a Mac logged 1,337 MiB for the 9B at 262,144.
    """
    batch = _batch(settings)
    cells = settings.sequence_tokens
    kv_dim = config.num_key_value_heads * config.head_dim
    query_dim = config.num_attention_heads * config.head_dim
    partial_results = METAL_WORK_GROUPS * METAL_QUERIES * config.num_attention_heads * (config.head_dim + 2)
    copies = F16_BYTES * cells * settings.parallel * 2 * kv_dim
    activations = 6 * F32_BYTES * query_dim * batch.tokens
    return batch.mask_bytes_per_cell * cells + copies + F32_BYTES * partial_results + activations + METAL_SLACK


def least_device_bytes(config: Qwen35, batch: Batch) -> int:
    """Return the device part if nothing fragmented: logits and two hidden states, alive together at the head."""
    states = F32_BYTES * config.hidden_size * (batch.tokens + batch.outputs)
    return F32_BYTES * config.vocab_size * batch.outputs + states


def least_compute_bytes(config: Qwen35, settings: LlamaCppSettings) -> int:
    """Return a lower bound of the compute buffers that grows with the context."""
    batch = _batch(settings)
    return least_device_bytes(config, batch) + host_bytes(config, batch, settings.sequence_tokens)


MTP_DRAFT_TOKENS = 3  # llama.cpp's default --spec-draft-n-max; the state is kept once more for each


def mtp_runtime_bytes(config: Qwen35, settings: LlamaCppSettings) -> int:
    """Return what drafting with the MTP layer allocates beside its weights.

    A KV cache of one layer (F16 whatever the main one is), a snapshot of the recurrent state per drafted token,
    and the compute buffers of a second context: a single layer needs what the head needs.
    """
    draft = LlamaCppSettings(context_tokens=settings.context_tokens, parallel=settings.parallel, ubatch=settings.ubatch)
    return (
        config.mtp_num_hidden_layers * _kv_layer_bytes(config, draft)
        + MTP_DRAFT_TOKENS * recurrent_state_bytes(config, settings)
        + least_compute_bytes(config, draft)
    )
