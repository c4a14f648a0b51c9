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
    layer: int  # as the engine counts it: in its earlier generation attention V by itself
    ordinal: int
    own: int = 0  # how many tensors of the same kind stand before it
    tied: bool = False
    mtp: bool = False  # whether it is in the MTP layer
    sensitive: bool = False  # whether the publisher raises its layer
    middle: bool = False  # or lowers it
    rest: int = 0  # how many layers before it are neither
    is_last: bool = False  # whether its layer is the last


def _in_more_bits(position: int, layers: int) -> bool:
    """The layers that the "M" recipes favour: the first and last eighth, and every third between."""
    eighth = layers // 8
    return position < eighth or position >= 7 * layers // 8 or (position - eighth) % 3 == 2


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
    "layer in more bits": lambda case: _in_more_bits(case.layer, case.layers),
    "next layer in more bits": lambda case: _in_more_bits(case.layer + 1, case.layers),
    "own ordinal in more bits": lambda case: _in_more_bits(case.own, case.layers),
    "ordinal<n/8": lambda case: case.ordinal < case.layers // 8,
    "dense": lambda case: case.experts == 0,
    "moe": lambda case: case.experts > 0,
    "tied": lambda case: case.tied,
    "untied": lambda case: not case.tied,
    "mtp": lambda case: case.mtp,
    "sensitive layer": lambda case: case.sensitive,
    "middle layer": lambda case: case.middle,
    "rest in more bits": lambda case: _in_more_bits(case.rest, case.layers),
    "rest<n/8": lambda case: case.rest < case.layers // 8,
    "rest<n/16": lambda case: case.rest < case.layers // 16,
    "last layer": lambda case: case.is_last,
}


class Rule(NamedTuple):
    """Tensors of this role get this type when every condition holds."""

    role: str
    conditions: tuple[Callable[[Case], bool], ...]
    tensor_type: TensorType


class LayerLists(NamedTuple):
    """Layers of one model that a publisher treats apart: `sensitive` ones in more bits, `middle` ones in fewer."""

    sensitive: frozenset[int] = frozenset()
    middle: frozenset[int] = frozenset()


class Recipe(NamedTuple):
    """A named mixture of tensor types; `rules` are in order of precedence.

    `overrides` stand before them: a publisher's choices, whose role is a pattern of the tensor's kind (`ssm_*`).
    `fused_qkv` is set for an earlier generation of the engine: it gave the fused projection of linear layers a
    type of its own, and did not count it as attention V.
    """

    name: str
    default: TensorType
    rules: tuple[Rule, ...]
    overrides: tuple[Rule, ...] = ()
    fused_qkv: TensorType | None = None
    layer_lists: LayerLists = LayerLists()


def parse_conditions(row: Row, column: str) -> tuple[Callable[[Case], bool], ...]:
    """Return the conditions of a cell, which are joined by ` & `."""
    names = [name for name in row.text(column, blank=True).split(" & ") if name]
    if any(name not in CONDITIONS for name in names):
        row.fault(column, "conditions out of " + ", ".join(CONDITIONS))
    return tuple(CONDITIONS[name] for name in names if name in CONDITIONS)


def parse_recipes(text: str, place: str) -> dict[str, Recipe]:
    """Return the recipes of a CSV text with the columns of `data/gguf_recipes.csv`."""

    def parse(row: Row) -> tuple[str, Rule]:
        tensor_type = TENSOR_TYPES[row.one_of("tensor_type", TENSOR_TYPES)]
        return row.text("recipe"), Rule(row.text("role"), parse_conditions(row, "when"), tensor_type)

    rules: dict[str, list[Rule]] = {}
    for name, rule in parse_table(text, place, ["recipe", "role", "when", "tensor_type"], parse):
        rules.setdefault(name, []).append(rule)
    recipes = {}
    for name, (first, *others) in rules.items():
        if first.role != DEFAULT_ROLE:
            raise DataError([f"{place}: {name}: the first row must have the role {DEFAULT_ROLE}"])
        recipes[name] = Recipe(name, first.tensor_type, tuple(others))
    return recipes


OVERRIDE_COLUMNS = ["publisher", "recipe", "models", "tensor", "when", "tensor_type"]


def parse_overrides(text: str, place: str) -> dict[tuple[str, str, str], tuple[Rule, ...]]:
    """Return publishers' overrides by publisher, recipe and models, from `data/publisher_overrides.csv`."""

    def parse(row: Row) -> tuple[tuple[str, str, str], Rule]:
        tensor_type = TENSOR_TYPES[row.one_of("tensor_type", TENSOR_TYPES)]
        key = (row.text("publisher"), row.text("recipe"), row.text("models"))
        return key, Rule(row.text("tensor"), parse_conditions(row, "when"), tensor_type)

    found: dict[tuple[str, str, str], tuple[Rule, ...]] = {}
    for key, override in parse_table(text, place, OVERRIDE_COLUMNS, parse):
        found[key] = (*found.get(key, ()), override)
    return found


