"""Runtimes: weights in motion, what an engine allocates beside them."""
