"""GLM-4.5 to 4.7: full attention with half of each head rotated; experts with a shared one after the first layers.

The drafting layer has an embedding and a head of its own. Source: transformers' GLM-4-MoE; the parameters of
GLM-4.5-Air and GLM-4.7 add up to what is counted here, drafting layer included.
"""

from __future__ import annotations

from deployfit.architectures.deepseek_v3 import dense_layers, drafts, experts
from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, rotary
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp

NORMS = ("attn_norm", "post_attention_norm")


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixer = attention(text)
    mixer = mixer._replace(
        rotary=rotary(text, mixer.head_dim, default=0.5),
        norm="head" if text.flag("use_qk_norm", False) else "",
        biases="qkv" if mixer.biases else "",
    )
    sparse = Layer(mixer, experts(text, "sigmoid"), NORMS)
    layers = [
        Layer(mixer, Mlp(text.count("intermediate_size")), NORMS) if dense else sparse
        for dense in dense_layers(text, text.count("num_hidden_layers"))
    ]
    return model(text, top, layers)._replace(drafts=drafts(text, sparse))
