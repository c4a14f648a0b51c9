"""MLX: which matrices mlx-lm and mlx-vlm quantize, to how many bits, and what that takes.

mlx-lm keeps the text model only; mlx-vlm keeps the vision tower as well, in BF16; both drop the MTP layer.
Source: mlx-lm 0.32.2 and mlx-vlm 0.7.10 (2026-08), mlx 0.32.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from deployfit.errors import InputError, unknown
from deployfit.formats.checkpoint_names import Names
from deployfit.formats.safetensors import Run, Stored, in_written_order, stacked
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.parameters import param
from deployfit.tables import Row, Table

if TYPE_CHECKING:
    from deployfit.architectures.registry import ArchitectureRow

BF16_BYTES = 2
F32_BYTES = 4


class Scheme(NamedTuple):
    """How a matrix is quantized: groups of `group` weights of `bits` bits share a scale (affine: and a bias)."""

    mode: str
    bits: int
    group: int

    @property
    def name(self) -> str:
        """As weights name their type.

        >>> Scheme("affine", 4, 64).name, Scheme("mxfp4", 4, 32).name
        ('affine4g64', 'mxfp4')
        """
        return f"affine{self.bits}g{self.group}" if self.mode == "affine" else self.mode

    def nbytes(self, shape: Sequence[int]) -> int:
        """Return the bytes of a matrix; its rows must divide into groups.

        >>> Scheme("affine", 4, 64).nbytes((248320, 5120))
        715161600
        """
        params = prod(shape)
        return params * self.bits // 8 + params // self.group * GROUP_BYTES[self.mode]


GROUP_BYTES: Mapping[str, int] = {"affine": 2 * BF16_BYTES, "mxfp4": 1, "mxfp8": 1, "nvfp4": 1}
EXTRA_TENSORS: Mapping[str, tuple[str, ...]] = {
    "affine": ("scales", "biases"),
    "mxfp4": ("scales",),
    "mxfp8": ("scales",),
    "nvfp4": ("scales",),
}
DTYPES = {"affine": "BF16", "mxfp4": "U8", "mxfp8": "U8", "nvfp4": "U8"}
KEPT = Scheme("affine", 8, 64)  # what both tools keep some matrices at, whatever is asked for: routers above all


class MlxRecipe(NamedTuple):
    """A row of `data/mlx_recipes.csv`; `low` is None for bf16, `high` is None unless the recipe is mixed.

    `keeps`: matrices that the tools keep at 8 bits are kept so; else they are as all others. `experts`: how the
    checkpoint has the routed experts quantized, which then stay so; None where they are as all others. `model_types`:
    those that it is for, empty for all.
    """

    name: str
    low: Scheme | None
    high: Scheme | None
    keeps: bool
    experts: Scheme | None
    model_types: tuple[str, ...]
    tools: tuple[str, ...]
    aliases: tuple[str, ...]
    note: str


SHIPPED = {"": None, "mxfp4": Scheme("mxfp4", 4, 32)}
MLX_LM = "mlx-lm"
MLX_VLM = "mlx-vlm"
TOOLS = (MLX_LM, MLX_VLM)


def _recipe(row: Row) -> MlxRecipe:
    mode = row.one_of("mode", ["none", *GROUP_BYTES])
    bits, high, group = (row.number(column, blank=True) for column in ("bits", "high_bits", "group"))
    tools = tuple(row.text("tools").split())
    if not set(tools) <= set(TOOLS):
        row.fault("tools", " or ".join(TOOLS))
    return MlxRecipe(
        name=row.text("recipe"),
        low=None if mode == "none" else Scheme(mode, bits, group),
        high=Scheme(mode, high, group) if high else None,
        keeps=row.one_of("routers", ["", "8-bit", "as the rest"]) == "8-bit",
        experts=SHIPPED[row.one_of("experts", SHIPPED)],
        model_types=tuple(row.text("models", blank=True).split()),
        tools=tools,
        aliases=tuple(row.text("aliases", blank=True).split()),
        note=row.text("note", blank=True),
    )


RECIPES = Table(
    "mlx_recipes.csv",
    ["recipe", "mode", "bits", "high_bits", "group", "routers", "experts", "models", "tools", "aliases", "note"],
    _recipe,
)


def find_mlx_recipe(text: str, recipes: Mapping[str, MlxRecipe]) -> MlxRecipe:
    """Return the recipe of that name or alias, whatever its case."""
    names = {name: recipe for recipe in recipes.values() for name in (recipe.name, *recipe.aliases)}
    wanted = text.strip().casefold()
    for name, recipe in names.items():
        if name.casefold() == wanted:
            return recipe
    raise unknown("MLX recipe", text, names)


def check_makeable(recipe: MlxRecipe, tool: str, architecture: ArchitectureRow) -> None:
    """Raise InputError for an architecture that the tool does not load, and for a recipe that it does not have."""
    kind = architecture.model_type
    if tool not in architecture.tools:
        others = [each for each in TOOLS if each in architecture.tools]
        way_out = f"{others[0]} does: {_switched(tool)}" if others else f"nor does {_other(tool)}; choose a GGUF recipe"
        raise InputError(f"{tool} does not load {kind}; {way_out}")
    if recipe.model_types and kind not in recipe.model_types:
        raise InputError(
            f"{recipe.name} keeps experts as the checkpoint has them, which is MXFP4 in {', '.join(recipe.model_types)}"
            f" only, not in {kind}; choose another recipe"
        )
    if tool not in recipe.tools:
        raise InputError(f"{tool} has no recipe {recipe.name}; {' and '.join(recipe.tools)} has: {_switched(tool)}")


def _other(tool: str) -> str:
    return MLX_VLM if tool == MLX_LM else MLX_LM


def _switched(tool: str) -> str:
    return f"{'add' if tool == MLX_LM else 'leave out'} {param('vision')}"


AS_STORED = "?"  # behind a role of `float32`: it is so if the checkpoint has it so


class Converted(NamedTuple):
    """What is converted: a blueprint, how MLX names and treats its tensors, and which the checkpoint has in F32.

    The latter is empty where it is not known.
    """

    blueprint: Blueprint
    names: Names
    architecture: ArchitectureRow
    float32_roles: tuple[str, ...]

    def keeps_float32(self, role: str) -> bool:
        """Return whether MLX's files have a role in F32: some always, some if the checkpoint has them so."""
        if role in self.architecture.float32:
            return True
        return role + AS_STORED in self.architecture.float32 and role in (self.float32_roles or (role,))


