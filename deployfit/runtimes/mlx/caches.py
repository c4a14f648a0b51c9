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

# Latent attention that MLX runs on keys and values of all heads, which is what it caches then.
EXPANDED = ("deepseek_v2",)


def seen_tokens(mixer: CachedMixer) -> int:
    """Return how many tokens a layer with a window or a chunk sees at most, 0 for one that sees them all."""
    return mixer.window or mixer.chunk if isinstance(mixer, Attention) else 0


# Models whose caches mlx-lm makes itself, and lets rotate with --max-kv-size; all others make their own, and ignore it.
ROTATED = (
    *("deepseek_v2", "deepseek_v3", "glm4_moe", "glm4_moe_lite", "granite", "kimi_k2", "minimax_m2", "mistral4"),
    *("phi3", "qwen2", "qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe", "seed_oss"),
)


def rotating(blueprint: Blueprint, settings: MlxSettings) -> MlxSettings:
    """Return the settings without a largest cache where that is ignored: by models with own caches, and by drafting."""
    rotates = blueprint.model_type in ROTATED and settings.draft_model is None
    return settings if rotates or not settings.max_kv_size else settings._replace(max_kv_size=0)


def kept_tokens(mixer: CachedMixer, settings: MlxSettings) -> int:
    """Return how many tokens a layer's cache keeps while it rotates, 0 where it keeps all or goes by chunks."""
    window = mixer.window if isinstance(mixer, Attention) else 0
    return min(filter(None, (window, settings.max_kv_size)), default=0)


def kv_cache_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return the bytes of the KV caches of one sequence when a prompt of the whole context was read.

    >>> from deployfit.catalogue import models
    >>> kv_cache_bytes(models()["Qwen3.5-27B"].blueprint, MlxSettings(32768, kv_bits=4))
    603979776
    """
    tokens = settings.context_tokens
    return sum(
        cells(mixer, settings, tokens, chunk=1) * token_bytes(mixer, blueprint.model_type, settings)
        for mixer in blueprint.attentions
    )


def beside_windows_bytes(blueprint: Blueprint, settings: MlxSettings) -> int:
    """Return what layers with a window hold more while the last chunk is read than afterwards: the chunk itself.

    As if it were a whole chunk; a shorter one needs less.
    """
    tokens, extra = settings.context_tokens, 0
    for mixer in blueprint.attentions:
        if seen_tokens(mixer) or settings.max_kv_size:
            reading, after = (cells(mixer, settings, tokens, chunk=chunk) for chunk in (settings.chunk, 1))
            extra += max(0, reading - after) * token_bytes(mixer, blueprint.model_type, settings)
    return extra


def cells(mixer: CachedMixer, settings: MlxSettings, tokens: int, *, chunk: int) -> int:
    """Return for how many tokens a layer's cache has room once so many were read, the last of them in one chunk."""
    if window := kept_tokens(mixer, settings):
        return window_cells(window, settings.prefill_step_size, tokens, chunk)
    whole = ceil_to(tokens, CACHE_STEP)
    if isinstance(mixer, Attention) and mixer.chunk:  # what is older is let go before the next tokens come
        return min(whole, mixer.chunk + ceil_to(chunk, CACHE_STEP))
    return whole


def window_cells(window: int, step: int, tokens: int, chunk: int) -> int:
    """Return for how many tokens a rotating cache has room.

    A chunk is put behind the window's tokens, which makes room for no more. A single token goes to its place, and
    room grows by 256 up to the window if there is none.

    >>> window_cells(128, 2048, 4096, 1), window_cells(1024, 2048, 300, 1), window_cells(1024, 2048, 4096, 2048)
    (128, 555, 3071)
    """
    if chunk > 1:
        return min(tokens - chunk, window - 1) + chunk
    singles = step == 1
    in_chunks = 0 if singles else tokens - 1 - ((tokens - 1) % step == 1)
    held = min(in_chunks, window)
    return min(window, held + ceil_to(tokens - held, CACHE_STEP))


def token_bytes(mixer: CachedMixer, model_type: str, settings: MlxSettings) -> int:
    """Return the bytes that one layer's cache has of a token.

    Windows and chunks stay as they are whatever is asked for, and so does latent attention with an indexer. An
    indexer has a cache of its own, with keys and as many values, which are zeros.
    """
    if isinstance(mixer, LatentAttention) and model_type not in EXPANDED:
        return BF16_BYTES * (mixer.cache_row + (2 * mixer.indexer.head_dim if mixer.indexer else 0))
    heads, widths = head_widths(mixer)
    if not settings.quantized or seen_tokens(mixer):
        return heads * sum(widths) * BF16_BYTES
    return heads * sum(width * settings.kv_bits // 8 + width // KV_GROUP * SCALE_AND_BIAS_BYTES for width in widths)


def head_widths(mixer: CachedMixer) -> tuple[int, tuple[int, int]]:
    """Return how many heads keys and values have, and how wide a head of keys and one of values is."""
    if isinstance(mixer, LatentAttention):
        return mixer.heads, (mixer.nope_dim + mixer.rope_dim, mixer.value_dim)
    return mixer.kv_heads, (mixer.head_dim, mixer.head_dim)


def state_bytes(blueprint: Blueprint) -> int:
    """Return the bytes of the recurrent layers' states: recurrent ones F32, those of convolutions BF16."""
    return sum(F32_BYTES * each.state_elements + BF16_BYTES * each.conv_elements for each in blueprint.recurrents)


def stays_unquantized(blueprint: Blueprint) -> bool:
    """Return whether some caches are left as they are although the others are quantized."""
    return any(mixer.chunk if isinstance(mixer, Attention) else mixer.indexer for mixer in blueprint.attentions)


def why_not_quantized(blueprint: Blueprint) -> str:
    """Return why mlx-lm cannot run the model with a quantized cache, "" if it can."""
    for mixer in blueprint.attentions:
        if isinstance(mixer, Attention) and mixer.window:
            return "mlx-lm cannot quantize the cache of layers with a window (RotatingKVCache Quantization NYI)"
        if isinstance(mixer, LatentAttention) and blueprint.model_type not in EXPANDED and not mixer.indexer:
            return "mlx-lm's latent attention fails on a quantized cache ('list' object has no attribute 'swapaxes')"
        odd = [width for width in head_widths(mixer)[1] if width % KV_GROUP]
        if odd and not (isinstance(mixer, LatentAttention) and mixer.indexer):
            return f"heads of {odd[0]} do not divide into groups of {KV_GROUP}"
    return ""
