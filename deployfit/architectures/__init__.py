"""Architectures: from a configuration to the complete list of tensors."""