def mlx_params(blueprint: Blueprint, *, vision: bool) -> int:
    """Return how many numbers MLX loads of a model: without draft layers, and without what nothing reads."""
    counts: dict[Layer, int] = {}
    for layer in set(blueprint.layers):
        tensors = in_written_order(layer, blueprint.hidden, 0, Part.TEXT)
        counts[layer] = sum(own.params for each in tensors for own in _unfused(each, layer, blueprint.model_type))
    outside = sum(each.params for each in (*blueprint.first_tensors(), *blueprint.last_tensors()))
    tower = sum(each.params for each in blueprint.vision_tensors()) if vision else 0
    return outside + sum(counts[layer] for layer in blueprint.layers) + tower


def mlx_runs(converted: Converted, recipe: MlxRecipe, tool: str) -> Iterator[Run]:
    """Yield what the tool writes: BF16, but for quantized matrices and what the checkpoint has in F32 and it keeps.

    Layers that are equal and get the same bits share their tensors.
    """
    blueprint = converted.blueprint
    count = len(blueprint.layers)
    yield Run(OUTSIDE, _stored(converted, recipe, tool, blueprint.first_tensors(), None))
    known: dict[tuple[Layer, bool], Sequence[Stored]] = {}
    for index, layer in enumerate(blueprint.layers):
        key = layer, recipe.high is not None and in_more_bits(index, count)
        if key not in known:
            written = in_written_order(layer, blueprint.hidden, index, Part.TEXT)
            tensors = (own for tensor in written for own in _unfused(tensor, layer, blueprint.model_type))
            known[key] = _stored(converted, recipe, tool, tensors, index)
        yield Run(index, known[key])
    yield Run(OUTSIDE, _stored(converted, recipe, tool, blueprint.last_tensors(), None))
    if tool == MLX_VLM:
        vision = blueprint.vision_tensors()
        yield Run(OUTSIDE, [_plain(converted.names.name(each), each._replace(role="vision")) for each in vision])


WHOLE_KV_B = ("deepseek_v2",)  # whose latent attention MLX runs with keys and values expanded


