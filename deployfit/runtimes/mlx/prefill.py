"""The working memory of MLX while a prompt is read in: a rule, not the library's own figure.

What the last chunk of the prompt keeps alive is added up from the model's shapes, and held against peaks measured on
Macs and a replay of MLX's evaluation (`tests/data/README.md` says which). Source: mlx-lm 0.32.2 on mlx 0.32.4.
"""

from __future__ import annotations

from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.recurrent import DeltaNet
from deployfit.runtimes.mlx.caches import BF16_BYTES, CACHE_STEP, window_extra_bytes
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.units import ceil_to

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


def prefill_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the working memory at its peak: when the last chunk of the prompt is computed.

    Where attention is not fused, one layer's scores of the whole chunk are there at once, with a mask of a byte each;
    delta nets keep the input of their convolution until the chunk is done, because MLX evaluates the small states
    that are cut from it last; a growing cache has one layer's keys twice. Not for M5 chips with mlx after 0.32.1,
    which fuse attention: they need less.
    """
    chunk = settings.chunk
    in_flight = min(IN_FLIGHT_BYTES, MOST_IN_FLIGHT_PER_TOKEN * chunk) + IN_FLIGHT_BYTES_PER_TOKEN * chunk
    held = _convolution_inputs(blueprint, chunk) + _grown_keys(blueprint, settings)
    return _scores_bytes(blueprint, settings) + held + window_extra_bytes(blueprint, settings) + in_flight


def prefill_upper_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return an upper bound: with the buffers that MLX keeps for reuse."""
    work = prefill_bytes(blueprint, settings)
    scores = _scores_bytes(blueprint, settings) if settings.chunk < SAFE_CHUNK else 0
    return work + min(work, BUFFER_CACHE_BYTES) + (MOST_SCORES - 1) * scores


def _scores_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the bytes of one layer's attention scores and mask."""
    if settings.chunk <= FUSED_QUERIES:
        return 0
    scores = (
        (BF16_BYTES * mixer.heads + MASK_BYTES) * settings.chunk * settings.context_tokens
        for mixer in blueprint.attentions
        if isinstance(mixer, Attention)
    )
    return max(scores, default=0)


def _convolution_inputs(blueprint: Blueprint, chunk: int) -> int:
    delta_nets = [mixer for mixer in blueprint.recurrents if isinstance(mixer, DeltaNet)]
    waiting = delta_nets[: max(0, len(delta_nets) - LINEAR_LAYERS_DONE)]
    return sum(BF16_BYTES * (chunk + mixer.kernel - 1) * mixer.conv_channels for mixer in waiting)


def _grown_keys(blueprint: Blueprint, settings: MlxSettings) -> int:
    keys = (mixer.kv_dim for mixer in blueprint.attentions if isinstance(mixer, Attention))
    return BF16_BYTES * ceil_to(settings.context_tokens, CACHE_STEP) * max(keys, default=0)
