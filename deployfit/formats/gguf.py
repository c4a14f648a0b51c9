"""GGUF: how llama.cpp names, shapes and stores the tensors of a checkpoint, and what its file header takes.

Source: llama.cpp's conversion, GGUF writer and quantizer (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Mixer
from deployfit.layers.recurrent import DeltaNet, KimiDelta, Mamba2
from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

ALIGNMENT = 32  # general.alignment: where the data part and each tensor in it begin

F32 = TENSOR_TYPES["F32"]
BF16 = TENSOR_TYPES["BF16"]


class GgufClass(NamedTuple):
    """Tensors of a GGUF file that are equal but for their layer, as its BF16 source file holds them.

    `role` is the file's (`attn_k_b`, where the checkpoint has one matrix for keys and values), `name` the tensor's
    name within its layer. `shape` begins with the row length, as GGUF writes it. `category` is the quantizer's, "" for
    tensors that it never quantizes. `layers` are those that have one, in order; (OUTSIDE,) for what is in none.
    `params` is how many numbers one of them holds, `is_stack` whether each is a stack of matrices: of experts, or of
    latent attention's heads.
    """

    role: str
    name: str
    shape: tuple[int, ...]
    category: str
    source_type: TensorType
    part: Part
    layers: tuple[int, ...]
    params: int
    is_stack: bool

    @property
    def row_size(self) -> int:
        """How many numbers one row holds; a row is stored in whole blocks."""
        return self.shape[0]

    def full_name(self, layer: int) -> str:
        """Return the name of the one in a layer."""
        return self.name if layer == OUTSIDE else f"blk.{layer}.{self.name}"


class Place(NamedTuple):
    """Where a tensor stands. The quantizer's recipes ask for it.

    `position` of `out_of` is how the quantizer counts layers: attention values, and what has their category, by order
    among themselves; feed-forward tensors so in a dense model, and by layer in a mixture of experts. `ordinal` counts
    the quantized tensors of the same category before it, `own` those of the same role.
    """

    layer: int
    position: int
    out_of: int
    ordinal: int
    own: int
    blocks: int
    is_draft: bool


ATTENTION_VALUES = "attn_v"
OUTPUT = "output"
EMBEDDING = "token_embd"
OTHER = "other"
NEVER_QUANTIZED = ""
FEED_FORWARD = ("ffn_up", "ffn_gate", "ffn_down")

# The quantizer's categories by what stands in a name; the first that is there counts. Fused projections with values
# in them count as values.
CATEGORIES = {
    "attn_qkv.weight": ATTENTION_VALUES,
    "attn_kv_b.weight": ATTENTION_VALUES,
    "attn_v.weight": ATTENTION_VALUES,
    "attn_k.weight": "attn_k",
    "attn_q.weight": "attn_q",
    "attn_output.weight": "attn_output",
    **{name: name for name in FEED_FORWARD},
}
CATEGORIES_OF_WHOLE_NAMES = {
    "output.weight": OUTPUT,
    "token_embd.weight": EMBEDDING,
    "per_layer_token_embd.weight": EMBEDDING,
}
# Matrices that the quantizer leaves as they are; conversion stores the first as BF16, the others as F32.
KEPT_BF16 = ("per_layer_model_proj",)
KEPT_F32 = ("_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d", "shortconv.conv.weight")

ROPE_TABLES = {1: ("rope_freqs",), 2: ("rope_factors_long", "rope_factors_short")}
# Models whose conversion leaves the draft layers out, and what experts are shipped in that are quantized already.
WITHOUT_DRAFTS = ("deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25")
SHIPPED_EXPERTS = {"gpt-oss": "MXFP4"}

WITHOUT_ENDING = ("ssm_a", "ssm_d")
# Layers without attention whose files still say one number of KV heads for all layers; others write a 0 for them.
HEADS_FOR_ALL = (DeltaNet,)
# What the quantizer takes for a model of 70B, whose attention values get more bits: by architecture and layers; of
# Llama's only those with fewer KV heads than query heads (the first Llama of 65B has as many).
LLAMA = "llama"
MODELS_OF_70B = {LLAMA: 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}


class GgufSource:
    """The BF16 file that the quantizer reads: the text model's tensors, with those of the draft layers if wanted.

    The vision tower is not among them: it is a file of its own (mmproj). `blocks` are all layers of the file. `gqa` is
    how many query heads share a KV head in the first layer, as the quantizer sees it: 0 if it has no attention.
    """

    def __init__(self, blueprint: Blueprint, *, drafts: bool) -> None:
        self.classes = tuple(_classes(blueprint, drafts=drafts))
        self.blocks = len(blueprint.layers) + (len(blueprint.drafts) if drafts else 0)
        self.tied = blueprint.tied
        self.experts = blueprint.experts.count if blueprint.experts else 0
        self.gqa = _query_heads_per_kv_head(blueprint)
        architecture = blueprint.gguf_architecture
        self.is_70b = MODELS_OF_70B.get(architecture) == len(blueprint.layers) and (
            architecture != LLAMA or self.gqa > 1
        )
        self.splits: dict[object, Sequence[tuple[int, ...]]] = {}  # for recipes to keep what they found
        self.typed: dict[object, Any] = {}
        self._places: dict[tuple[str, tuple[int, ...], Part, bool], Sequence[Place]] = {}
        self._ordinals: dict[tuple[str, str], Mapping[tuple[str, int], int]] = {}

    @cached_property
    def params(self) -> int:
        """How many numbers the file holds."""
        return sum(each.params * len(each.layers) for each in self.classes)

    @cached_property
    def tensor_info_bytes(self) -> int:
        """The header's tensor records: name, dimensions, type, offset."""
        total = 0
        for each in self.classes:
            names = sum(len(each.full_name(layer)) for layer in each.layers)
            total += names + len(each.layers) * (8 + 4 + 8 * len(each.shape) + 4 + 8)
        return total

    def places(self, tensors: GgufClass, *, fused_apart: bool = False) -> Sequence[Place]:
        """Return where each of the tensors stands; `fused_apart`: without counting fused projections as values."""
        key = tensors.name, tensors.shape, tensors.part, fused_apart
        if key not in self._places:
            self._places[key] = list(self._places_of(tensors, fused_apart=fused_apart))
        return self._places[key]

    def _places_of(self, tensors: GgufClass, *, fused_apart: bool) -> Iterator[Place]:
        ordinals = self._counted("category", tensors.category)
        own = self._counted("role", tensors.role)
        values = tensors.category == ATTENTION_VALUES
        by_layer = not values and (tensors.category not in FEED_FORWARD or self.experts > 1)
        out_of = len(ordinals) if values else self.blocks
        if values and fused_apart:
            ordinals = own
        is_draft = tensors.part is Part.MTP
        for layer in tensors.layers:
            here = (tensors.name, layer)
            position = layer if by_layer else ordinals[here]
            yield Place(layer, position, out_of, ordinals[here], own[here], self.blocks, is_draft)

    def _counted(self, field: str, value: str) -> Mapping[tuple[str, int], int]:
        """Return the ordinal of each tensor of a category or role, by name and layer, as the quantizer walks."""
        if (field, value) not in self._ordinals:
            alike = [each for each in self.classes if getattr(each, field) == value]
            walked = sorted((layer, each.name) for each in alike for layer in each.layers)
            self._ordinals[field, value] = {(name, layer): index for index, (layer, name) in enumerate(walked)}
        return self._ordinals[field, value]


