"""MLX: which matrices mlx-lm and mlx-vlm quantize, to how many bits, and what that takes.

mlx-lm keeps the text model only; mlx-vlm keeps the vision tower as well, in BF16; both drop the MTP layer.
Source: mlx-lm 0.32.2 and mlx-vlm 0.7.10 (2026-08), mlx 0.32.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from deployfit.errors import InputError, unknown
from deployfit.formats.checkpoint_names import Names
from deployfit.formats.safetensors import Block, Run, Stored, in_written_order, stacked, tower_block
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.parameters import param
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

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
    wanted = text.strip().casefold()
    for recipe in recipes.values():
        if wanted in map(str.casefold, (recipe.name, *recipe.aliases)):
            return recipe
    raise unknown("MLX recipe", text, [name for each in recipes.values() for name in (each.name, *each.aliases)])


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


class Loaded(NamedTuple):
    """A tensor that MLX loads, with its name; `is_matrix`: it is the weight of a module that can be quantized."""

    name: str
    tensor: Tensor
    is_matrix: bool
    float32: bool


class MlxSource:
    """A model as MLX loads it: without draft layers and without what nothing reads, equal layers once.

    `float32_roles` are what the checkpoint has in F32, empty where that is not known. `tower_params` are those of a
    vision tower that the blueprint does not tell.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        names: Names,
        architecture: ArchitectureRow,
        float32_roles: tuple[str, ...],
        tower_params: int = 0,
    ) -> None:
        self._tower_params = tower_params
        self.blueprint = blueprint
        self.architecture = architecture
        self._names = names
        self._float32_roles = float32_roles
        self.first = self._loaded(blueprint.first_tensors())
        self.last = self._loaded(blueprint.last_tensors())
        kinds = {layer: self._loaded(self._tensors(layer)) for layer in set(blueprint.layers)}
        self.layers = [kinds[layer] for layer in blueprint.layers]

    def _tensors(self, layer: Layer) -> Iterator[Tensor]:
        for tensor in in_written_order(layer, self.blueprint.hidden, 0, Part.TEXT):
            yield from _unfused(tensor, layer, self.blueprint.model_type)

    def _loaded(self, tensors: Iterable[Tensor]) -> tuple[Loaded, ...]:
        named = ((self._names.name(tensor), tensor) for tensor in tensors)
        loaded = []
        for name, stack in groupby(named, key=lambda pair: pair[0]):
            tensor = stacked([tensor for _, tensor in stack])
            is_matrix = _is_matrix(tensor, self.architecture)
            loaded.append(Loaded(name, tensor, is_matrix, self._keeps_float32(tensor.role)))
        return tuple(loaded)

    def _keeps_float32(self, role: str) -> bool:
        """Return whether MLX's files have a role in F32: some always, some if the checkpoint has them so."""
        if role in self.architecture.float32:
            return True
        return role + AS_STORED in self.architecture.float32 and role in (self._float32_roles or (role,))

    @cached_property
    def tower(self) -> Block:
        """The vision tower, in BF16; of one whose kind of layers nobody wrote only how many numbers it has is known."""
        if self.blueprint.vision:
            return tower_block(self.blueprint.vision, self._names.tower)
        params = self._tower_params
        nbytes = BF16_BYTES * params
        return Block(
            [Stored("vision_tower", (params,), "BF16", nbytes, "vision", "BF16", Part.VISION)] if params else ()
        )

    @cached_property
    def text_params(self) -> int:
        """How many numbers the text model has."""
        return sum(each.tensor.params for part in (self.first, *self.layers, self.last) for each in part)


def check_mixable(source: MlxSource, recipe: MlxRecipe, tool: str) -> None:
    """Raise InputError for a mixed recipe of a model whose down projections the tool does not find by their name."""
    names = [each.name for layer in source.layers for each in layer]
    if recipe.high is not None and not any(part in name for name in names for part in DOWN[tool]):
        raise InputError(
            f"{tool} makes no mixed recipe of {source.architecture.model_type}: it finds no down_proj in it"
            " (Model does not have expected keys for mixed quant); choose another recipe"
        )


