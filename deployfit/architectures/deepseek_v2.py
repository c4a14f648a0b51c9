"""DeepSeek-V2: DeepSeek-V3's layers, with experts that are chosen by softmax.

Source: transformers' DeepSeek-V2 (2024).
"""

from __future__ import annotations

from deployfit.architectures import deepseek_v3
from deployfit.architectures.numbers import Numbers
from deployfit.layers.blueprint import Blueprint


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    return deepseek_v3.blueprint(text, top, "softmax")
