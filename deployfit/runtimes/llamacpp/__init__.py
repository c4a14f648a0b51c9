"""llama.cpp: what it allocates for a model, counted as the engine counts it.

Source: llama.cpp of 2026-10-01 (ggml 0.25.3), flash attention on, as it is on Metal.
"""
