"""Phi-3 and Phi-4: full attention whose queries, keys and values are one tensor, as are a block's two inputs.

Source: transformers' Phi-3 and microsoft/phi-4, whose parameters add up to what is counted here. A window in the
configuration is not used by llama.cpp nor MLX, and is left out.
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, rope_type
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixer = attention(text)._replace(fused=True, biases="")
    layer = Layer(mixer, Mlp(text.count("intermediate_size"), fused=True), residual_first=("feed",))
    stretched = rope_type(text) in ("longrope", "su", "yarn")
    blueprint = model(text, top, (layer,) * text.count("num_hidden_layers"))
    return blueprint._replace(rope_factors=mixer.rotary // 2, rope_tables=2) if stretched else blueprint
