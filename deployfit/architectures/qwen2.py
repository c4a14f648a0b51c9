"""Qwen2 and Qwen2.5: full attention with biases of queries, keys and values, and a gated block in every layer.

Source: transformers' Qwen2 and the published checkpoints (2024).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixer = attention(text)._replace(biases="qkv")
    layers = (Layer(mixer, Mlp(text.count("intermediate_size"))),) * text.count("num_hidden_layers")
    return model(text, top, layers)
