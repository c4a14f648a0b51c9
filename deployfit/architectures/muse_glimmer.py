"""Muse Glimmer: three layers with a window, then a full one without rotation; gated attention, norms around each block.

Norms of embeddings, queries and keys have no weight. Source: transformers' Muse Glimmer, whose defaults are the
published model's; its parameters add up with the vision tower's (2026).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import FULL, SLIDING, attention, model
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp

NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
DEFAULTS = {
    "vocab_size": 202_048,
    "hidden_size": 6_656,
    "intermediate_size": 19_968,
    "num_hidden_layers": 52,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "sliding_window": 2_048,
}
EVERY = 4


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    text = text.with_defaults(DEFAULTS)
    count = text.count("num_hidden_layers")
    window = attention(text)._replace(norm="made", gate="own", window=text.count("sliding_window"))
    full = window._replace(window=0, rotary=0)
    feed = Mlp(text.count("intermediate_size"))
    kinds = text.layer_types(count, (SLIDING, FULL)) or [
        SLIDING if (count - 1 - layer) % EVERY else FULL for layer in range(count)
    ]
    layers = [Layer(window if kind == SLIDING else full, feed, NORMS) for kind in kinds]
    return model(text, top, layers)._replace(embedding_normed=True, logits_scaled=True, logits_capped=True)
