"""Model files for tests: headers as the engines' own writers make them, before data parts that are holes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from fake_hub import SparseFile

from deployfit.catalogue import data_text, models
from deployfit.layers.attention import Attention
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import DeltaNet
from deployfit.models import Model
from deployfit.units import ceil_to

REPO = "unsloth/Qwen3.5-27B-GGUF"
MLX_REPO = "mlx-community/Qwen3.5-9B-4bit"
VOCABULARY = 20_000

Entry = tuple[str, tuple[int, ...], str]  # name, shape with the row length first, type


def gguf_numbers(model: Model, *, mtp: bool) -> dict[str, int]:
    """The key-values of a Qwen3.5 file, as llama.cpp's conversion writes them."""
    blueprint = model.blueprint
    (attention,) = {layer.mixer for layer in blueprint.layers if isinstance(layer.mixer, Attention)}
    (delta,) = {layer.mixer for layer in blueprint.layers if isinstance(layer.mixer, DeltaNet)}
    feed = blueprint.layers[0].feed
    drafts = len(blueprint.drafts) if mtp else 0
    numbers = {
        "block_count": len(blueprint.layers) + drafts,
        "nextn_predict_layers": drafts,
        "context_length": blueprint.trained_context,
        "embedding_length": blueprint.hidden,
        "attention.head_count": attention.heads,
        "attention.head_count_kv": attention.kv_heads,
        "attention.key_length": attention.head_dim,
        "attention.value_length": attention.head_dim,
        "rope.dimension_count": attention.rotary,
        "ssm.conv_kernel": delta.kernel,
        "ssm.state_size": delta.head_dim,
        "ssm.group_count": delta.key_heads,
        "ssm.time_step_rank": delta.value_heads,
        "ssm.inner_size": delta.value_dim,
        "full_attention_interval": next(i for i, each in enumerate(blueprint.layers, 1) if each.mixer == attention),
    }
    if isinstance(feed, Mlp):
        return numbers | {"feed_forward_length": feed.width}
    assert isinstance(feed, Experts)
    return numbers | {
        "expert_count": feed.count,
        "expert_used_count": feed.used,
        "expert_feed_forward_length": feed.width,
        "expert_shared_feed_forward_length": feed.shared_width,
    }


def gguf_entries(name: str, recipe: str, *, mtp: bool = False) -> list[Entry]:
    """The tensors of a model under a recipe, in the order of the layers."""
    from deployfit.formats.gguf import GgufSource
    from deployfit.formats.gguf_recipes import typed_classes
    from deployfit.quants.gguf import gguf_recipes

    source = GgufSource(models()[name].blueprint, drafts=mtp)
    found = [
        (layer, typed.tensors.full_name(layer), typed.tensors.shape, typed.tensor_type.name)
        for typed in typed_classes(gguf_recipes()[recipe], source, imatrix=False)
        for layer in typed.layers
    ]
    return [entry[1:] for entry in sorted(found)]


def gguf_header(
    folder: Path,
    architecture: str,
    numbers: Mapping[str, Any],
    entries: Iterable[Entry],
    vocabulary: int = VOCABULARY,
    split: tuple[int, int] | None = None,
) -> SparseFile:
    """The header of a file as llama.cpp's own writer writes it, before a data part that is a hole."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

    path = folder / "header.gguf"
    writer = GGUFWriter(path, architecture)
    if vocabulary:
        writer.add_array("tokenizer.ggml.tokens", [f"token-{number}" for number in range(vocabulary)])
    for key, value in numbers.items():
        named = key if "." in key and key.split(".")[0] in ("clip", "general", "split") else f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(named, value)
        elif isinstance(value, str):
            writer.add_string(named, value)
        elif isinstance(value, float):
            writer.add_float32(named, value)
        elif isinstance(value, list):
            writer.add_array(named, value)
        elif value:
            writer.add_uint32(named, value)
    if split:
        writer.add_uint16("split.no", split[0])
        writer.add_uint16("split.count", split[1])
    total = 0
    for name, shape, type_name in entries:
        kind = GGMLQuantizationType[type_name]
        block_size, block_bytes = GGML_QUANT_SIZES[kind]
        params = 1
        for size in shape:
            params *= size
        nbytes = params // block_size * block_bytes
        writer.add_tensor_info(name, shape[::-1], np.dtype(np.float32), nbytes, raw_dtype=kind)
        total += ceil_to(nbytes, 32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.read_bytes()
    path.unlink()
    header += b"\0" * (-len(header) % 32)
    return SparseFile(header, len(header) + total)


def gguf_file(folder: Path, name: str, recipe: str, *, mtp: bool = False, architecture: str = "") -> SparseFile:
    """A model of the catalogue under one of llama.cpp's recipes."""
    model = models()[name]
    entries = gguf_entries(name, recipe, mtp=mtp)
    return gguf_header(folder, architecture or model.blueprint.gguf_architecture, gguf_numbers(model, mtp=mtp), entries)


