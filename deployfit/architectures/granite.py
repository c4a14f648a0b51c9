"""Granite: Llama's layers with constants at the embedding, the residual stream and the logits; dense or experts.

Source: transformers' Granite and Granite-MoE; the parameters of Granite 4.2 8B and 30B add up (2026-08).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Blueprint, Feed, Layer
from deployfit.layers.feed import Experts, Mlp


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    layer = Layer(attention(text), feed(text, text.count("intermediate_size")))
    return scaled(text, model(text, top, (layer,) * text.count("num_hidden_layers")))


def feed(text: Numbers, dense_width: int) -> Feed:
    """Return a layer's feed-forward block: experts beside a shared one, or a dense one of this width."""
    experts = text.count("num_local_experts", default=0, least=0)
    if not experts:
        return Mlp(dense_width, bias=text.flag("mlp_bias", False))
    return Experts(
        count=experts,
        used=text.count("num_experts_per_tok"),
        width=text.count("intermediate_size"),
        shared_width=text.count("shared_intermediate_size", default=0, least=0),
    )


def scaled(text: Numbers, blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with the constants that the configuration has; they are applied even if they are 1."""
    return blueprint._replace(
        embedding_scaled=bool(text.get("embedding_multiplier")),
        residual_scaled=bool(text.get("residual_multiplier")),
        logits_scaled=bool(text.get("logits_scaling")),
    )
