"""Weights in files of safetensors."""

from __future__ import annotations

from collections.abc import Iterable

from deployfit.architectures.qwen35 import Part
from deployfit.basis import Basis
from deployfit.formats.safetensors import Stored, file_bytes
from deployfit.quants.weights import Weights, is_embedding, is_expert


def safetensors_weights(
    name: str, format_name: str, tensors: Iterable[Stored], params: int, basis: Basis, notes: tuple[str, ...]
) -> Weights:
    """Return the weights that these tensors are, in files of safetensors."""
    listed = list(tensors)
    parts = {part: sum(tensor.nbytes for tensor in listed if tensor.part is part) for part in Part}
    text = [tensor for tensor in listed if tensor.part is Part.TEXT]
    return Weights(
        recipe=name,
        format=format_name,
        text_bytes=parts[Part.TEXT],
        mtp_bytes=parts[Part.MTP],
        vision_bytes=parts[Part.VISION],
        file_bytes=file_bytes(listed),
        params=params,
        basis=basis,
        embedding_bytes=sum(tensor.nbytes for tensor in text if is_embedding(tensor.name)),
        expert_bytes=sum(tensor.nbytes for tensor in text if is_expert(tensor.name)),
        notes=notes,
    )
