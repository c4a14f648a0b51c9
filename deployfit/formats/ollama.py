"""Ollama's files: text model, MTP layer and vision tower together in one GGUF file, named its own way.

Source: Ollama's converter and quantizer of 2026-02-24 (qwen3.5), and three sizes of its API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from deployfit.architectures.qwen35 import Qwen35, Vision, vision_shapes
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.formats.gguf import ALIGNMENT, GgufTensor
from deployfit.units import ceil_to

# Key-values (with the scores of 248,320 tokens, which llama.cpp does not write) and the manifest's small layers,
# as in the 4B; the 9B and the 27B come out 11 and 45 bytes too small. An array has an entry per layer.
KEY_VALUE_BYTES = 11_947_422
KEY_VALUE_BYTES_PER_LAYER = 4

MTP_NAMES = {
    "nextn.eh_proj": "mtp.fc",
    "nextn.enorm": "mtp.pre_fc_norm_embedding",
    "nextn.hnorm": "mtp.pre_fc_norm_hidden",
    "nextn.shared_head_norm": "mtp.norm",
}


class Record(NamedTuple):
    """A tensor as the file lists it, and how many there are of the same length of name."""

    name: str
    dimensions: int
    nbytes: int
    copies: int = 1


def vision_bytes(vision: Vision) -> int:
    """Return the bytes of the vision tower: everything with two or more dimensions F16, vectors F32."""
    return sum(ceil_to(record.nbytes, ALIGNMENT) for record in _vision_records(vision))


def blob_bytes(config: Qwen35, tensors: Sequence[GgufTensor], types: Sequence[TensorType]) -> int:
    """Return the size that the API tells: the file and the small layers beside it."""
    records = [*_text_records(config, tensors, types), *_vision_records(config.vision)]
    data = sum(record.copies * ceil_to(record.nbytes, ALIGNMENT) for record in records)
    infos = sum(record.copies * (8 + len(record.name) + 4 + 8 * record.dimensions + 4 + 8) for record in records)
    return data + infos + KEY_VALUE_BYTES + KEY_VALUE_BYTES_PER_LAYER * config.num_hidden_layers


def _text_records(config: Qwen35, tensors: Sequence[GgufTensor], types: Sequence[TensorType]) -> Iterator[Record]:
    for tensor, tensor_type in zip(tensors, types, strict=True):
        dimensions = len(tensor.shape) + (tensor.kind == "ffn_gate_inp_shexp")
        nbytes = tensor_type.nbytes(tensor.params)
        if tensor.layer < config.num_hidden_layers:
            yield Record(tensor.name.removesuffix(".bias"), dimensions, nbytes)
        elif tensor.is_experts:  # as in the checkpoint: one tensor per expert; names of three digits for most
            part = tensor.kind.split("_")[1]
            name = f"mtp.layers.0.mlp.experts.100.{part}_proj.weight"
            yield Record(name, 2, nbytes // config.num_experts, config.num_experts)
        else:
            yield Record(MTP_NAMES.get(tensor.kind, "mtp.layers.0." + tensor.kind) + ".weight", dimensions, nbytes)


def _vision_records(vision: Vision) -> Iterator[Record]:
    for name, shape in vision_shapes(vision):
        short = name.replace("model.visual", "v").replace("patch_embed.proj", "patch_embed").replace("blocks", "blk")
        tensor_type = TENSOR_TYPES["F32" if len(shape) == 1 else "F16"]
        nbytes = tensor_type.nbytes(prod(shape))
        if "attn.qkv" in short:
            for part in "qkv":
                yield Record(short.replace("attn.qkv", "attn_" + part), len(shape), nbytes // 3)
        else:
            dimensions = min(len(shape), 4)  # the two frames of the patches are one dimension with the channels
            yield Record(short.replace("attn.proj", "attn_out"), dimensions, nbytes)