def _query_heads_per_kv_head(blueprint: Blueprint) -> int:
    mixer = blueprint.layers[0].mixer
    if isinstance(mixer, HEADS_FOR_ALL):
        mixer = next(iter(blueprint.attentions), None)
    if isinstance(mixer, LatentAttention):
        return mixer.heads  # its compressed row is one KV head for all
    return mixer.heads // mixer.kv_heads if isinstance(mixer, Attention) else 0


def _classes(blueprint: Blueprint, *, drafts: bool) -> Iterator[GgufClass]:
    """Yield the classes in the quantizer's order: tensors in no layer first, then those of a layer by name."""
    layers: dict[tuple[str, tuple[int, ...], Part], list[int]] = {}
    for tensor, indices in blueprint.tensor_classes(drafts=drafts):
        for role, shape in _stored(blueprint, tensor, indices[0]):
            layers.setdefault((role, shape, tensor.part), []).extend(indices)
    for role in ROPE_TABLES[blueprint.rope_tables] if blueprint.rope_factors else ():
        layers[role, (blueprint.rope_factors,), Part.TEXT] = [OUTSIDE]
    for role, shape, part in sorted(layers, key=lambda key: (layers[key] != [OUTSIDE], _name(key[0]), key[1])):
        name = _name(role)
        category = _category(name, shape, tied=blueprint.tied)
        source_type = F32 if category == NEVER_QUANTIZED and role not in KEPT_BF16 else BF16
        indices = tuple(sorted(layers[role, shape, part]))
        is_stack = len(shape) > 2 and shape[2] > 1
        yield GgufClass(role, name, shape, category, source_type, part, indices, prod(shape), is_stack)


