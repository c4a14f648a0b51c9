"""Mistral Small 4: DeepSeek-V3's layers, with experts that are chosen by softmax and queries that are scaled.

Source: transformers' Mistral 4; with the vision tower the published count adds up, but for FP8 scales (2026).
"""

from __future__ import annotations

from deployfit.architectures import deepseek_v3
from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import rope
from deployfit.layers.blueprint import Blueprint


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    scaled = bool(rope(text).get("llama_4_scaling_beta"))
    mixer = deepseek_v3.latent_attention(text)._replace(scaled=scaled)
    return deepseek_v3.decoder(text, top, mixer, "softmax")
