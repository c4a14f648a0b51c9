"""Ollama's files: text model, MTP layer and vision tower together in one GGUF file, named its own way.

Source: Ollama's converter and quantizer of 2026-02-24 (qwen3.5), and three sizes of its API.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.formats.gguf import ALIGNMENT
from deployfit.formats.gguf_recipes import TypedClass
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.layers.vision import VisionTower
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

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


def vision_sizes(vision: VisionTower) -> Iterator[tuple[str, str, int]]:
    """Yield name, type and padded bytes of the vision tower's tensors: with two or more dimensions F16, else F32."""
    for record, type_name in _vision_records(vision):
        yield record.name, type_name, ceil_to(record.nbytes, ALIGNMENT)


def blob_bytes(blueprint: Blueprint, typed: Iterable[TypedClass]) -> int:
    """Return the size that the API tells: the file and the small layers beside it."""
    records = list(_text_records(blueprint, typed))
    if blueprint.vision:
        records += [record for record, _ in _vision_records(blueprint.vision)]
    data = sum(record.copies * ceil_to(record.nbytes, ALIGNMENT) for record in records)
    infos = sum(record.copies * (8 + len(record.name) + 4 + 8 * record.dimensions + 4 + 8) for record in records)
    return data + infos + KEY_VALUE_BYTES + KEY_VALUE_BYTES_PER_LAYER * len(blueprint.layers)


def _text_records(blueprint: Blueprint, typed: Iterable[TypedClass]) -> Iterator[Record]:
    for tensors, _, layers, nbytes in typed:
        dimensions = len(tensors.shape) + (tensors.role == "ffn_gate_inp_shexp")
        if tensors.part is Part.TEXT:
            for layer in layers:
                yield Record(tensors.full_name(layer).removesuffix(".bias"), dimensions, nbytes)
        elif tensors.is_stack and blueprint.experts:  # one tensor per expert; names of three digits for most
            name = f"mtp.layers.0.mlp.experts.100.{tensors.role.split('_')[1]}_proj.weight"
            yield Record(name, 2, nbytes // blueprint.experts.count, blueprint.experts.count)
        else:
            yield Record(MTP_NAMES.get(tensors.role, "mtp.layers.0." + tensors.role) + ".weight", dimensions, nbytes)


def _vision_records(vision: VisionTower) -> Iterator[tuple[Record, str]]:
    for name, shape in vision.tensors():
        short = "v." + name.replace("patch_embed.proj", "patch_embed").replace("blocks", "blk")
        type_name = "F32" if len(shape) == 1 else "F16"
        nbytes = TENSOR_TYPES[type_name].nbytes(prod(shape))
        if "attn.qkv" in short:
            for part in "qkv":
                yield Record(short.replace("attn.qkv", "attn_" + part), len(shape), nbytes // 3), type_name
        else:
            dimensions = min(len(shape), 4)  # the two frames of the patches are one dimension with the channels
            yield Record(short.replace("attn.proj", "attn_out"), dimensions, nbytes), type_name
