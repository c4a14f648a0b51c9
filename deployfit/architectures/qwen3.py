"""Qwen3: full attention with norms of queries and keys, and a gated block or a mixture of experts in every layer.

Source: transformers' Qwen3 and Qwen3-MoE, and the checkpoints, whose parameters add up to what is counted here.
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Blueprint, Feed, Layer
from deployfit.layers.feed import Experts, Mlp

HEAD_DIM = 128  # where the configuration does not say: heads need not share the hidden size


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixer = attention(text, HEAD_DIM)._replace(norm="head")
    return model(text, top, (Layer(mixer, feed) for feed in feeds(text)))


def feeds(text: Numbers) -> list[Feed]:
    """Return the feed-forward block of each layer: experts in every n-th but for those that are listed as dense."""
    layers = text.count("num_hidden_layers")
    if not text.count("num_experts", "num_local_experts", default=0, least=0):
        return [Mlp(text.count("intermediate_size"))] * layers
    step = text.count("decoder_sparse_step", default=1)
    dense = text.indices("mlp_only_layers", layers)
    sparse = [layer not in dense and (layer + 1) % step == 0 for layer in range(layers)]
    experts = _experts(text)
    mlp = experts if all(sparse) else Mlp(text.count("intermediate_size"))
    return [experts if is_sparse else mlp for is_sparse in sparse]


def _experts(text: Numbers) -> Experts:
    shared = text.count("shared_expert_intermediate_size", default=0, least=0)
    return Experts(
        count=text.count("num_experts", "num_local_experts"),
        used=text.count("num_experts_per_tok", default=8),
        width=text.count("moe_intermediate_size"),
        shared_width=shared,
        shared_gate=shared > 0,
        normalized=text.flag("norm_topk_prob", True),
    )
