"""DeepSeek-V3.2: DeepSeek-V3 with an indexer in every layer that picks the tokens to look at.

Source: transformers' DeepSeek-V3.2 and the checkpoint, whose parameters add up, the drafting layer's included (2025).
"""

from __future__ import annotations

from deployfit.architectures import deepseek_v3
from deployfit.architectures.numbers import Numbers
from deployfit.layers.attention import Indexer
from deployfit.layers.blueprint import Blueprint


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    indexer = Indexer(
        heads=text.count("index_n_heads", default=64),
        head_dim=text.count("index_head_dim", default=128),
        top=text.count("index_topk", default=2_048),
    )
    mixer = deepseek_v3.latent_attention(text)._replace(indexer=indexer)
    return deepseek_v3.decoder(text, top, mixer, "sigmoid")
