"""The Qwen3.5 architecture: from the numbers of a config.json to every tensor of the checkpoint.

Three linear-attention layers (Gated DeltaNet) alternate with one full-attention layer; the MLP is dense or
a mixture of experts; a vision tower and one multi-token-prediction (MTP) layer come with every checkpoint.
Field names are those of the published config.json. Law, tested for every model of the catalogue: the
parameters of the tensors listed here add up to the published count.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from math import prod
from typing import NamedTuple


class Part(Enum):
    """The three things a checkpoint holds; engines load them separately."""

    TEXT = "text"
    VISION = "vision"
    MTP = "mtp"


class Vision(NamedTuple):
    """The vision tower's numbers, named as in `vision_config`."""

    depth: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    out_hidden_size: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    in_channels: int
    num_position_embeddings: int


class Qwen35(NamedTuple):
    """A configuration: the text model's numbers as in `text_config`, and the vision tower's.

    `intermediate_size` is 0 in a mixture of experts, the four expert numbers are 0 in a dense model.
    """

    hidden_size: int
    num_hidden_layers: int
    full_attention_interval: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    linear_num_key_heads: int
    linear_num_value_heads: int
    linear_key_head_dim: int
    linear_value_head_dim: int
    linear_conv_kernel_dim: int
    intermediate_size: int
    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    shared_expert_intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool
    max_position_embeddings: int
    mtp_num_hidden_layers: int
    vision: Vision

    @property
    def is_moe(self) -> bool:
        """Whether the MLP is a mixture of experts."""
        return self.num_experts > 0

    @property
    def full_attention_layers(self) -> int:
        """How many layers have a KV cache (16 of the 27B's 64)."""
        return self.num_hidden_layers // self.full_attention_interval

    @property
    def linear_attention_layers(self) -> int:
        """How many layers keep a recurrent state instead of a KV cache."""
        return self.num_hidden_layers - self.full_attention_layers

    @property
    def conv_channels(self) -> int:
        """Channels of a linear layer's short convolution: queries, keys and values side by side."""
        return 2 * self.linear_num_key_heads * self.linear_key_head_dim + self.linear_value_dim

    @property
    def linear_value_dim(self) -> int:
        """Width of all value heads of a linear layer together."""
        return self.linear_num_value_heads * self.linear_value_head_dim

    def contradictions(self) -> list[str]:
        """Return what cannot be true together in this configuration."""
        rules = {
            "num_attention_heads: not a multiple of num_key_value_heads": (
                self.num_attention_heads % self.num_key_value_heads
            ),
            "linear_num_value_heads: not a multiple of linear_num_key_heads": (
                self.linear_num_value_heads % self.linear_num_key_heads
            ),
            "linear_key_head_dim: differs from linear_value_head_dim": (
                self.linear_key_head_dim != self.linear_value_head_dim
            ),
            "num_experts_per_tok: more than num_experts": self.num_experts_per_tok > self.num_experts,
            "full_attention_interval: more than num_hidden_layers": (
                self.full_attention_interval > self.num_hidden_layers
            ),
        }
        return [text for text, broken in rules.items() if broken]

    def is_full_attention(self, layer: int) -> bool:
        """Whether this layer (counted from 0) is a full-attention layer."""
        return (layer + 1) % self.full_attention_interval == 0


class Tensor(NamedTuple):
    """One tensor of the checkpoint; the shape is (rows, columns) as PyTorch stores it."""

    name: str
    shape: tuple[int, ...]
    part: Part

    @property
    def params(self) -> int:
        """How many numbers the tensor holds."""
        return prod(self.shape)


@lru_cache(maxsize=16)
def checkpoint_tensors(config: Qwen35) -> tuple[Tensor, ...]:
    """Return every tensor of the checkpoint: text, MTP and vision, in the order of the model's forward pass."""
    parts = (
        (Part.TEXT, text_shapes(config)),
        (Part.MTP, mtp_shapes(config)),
        (Part.VISION, vision_shapes(config.vision)),
    )
    return tuple(Tensor(name, shape, part) for part, shapes in parts for name, shape in shapes)


Shapes = Iterator[tuple[str, tuple[int, ...]]]


def text_shapes(config: Qwen35) -> Shapes:
    """Yield name and shape of the text model's tensors."""
    model = "model.language_model."
    yield model + "embed_tokens.weight", (config.vocab_size, config.hidden_size)
    for layer in range(config.num_hidden_layers):
        yield from _layer(config, f"{model}layers.{layer}.", full_attention=config.is_full_attention(layer))
    yield model + "norm.weight", (config.hidden_size,)
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (config.vocab_size, config.hidden_size)


