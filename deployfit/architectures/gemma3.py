"""Gemma 3: five layers with a window, then a full one; norms before and after each block; a tied embedding.

Published configurations leave out what equals transformers' defaults. Source: transformers' Gemma 3, and the maker's
own reference code for the sizes (2025).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, windowed
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp

NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
DEFAULTS = {
    "hidden_size": 2_304,
    "intermediate_size": 9_216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "sliding_window": 4_096,
}


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    text = text.with_defaults(DEFAULTS)
    full = attention(text)._replace(norm="head")
    window = full._replace(window=text.count("sliding_window"))
    feed = Mlp(text.count("intermediate_size"), activation="gelu")
    slides = windowed(text, text.count("num_hidden_layers"), text.count("sliding_window_pattern", default=6))
    layers = (Layer(window if each else full, feed, NORMS) for each in slides)
    capped = text.get("final_logit_softcapping") is not None
    return model(text, top, layers, tied=True, vocab=262_208)._replace(embedding_scaled=True, logits_capped=capped)
