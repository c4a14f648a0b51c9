"""SmolLM3: as Llama, but for every fourth layer, which does not rotate queries and keys.

Source: transformers' SmolLM3, whose defaults are the published model's; its parameters add up (2025).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, rotates
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    rotated = attention(text)
    feed = Mlp(text.count("intermediate_size"), bias=text.flag("mlp_bias", False))
    plain = rotated._replace(rotary=0)
    layers = rotates(text, text.count("num_hidden_layers"))
    return model(text, top, [Layer(rotated if each else plain, feed) for each in layers], tied=True)
