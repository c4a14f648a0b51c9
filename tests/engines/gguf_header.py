"""GGUF files for llama.cpp that are a header only: the data part is a hole of the right length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from deployfit.architectures.qwen35 import Qwen35
from deployfit.formats.ggml import TensorType
from deployfit.formats.gguf import GgufTensor, gguf_tensors, tensor_data_bytes

ROPE_SECTIONS = [11, 11, 10, 0]  # as published, like the frequency base: they shape no tensor
ROPE_BASE = 10_000_000.0
ROPE_SHARE_OF_HEAD = 4  # a quarter of each head is rotated
NORM_EPSILON = 1e-6


def write_header_only(config: Qwen35, path: Path, *, mtp: bool) -> None:
    """Write the file that llama.cpp's converter makes of a model, without a vocabulary and without data."""
    write_typed(config, path, [(tensor, tensor.source_type) for tensor in gguf_tensors(config, mtp=mtp)], mtp=mtp)


def write_typed(
    config: Qwen35,
    path: Path,
    tensors: Iterable[tuple[GgufTensor, TensorType]],
    *,
    mtp: bool,
    describe: Callable[[GGUFWriter], None] = lambda writer: None,
) -> int:
    """Write a file with these tensors in these types, a hole where the data are; return the bytes of the tensors."""
    writer = GGUFWriter(path, "qwen35moe" if config.is_moe else "qwen35")
    describe(writer)
    writer.add_string("tokenizer.ggml.model", "none")
    prefix = writer.arch + "."
    for key, value in _numbers(config, mtp=mtp).items():
        writer.add_uint32(prefix + key, value)
    writer.add_float32(prefix + "attention.layer_norm_rms_epsilon", NORM_EPSILON)
    writer.add_float32(prefix + "rope.freq_base", ROPE_BASE)
    writer.add_array(prefix + "rope.dimension_sections", ROPE_SECTIONS)
    sizes = []
    for tensor, tensor_type in tensors:
        sizes.append(tensor_type.nbytes(tensor.params))
        kind = GGMLQuantizationType[tensor_type.name]
        # the writer wants NumPy's order, the rows' length last
        writer.add_tensor_info(tensor.name, tensor.shape[::-1], np.dtype(np.float32), sizes[-1], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with open(path, "r+b") as file:
        begin = writer.ggml_pad(file.seek(0, 2), writer.data_alignment)
        file.truncate(begin + tensor_data_bytes(sizes))
    return sum(sizes)


def _numbers(config: Qwen35, *, mtp: bool) -> dict[str, int]:
    """Return the hyperparameters that the loader asks for; a key without a value is left out."""
    mtp_layers = config.mtp_num_hidden_layers if mtp else 0
    numbers = {
        "vocab_size": config.vocab_size,
        "block_count": config.num_hidden_layers + mtp_layers,
        "nextn_predict_layers": mtp_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "rope.dimension_count": config.head_dim // ROPE_SHARE_OF_HEAD,
        "ssm.conv_kernel": config.linear_conv_kernel_dim,
        "ssm.state_size": config.linear_key_head_dim,
        "ssm.group_count": config.linear_num_key_heads,
        "ssm.time_step_rank": config.linear_num_value_heads,
        "ssm.inner_size": config.linear_value_dim,
        "full_attention_interval": config.full_attention_interval,
    }
    experts = {
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_feed_forward_length": config.shared_expert_intermediate_size,
    }
    return numbers | (experts if config.is_moe else {"feed_forward_length": config.intermediate_size})