def parse_layer_lists(text: str, place: str) -> dict[tuple[str, str], LayerLists]:
    """Return the layers that a publisher treats apart, by publisher and model, from `data/publisher_layers.csv`."""

    def parse(row: Row) -> tuple[tuple[str, str], LayerLists]:
        lists = []
        for column in LayerLists._fields:
            numbers = row.text(column).split()
            if not all(number.isdigit() for number in numbers):
                row.fault(column, "layers counted from 0")
                numbers = []
            lists.append(frozenset(map(int, numbers)))
        return (row.text("publisher"), row.text("model")), LayerLists(*lists)

    return dict(parse_table(text, place, ["publisher", "model", *LayerLists._fields], parse))


def parse_generations(text: str, place: str) -> dict[str, dict[str, str]]:
    """Return by generation and recipe the type of the fused projection, from `data/gguf_generations.csv`.

    The recipe `*` stands for all others, a blank type for the recipe's default.
    """

    def parse(row: Row) -> tuple[str, str, str]:
        return row.text("generation"), row.text("recipe"), row.one_of("attn_qkv", ["", *TENSOR_TYPES])

    found: dict[str, dict[str, str]] = {}
    for generation, recipe, tensor_type in parse_table(text, place, ["generation", "recipe", "attn_qkv"], parse):
        found.setdefault(generation, {})[recipe] = tensor_type
    return found


def of_generation(recipe: Recipe, types: Mapping[str, str]) -> Recipe:
    """Return the recipe as an earlier generation of the engine had it."""
    name = types.get(recipe.name, "")
    return recipe._replace(fused_qkv=TENSOR_TYPES[name] if name else recipe.default)


ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # as llama-quantize has them


def find_recipe(text: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """Return the recipe of that name, whatever its case."""
    name = text.strip().upper()
    name = ALIASES.get(name, name)
    if name not in recipes:
        raise unknown("recipe", text, recipes)
    return recipes[name]


# Recipes that llama.cpp refuses to make without an importance matrix.
NEED_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S")


def tensor_types(
    recipe: Recipe, tensors: Sequence[GgufTensor], *, gqa: int, experts: int, imatrix: bool
) -> list[TensorType]:
    """Return the type of each tensor, in the order of the tensors."""
    layers = 1 + max(tensor.layer for tensor in tensors)
    tied = all(tensor.kind != "output" for tensor in tensors)
    mtp_layer = next((tensor.layer for tensor in tensors if tensor.kind.startswith("nextn.")), -1)
    settled: dict[tuple[str, int], TensorType] = {}  # what does not depend on where the tensor stands
    counted: dict[str, int] = {}
    concerned: dict[str, list[Rule]] = {}  # by kind: which rules there are, not yet which holds
    types = []
    for tensor in tensors:
        alike = (tensor.kind, tensor.row_size)
        if alike in settled:
            types.append(settled[alike])
            continue
        own = counted.get(tensor.kind, 0)
        counted[tensor.kind] = own + 1
        by_itself = recipe.fused_qkv is not None and tensor.kind == "attn_v"
        layer, ordinal = (own, own) if by_itself else (tensor.layer, tensor.ordinal)
        mtp = 0 <= tensor.layer == mtp_layer
        sensitive, middle = (tensor.layer in listed for listed in recipe.layer_lists)
        rest = sum(0 <= apart < tensor.layer for listed in recipe.layer_lists for apart in listed)
        case = Case(
            gqa=gqa,
            experts=experts,
            imatrix=imatrix,
            layers=layers,
            layer=layer,
            ordinal=ordinal,
            own=own,
            tied=tied,
            mtp=mtp,
            sensitive=sensitive,
            middle=middle,
            rest=tensor.layer - rest,
            is_last=tensor.layer == layers - 1,
        )
        if tensor.kind not in concerned:
            concerned[tensor.kind] = _concerned(recipe, tensor)
        rules = concerned[tensor.kind]
        wanted = next((rule.tensor_type for rule in rules if all(holds(case) for holds in rule.conditions)), None)
        types.append(tensor.source_type if wanted is None else _fitting(wanted, recipe, tensor))
        if not any(rule.conditions for rule in rules):
            settled[alike] = types[-1]
    return types


def _concerned(recipe: Recipe, tensor: GgufTensor) -> list[Rule]:
    """Return the rules for a tensor in order of precedence.

    One that the engine never quantizes only has those that a publisher writes with its full name.
    """
    if tensor.role == NEVER_QUANTIZED:
        return [rule for rule in recipe.overrides if rule.role == tensor.kind]
    rules = [rule for rule in recipe.overrides if _matches(tensor.kind, rule.role)]
    if recipe.fused_qkv and tensor.kind == "attn_qkv":
        return [*rules, Rule(tensor.kind, (), recipe.fused_qkv)]
    roles = (tensor.role, EXPERTS_ROLE) if tensor.is_experts else (tensor.role,)
    rules += [rule for rule in recipe.rules if rule.role in roles]
    return [*rules, Rule(DEFAULT_ROLE, (), recipe.default)]


def _matches(kind: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase  # 4 ms that only a publisher's recipe should pay

    return fnmatchcase(kind, pattern)


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
