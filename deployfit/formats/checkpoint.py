"""Checkpoints for servers: the official BF16, FP8 and GPTQ-Int4 repositories, and NVIDIA's NVFP4.

A recipe is rows of `data/checkpoint_recipes.csv`: the first pattern that matches a tensor's name says how it is
stored; vectors stay as they are. All of them keep text, vision tower and MTP layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from math import prod

from deployfit.errors import unknown
from deployfit.formats.checkpoint_names import EXPERT, Names
from deployfit.formats.safetensors import Block, Run, Stored, in_written_order, stacked, tower_block
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

FP8_BLOCK = 128
GPTQ_GROUP = 128
NVFP4_GROUP = 16

Matrix = tuple[int, int]  # rows (outputs), columns (inputs)
Pieces = tuple[tuple[str, str, tuple[int, ...]], ...]  # of a stored matrix: suffix, dtype, shape

DTYPE_BYTES = {"F8_E4M3": 1, "U8": 1, "BF16": 2, "F16": 2, "F32": 4, "I32": 4}


def _source(matrix: Matrix) -> Pieces:
    return (("weight", SOURCE_TYPE, matrix),)


def _fp8_block(matrix: Matrix) -> Pieces:
    rows, columns = matrix
    blocks = (-(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK))
    return ("weight", "F8_E4M3", matrix), ("weight_scale_inv", "BF16", blocks)


def _fp8_tensor(matrix: Matrix) -> Pieces:
    return ("weight", "F8_E4M3", matrix), ("weight_scale", "F32", ()), ("input_scale", "F32", ())


def _nvfp4(matrix: Matrix) -> Pieces:
    rows, columns = matrix
    return (
        ("weight", "U8", (rows, columns // 2)),
        ("weight_scale", "F8_E4M3", (rows, columns // NVFP4_GROUP)),
        ("weight_scale_2", "F32", ()),
        ("input_scale", "F32", ()),
    )


def _gptq_int4(matrix: Matrix) -> Pieces:
    rows, columns = matrix
    groups = columns // GPTQ_GROUP
    return (
        ("qweight", "I32", (columns // 8, rows)),
        ("qzeros", "I32", (groups, rows // 8)),
        ("scales", "F16", (groups, rows)),
        ("g_idx", "I32", (columns,)),
    )


SOURCE = "source"
SOURCE_TYPE = "BF16"
SCHEMES: Mapping[str, Callable[[Matrix], Pieces] | None] = {
    SOURCE: None,
    "source_by_expert": _source,
    "fp8_block": _fp8_block,
    "fp8_tensor": _fp8_tensor,
    "nvfp4": _nvfp4,
    "gptq_int4": _gptq_int4,
}


class CheckpointRecipe(NamedTuple):
    """Which tensors are stored how; `rules` are in order of precedence."""

    name: str
    rules: tuple[tuple[str, str], ...]  # pattern of the name, scheme


class CheckpointRule(NamedTuple):
    """A row of `data/checkpoint_recipes.csv`: in this recipe tensors whose names match are stored so."""

    recipe: str
    pattern: str
    scheme: str


def _rule(row: Row) -> CheckpointRule:
    return CheckpointRule(row.text("recipe"), row.text("pattern"), row.one_of("scheme", SCHEMES))


RECIPES = Table("checkpoint_recipes.csv", ["recipe", "pattern", "scheme"], _rule)


def recipes_of(rules: Iterable[CheckpointRule]) -> dict[str, CheckpointRecipe]:
    """Return the recipes that these rules make, by name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for rule in rules:
        found.setdefault(rule.recipe, []).append((rule.pattern, rule.scheme))
    return {name: CheckpointRecipe(name, tuple(own)) for name, own in found.items()}


def find_checkpoint_recipe(text: str, recipes: Mapping[str, CheckpointRecipe]) -> CheckpointRecipe:
    """Return the recipe of that name, whatever its case."""
    for name, recipe in recipes.items():
        if name.casefold() == text.strip().casefold():
            return recipe
    raise unknown("checkpoint", text, recipes)


