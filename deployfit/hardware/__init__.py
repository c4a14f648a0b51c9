"""Macs: what was sold, what the GPU may use, and one of them as the place where a model runs."""
