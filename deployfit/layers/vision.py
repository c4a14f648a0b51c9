"""Vision towers."""

from __future__ import annotations

from deployfit.layers.tensor import Roles
from deployfit.values import NamedTuple


class VisionTower(NamedTuple):
    """The vision tower of Qwen3-VL and Qwen3.5, its numbers named as in `vision_config`.

    `deepstack_layers`: after which of its layers features are taken that are added to the text model's, each through a
    merger of its own.
    """

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
    deepstack_layers: tuple[int, ...] = ()

    @property
    def deepstack(self) -> int:
        """At how many layers of the text model features are added."""
        return len(self.deepstack_layers)

    def tensors(self) -> Roles:
        """Yield name within the tower and shape of its tensors; `.weight` and `.bias` are part of the name."""
        hidden, width = self.hidden_size, self.intermediate_size
        merged = hidden * self.spatial_merge_size**2
        patch = (self.in_channels, self.temporal_patch_size, self.patch_size, self.patch_size)
        yield from _affine("patch_embed.proj", (hidden, *patch))
        yield "pos_embed.weight", (self.num_position_embeddings, hidden)
        for block in range(self.depth):
            prefix = f"blocks.{block}."
            yield from _affine(prefix + "norm1", (hidden,))
            yield from _affine(prefix + "attn.qkv", (3 * hidden, hidden))
            yield from _affine(prefix + "attn.proj", (hidden, hidden))
            yield from _affine(prefix + "norm2", (hidden,))
            yield from _affine(prefix + "mlp.linear_fc1", (width, hidden))
            yield from _affine(prefix + "mlp.linear_fc2", (hidden, width))
        for prefix, normed in (
            ("merger.", hidden),
            *((f"deepstack_merger_list.{i}.", merged) for i in range(self.deepstack)),
        ):
            yield from _affine(prefix + "norm", (normed,))
            yield from _affine(prefix + "linear_fc1", (merged, merged))
            yield from _affine(prefix + "linear_fc2", (self.out_hidden_size, merged))


def _affine(name: str, shape: tuple[int, ...]) -> Roles:
    yield name + ".weight", shape
    yield name + ".bias", shape[:1]
