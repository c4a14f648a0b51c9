"""Qwen3.5: three delta-net layers alternate with one of gated attention; dense or a mixture of experts.

A vision tower and one multi-token-prediction layer come with every checkpoint. Source: transformers' Qwen3.5 and the
published checkpoints, whose parameters add up to what is counted here (2026-02).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import FULL, attention, model, qwen_vision_tower
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint, Draft, Feed, Layer
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import DeltaNet

NORMS = ("attn_norm", "post_attention_norm")
LINEAR = "linear_attention"
POSITION_AXES = 4  # rotary positions: time, height, width and a spare one


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    feed = _feed(text)
    full = Layer(gated_attention(text), feed, NORMS)
    kinds = {LINEAR: Layer(delta_net(text), feed, NORMS), FULL: full}
    layers = (kinds[kind] for kind in layer_types(text, text.count("num_hidden_layers")))
    return model(text, top, layers)._replace(
        drafts=(Draft(full),) * text.count("mtp_num_hidden_layers", default=0, least=0),
        vision=qwen_vision_tower(top),
        position_axes=POSITION_AXES,
        outputs_chosen="after_norm",
    )


def layer_types(text: Numbers, layers: int) -> list[str]:
    """Return each layer's type: as listed, else full attention in every n-th."""
    listed = text.layer_types(layers, (LINEAR, FULL))
    if listed:
        return listed
    interval = text.count("full_attention_interval", default=4)
    return [FULL if (layer + 1) % interval == 0 else LINEAR for layer in range(layers)]


def gated_attention(text: Numbers) -> Attention:
    """Return attention with an output gate, of which a quarter of each head is rotated."""
    mixer = attention(text, 256)
    return mixer._replace(rotary=mixer.head_dim // 4, gate="joint", norm="head", biases="")


def delta_net(text: Numbers) -> DeltaNet:
    """Return the delta net; keys and values must have heads of one size."""
    head_dim = text.count("linear_key_head_dim", default=128)
    if text.count("linear_value_head_dim", default=128) != head_dim:
        text.contradiction(
            "linear_value_head_dim", f"{head_dim}, as linear_key_head_dim", text.get("linear_value_head_dim")
        )
    return DeltaNet(
        key_heads=text.count("linear_num_key_heads", default=16),
        value_heads=text.count("linear_num_value_heads", default=32),
        head_dim=head_dim,
        kernel=text.count("linear_conv_kernel_dim", default=4),
    )


def _feed(text: Numbers) -> Feed:
    experts = text.count("num_experts", default=0, least=0)
    if not experts:
        return Mlp(text.count("intermediate_size"))
    return Experts(
        count=experts,
        used=text.count("num_experts_per_tok"),
        width=text.count("moe_intermediate_size"),
        shared_width=text.count("shared_expert_intermediate_size"),
        shared_gate=True,
    )
