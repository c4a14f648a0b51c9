"""Layers of plain attention out of a GGUF file's own numbers, where nobody wrote its architecture."""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.architectures.numbers import MOST_ELSE, MOST_LAYERS
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint, Layer

Array = tuple[int | float | bool, ...]

# Keys, and parts of tensors' names, of what is no plain attention: its caches are others.
OTHER_KEYS = ("ssm.", "attention.kv_lora_rank", "attention.indexer", "wkv.", "shortconv.", "token_shift", "convnext")
OTHER_TENSORS = (
    ".ssm_",
    ".time_mix_",
    ".attn_kv_a_mqa",
    ".shortconv",
    ".indexer",
    ".attn_kv_b",
    "enc.blk.",
    "dec.blk.",
)


def plain_attention(
    metadata: Mapping[str, object], arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> Blueprint | None:
    """Return a blueprint whose attention layers have the caches that a file's key-values tell of.

    None if they tell of something else, or too little. Where only some layers look through a window and nothing says
    which, none does: the caches are an upper bound then.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        return None
    numbers = _Numbers(metadata, arrays, architecture)
    keys = [key.removeprefix(f"{architecture}.") for key in (*metadata, *arrays) if key.startswith(f"{architecture}.")]
    if any(key.startswith(OTHER_KEYS) for key in keys) or any(
        part in name for name in shapes for part in OTHER_TENSORS
    ):
        return None
    embedding = shapes.get("token_embd.weight", ())
    blocks, hidden = numbers.count("block_count", MOST_LAYERS), numbers.count("embedding_length")
    drafts = numbers.count("nextn_predict_layers", MOST_LAYERS) or 0
    if not blocks or not hidden or len(embedding) != 2 or drafts >= blocks:
        return None
    heads = numbers.per_layer("attention.head_count", blocks)
    kv_heads = numbers.per_layer("attention.head_count_kv", blocks) or heads
    if heads is None or kv_heads is None:
        return None
    windowed = _windowed(numbers, blocks)
    window = numbers.count("attention.sliding_window") or 0
    layers = []
    for layer in range(blocks - drafts):
        if not kv_heads[layer]:
            layers.append(Layer(None, None))
            continue
        head_dim = numbers.count("attention.key_length") or hidden // max(1, heads[layer])
        if (
            heads[layer] < kv_heads[layer]
            or heads[layer] % kv_heads[layer]
            or numbers.count("attention.value_length") not in (None, head_dim)
        ):
            return None
        mixer = Attention(heads[layer], kv_heads[layer], head_dim, head_dim, window if windowed[layer] else 0)
        layers.append(Layer(mixer, None))
    return Blueprint(
        model_type=architecture,
        gguf_architecture=architecture,
        hidden=hidden,
        vocab=embedding[1],
        tied="output.weight" not in shapes,
        trained_context=numbers.count("context_length") or 0,
        layers=tuple(layers),
    )


def _windowed(numbers: _Numbers, blocks: int) -> tuple[bool, ...]:
    """Return which layers look through the window."""
    pattern = numbers.array("attention.sliding_window_pattern", blocks)
    if pattern is not None and all(type(each) is bool for each in pattern):
        return tuple(map(bool, pattern))
    return (False,) * blocks


class _Numbers:
    """The key-values of one architecture; what cannot be true is as if it were not there."""

    def __init__(self, metadata: Mapping[str, object], arrays: Mapping[str, Array], architecture: str) -> None:
        self._metadata = metadata
        self._arrays = arrays
        self._architecture = architecture

    def count(self, key: str, most: int = MOST_ELSE) -> int | None:
        """Return a whole number above 0."""
        value = self._metadata.get(f"{self._architecture}.{key}")
        return value if type(value) is int and 1 <= value <= most else None

    def array(self, key: str, length: int) -> Array | None:
        """Return an array with an entry per layer."""
        value = self._arrays.get(f"{self._architecture}.{key}")
        return value if value is not None and len(value) == length else None

    def per_layer(self, key: str, layers: int) -> tuple[int, ...] | None:
        """Return a number per layer: an array, or one for all."""
        found = self.array(key, layers)
        if found is not None:
            counts = tuple(each for each in found if type(each) is int and 0 <= each <= MOST_ELSE)
            return counts if len(counts) == layers else None
        one = self.count(key)
        return None if one is None else (one,) * layers
