"""Vision towers out of mmproj files."""

from __future__ import annotations

from deployfit.layers.vision import VisionTower
from deployfit.sources.headers import Headers

QWEN = "qwen3vl_merger"  # the only kind of tower whose working memory is known
CHANNELS = 3
TEMPORAL_PATCH = 2  # both halves of the first convolution are tensors of their own, without a key that says so


def tower_of(headers: Headers) -> VisionTower | None:
    """Return the tower that an mmproj file's key-values tell of, None if it is of another kind than is known."""
    metadata = headers.metadata
    if metadata.get("clip.projector_type", metadata.get("clip.vision.projector_type")) != QWEN:
        return None
    shapes = {tensor.name: tensor.shape for tensor in headers.tensors}
    positions = shapes.get("v.position_embd.weight", ())
    keys = (
        "block_count",
        "embedding_length",
        "attention.head_count",
        "feed_forward_length",
        "projection_dim",
        "patch_size",
        "spatial_merge_size",
    )
    found = [metadata.get(f"clip.vision.{key}") for key in keys]
    numbers = [value for value in found if type(value) is int and 1 <= value <= 1_000_000]
    if len(numbers) < len(keys) or len(positions) != 2:
        return None
    depth, hidden, heads, width, out, patch, merge = numbers
    taken_out = headers.arrays.get("clip.vision.is_deepstack_layers", ())
    return VisionTower(
        depth=depth,
        hidden_size=hidden,
        num_heads=heads,
        intermediate_size=width,
        out_hidden_size=out,
        patch_size=patch,
        temporal_patch_size=TEMPORAL_PATCH,
        spatial_merge_size=merge,
        in_channels=CHANNELS,
        num_position_embeddings=positions[1],
        deepstack_layers=tuple(layer for layer, taken in enumerate(taken_out) if taken),
    )
