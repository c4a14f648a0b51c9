"""MLX: which matrices mlx-lm and mlx-vlm quantize, to how many bits, and what that takes.

mlx-lm keeps the text model only; mlx-vlm keeps the vision tower as well, in BF16; both drop the MTP layer.
Source: mlx-lm 0.32.2 and mlx-vlm 0.7.10 (2026-08), mlx 0.32.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from deployfit.architectures.qwen35 import Part, Qwen35, text_shapes, vision_shapes
from deployfit.errors import DataError, InputError, unknown
from deployfit.formats.safetensors import Stored
from deployfit.tables import Row, parse_table

BF16_BYTES = 2
F32_BYTES = 4


class Scheme(NamedTuple):
    """How a matrix is quantized: groups of `group` weights of `bits` bits share a scale (affine: and a bias)."""

    mode: str
    bits: int
    group: int

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
ROUTER = Scheme("affine", 8, 64)  # what both tools keep the routers at, whatever is asked for
ROUTERS = ("mlp.gate.weight", "mlp.shared_expert_gate.weight")


class MlxRecipe(NamedTuple):
    """A row of `data/mlx_recipes.csv`; `low` is None for bf16, `high` is None unless the recipe is mixed."""

    name: str
    low: Scheme | None
    high: Scheme | None
    router: Scheme | None  # None: as any other matrix
    tools: tuple[str, ...]
    aliases: tuple[str, ...]
    note: str


MLX_LM = "mlx-lm"
MLX_VLM = "mlx-vlm"
TOOLS = (MLX_LM, MLX_VLM)
COLUMNS = ["recipe", "mode", "bits", "high_bits", "group", "routers", "tools", "aliases", "note"]


def parse_mlx_recipes(text: str, place: str) -> dict[str, MlxRecipe]:
    """Return the recipes of a CSV text with the columns of `data/mlx_recipes.csv`, by name."""

    def parse(row: Row) -> MlxRecipe:
        mode = row.one_of("mode", ["none", *GROUP_BYTES])
        bits, high, group = (row.number(column, blank=True) for column in ("bits", "high_bits", "group"))
        pinned = row.one_of("routers", ["", "8-bit", "as the rest"]) == "8-bit"
        return MlxRecipe(
            name=row.text("recipe"),
            low=None if mode == "none" else Scheme(mode, bits, group),
            high=Scheme(mode, high, group) if high else None,
            router=ROUTER if pinned else None,
            tools=tuple(row.text("tools").split()),
            aliases=tuple(row.text("aliases", blank=True).split()),
            note=row.text("note", blank=True),
        )

    recipes = parse_table(text, place, COLUMNS, parse)
    faults = [f"{place}: {recipe.name}: no such tool" for recipe in recipes if not set(recipe.tools) <= set(TOOLS)]
    if faults:
        raise DataError(faults)
    return {recipe.name: recipe for recipe in recipes}


def find_mlx_recipe(text: str, recipes: Mapping[str, MlxRecipe]) -> MlxRecipe:
    """Return the recipe of that name or alias, whatever its case."""
    names = {alias: recipe for recipe in recipes.values() for alias in recipe.aliases} | dict(recipes)
    wanted = text.strip().casefold()
    for name, recipe in names.items():
        if name.casefold() == wanted:
            return recipe
    raise unknown("MLX recipe", text, names)


class MlxTensor(NamedTuple):
    """A tensor before it is quantized: shape as (rows, columns), or (experts, rows, columns)."""

    name: str
    shape: tuple[int, ...]
    layer: int  # -1 outside the layers
    is_matrix: bool  # one of those that can be quantized
    part: Part

    @property
    def params(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@lru_cache(maxsize=8)
def mlx_tensors(config: Qwen35, *, vision: bool) -> Sequence[MlxTensor]:
    """Return what mlx-lm (or with the vision tower mlx-vlm) loads of a checkpoint, before quantization."""
    tensors = [_tensor(name, shape) for name, shape in _unfused(config)]
    if vision:
        for name, shape in vision_shapes(config.vision):
            renamed = "vision_tower." + name.removeprefix("model.visual.")
            tensors.append(MlxTensor(renamed, shape, layer=-1, is_matrix=False, part=Part.VISION))
    return tuple(tensors)


def _unfused(config: Qwen35) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in text_shapes(config):
        experts = name.replace("mlp.experts.", "mlp.switch_mlp.")
        if name.endswith("experts.gate_up_proj"):
            count, rows, columns = shape
            yield experts.replace("gate_up_proj", "gate_proj.weight"), (count, rows // 2, columns)
            yield experts.replace("gate_up_proj", "up_proj.weight"), (count, rows // 2, columns)
        elif name.endswith("experts.down_proj"):
            yield experts + ".weight", shape
        else:
            yield name, shape


def _tensor(name: str, shape: tuple[int, ...]) -> MlxTensor:
    inner = name.removeprefix("model.language_model.")
    prefix = "language_model." if inner == name else "language_model.model."
    number = inner.removeprefix("layers.").partition(".")[0]
    is_matrix = len(shape) > 1 and not inner.endswith("conv1d.weight")
    return MlxTensor(prefix + inner, shape, int(number) if number.isdigit() else -1, is_matrix, part=Part.TEXT)


def scheme_of(recipe: MlxRecipe, tensor: MlxTensor, layers: int, tool: str) -> Scheme | None:
    """Return how the tool quantizes this tensor; None: it stays as it is."""
    if recipe.low is None or not tensor.is_matrix:
        return None
    wanted = recipe.low
    if recipe.high and _in_more_bits(tensor, layers, tool):
        wanted = recipe.high
    elif recipe.router and tensor.name.endswith(ROUTERS):
        wanted = recipe.router
    return wanted if tensor.shape[-1] % wanted.group == 0 else None


def _in_more_bits(tensor: MlxTensor, layers: int, tool: str) -> bool:
    """Whether a mixed recipe gives the tensor its higher bits.

    The output head, and V and down projections in the first and last eighth and every third layer between;
    mlx-vlm adds the embedding.
    """
    if tensor.layer < 0:
        return tensor.name.endswith("lm_head.weight") or (
            tool == MLX_VLM and tensor.name.endswith("embed_tokens.weight")
        )
    if not tensor.name.endswith(("v_proj.weight", "down_proj.weight")):
        return False
    eighth = layers // 8
    return tensor.layer < eighth or tensor.layer >= 7 * layers // 8 or (tensor.layer - eighth) % 3 == 2


DTYPES = {"affine": "BF16", "mxfp4": "U8", "mxfp8": "U8", "nvfp4": "U8"}


def stored_tensors(config: Qwen35, recipe: MlxRecipe, float32_tensors: Sequence[str], *, tool: str) -> Iterator[Stored]:
    """Yield what the tool writes: BF16, but for quantized matrices and an A_log that the checkpoint has in F32."""
    keeps_f32 = "A_log" in float32_tensors
    for tensor in mlx_tensors(config, vision=tool == MLX_VLM):
        scheme = scheme_of(recipe, tensor, config.num_hidden_layers, tool)
        if scheme is None:
            f32 = keeps_f32 and tensor.name.endswith("A_log")
            width = F32_BYTES if f32 else BF16_BYTES
            dtype = "F32" if f32 else "BF16"
            yield Stored(tensor.name, tensor.shape, dtype, prod(tensor.shape) * width, tensor.part)
            continue
        *rows, columns = tensor.shape
        packed = (*rows, columns * scheme.bits // 32)
        yield Stored(tensor.name, packed, "U32", 4 * prod(packed), tensor.part)
        groups = (*rows, columns // scheme.group)
        stem = tensor.name.removesuffix("weight")
        extras = EXTRA_TENSORS[scheme.mode]
        for extra in extras:
            each = prod(groups) * GROUP_BYTES[scheme.mode] // len(extras)
            yield Stored(stem + extra, groups, DTYPES[scheme.mode], each, tensor.part)


def check_makeable(recipe: MlxRecipe, tool: str) -> None:
    """Raise InputError for a recipe that the tool does not have."""
    if tool not in recipe.tools:
        raise InputError(
            f"{tool} has no recipe {recipe.name}; {' and '.join(recipe.tools)} has:"
            f" {'add' if tool == MLX_LM else 'leave out'} --vision"
        )
