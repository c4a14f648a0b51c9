"""GGUF: how llama.cpp names, shapes and stores the tensors of a checkpoint, and what its file header takes.

Source: llama.cpp's Qwen3.5 conversion and the GGUF writer (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

from deployfit.architectures.qwen35 import Qwen35, Shapes, mtp_shapes, text_shapes
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.units import ceil_to

ALIGNMENT = 32  # general.alignment: where the data part and each tensor in it begin

F32 = TENSOR_TYPES["F32"]
BF16 = TENSOR_TYPES["BF16"]


class GgufTensor(NamedTuple):
    """A tensor of a GGUF file as its BF16 source file holds it.

    `kind` is its name without layer and ending (`ssm_out`).
    `shape` begins with the row length, as GGUF writes it. `role` is the quantizer's category, "" for the
    tensors that it never quantizes. `ordinal` counts the tensors of the same role, in the quantizer's
    order. `params` is how many numbers it holds.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    role: str
    layer: int
    ordinal: int
    source_type: TensorType
    params: int

    @property
    def row_size(self) -> int:
        """How many numbers one row holds; a row is stored in whole blocks."""
        return self.shape[0]

    @property
    def is_experts(self) -> bool:
        """Whether this is a stack of expert matrices."""
        return len(self.shape) > 2 and self.shape[2] > 1


GLOBAL_NAMES = {
    "model.language_model.embed_tokens.weight": "token_embd.weight",
    "model.language_model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.experts.gate_proj": "ffn_gate_exps.weight",
    "mlp.experts.up_proj": "ffn_up_exps.weight",
    "mlp.experts.down_proj": "ffn_down_exps.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
}
MTP_NAMES = {
    "mtp.fc.weight": "nextn.eh_proj.weight",
    "mtp.pre_fc_norm_embedding.weight": "nextn.enorm.weight",
    "mtp.pre_fc_norm_hidden.weight": "nextn.hnorm.weight",
    "mtp.norm.weight": "nextn.shared_head_norm.weight",
}
SQUEEZED = ("linear_attn.conv1d.weight", "mlp.shared_expert_gate.weight")  # they lose their dimension of 1
KEPT_F32 = ("ffn_gate_inp.weight", "ssm_conv1d.weight")  # matrices that conversion stores as F32, as it does vectors

ROLES = {
    "token_embd.weight": "token_embd",
    "output.weight": "output",
    "attn_qkv.weight": "attn_v",  # since 2026 the quantizer counts the fused projection as attention V
    "attn_v.weight": "attn_v",
    "attn_k.weight": "attn_k",
    "attn_q.weight": "attn_q",
    "attn_output.weight": "attn_output",
    "ffn_up.weight": "ffn_up",
    "ffn_up_exps.weight": "ffn_up",
    "ffn_up_shexp.weight": "ffn_up",
    "ffn_gate.weight": "ffn_gate",
    "ffn_gate_exps.weight": "ffn_gate",
    "ffn_gate_shexp.weight": "ffn_gate",
    "ffn_down.weight": "ffn_down",
    "ffn_down_exps.weight": "ffn_down",
    "ffn_down_shexp.weight": "ffn_down",
}
OTHER = "other"
NEVER_QUANTIZED = ""


def gguf_tensors(config: Qwen35, *, mtp: bool) -> list[GgufTensor]:
    """Return the tensors of the BF16 GGUF file, in the order in which the quantizer walks them.

    The vision tower is not among them: it is a file of its own (mmproj).
    """
    named = list(_renamed(config, text_shapes(config)))
    if mtp:
        named += _renamed(config, mtp_shapes(config))
    named.sort(key=lambda entry: entry[:2])
    counts: dict[str, int] = {}
    tensors = []
    for layer, suffix, shape in named:
        role = _role(config, suffix, shape)
        ordinal = counts.get(role, 0)
        counts[role] = ordinal + 1
        name = suffix if layer < 0 else f"blk.{layer}.{suffix}"
        source_type = F32 if role == NEVER_QUANTIZED else BF16
        tensors.append(
            GgufTensor(name, suffix.removesuffix(".weight"), shape, role, layer, ordinal, source_type, prod(shape))
        )
    return tensors


def _role(config: Qwen35, suffix: str, shape: tuple[int, ...]) -> str:
    if len(shape) < 2 or suffix in KEPT_F32:
        return NEVER_QUANTIZED
    if suffix == "token_embd.weight" and config.tie_word_embeddings:
        return "output"
    return ROLES.get(suffix, OTHER)


def _renamed(config: Qwen35, shapes: Shapes) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """Yield (layer, name within the layer, GGUF shape); layer is -1 outside the layers."""
    for name, shape in shapes:
        if name in GLOBAL_NAMES:
            yield -1, GLOBAL_NAMES[name], shape[::-1]
        elif name in MTP_NAMES:
            yield config.num_hidden_layers, MTP_NAMES[name], shape[::-1]
        else:
            prefix, _, rest = name.partition("layers.")
            number, _, suffix = rest.partition(".")
            layer = int(number) + (config.num_hidden_layers if prefix == "mtp." else 0)
            for part, part_shape in _unfused(suffix, shape):
                yield layer, LAYER_NAMES[part], part_shape


def _unfused(suffix: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    if suffix == "mlp.experts.gate_up_proj":
        experts, rows, columns = shape
        yield "mlp.experts.gate_proj", (columns, rows // 2, experts)
        yield "mlp.experts.up_proj", (columns, rows // 2, experts)
    elif suffix in SQUEEZED:
        yield suffix, (shape[2], shape[0]) if len(shape) == 3 else shape[1:]
    else:
        yield suffix, shape[::-1]


def tensor_data_bytes(sizes: Iterable[int]) -> int:
    """Return the bytes of the file's data part: the tensors, each padded to the alignment."""
    return sum(ceil_to(size, ALIGNMENT) for size in sizes)


def tensor_info_bytes(tensors: Iterable[GgufTensor]) -> int:
    """Return the bytes of the header's tensor records: name, dimensions, type, offset."""
    return sum(8 + len(tensor.name) + 4 + 8 * len(tensor.shape) + 4 + 8 for tensor in tensors)