def mtp_shapes(config: Qwen35) -> Shapes:
    """Yield name and shape of the MTP layers' tensors: full-attention layers that share the text model's embedding."""
    if not config.mtp_num_hidden_layers:
        return
    hidden = config.hidden_size
    yield "mtp.fc.weight", (hidden, 2 * hidden)
    yield "mtp.pre_fc_norm_embedding.weight", (hidden,)
    yield "mtp.pre_fc_norm_hidden.weight", (hidden,)
    for layer in range(config.mtp_num_hidden_layers):
        yield from _layer(config, f"mtp.layers.{layer}.", full_attention=True)
    yield "mtp.norm.weight", (hidden,)


def _layer(config: Qwen35, prefix: str, *, full_attention: bool) -> Shapes:
    yield prefix + "input_layernorm.weight", (config.hidden_size,)
    yield from (_full_attention if full_attention else _linear_attention)(config, prefix)
    yield prefix + "post_attention_layernorm.weight", (config.hidden_size,)
    yield from (_experts if config.is_moe else _dense_mlp)(config, prefix + "mlp.")


def _full_attention(config: Qwen35, prefix: str) -> Shapes:
    attn = prefix + "self_attn."
    hidden, head_dim = config.hidden_size, config.head_dim
    query_dim = config.num_attention_heads * head_dim
    kv_dim = config.num_key_value_heads * head_dim
    yield attn + "q_proj.weight", (2 * query_dim, hidden)  # query and output gate, fused
    yield attn + "k_proj.weight", (kv_dim, hidden)
    yield attn + "v_proj.weight", (kv_dim, hidden)
    yield attn + "o_proj.weight", (hidden, query_dim)
    yield attn + "q_norm.weight", (head_dim,)
    yield attn + "k_norm.weight", (head_dim,)


def _linear_attention(config: Qwen35, prefix: str) -> Shapes:
    attn = prefix + "linear_attn."
    hidden, value_heads = config.hidden_size, config.linear_num_value_heads
    yield attn + "in_proj_qkv.weight", (config.conv_channels, hidden)
    yield attn + "in_proj_z.weight", (config.linear_value_dim, hidden)
    yield attn + "in_proj_b.weight", (value_heads, hidden)
    yield attn + "in_proj_a.weight", (value_heads, hidden)
    yield attn + "conv1d.weight", (config.conv_channels, 1, config.linear_conv_kernel_dim)
    yield attn + "dt_bias", (value_heads,)
    yield attn + "A_log", (value_heads,)
    yield attn + "norm.weight", (config.linear_value_head_dim,)
    yield attn + "out_proj.weight", (hidden, config.linear_value_dim)


def _dense_mlp(config: Qwen35, prefix: str) -> Shapes:
    yield from _gated_mlp(prefix, config.hidden_size, config.intermediate_size)


def _gated_mlp(prefix: str, hidden: int, width: int) -> Shapes:
    yield prefix + "gate_proj.weight", (width, hidden)
    yield prefix + "up_proj.weight", (width, hidden)
    yield prefix + "down_proj.weight", (hidden, width)


def _experts(config: Qwen35, prefix: str) -> Shapes:
    hidden, experts, width = config.hidden_size, config.num_experts, config.moe_intermediate_size
    yield prefix + "gate.weight", (experts, hidden)
    yield prefix + "experts.gate_up_proj", (experts, 2 * width, hidden)
    yield prefix + "experts.down_proj", (experts, hidden, width)
    yield from _gated_mlp(prefix + "shared_expert.", hidden, config.shared_expert_intermediate_size)
    yield prefix + "shared_expert_gate.weight", (1, hidden)


def vision_shapes(vision: Vision) -> Shapes:
    """Yield name and shape of the vision tower's tensors."""
    hidden, width = vision.hidden_size, vision.intermediate_size
    merged = hidden * vision.spatial_merge_size**2
    patch = (vision.in_channels, vision.temporal_patch_size, vision.patch_size, vision.patch_size)
    yield from _affine("model.visual.patch_embed.proj", (hidden, *patch))
    yield "model.visual.pos_embed.weight", (vision.num_position_embeddings, hidden)
    for block in range(vision.depth):
        prefix = f"model.visual.blocks.{block}."
        yield from _affine(prefix + "norm1", (hidden,))
        yield from _affine(prefix + "attn.qkv", (3 * hidden, hidden))
        yield from _affine(prefix + "attn.proj", (hidden, hidden))
        yield from _affine(prefix + "norm2", (hidden,))
        yield from _affine(prefix + "mlp.linear_fc1", (width, hidden))
        yield from _affine(prefix + "mlp.linear_fc2", (hidden, width))
    yield from _affine("model.visual.merger.norm", (hidden,))
    yield from _affine("model.visual.merger.linear_fc1", (merged, merged))
    yield from _affine("model.visual.merger.linear_fc2", (vision.out_hidden_size, merged))


def _affine(name: str, shape: tuple[int, ...]) -> Shapes:
    yield name + ".weight", shape
    yield name + ".bias", shape[:1]