def _name(role: str) -> str:
    return role if role in WITHOUT_ENDING or role.endswith((".bias", ".scale")) else role + ".weight"


def _category(name: str, shape: tuple[int, ...], *, tied: bool) -> str:
    if len(shape) < 2 or not name.endswith(".weight") or any(kept in name for kept in (*KEPT_F32, *KEPT_BF16)):
        return NEVER_QUANTIZED
    if name in CATEGORIES_OF_WHOLE_NAMES:
        category = CATEGORIES_OF_WHOLE_NAMES[name]
        return OUTPUT if tied and category == EMBEDDING else category
    return next((category for part, category in CATEGORIES.items() if part in name), OTHER)


def _stored(blueprint: Blueprint, tensor: Tensor, layer: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield roles and GGUF shapes of what a tensor of the checkpoint becomes."""
    role, shape = tensor.role, tensor.shape
    mixer = _mixer(blueprint, layer)
    if role == "attn_kv_b" and isinstance(mixer, LatentAttention):
        yield "attn_k_b", (mixer.nope_dim, mixer.kv_rank, mixer.heads)
        yield "attn_v_b", (mixer.kv_rank, mixer.value_dim, mixer.heads)
    elif isinstance(mixer, KimiDelta) and role.startswith("ssm_conv1d"):
        yield role, (shape[2], 1, shape[0], 1)
    elif isinstance(mixer, Attention) and mixer.norm == "made" and role in ("attn_q", "attn_k"):
        yield role, shape[::-1]
        yield f"{role}_norm", (mixer.head_dim,)
    elif role in ("ssm_conv1d", "shortconv.conv"):
        yield role, (shape[2], shape[0])
    elif isinstance(mixer, Mamba2) and role == "ssm_norm":
        yield role, (shape[0] // mixer.groups, mixer.groups)
    elif isinstance(mixer, (Mamba2, KimiDelta)) and role in WITHOUT_ENDING:
        yield role, (1, *shape)
    elif role == "ffn_gate_inp_shexp":
        yield role, shape[1:]
    else:
        yield role, shape[::-1]


def _mixer(blueprint: Blueprint, layer: int) -> Mixer | None:
    if layer == OUTSIDE:
        return None
    drafts = layer - len(blueprint.layers)
    return blueprint.layers[layer].mixer if drafts < 0 else blueprint.drafts[drafts].layer.mixer


def tensor_data_bytes(sizes: Iterable[tuple[int, int]]) -> int:
    """Return the bytes of the file's data part from sizes and how many tensors have them, each padded."""
    return sum(ceil_to(nbytes, ALIGNMENT) * count for nbytes, count in sizes)
