"""What mlx-lm keeps of the tokens that were read: KV caches and states, layer by layer.

Source: mlx-lm 0.32.2 (models/cache.py and the models' make_cache). Equal to the library's own to the byte.
"""

from __future__ import annotations

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.units import ceil_to

CACHE_STEP = 256  # tokens by which a KV cache grows
KV_GROUP = 64
BF16_BYTES = 2
F32_BYTES = 4
SCALE_AND_BIAS_BYTES = 2 * BF16_BYTES

CachedMixer = Attention | LatentAttention


def kv_cache_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the bytes of the KV caches when a prompt of the whole context was read.

    >>> from deployfit.catalogue import models
    >>> kv_cache_bytes(models()["Qwen3.5-27B"].blueprint, MlxSettings(32768, kv_bits=4))
    603979776
    """
    return sum(layer_bytes(mixer, settings) for mixer in blueprint.attentions)


def layer_bytes(mixer: CachedMixer, settings: MlxSettings) -> int:
    """Return the bytes of one layer's cache."""
    tokens = ceil_to(settings.context_tokens, CACHE_STEP)
    if isinstance(mixer, LatentAttention):
        return tokens * BF16_BYTES * latent_row(mixer)
    if mixer.window:
        return window_tokens(mixer.window, settings.context_tokens) * _token_bytes(mixer)
    if mixer.chunk:
        return min(tokens, mixer.chunk + CACHE_STEP) * _token_bytes(mixer)
    return tokens * (_quantized_token_bytes(mixer, settings.kv_bits) if settings.quantized else _token_bytes(mixer))


def latent_row(mixer: LatentAttention) -> int:
    """Return how many numbers latent attention keeps of a token.

    An indexer has a cache of its own, with keys and as many values, which are zeros.
    """
    return mixer.cache_row + (2 * mixer.indexer.head_dim if mixer.indexer else 0)


def window_tokens(window: int, context_tokens: int) -> int:
    """Return for how many tokens a rotating cache has room after the prompt: chunks first, then the last token.

    Chunks leave what was read, at most the window; a token more makes it grow by a step, up to the window.

    >>> window_tokens(128, 4096), window_tokens(1024, 300)
    (128, 555)
    """
    before = min(context_tokens - 1, window)
    return before + min(CACHE_STEP, window - before)


def window_peak_tokens(window: int, settings: MlxSettings) -> int:
    """Return for how many tokens a rotating cache has room while the prompt is read: the window and a whole chunk."""
    before = settings.context_tokens - 1
    whole, rest = divmod(before, settings.prefill_step_size)
    held = (
        [min(max(whole - 1, 0) * settings.prefill_step_size, window - 1) + settings.prefill_step_size] if whole else []
    )
    if rest:
        held.append(min(whole * settings.prefill_step_size, window - 1) + rest)
    return max([*held, window_tokens(window, settings.context_tokens)])


def _token_bytes(mixer: Attention) -> int:
    return 2 * mixer.kv_dim * BF16_BYTES


def _quantized_token_bytes(mixer: Attention, bits: int) -> int:
    per_head = mixer.head_dim * bits // 8 + mixer.head_dim // KV_GROUP * SCALE_AND_BIAS_BYTES
    return 2 * mixer.kv_heads * per_head


def window_extra_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return what rotating caches hold more while the prompt is read than afterwards."""
    extra = 0
    for mixer in blueprint.attentions:
        if isinstance(mixer, Attention) and mixer.window:
            peak = window_peak_tokens(mixer.window, settings) * _token_bytes(mixer)
            extra += peak - layer_bytes(mixer, settings)
    return extra


def state_bytes(blueprint: Blueprint) -> int:
    """Return the bytes of the recurrent layers' states: recurrent ones F32, those of convolutions BF16."""
    return sum(F32_BYTES * each.state_elements + BF16_BYTES * each.conv_elements for each in blueprint.recurrents)


def why_not_quantized(blueprint: Blueprint) -> str:
    """Return why mlx-lm cannot run the model with a quantized cache, "" if it can."""
    for mixer in blueprint.attentions:
        if isinstance(mixer, Attention) and mixer.window:
            return "mlx-lm cannot quantize the cache of layers with a window (RotatingKVCache Quantization NYI)"
        if isinstance(mixer, LatentAttention) and not mixer.indexer:
            return "mlx-lm's latent attention fails on a quantized cache ('list' object has no attribute 'swapaxes')"
        if isinstance(mixer, Attention) and not mixer.chunk and mixer.head_dim % KV_GROUP:
            return f"heads of {mixer.head_dim} do not divide into groups of {KV_GROUP}"
    return ""
