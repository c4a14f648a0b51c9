"""Kimi-Linear: three layers of Kimi delta attention, then one of latent attention without rotation; experts.

Source: transformers' Kimi-Linear and public copies of the model's configuration (2025).
"""

from __future__ import annotations

from deployfit.architectures.deepseek_v3 import dense_layers, latent_attention
from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import FULL, model
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import KimiDelta

LINEAR = "linear_attention"


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    layers = text.count("num_hidden_layers")
    latent = latent_attention(text)._replace(rotary=False)
    linear = text.section("linear_attn_config") or text
    delta = KimiDelta(
        heads=linear.count("num_heads", "linear_num_heads", default=32),
        head_dim=linear.count("head_dim" if linear is not text else "linear_head_dim", default=128),
        kernel=linear.count("short_conv_kernel_size", "linear_conv_kernel_dim", default=4),
    )
    feeds = [Mlp(text.count("intermediate_size")) if dense else _experts(text) for dense in dense_layers(text, layers)]
    mixers = [latent if full else delta for full in _full(text, linear, layers)]
    return model(text, top, (Layer(mixer, feed) for mixer, feed in zip(mixers, feeds, strict=True)))


def _full(text: Numbers, linear: Numbers, layers: int) -> list[bool]:
    """Return which layers have latent attention: as listed by type or by number (from 1), else every fourth."""
    listed = text.layer_types(layers, (LINEAR, FULL))
    if listed:
        return [kind == FULL for kind in listed]
    full = linear.indices("full_attn_layers", layers, first=1)
    if full:
        if linear.indices("kda_layers", layers, first=1) != set(range(layers)) - full:
            linear.contradiction("kda_layers", "the layers that full_attn_layers leaves out", linear.get("kda_layers"))
        return [layer in full for layer in range(layers)]
    return [layer > 0 and layer % 4 == 0 for layer in range(layers)]


def _experts(text: Numbers) -> Experts:
    width = text.count("moe_intermediate_size")
    groups = text.count("num_expert_group", "n_group", default=1, least=0)
    return Experts(
        count=text.count("num_experts", "num_local_experts"),
        used=text.count("num_experts_per_token", "num_experts_per_tok"),
        width=width,
        shared_width=width * text.count("num_shared_experts", "n_shared_experts", default=0, least=0),
        scoring=text.choice("moe_router_activation_func", ("sigmoid", "softmax"), "sigmoid"),
        selection_bias=True,
        normalized=text.flag("moe_renormalize", text.flag("norm_topk_prob", True)),
        scaled=text.get("routed_scaling_factor") not in (None, 0, 1),
        groups=groups if groups > 1 else 0,
        groups_used=text.count("topk_group", default=1) if groups > 1 else 0,
    )