def _unfused(tensor: Tensor, layer: Layer, model_type: str) -> Iterator[Tensor]:
    """Yield the tensors that MLX makes of one, none where nothing reads it."""
    mixer = layer.mixer
    if isinstance(mixer, Attention) and tensor.of == mixer.kind and tensor.role in mixer.idle:
        return
    if tensor.role == "attn_kv_b" and isinstance(mixer, LatentAttention) and model_type not in WHOLE_KV_B:
        heads, rank = mixer.heads, mixer.kv_rank
        yield tensor._replace(role="attn_k_b", shape=(heads, rank, mixer.nope_dim))
        yield tensor._replace(role="attn_v_b", shape=(heads, mixer.value_dim, rank))
    elif tensor.role == "ffn_gate_up_exps":
        count, rows, columns = tensor.shape
        for role in ("ffn_gate_exps", "ffn_up_exps"):
            yield tensor._replace(role=role, shape=(count, rows // 2, columns))
    else:
        yield tensor


def _stored(
    converted: Converted, recipe: MlxRecipe, tool: str, tensors: Iterable[Tensor], index: int | None
) -> Sequence[Stored]:
    """Return what these tensors are stored as; `index` is the layer's number, None outside the layers."""
    layers = len(converted.blueprint.layers)
    favoured = recipe.high is not None and (index is None or in_more_bits(index, layers))
    stored: list[Stored] = []
    named = ((converted.names.name(tensor), tensor) for tensor in tensors)
    for name, stack in groupby(named, key=lambda pair: pair[0]):
        tensor = stacked([tensor for _, tensor in stack])
        scheme = scheme_of(recipe, tensor, name, converted.architecture, favoured=favoured, tool=tool)
        if scheme is not None:
            stored += _quantized(name, tensor, scheme)
        else:
            stored.append(_plain(name, tensor, float32=converted.keeps_float32(tensor.role)))
    return stored


def scheme_of(
    recipe: MlxRecipe, tensor: Tensor, name: str, architecture: ArchitectureRow, *, favoured: bool, tool: str
) -> Scheme | None:
    """Return how the tool quantizes a tensor; None: it stays as it is. `favoured`: its layer gets more bits.

    Whether rows divide into groups is asked of the recipe's group, whatever the tensor gets.
    """
    if not is_matrix(tensor, architecture):
        return None
    if recipe.experts and tensor.role in EXPERTS:
        return recipe.experts
    if recipe.low is None or tensor.shape[-1] % recipe.low.group:
        return None
    if recipe.high is not None:
        return recipe.high if _gets_more_bits(name, tool, favoured=favoured) else recipe.low
    return KEPT if recipe.keeps and tensor.role in architecture.eight_bit else recipe.low


EXPERTS = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
NO_MATRICES = ("ssm_conv1d", "ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v", "shortconv.conv")


def is_matrix(tensor: Tensor, architecture: ArchitectureRow) -> bool:
    """Return whether the tensor is the weight of a module that MLX can quantize."""
    left_alone = (*NO_MATRICES, *architecture.unquantized)
    return len(tensor.shape) > 1 and not tensor.role.endswith(".bias") and tensor.role not in left_alone


def _gets_more_bits(name: str, tool: str, *, favoured: bool) -> bool:
    """Return whether a mixed recipe gives a matrix its higher bits, which the tools tell by its name.

    The output head, and values and down projections in the favoured layers; mlx-vlm adds the embedding.
    """
    if "lm_head" in name or (tool == MLX_VLM and "embed_tokens" in name):
        return True
    return favoured and any(part in name for part in FAVOURED)


FAVOURED = ("v_proj", "v_a_proj", "v_b_proj", "down_proj")


def in_more_bits(layer: int, layers: int) -> bool:
    """Return whether mixed recipes favour a layer: those of the first and last eighth, every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _plain(name: str, tensor: Tensor, *, float32: bool = False) -> Stored:
    dtype, width = ("F32", F32_BYTES) if float32 else ("BF16", BF16_BYTES)
    return Stored(name, tensor.shape, dtype, tensor.params * width, tensor.role, dtype, tensor.part)


def _quantized(name: str, tensor: Tensor, scheme: Scheme) -> Iterator[Stored]:
    *rows, columns = tensor.shape
    packed = (*rows, columns * scheme.bits // 32)
    groups = (*rows, columns // scheme.group)
    extras = EXTRA_TENSORS[scheme.mode]
    each = prod(groups) * GROUP_BYTES[scheme.mode] // len(extras)
    stem = name.removesuffix("weight")
    yield Stored(name, packed, "U32", 4 * prod(packed), tensor.role, scheme.name, tensor.part)
    for extra in extras:
        yield Stored(stem + extra, groups, DTYPES[scheme.mode], each, tensor.role, scheme.name, tensor.part)
