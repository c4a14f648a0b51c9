"""LFM2: short convolutions, with full attention in some layers; dense, or experts after the first layers.

Source: transformers' LFM2 and LFM2-MoE; the parameters of LFM2.5-8B-A1B and LFM2-24B-A2B add up (2026).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import FULL, attention, model
from deployfit.layers.blueprint import Blueprint, Feed, Layer
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import ShortConvolution

CONVOLUTION = ("conv", "short_conv")


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixers = (
        attention(text)._replace(norm="head"),
        ShortConvolution(
            text.count("hidden_size"), text.count("conv_L_cache", default=3), text.flag("conv_bias", False)
        ),
    )
    feeds = _feeds(text)
    full = _full(text, len(feeds))
    layers = [
        Layer(mixers[0] if each else mixers[1], feed, residual_first=("mixer", "feed"))
        for each, feed in zip(full, feeds, strict=True)
    ]
    tied = text.flag("tie_embedding", True)
    return model(text, top, layers, tied=tied)._replace(norm_role="token_embd_norm")


def _full(text: Numbers, layers: int) -> list[bool]:
    """Return which layers have attention: as listed by type or by number; all of them unless anything is said."""
    listed = text.layer_types(layers, (*CONVOLUTION, FULL))
    if listed:
        return [kind == FULL for kind in listed]
    indices = text.indices("full_attn_idxs", layers)
    return [layer in indices or text.get("full_attn_idxs") is None for layer in range(layers)]


def _feeds(text: Numbers) -> list[Feed]:
    layers = text.count("num_hidden_layers")
    width = text.count("block_ff_dim", "intermediate_size")
    if not text.count("num_experts", default=0, least=0):
        return [Mlp(_adjusted(text, width))] * layers
    experts = Experts(
        count=text.count("num_experts"),
        used=text.count("num_experts_per_tok"),
        width=text.count("moe_intermediate_size"),
        scoring="sigmoid",
        selection_bias=text.flag("use_expert_bias", True),
        normalized=text.flag("norm_topk_prob", True),
        scaled=text.get("routed_scaling_factor") not in (None, 0, 1),
    )
    dense = text.count("num_dense_layers", default=2, least=0)
    return [Mlp(width) if layer < dense else experts for layer in range(layers)]


def _adjusted(text: Numbers, width: int) -> int:
    """Return a dense block's width: two thirds of the number given, times a factor, rounded up, unless said not to."""
    if not text.flag("block_auto_adjust_ff_dim", True):
        return width
    width = int(2 * width / 3)
    factor = text.get("block_ffn_dim_multiplier")
    if isinstance(factor, int | float) and 0 < factor < 100:
        width = int(factor * width)
    multiple = text.count("block_multiple_of", default=256)
    return -(-width // multiple) * multiple
