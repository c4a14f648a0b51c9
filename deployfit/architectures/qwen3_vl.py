"""Qwen3-VL: Qwen3 with positions of several axes and a vision tower that feeds several of the first layers.

Source: transformers' Qwen3-VL and Qwen3-VL-MoE (2025).
"""

from __future__ import annotations

from deployfit.architectures import qwen3
from deployfit.architectures.numbers import Numbers
from deployfit.architectures.qwen3_5 import POSITION_AXES
from deployfit.architectures.shared import qwen_vision_tower
from deployfit.layers.blueprint import Blueprint


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    tower = qwen_vision_tower(top)
    deepstack = tower.deepstack if tower else text.count("n_deepstack_layers", default=0, least=0)
    return qwen3.blueprint(text, top)._replace(vision=tower, deepstack=deepstack, position_axes=POSITION_AXES)
