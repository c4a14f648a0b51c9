"""Gemma 4 with images and sound that go straight into the text model (12B): no per-layer embeddings.

Source: transformers' Gemma 4 Unified (2026-05).
"""

from __future__ import annotations

from deployfit.architectures import gemma4
from deployfit.architectures.numbers import Numbers
from deployfit.layers.blueprint import Blueprint

DEFAULTS = {"hidden_size_per_layer_input": 0, "sliding_window": 1_024, "max_position_embeddings": 262_144}


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    return gemma4.blueprint(text.with_defaults(DEFAULTS), top)
