"""Checkpoints for servers: the official BF16, FP8 and GPTQ-Int4 repositories, and NVIDIA's NVFP4.

A recipe is rows of `data/checkpoint_recipes.csv`: the first pattern that matches a tensor's name says how it is
stored; vectors stay as they are. All of them keep text, vision tower and MTP layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod
from typing import NamedTuple

from deployfit.architectures.qwen35 import Tensor
from deployfit.errors import unknown
from deployfit.formats.safetensors import Stored
from deployfit.models import Model
from deployfit.tables import Row, parse_table

FP8_BLOCK = 128
GPTQ_GROUP = 128
NVFP4_GROUP = 16

Matrix = tuple[int, int]  # rows (outputs), columns (inputs)
Pieces = tuple[tuple[str, str, tuple[int, ...]], ...]  # of a stored matrix: suffix, dtype, shape

DTYPE_BYTES = {"F8_E4M3": 1, "U8": 1, "BF16": 2, "F16": 2, "F32": 4, "I32": 4}


def _source(matrix: Matrix) -> Pieces:
    return (("weight", "BF16", matrix),)


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


SCHEMES: Mapping[str, Callable[[Matrix], Pieces] | None] = {
    "source": None,
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


def parse_checkpoint_recipes(text: str, place: str) -> dict[str, CheckpointRecipe]:
    """Return the recipes of a CSV text with the columns of `data/checkpoint_recipes.csv`, by name."""

    def parse(row: Row) -> tuple[str, tuple[str, str]]:
        return row.text("recipe"), (row.text("pattern"), row.one_of("scheme", SCHEMES))

    rules: dict[str, list[tuple[str, str]]] = {}
    for name, rule in parse_table(text, place, ["recipe", "pattern", "scheme"], parse):
        rules.setdefault(name, []).append(rule)
    return {name: CheckpointRecipe(name, tuple(found)) for name, found in rules.items()}


def find_checkpoint_recipe(text: str, recipes: Mapping[str, CheckpointRecipe]) -> CheckpointRecipe:
    """Return the recipe of that name, whatever its case."""
    for name, recipe in recipes.items():
        if name.casefold() == text.strip().casefold():
            return recipe
    raise unknown("checkpoint", text, recipes)


def checkpoint_stored(model: Model, recipe: CheckpointRecipe) -> Iterator[Stored]:
    """Yield the tensors of the checkpoint; experts are stored matrix by matrix once they are quantized."""
    for tensor in model.tensors:
        scheme = _scheme(recipe, tensor)
        if scheme is None:
            nbytes = model.checkpoint_tensor_bytes(tensor)
            dtype = "F32" if nbytes == DTYPE_BYTES["F32"] * tensor.params else "BF16"
            yield Stored(tensor.name, tensor.shape, dtype, nbytes, tensor.part)
            continue
        for stem, matrix in _matrices(tensor):
            for suffix, dtype, shape in scheme(matrix):
                yield Stored(stem + suffix, shape, dtype, DTYPE_BYTES[dtype] * prod(shape), tensor.part)


def _scheme(recipe: CheckpointRecipe, tensor: Tensor) -> Callable[[Matrix], Pieces] | None:
    if len(tensor.shape) < 2:
        return None
    return next(
        (SCHEMES[scheme] for pattern, scheme in recipe.rules if fnmatchcase(tensor.name, pattern)), SCHEMES["source"]
    )


def _matrices(tensor: Tensor) -> Iterator[tuple[str, Matrix]]:
    """Yield the matrices that a tensor is cut into: a stack of experts into each expert's own."""
    if len(tensor.shape) == 2:
        rows, columns = tensor.shape
        yield tensor.name.removesuffix("weight"), (rows, columns)
        return
    experts, rows, columns = tensor.shape
    stack, _, name = tensor.name.rpartition(".")
    parts: Sequence[str] = ("gate_proj", "up_proj") if name == "gate_up_proj" else (name,)
    for expert in range(experts):
        for part in parts:
            yield f"{stack}.{expert}.{part}.", (rows // len(parts), columns)