def mlx_runs(source: MlxSource, recipe: MlxRecipe, tool: str) -> Iterator[Run]:
    """Yield what the tool writes: BF16, but for quantized matrices and what is kept in F32.

    Layers that are equal and get the same bits share their block.
    """
    layers = len(source.layers)
    favours = recipe.high is not None
    known: dict[tuple[int, bool], Block] = {}
    yield Run(OUTSIDE, _block(source, recipe, tool, source.first, favoured=favours))
    for index, loaded in enumerate(source.layers):
        key = id(loaded), favours and in_more_bits(index, layers)
        if key not in known:
            known[key] = _block(source, recipe, tool, loaded, favoured=key[1])
        yield Run(index, known[key])
    yield Run(OUTSIDE, _block(source, recipe, tool, source.last, favoured=favours))
    if tool == MLX_VLM:
        yield Run(OUTSIDE, source.tower)


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


def _block(source: MlxSource, recipe: MlxRecipe, tool: str, loaded: Iterable[Loaded], *, favoured: bool) -> Block:
    stored: list[Stored] = []
    for each in loaded:
        scheme = _scheme_of(recipe, each, source.architecture, favoured=favoured, tool=tool) if each.is_matrix else None
        stored += [_plain(each)] if scheme is None else _quantized(each.name, each.tensor, scheme)
    return Block(stored)


def _scheme_of(
    recipe: MlxRecipe, loaded: Loaded, architecture: ArchitectureRow, *, favoured: bool, tool: str
) -> Scheme | None:
    """Return how the tool quantizes a matrix; None: it stays as it is. `favoured`: its layer gets more bits.

    Whether rows divide into groups is asked of the recipe's group, whatever the tensor gets.
    """
    tensor = loaded.tensor
    if recipe.experts and tensor.role in EXPERTS:
        return recipe.experts
    if recipe.low is None or tensor.shape[-1] % recipe.low.group:
        return None
    if recipe.high is not None:
        return recipe.high if _gets_more_bits(loaded.name, tool, favoured=favoured) else recipe.low
    return KEPT if recipe.keeps and tensor.role in architecture.eight_bit else recipe.low


EXPERTS = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
NO_MATRICES = ("ssm_conv1d", "ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v", "shortconv.conv")


def _is_matrix(tensor: Tensor, architecture: ArchitectureRow) -> bool:
    """Return whether the tensor is the weight of a module that MLX can quantize."""
    left_alone = (*NO_MATRICES, *architecture.unquantized)
    return len(tensor.shape) > 1 and not tensor.role.endswith(".bias") and tensor.role not in left_alone


def _gets_more_bits(name: str, tool: str, *, favoured: bool) -> bool:
    """Return whether a mixed recipe gives a matrix its higher bits, which the tools tell by its name.

    The output head, and values and down projections in the favoured layers; mlx-vlm adds the embedding.
    """
    if "lm_head" in name or (tool == MLX_VLM and "embed_tokens" in name):
        return True
    return favoured and any(part in name for part in (*VALUES[tool], *DOWN[tool]))


VALUES = {MLX_LM: ("v_proj", "v_a_proj", "v_b_proj"), MLX_VLM: ("v_proj",)}
DOWN = {MLX_LM: ("down_proj",), MLX_VLM: ("down_proj", "feed_forward.w2")}


def in_more_bits(layer: int, layers: int) -> bool:
    """Return whether mixed recipes favour a layer: those of the first and last eighth, every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _plain(loaded: Loaded) -> Stored:
    dtype, width = ("F32", F32_BYTES) if loaded.float32 else ("BF16", BF16_BYTES)
    tensor = loaded.tensor
    return Stored(loaded.name, tensor.shape, dtype, tensor.params * width, tensor.role, dtype, tensor.part)


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


def _support(row: Row) -> tuple[str, tuple[str, ...]]:
    tools = tuple(row.text("tools").split())
    if not set(tools) <= set(TOOLS):
        row.fault("tools", " or ".join(TOOLS))
    return row.text("model_type"), tools


SUPPORT = Table("mlx_support.csv", ["model_type", "tools"], _support)
