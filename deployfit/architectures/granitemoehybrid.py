"""Granite 4.0: nine Mamba-2 layers to one of attention, experts beside a shared one; also all attention, or dense.

Source: transformers' Granite-MoE-Hybrid; public copies of the configurations of Granite 4.0 H Tiny and Small (2025).
"""

from __future__ import annotations

from deployfit.architectures.granite import feed, scaled
from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import FULL, attention, model
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts
from deployfit.layers.recurrent import Mamba2

MAMBA = ("mamba", "linear_attention")
ATTENTION = ("attention", FULL)


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration; llama.cpp names one without Mamba layers otherwise."""
    layers = text.count("num_hidden_layers")
    kinds = text.layer_types(layers, (*MAMBA, *ATTENTION)) or [MAMBA[0]] * layers
    block = feed(text, text.count("shared_intermediate_size", "intermediate_size"))
    mixer = attention(text)
    if text.text("position_embedding_type", "nope") != "rope":
        mixer = mixer._replace(rotary=0)
    has_mamba = any(kind in MAMBA for kind in kinds)
    mamba = _mamba(text) if has_mamba else mixer
    blueprint = model(text, top, (Layer(mamba if kind in MAMBA else mixer, block) for kind in kinds))
    if not has_mamba:
        name = "granitemoe" if isinstance(block, Experts) else "granite"
        blueprint = blueprint._replace(gguf_architecture=name)
    return scaled(text, blueprint)


def _mamba(text: Numbers) -> Mamba2:
    if text.flag("mamba_proj_bias", False):
        text.fault("mamba_proj_bias", "false, as in every known model", True)
    heads = text.count("mamba_n_heads", default=128)
    inner = text.count("mamba_expand", default=2) * text.count("hidden_size")
    given = text.get("mamba_d_head") not in (None, "auto")
    size = text.count("mamba_d_head") if given else inner // heads
    if heads * size != inner:
        text.contradiction("mamba_n_heads", f"heads that share {inner}, mamba_expand times hidden_size", heads)
    return Mamba2(
        heads=heads,
        head_dim=max(1, size),
        groups=text.count("mamba_n_groups", default=1),
        state=text.count("mamba_d_state", default=256),
        kernel=text.count("mamba_d_conv", default=4),
        conv_bias=text.flag("mamba_conv_bias", True),
    )
