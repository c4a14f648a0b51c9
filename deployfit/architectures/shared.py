"""What architectures have in common: the numbers that most configurations call by the same names."""

from __future__ import annotations

from collections.abc import Iterable

from deployfit.architectures.numbers import Numbers
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.vision import VisionTower

FULL, SLIDING = "full_attention", "sliding_attention"


def model(
    text: Numbers,
    top: Numbers,
    layers: Iterable[Layer],
    *,
    tied: bool = False,
    vocab: int | None = None,
    trained_context: int | None = None,
) -> Blueprint:
    """Return a blueprint of these layers; the rest counts where the configuration does not say.

    Whoever found the architecture by its name fills the names in.
    """
    return Blueprint(
        model_type="",
        gguf_architecture="",
        hidden=text.count("hidden_size"),
        vocab=(top if text.get("vocab_size") is None else text).count("vocab_size", default=vocab),
        tied=text.flag("tie_word_embeddings", top.flag("tie_word_embeddings", tied)),
        trained_context=text.count("max_position_embeddings", "model_max_length", default=trained_context),
        layers=tuple(layers),
    )


def attention(text: Numbers, default_head_dim: int = 0) -> Attention:
    """Return grouped-query attention; `attention_bias` gives all four projections a bias.

    Heads share the hidden size where the configuration and the architecture do not say how large one is.
    """
    heads = text.count("num_attention_heads")
    size = text.count("head_dim", default=default_head_dim) if default_head_dim else head_dim(text)
    return Attention(
        heads=heads,
        kv_heads=text.count("num_key_value_heads", default=heads),
        head_dim=size,
        rotary=rotary(text, size),
        biases="qkvo" if text.flag("attention_bias", False) else "",
    )


def rotates(text: Numbers, layers: int) -> list[bool]:
    """Return which layers rotate queries and keys: as listed, else all but every n-th."""
    interval = text.count("no_rope_layer_interval", default=4)
    listed = text.get("no_rope_layers") or [(layer + 1) % interval != 0 for layer in range(layers)]
    if not isinstance(listed, list) or len(listed) < layers or any(each not in (0, 1) for each in listed):
        text.fault("no_rope_layers", f"1 or 0 for each of {layers} layers", listed)
        return []
    return [bool(each) for each in listed[:layers]]


def head_dim(text: Numbers) -> int:
    """Return the size of an attention head: as given, else its share of the hidden size."""
    hidden, heads = text.count("hidden_size"), text.count("num_attention_heads")
    if text.get("head_dim") is None and hidden % heads:
        text.contradiction("num_attention_heads", f"a divisor of hidden_size, {hidden}", heads)
    return text.count("head_dim", default=max(1, hidden // heads))


def rope(text: Numbers) -> Numbers:
    """Return the section on rotary positions, whatever the configuration calls it; empty where there is none."""
    return text.section("rope_parameters") or text.section("rope_scaling") or text.empty()


def rope_type(text: Numbers) -> str:
    """Return how rotary positions are stretched: "llama3", "yarn", "longrope" or the like."""
    section = rope(text)
    return section.text("rope_type") or section.text("type")


def rotary(text: Numbers, size: int, default: float = 1.0) -> int:
    """Return how many dimensions of a head of this size are rotated."""
    share = text.share("partial_rotary_factor", rope(text).share("partial_rotary_factor", default))
    return int(size * share)


def windowed(text: Numbers, layers: int, every: int) -> list[bool]:
    """Return which layers see a window only: as listed, else all but every n-th."""
    listed = text.layer_types(layers, (SLIDING, FULL))
    if listed:
        return [kind == SLIDING for kind in listed]
    return [(layer + 1) % every != 0 for layer in range(layers)]


def qwen_vision_tower(top: Numbers) -> VisionTower | None:
    """Return the vision tower of `vision_config`, None where there is none."""
    vision = top.section("vision_config")
    if vision is None:
        return None
    numbers = {name: vision.count(name) for name in VisionTower._fields if name != "deepstack_layers"}
    layers = vision.indices("deepstack_visual_indexes", numbers["depth"])
    return VisionTower(**numbers, deepstack_layers=tuple(sorted(layers)))
