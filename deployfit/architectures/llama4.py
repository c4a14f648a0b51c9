"""Llama 4: three layers that see chunks of the context, then a full one without rotation; experts.

Source: transformers' Llama 4; the count of Scout is the engine's for these shapes (2025).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import FULL, attention, model, rope_type, rotates
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts, Mlp

CHUNKED = "chunked_attention"


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    count = text.count("num_hidden_layers")
    sparse = _sparse(text, count)
    width = text.count("intermediate_size", default=8_192)
    experts = Experts(
        count=text.count("num_local_experts", default=16),
        used=text.count("num_experts_per_tok", default=1),
        width=width,
        shared_width=width,
        scoring="sigmoid",
        normalized=False,
        weight_first=True,
    )
    dense = Mlp(text.count("intermediate_size_mlp", default=16_384))
    mixers = _mixers(text, count)
    layers = [Layer(mixer, experts if index in sparse else dense) for index, mixer in enumerate(mixers)]
    factors = text.count("head_dim", default=128) // 2 if rope_type(text) == "llama3" else 0
    return model(text, top, layers)._replace(rope_factors=factors)


def _sparse(text: Numbers, layers: int) -> set[int]:
    """Return the layers that have experts: as listed, else every n-th."""
    if text.get("moe_layers") is not None:
        return text.indices("moe_layers", layers)
    step = text.count("interleave_moe_layer_step", default=1)
    return {layer for layer in range(layers) if (layer + 1) % step == 0}


def _mixers(text: Numbers, layers: int) -> list[Attention]:
    rotated = attention(text, 128)
    if text.flag("use_qk_norm", True):
        rotated = rotated._replace(norm="plain")
    plain = rotated._replace(rotary=0, norm="", scaled=text.flag("attn_temperature_tuning", True))
    rotating = rotates(text, layers)
    chunk = text.count("attention_chunk_size", default=8_192)
    kinds = text.layer_types(layers, (CHUNKED, FULL)) or [CHUNKED if each else FULL for each in rotating]
    return [
        (rotated if has_rotation else plain)._replace(chunk=chunk if kind == CHUNKED else 0)
        for has_rotation, kind in zip(rotating, kinds, strict=True)
    ]
