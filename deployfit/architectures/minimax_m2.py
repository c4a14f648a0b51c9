"""MiniMax M2: full attention with norms over all heads, half of each head rotated; experts in every layer.

Source: transformers' MiniMax-M2; the parameters of MiniMax-M2.7 add up to what is counted here (2026). The drafting
modules that its configuration speaks of are not in the checkpoint.
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    mixer = attention(text)._replace(norm="all" if text.flag("use_qk_norm", True) else "", biases="")
    feed = Experts(
        count=text.count("num_local_experts", "num_experts"),
        used=text.count("num_experts_per_tok"),
        width=text.count("intermediate_size"),
        scoring=text.choice("scoring_func", ("sigmoid", "softmax"), "sigmoid"),
        selection_bias=text.flag("use_routing_bias", True),
    )
    layer = Layer(mixer._replace(rotary=text.count("rotary_dim", default=mixer.rotary)), feed)
    return model(text, top, (layer,) * text.count("num_hidden_layers"))
