"""Layer kinds: what a model is made of. They know their tensors by role, and nothing of formats and engines."""
