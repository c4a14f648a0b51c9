"""The working memory of MLX while a prompt is read in: a rule, not the library's own figure.

What the last chunk of the prompt keeps alive is added up from the model's shapes, and held against peaks measured on
Macs and a replay of MLX's evaluation (`tests/data/README.md` says which). Source: mlx-lm 0.32.2 on mlx 0.32.4.
"""

from __future__ import annotations

from math import prod

from deployfit.kept import keep
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.recurrent import DeltaNet, KimiDelta
from deployfit.layers.tensor import OUTSIDE
from deployfit.runtimes.mlx.caches import (
    BF16_BYTES,
    CACHE_STEP,
    EXPANDED,
    CachedMixer,
    beside_windows_bytes,
    kv_cache_bytes,
    seen_tokens,
)
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.units import ceil_to

FUSED_QUERIES = 8  # up to so many queries at once Metal's attention is fused at any head size
FUSED_HEADS = (64, 72, 80, 96, 128)  # head sizes at which it is fused for more, where keys and values have the same
# Latent attention that joins both parts of a head for Metal's attention. All other computes the scores of the rotated
# part by itself and hands them over as a mask.
JOINED = ("mistral4", *EXPANDED)
MASK_BYTES = 1
LINEAR_LAYERS_DONE = 3  # whose convolution's input is free again while the last are computed

# Results of kernels that are queued but not done: up to ten command buffers. Held against a replay of MLX's
# evaluation for all eight models (0.3 to 1.0 GB, mostly 0.5 to 0.75) and against the peaks of Macs.
IN_FLIGHT_BYTES = 500_000_000
IN_FLIGHT_BYTES_PER_TOKEN = 75_000
MOST_IN_FLIGHT_PER_TOKEN = 1_000_000  # a short chunk has less to queue

# A command buffer ends after so many operations or so many MB that they read, weights among them (mlx's
# metal/device.cpp; 50 of each on Max and Ultra). So ten of them hold more layers of a short chunk where weights are
# small. What a layer computes of a token was found with Qwen3.5-4B in BF16 (82 MB in flight at 101 tokens); with it the
# same model in 4 bits has 208 MB, as it had on that Mac (212). Here weights are taken for 4 bits: what is in flight of
# larger ones is less, 1.6 % of that model in BF16.
RESULTS_OF_LAYER = 85  # as wide as the stream
LAYERS_IN_FLIGHT = 8  # of some 60 operations each
MOST_MODELS = 64
WEIGHT_BYTES = (9, 16)  # of a number in 4 bits: 4.5 with scales

# What a server on an M2 Pro with 32 GB had beyond MLX's peak (1.4 to 1.8 GB for three models), and one on an
# M3 Ultra logged as cache: buffers that are free but not given back, and the process itself.
BUFFER_CACHE_BYTES = 1_620_000_000
SAFE_CHUNK = 1024  # in shorter chunks the replay had up to three layers' scores at once
MOST_SCORES = 3


def prefill_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the working memory at its peak: when the last chunk of the prompt is computed.

    Where attention is not fused, one layer's scores of the whole chunk are there at once, with a mask of a byte each;
    layers with a convolution keep its input until the chunk is done, delta nets because MLX evaluates the small states
    that are cut from it last, all others because their states are views of it; a growing cache has one layer's keys
    twice, and latent attention keys and values of all heads. Not for M5 chips with mlx after 0.32.1, which fuse
    attention at head size 256: they need less.
    """
    prompts = settings.prompts_at_once
    chunk = settings.chunk * prompts
    in_flight = _in_flight_bytes(blueprint, chunk) + IN_FLIGHT_BYTES_PER_TOKEN * chunk
    held = _convolution_inputs(blueprint, settings.chunk) + beside_windows_bytes(blueprint, settings)
    return prompts * (_scores_bytes(blueprint, settings) + _keys_bytes(blueprint, settings) + held) + in_flight


def _in_flight_bytes(blueprint: Blueprint, chunk: int) -> int:
    """Return the results of kernels that are queued, beside what grows with each token."""
    results = RESULTS_OF_LAYER * BF16_BYTES * blueprint.hidden * chunk
    weights = _layer_params(blueprint) * WEIGHT_BYTES[0] // WEIGHT_BYTES[1]
    short = min(LAYERS_IN_FLIGHT * results, IN_FLIGHT_BYTES * results // (results + weights))
    return max(short, min(IN_FLIGHT_BYTES, MOST_IN_FLIGHT_PER_TOKEN * chunk))


_params: dict[int, tuple[Blueprint, int]] = {}


def _layer_params(blueprint: Blueprint) -> int:
    """Return how many numbers a layer has on average."""
    found = _params.get(id(blueprint))
    if found is None:
        layers = [
            prod(tensor.shape) * len(indices)
            for tensor, indices in blueprint.tensor_classes(drafts=False)
            if indices[0] != OUTSIDE
        ]
        found = keep(_params, id(blueprint), (blueprint, sum(layers) // len(blueprint.layers)), MOST_MODELS)
    return found[1]


def decode_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the working memory while the answer is generated: one token at once, and a cache that grows."""
    one = settings._replace(prefill_step_size=1)
    return prefill_bytes(blueprint, one) * settings.at_once // settings.prompts_at_once


