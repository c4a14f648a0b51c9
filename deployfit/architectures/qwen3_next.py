"""Qwen3-Next: three delta-net layers, then one of gated attention; experts with a shared one in every layer.

Source: transformers' Qwen3-Next; the parameters of Qwen3-Coder-Next add up to what is counted here (2026).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.qwen3 import feeds
from deployfit.architectures.qwen3_5 import NORMS, delta_net, gated_attention, layer_types
from deployfit.architectures.shared import FULL, model
from deployfit.layers.blueprint import Blueprint, Draft, Layer


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    full, linear = gated_attention(text), delta_net(text)._replace(fused=True)
    blocks = feeds(text)
    kinds = layer_types(text, len(blocks))
    layers = [Layer(full if kind == FULL else linear, feed, NORMS) for kind, feed in zip(kinds, blocks, strict=True)]
    drafts = text.count("mtp_num_hidden_layers", "num_nextn_predict_layers", default=0, least=0)
    draft = Draft(Layer(full, blocks[-1], NORMS))
    return model(text, top, layers)._replace(drafts=(draft,) * drafts, outputs_chosen="after_norm")
