"""Layers with a state of fixed size in place of a cache: delta nets, Mamba-2, short convolutions."""

from __future__ import annotations

from deployfit.layers.tensor import Roles
from deployfit.values import NamedTuple


class DeltaNet(NamedTuple):
    """Gated delta net (Qwen3.5, Qwen3-Next): heads with a square state each, behind a short convolution.

    `fused`: decay and write strength are one projection (Qwen3-Next).
    """

    key_heads: int
    value_heads: int
    head_dim: int
    kernel: int
    fused: bool = False

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "delta_net"

    @property
    def headline(self) -> str:
        """As lists of layers call it."""
        return "delta net"

    @property
    def value_dim(self) -> int:
        """Width of all value heads together."""
        return self.value_heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        """Channels of the short convolution: queries, keys and values side by side."""
        return 2 * self.key_heads * self.head_dim + self.value_dim

    @property
    def state_elements(self) -> int:
        """Elements of one sequence's recurrent state."""
        return self.value_heads * self.head_dim**2

    @property
    def conv_elements(self) -> int:
        """Elements that the convolution remembers of a sequence."""
        return (self.kernel - 1) * self.conv_channels

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors."""
        yield "attn_qkv", (self.conv_channels, hidden)
        yield "attn_gate", (self.value_dim, hidden)
        if self.fused:
            yield "ssm_ba", (2 * self.value_heads, hidden)
        else:
            yield "ssm_beta", (self.value_heads, hidden)
            yield "ssm_alpha", (self.value_heads, hidden)
        yield "ssm_conv1d", (self.conv_channels, 1, self.kernel)
        yield "ssm_dt.bias", (self.value_heads,)
        yield "ssm_a", (self.value_heads,)
        yield "ssm_norm", (self.head_dim,)
        yield "ssm_out", (hidden, self.value_dim)


class KimiDelta(NamedTuple):
    """Kimi delta attention (KDA): a delta net with a decay per channel; q, k and v have convolutions of their own."""

    heads: int
    head_dim: int
    kernel: int

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "kimi_delta"

    @property
    def headline(self) -> str:
        """As lists of layers call it."""
        return "Kimi delta attention"

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim

    @property
    def state_elements(self) -> int:
        """Elements of one sequence's recurrent state."""
        return self.heads * self.head_dim**2

    @property
    def conv_elements(self) -> int:
        """Elements that the three convolutions remember of a sequence."""
        return 3 * (self.kernel - 1) * self.inner

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors."""
        for letter in "qkv":
            yield f"attn_{letter}", (self.inner, hidden)
            yield f"ssm_conv1d_{letter}", (self.inner, 1, self.kernel)
        yield "ssm_f_a", (self.head_dim, hidden)
        yield "ssm_f_b", (self.inner, self.head_dim)
        yield "ssm_beta", (self.heads, hidden)
        yield "ssm_a", (self.heads,)
        yield "ssm_dt.bias", (self.inner,)
        yield "ssm_g_a", (self.head_dim, hidden)
        yield "ssm_g_b", (self.inner, self.head_dim)
        yield "ssm_norm", (self.head_dim,)
        yield "attn_output", (hidden, self.inner)


class Mamba2(NamedTuple):
    """Mamba-2 (Nemotron-H, Granite 4.0 H): `heads` of `head_dim`, each with `state` numbers a dimension."""

    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int
    conv_bias: bool = True

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "mamba2"

    @property
    def headline(self) -> str:
        """As lists of layers call it."""
        return "Mamba-2"

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        """Channels of the short convolution."""
        return self.inner + 2 * self.groups * self.state

    @property
    def state_elements(self) -> int:
        """Elements of one sequence's recurrent state."""
        return self.state * self.inner

    @property
    def conv_elements(self) -> int:
        """Elements that the convolution remembers of a sequence."""
        return (self.kernel - 1) * self.conv_channels

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors."""
        yield "ssm_in", (self.inner + self.conv_channels + self.heads, hidden)
        yield "ssm_conv1d", (self.conv_channels, 1, self.kernel)
        if self.conv_bias:
            yield "ssm_conv1d.bias", (self.conv_channels,)
        yield "ssm_dt.bias", (self.heads,)
        yield "ssm_a", (self.heads,)
        yield "ssm_d", (self.heads,)
        yield "ssm_norm", (self.inner,)
        yield "ssm_out", (hidden, self.inner)


class ShortConvolution(NamedTuple):
    """Gated short convolution (LFM2) over `channels`, which are the hidden size."""

    channels: int
    kernel: int
    bias: bool = False

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "short_convolution"

    @property
    def headline(self) -> str:
        """As lists of layers call it."""
        return "short convolution"

    @property
    def state_elements(self) -> int:
        """It has no state beside what the convolution remembers."""
        return 0

    @property
    def conv_elements(self) -> int:
        """Elements that the convolution remembers of a sequence."""
        return (self.kernel - 1) * self.channels

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors."""
        yield "shortconv.in_proj", (3 * self.channels, hidden)
        yield "shortconv.conv", (self.channels, 1, self.kernel)
        yield "shortconv.out_proj", (hidden, self.channels)
        if self.bias:
            for part, rows in (("in_proj", 3 * self.channels), ("conv", self.channels), ("out_proj", hidden)):
                yield f"shortconv.{part}.bias", (rows,)
