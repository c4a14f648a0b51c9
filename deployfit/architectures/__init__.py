"""Architectures: a file each, named after the `model_type` of config.json, that makes a Blueprint of its numbers."""