def gguf_shards(folder: Path, name: str, recipe: str, count: int, stem: str = "m") -> dict[str, SparseFile]:
    """The same, split as llama-gguf-split does: key-values in the first only."""
    model = models()[name]
    entries = gguf_entries(name, recipe)
    ends = [len(entries) * number // count for number in range(count + 1)]
    architecture = model.blueprint.gguf_architecture
    return {
        f"{stem}-{number + 1:05}-of-{count:05}.gguf": gguf_header(
            folder,
            architecture,
            {} if number else gguf_numbers(model, mtp=False),
            entries[start:stop],
            0 if number else VOCABULARY,
            (number, count),
        )
        for number, (start, stop) in enumerate(pairwise(ends))
    }


def mmproj_file(folder: Path, hidden: int, depth: int = 12, width: int = 768) -> SparseFile:
    """A vision tower as llama.cpp's conversion of Qwen3.5 writes it, but for most of its tensors."""
    numbers = {
        "clip.projector_type": "qwen3vl_merger",
        "clip.vision.block_count": depth,
        "clip.vision.embedding_length": width,
        "clip.vision.feed_forward_length": 4 * width,
        "clip.vision.attention.head_count": 12,
        "clip.vision.projection_dim": hidden,
        "clip.vision.patch_size": 16,
        "clip.vision.image_size": 768,
        "clip.vision.spatial_merge_size": 2,
        "clip.vision.is_deepstack_layers": [False] * depth,
    }
    entries = [
        ("v.position_embd.weight", (width, 2304), "F32"),
        ("v.patch_embd.weight", (16, 16, 3, width), "F16"),
        ("mm.2.weight", (4 * width, hidden), "F16"),
    ]
    return gguf_header(folder, "clip", numbers, entries, 0)


def safetensors_file(entries: Sequence[tuple[str, str, tuple[int, ...], int]]) -> SparseFile:
    records: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, dtype, shape, nbytes in entries:
        records[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    header = json.dumps(records).encode()
    return SparseFile(struct.pack("<Q", len(header)) + header, 8 + len(header) + offset)


def mlx_files(name: str, recipe: str, shards: int) -> dict[str, SparseFile]:
    from deployfit.catalogue import rows
    from deployfit.formats.mlx import MLX_VLM, RECIPES, mlx_runs
    from deployfit.formats.safetensors import every_tensor
    from deployfit.quants.mlx import mlx_source

    (wanted,) = (each for each in rows(RECIPES) if each.name == recipe)
    stored = every_tensor(mlx_runs(mlx_source(models()[name]), wanted, MLX_VLM))
    entries = [(each.name, each.dtype, each.shape, each.nbytes) for each in stored]
    ends = [len(entries) * number // shards for number in range(shards + 1)]
    parts = [entries[start:stop] for start, stop in pairwise(ends)]
    return {
        f"model-{number:05}-of-{len(parts):05}.safetensors": safetensors_file(part)
        for number, part in enumerate(parts, start=1)
    }


def config_json(name: str, **more: object) -> bytes:
    """The published config.json of a model of the catalogue, with more in it."""
    return json.dumps(json.loads(data_text(f"configs/{name}.json")) | more).encode()
