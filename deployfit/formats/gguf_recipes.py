"""llama.cpp's recipes: which tensor gets which type.

A recipe is rows of `data/gguf_recipes.csv`: for a tensor's role, the first row whose condition holds names
the type; the row with role `*` is the default. What the rows cannot say, because it holds for all recipes,
is here: what happens to rows of numbers that do not divide into blocks. Source: llama.cpp's quantizer,
2026-10-01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from deployfit.errors import DataError, InputError, unknown
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.formats.gguf import NEVER_QUANTIZED, GgufTensor
from deployfit.tables import Row, parse_table

DEFAULT_ROLE = "*"
EXPERTS_ROLE = "experts"  # any stack of expert matrices, whatever its role in the layer
UNQUANTIZED = ("F32", "F16", "BF16")


class Case(NamedTuple):
    """What a recipe's conditions may ask: the model, the importance matrix, and where the tensor stands."""

    gqa: int  # query heads per KV head
    experts: int
    imatrix: bool
    layers: int  # with the MTP layer, if the file has it
    layer: int
    ordinal: int


def _in_more_bits(case: Case) -> bool:
    """The layers that the "M" recipes favour: the first and last eighth, and every third between."""
    eighth = case.layers // 8
    return case.layer < eighth or case.layer >= 7 * case.layers // 8 or (case.layer - eighth) % 3 == 2


CONDITIONS: Mapping[str, Callable[[Case], bool]] = {
    "gqa>=4": lambda case: case.gqa >= 4,
    "experts>=4": lambda case: case.experts >= 4,
    "experts==8": lambda case: case.experts == 8,
    "experts!=8": lambda case: case.experts != 8,
    "imatrix": lambda case: case.imatrix,
    "no imatrix": lambda case: not case.imatrix,
    "layer<2": lambda case: case.layer < 2,
    "layer<4": lambda case: case.layer < 4,
    "layer<n/8": lambda case: case.layer < case.layers // 8,
    "layer<n/16": lambda case: case.layer < case.layers // 16,
    "n/8<=layer<7n/8": lambda case: case.layers // 8 <= case.layer < 7 * case.layers // 8,
    "layer in more bits": _in_more_bits,
    "ordinal<n/8": lambda case: case.ordinal < case.layers // 8,
}


class Rule(NamedTuple):
    """Tensors of this role get this type when every condition holds."""

    role: str
    conditions: tuple[Callable[[Case], bool], ...]
    tensor_type: TensorType


class Recipe(NamedTuple):
    """A named mixture of tensor types; `rules` are in order of precedence."""

    name: str
    default: TensorType
    rules: tuple[Rule, ...]


def parse_recipes(text: str, place: str) -> dict[str, Recipe]:
    """Return the recipes of a CSV text with the columns of `data/gguf_recipes.csv`."""

    def parse(row: Row) -> tuple[str, Rule]:
        names = [name for name in row.text("when", blank=True).split(" & ") if name]
        if any(name not in CONDITIONS for name in names):
            row.fault("when", "conditions out of " + ", ".join(CONDITIONS))
        tensor_type = TENSOR_TYPES[row.one_of("tensor_type", TENSOR_TYPES)]
        conditions = tuple(CONDITIONS[name] for name in names if name in CONDITIONS)
        return row.text("recipe"), Rule(row.text("role"), conditions, tensor_type)

    rules: dict[str, list[Rule]] = {}
    for name, rule in parse_table(text, place, ["recipe", "role", "when", "tensor_type"], parse):
        rules.setdefault(name, []).append(rule)
    recipes = {}
    for name, (first, *others) in rules.items():
        if first.role != DEFAULT_ROLE:
            raise DataError([f"{place}: {name}: the first row must have the role {DEFAULT_ROLE}"])
        recipes[name] = Recipe(name, first.tensor_type, tuple(others))
    return recipes


ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # as llama-quantize has them


def find_recipe(text: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """Return the recipe of that name, whatever its case."""
    name = text.strip().upper()
    name = ALIASES.get(name, name)
    if name not in recipes:
        raise unknown("recipe", text, recipes)
    return recipes[name]


# Recipes that llama.cpp refuses to make without an importance matrix.
NEED_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S")


def tensor_types(
    recipe: Recipe, tensors: Sequence[GgufTensor], *, gqa: int, experts: int, imatrix: bool
) -> list[TensorType]:
    """Return the type of each tensor, in the order of the tensors."""
    layers = 1 + max(tensor.layer for tensor in tensors)
    settled: dict[tuple[str, bool, int], TensorType] = {}  # what does not depend on where the tensor stands
    types = []
    for tensor in tensors:
        alike = (tensor.role, tensor.is_experts, tensor.row_size)
        if tensor.role == NEVER_QUANTIZED:
            types.append(tensor.source_type)
        elif alike in settled:
            types.append(settled[alike])
        else:
            rules = _concerned(recipe, tensor)
            case = Case(gqa, experts, imatrix, layers, tensor.layer, tensor.ordinal)
            types.append(_fitting(_wanted(recipe, rules, case), recipe, tensor))
            if not any(rule.conditions for rule in rules):
                settled[alike] = types[-1]
    return types


def _concerned(recipe: Recipe, tensor: GgufTensor) -> list[Rule]:
    return [
        rule for rule in recipe.rules if rule.role == tensor.role or (rule.role == EXPERTS_ROLE and tensor.is_experts)
    ]


def _wanted(recipe: Recipe, rules: Iterable[Rule], case: Case) -> TensorType:
    for rule in rules:
        if all(condition(case) for condition in rule.conditions):
            return rule.tensor_type
    return recipe.default


# The type that takes over when a row does not divide into the wanted type's blocks.
FALLBACKS = {
    "IQ1_S": "IQ4_NL",
    "IQ1_M": "IQ4_NL",
    "IQ2_XXS": "IQ4_NL",
    "IQ2_XS": "IQ4_NL",
    "IQ2_S": "IQ4_NL",
    "IQ3_XXS": "IQ4_NL",
    "IQ3_S": "IQ4_NL",
    "IQ4_XS": "IQ4_NL",
    "Q2_0": "Q4_0",
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "TQ1_0": "Q4_0",
    "TQ2_0": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


def _fitting(wanted: TensorType, recipe: Recipe, tensor: GgufTensor) -> TensorType:
    if recipe.default.name in UNQUANTIZED:
        return wanted
    if tensor.role == "output" and tensor.row_size % recipe.default.block_size:
        wanted = TENSOR_TYPES["Q8_0"]
    if tensor.row_size % wanted.block_size == 0:
        return wanted
    if wanted.name not in FALLBACKS and wanted.block_size > 32:
        raise InputError(
            f"llama.cpp cannot make {recipe.name}: {tensor.name} has rows of {tensor.row_size},"
            f" which {wanted.name} (blocks of {wanted.block_size}) cannot hold and has no fallback for"
        )
    fallback = TENSOR_TYPES[FALLBACKS.get(wanted.name, wanted.name)]
    return fallback if tensor.row_size % fallback.block_size == 0 else TENSOR_TYPES["F16"]


def tensor_sizes(tensors: Iterable[GgufTensor], types: Iterable[TensorType]) -> list[int]:
    """Return the bytes of each tensor under its type."""
    return [tensor_type.nbytes(tensor.params) for tensor, tensor_type in zip(tensors, types, strict=True)]
