"""Llama and Mistral: full attention and a gated block in every layer, alike in all; Mixtral has experts instead.

Source: transformers' Llama, Mistral, Ministral 3 and Mixtral; Llama 3's checkpoints, whose parameters add up. A
window in Mistral's configurations is not used by llama.cpp nor MLX, and is left out.
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, rope, rope_type
from deployfit.layers.blueprint import Blueprint, Feed, Layer
from deployfit.layers.feed import Experts, Mlp


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixer = attention(text)._replace(scaled=bool(rope(text).get("llama_4_scaling_beta")))
    layers = (Layer(mixer, _feed(text)),) * text.count("num_hidden_layers")
    factors = mixer.rotary // 2 if rope_type(text) == "llama3" else 0
    return model(text, top, layers)._replace(rope_factors=factors)


def _feed(text: Numbers) -> Feed:
    width = text.count("intermediate_size")
    experts = text.count("num_local_experts", default=0, least=0)
    if not experts:
        return Mlp(width, bias=text.flag("mlp_bias", False))
    return Experts(count=experts, used=text.count("num_experts_per_tok", default=2), width=width)