class Source(NamedTuple):
    """What a checkpoint is made of: a blueprint, its tensors' names, and the roles that it has in F32."""

    blueprint: Blueprint
    names: Names
    float32_roles: tuple[str, ...]


def checkpoint_runs(source: Source, recipe: CheckpointRecipe) -> Iterator[Run]:
    """Yield the tensors of a checkpoint: text, draft layers, and the vision tower, which all leave as it is."""
    blueprint, hidden = source.blueprint, source.blueprint.hidden
    yield Run(OUTSIDE, _block(source, recipe, blueprint.first_tensors()))
    known: dict[Layer, Block] = {}
    for index, layer in enumerate(blueprint.layers):
        if layer not in known:
            known[layer] = _block(source, recipe, in_written_order(layer, hidden, index, Part.TEXT))
        yield Run(index, known[layer])
    yield Run(OUTSIDE, _block(source, recipe, blueprint.last_tensors()))
    first = 0 if source.names.drafts_apart else len(blueprint.layers)
    for index, _ in enumerate(blueprint.drafts):
        own = [each for each in blueprint.draft_tensors() if each.layer == len(blueprint.layers) + index]
        yield Run(first + index, _block(source, recipe, own))
    if blueprint.vision:
        yield Run(OUTSIDE, tower_block(blueprint.vision, source.names.tower))


def _block(source: Source, recipe: CheckpointRecipe, tensors: Iterable[Tensor]) -> Block:
    named = ((source.names.name(tensor), tensor) for tensor in tensors)
    return Block(
        stored
        for name, stack in groupby(named, key=lambda pair: pair[0])
        for stored in _stored_as(source, recipe, name, [tensor for _, tensor in stack])
    )


def _stored_as(source: Source, recipe: CheckpointRecipe, name: str, stack: Sequence[Tensor]) -> Iterator[Stored]:
    """Yield what the tensors of one name are stored as.

    Experts are stored matrix by matrix once they are quantized, or where their name has a number.
    """
    first = stack[0]
    kind = _scheme(recipe, name, first)
    scheme = SCHEMES[kind]
    if scheme is None and EXPERT in name:
        kind, scheme = SOURCE, _source
    if scheme is None:
        dtype = "F32" if first.role in source.float32_roles else SOURCE_TYPE
        whole = stacked(stack)
        yield Stored(name, whole.shape, dtype, DTYPE_BYTES[dtype] * whole.params, whole.role, dtype, first.part)
        return
    type_name = SOURCE_TYPE if scheme is _source else kind
    for stem, tensor, matrix in _matrices(name, stack):
        for suffix, dtype, shape in scheme(matrix):
            nbytes = DTYPE_BYTES[dtype] * prod(shape)
            yield Stored(stem + suffix, shape, dtype, nbytes, tensor.role, type_name, tensor.part)


def _scheme(recipe: CheckpointRecipe, name: str, tensor: Tensor) -> str:
    is_convolution = len(tensor.shape) > 2 and EXPERT not in name and tensor.role not in EXPERT_NAMES
    if len(tensor.shape) < 2 or is_convolution:
        return SOURCE
    return next((scheme for pattern, scheme in recipe.rules if fnmatchcase(name, pattern)), SOURCE)


EXPERT_NAMES = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}


def _matrices(name: str, stack: Sequence[Tensor]) -> Iterator[tuple[str, Tensor, Matrix]]:
    """Yield the matrices that the tensors of a name are cut into, a stack of experts into each expert's own."""
    if len(stack[0].shape) == 2:
        for tensor in stack:
            rows, columns = tensor.shape
            yield name.removesuffix("weight"), tensor, (rows, columns)
        return
    for expert in range(stack[0].shape[0]):
        for tensor in stack:
            own = name if EXPERT in name else f"{name.rpartition('.')[0]}.{EXPERT}.{EXPERT_NAMES[tensor.role]}.weight"
            yield own.replace(EXPERT, str(expert)).removesuffix("weight"), tensor, (tensor.shape[1], tensor.shape[2])
