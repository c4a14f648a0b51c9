"""gpt-oss: layers with a window of 128 and full ones take turns, all with sinks; experts with biases.

Source: transformers' gpt-oss and OpenAI's checkpoints, whose parameters add up to what is counted here.
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, windowed
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts

NORMS = ("attn_norm", "post_attention_norm")
TRAINED_CONTEXT = 131_072  # where the configuration does not say


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    full = attention(text, 64)._replace(biases="qkvo", sinks=True)
    window = full._replace(window=text.count("sliding_window", default=128))
    feed = Experts(
        count=text.count("num_local_experts", "num_experts"),
        used=text.count("num_experts_per_tok", "experts_per_token", default=4),
        width=text.count("intermediate_size"),
        activation="swiglu_oai",
        scoring="softmax_chosen",
        biases=True,
    )
    slides = windowed(text, text.count("num_hidden_layers"), every=2)
    layers = (Layer(window if each else full, feed, NORMS) for each in slides)
    return model(text, top, layers, trained_context=TRAINED_CONTEXT)._replace(outputs_chosen="before_norm")
