"""Seed-OSS: full attention with biases and a gated block in every layer.

Source: transformers' Seed-OSS and ByteDance's checkpoint, whose parameters add up to what is counted here (2025).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp

NORMS = ("attn_norm", "post_attention_norm")


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    biases = ("qkv" if text.flag("attention_bias", True) else "") + "o" * text.flag("attention_out_bias", False)
    feed = Mlp(text.count("intermediate_size"), bias=text.flag("mlp_bias", False))
    layer = Layer(attention(text, 128)._replace(biases=biases), feed, NORMS)
    return model(text, top, (layer,) * text.count("num_hidden_layers"))