def peak_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the working memory beside caches that hold the whole context: while the prompt is read, or later.

    Where the answer is long, caches are still small when the prompt needs the most.
    """
    after = decode_bytes(blueprint, settings)
    prompt = settings.with_context(settings.prompt_tokens)
    if prompt == settings:
        return max(prefill_bytes(blueprint, settings), after)
    grown = settings.at_once * (kv_cache_bytes(blueprint, settings) - kv_cache_bytes(blueprint, prompt))
    return max(prefill_bytes(blueprint, prompt) - grown, after)


def prefill_upper_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return an upper bound: with the buffers that MLX keeps for reuse."""
    work = peak_bytes(blueprint, settings)
    prompt = settings.with_context(settings.prompt_tokens)
    scores = _scores_bytes(blueprint, prompt) if prompt.chunk < SAFE_CHUNK else 0
    return work + min(work, BUFFER_CACHE_BYTES) + (MOST_SCORES - 1) * scores


def _scores_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the bytes of the largest layer's attention scores and mask."""
    return max((scores_bytes(mixer, blueprint.model_type, settings) for mixer in set(blueprint.attentions)), default=0)


def scores_bytes(mixer: CachedMixer, model_type: str, settings: MlxSettings) -> int:
    """Return the bytes of one layer's attention scores and mask, 0 where Metal's attention is fused."""
    copies = _copies_of_scores(mixer, model_type, settings)
    if settings.chunk <= FUSED_QUERIES or not copies:
        return 0
    return (copies * BF16_BYTES * mixer.heads + MASK_BYTES) * settings.chunk * _keys_seen(mixer, settings)


def _copies_of_scores(mixer: CachedMixer, model_type: str, settings: MlxSettings) -> int:
    if isinstance(mixer, Attention):
        quantized = settings.quantized and not seen_tokens(mixer)
        return int(quantized or mixer.head_dim not in FUSED_HEADS)
    if model_type in JOINED:
        width = mixer.nope_dim + mixer.rope_dim
        return int(settings.quantized or width != mixer.value_dim or width not in FUSED_HEADS)
    return 1 + (mixer.nope_dim != mixer.value_dim or mixer.nope_dim not in FUSED_HEADS)


def _keys_seen(mixer: CachedMixer, settings: MlxSettings) -> int:
    """Return at how many keys a chunk looks."""
    narrow = min(filter(None, (seen_tokens(mixer), settings.max_kv_size)), default=0)
    return min(settings.context_tokens, narrow - 1 + settings.chunk) if narrow else settings.context_tokens


def _convolution_inputs(blueprint: Blueprint, chunk: int) -> int:
    recurrents = blueprint.recurrents
    copied = [mixer for mixer in recurrents if isinstance(mixer, (DeltaNet, KimiDelta))]
    waiting = copied[: max(0, len(copied) - LINEAR_LAYERS_DONE)]
    viewed = [mixer for mixer in recurrents if not isinstance(mixer, (DeltaNet, KimiDelta))]
    return sum(
        BF16_BYTES * (chunk + mixer.kernel - 1) * (mixer.conv_elements // (mixer.kernel - 1))
        for mixer in (*waiting, *viewed)
    )


def _keys_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the bytes of one layer's grown keys, or of the keys and values that latent attention computes."""
    if settings.max_kv_size:
        return 0
    tokens = BF16_BYTES * ceil_to(settings.context_tokens, CACHE_STEP)
    return max((tokens * _key_width(mixer, blueprint.model_type) for mixer in set(blueprint.attentions)), default=0)


def _key_width(mixer: CachedMixer, model_type: str) -> int:
    if isinstance(mixer, Attention):
        return 0 if seen_tokens(mixer) else mixer.kv_dim
    rotated = mixer.rope_dim if model_type in JOINED else 0
    values = 0 if model_type in EXPANDED else mixer.value_dim
    return mixer.heads * (mixer.nope_dim + rotated + values)
