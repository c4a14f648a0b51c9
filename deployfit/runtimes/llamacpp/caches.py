"""KV caches and states, layer by layer: what stays of the tokens that were read."""

from __future__ import annotations

from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.kinds import NO_END, kinds_of
from deployfit.runtimes.llamacpp.settings import CONTEXT_STEP, LlamaCppSettings
from deployfit.units import ceil_to

STATE_BYTES = 4  # of a number: F32, whatever the type of the KV cache


def kv_tensor_type(name: str) -> TensorType:
    """Return the tensor type of a KV type."""
    return TENSOR_TYPES[name.upper()]


def slides(mixer: object) -> bool:
    """Return whether a layer sees a window or a chunk only."""
    return isinstance(mixer, Attention) and bool(mixer.window or mixer.chunk)


def sliding_limit(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return the most cells of a layer with a window: the window of each sequence in it, and a micro-batch.

    They are no more than the context has, so where no layer has a window, any number does.
    """
    window = kinds_of(blueprint).window
    if settings.swa_full or not window:
        return NO_END
    sequences = settings.parallel if settings.kv_unified else 1
    return ceil_to(window * sequences + settings.micro_batch, CONTEXT_STEP)


def kv_cache_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return the bytes of the KV cache of all layers that have one.

    Without flash attention all layers cache as many values of a token.
    """
    kinds, cells = kinds_of(blueprint), settings.cells
    window = min(cells, sliding_limit(blueprint, settings))
    padded = 0 if settings.flash_attn else kinds.widest_values
    return settings.streams * sum(
        count * (window if slides(mixer) else cells) * cell_bytes(mixer, settings, padded)
        for mixer, count in kinds.caches
    )


def cell_bytes(mixer: Attention | LatentAttention, settings: LlamaCppSettings, padded_values: int = 0) -> int:
    """Return the bytes that one layer keeps of a token: keys and values, or one row for both.

    An indexer's keys are a cache of their own.
    """
    keys, values = kv_tensor_type(settings.kv_type_k), kv_tensor_type(settings.kv_type_v)
    if isinstance(mixer, Attention):
        return keys.nbytes(mixer.kv_dim) + values.nbytes(padded_values or mixer.kv_dim)
    return keys.nbytes(mixer.cache_row) + (keys.nbytes(mixer.indexer.head_dim) if mixer.indexer else 0)


def state_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return the bytes of the recurrent layers' states: fixed per sequence, and once more for each drafted token."""
    return settings.parallel * snapshots(blueprint, settings) * sequence_state_bytes(blueprint)


def sequence_state_bytes(blueprint: Blueprint) -> int:
    """Return the bytes of one state of one sequence."""
    return STATE_BYTES * kinds_of(blueprint).state_elements


# Whose states can be rolled back token by token, so that each token that the MTP layer drafts keeps one
# (llm_arch_supports_rs_rollback in src/llama-arch.cpp). What has another architecture goes back to a checkpoint.
ROLLED_BACK = ("qwen35", "qwen35moe", "nemotron_h", "nemotron_h_moe", "lfm2", "lfm2moe")


def snapshots(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return how many states there are of each sequence: with drafting by an MTP layer one more for each token."""
    by_mtp = settings.drafting and settings.draft_model is None
    return 1 + settings.drafting if by_mtp and blueprint.gguf_architecture in ROLLED_BACK else 1
