"""Repositories for the tests' Hub: headers as the engines' own writers make them, before data parts that are holes."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fake_hub import SparseFile
from gguf import GGMLQuantizationType, GGUFWriter

from deployfit.catalog import mlx_recipes, models, recipes
from deployfit.formats.gguf import gguf_tensors
from deployfit.formats.gguf_recipes import tensor_sizes, tensor_types
from deployfit.formats.mlx import MLX_VLM, stored_tensors
from deployfit.models import Model
from deployfit.units import ceil_to

REPO = "unsloth/Qwen3.5-27B-GGUF"
MLX_REPO = "mlx-community/Qwen3.5-9B-4bit"
VOCABULARY = 20_000


def gguf_numbers(model: Model, *, mtp: bool) -> dict[str, int]:
    config = model.config
    return {
        "block_count": config.num_hidden_layers + (config.mtp_num_hidden_layers if mtp else 0),
        "nextn_predict_layers": config.mtp_num_hidden_layers if mtp else 0,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "ssm.state_size": config.linear_key_head_dim,
        "ssm.group_count": config.linear_num_key_heads,
        "ssm.time_step_rank": config.linear_num_value_heads,
        "full_attention_interval": config.full_attention_interval,
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_feed_forward_length": config.shared_expert_intermediate_size,
    }


def gguf_file(folder: Path, name: str, recipe: str, *, mtp: bool = False, architecture: str = "") -> SparseFile:
    """The header of a file as llama.cpp's own writer writes it, before a data part that is a hole."""
    model = models()[name]
    config = model.config
    tensors = gguf_tensors(config, mtp=mtp)
    gqa = config.num_attention_heads // config.num_key_value_heads
    types = tensor_types(recipes()[recipe], tensors, gqa=gqa, experts=config.num_experts, imatrix=False)
    path = folder / "header.gguf"
    writer = GGUFWriter(path, architecture or ("qwen35moe" if config.is_moe else "qwen35"))
    writer.add_array("tokenizer.ggml.tokens", [f"token-{number}" for number in range(VOCABULARY)])
    for key, value in gguf_numbers(model, mtp=mtp).items():
        if value:
            writer.add_uint32(f"{writer.arch}.{key}", value)
    sizes = tensor_sizes(tensors, types)
    for tensor, tensor_type, size in zip(tensors, types, sizes, strict=True):
        kind = GGMLQuantizationType[tensor_type.name]
        writer.add_tensor_info(tensor.name, tensor.shape[::-1], np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.read_bytes()
    header += b"\0" * (-len(header) % 32)
    return SparseFile(header, len(header) + sum(ceil_to(size, 32) for size in sizes))


def safetensors_file(entries: Sequence[tuple[str, str, tuple[int, ...], int]]) -> SparseFile:
    records: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, dtype, shape, nbytes in entries:
        records[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    header = json.dumps(records).encode()
    return SparseFile(struct.pack("<Q", len(header)) + header, 8 + len(header) + offset)


def mlx_files(name: str, recipe: str, shards: int) -> dict[str, SparseFile]:
    model = models()[name]
    stored = list(stored_tensors(model.config, mlx_recipes()[recipe], model.float32_tensors, tool=MLX_VLM))
    entries = [(each.name, each.dtype, each.shape, each.nbytes) for each in stored]
    ends = [len(entries) * number // shards for number in range(shards + 1)]
    parts = [entries[start:stop] for start, stop in pairwise(ends)]
    return {
        f"model-{number:05}-of-{len(parts):05}.safetensors": safetensors_file(part)
        for number, part in enumerate(parts, start=1)
    }


def config_json(name: str, **more: object) -> bytes:
    model = models()[name]
    text = model.config._asdict()
    vision = text.pop("vision")._asdict()
    fields = {key: value for key, value in text.items() if value or key == "tie_word_embeddings"}
    kind = "qwen3_5_moe" if model.config.is_moe else "qwen3_5"
    return json.dumps({"model_type": kind, "text_config": fields, "vision_config": vision, **more}).encode()
