"""llama.cpp's recipes: which tensor gets which type.

A recipe is rows of `data/gguf_recipes.csv`: for a tensor's category, the first row whose condition holds names the
type; the row with category `*` is the default. What the rows cannot say, because it holds for all recipes, is here:
what happens to rows of numbers that do not divide into blocks. Source: llama.cpp's quantizer, 2026-10-01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from deployfit.errors import DataError, InputError, unknown
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.formats.gguf import EMBEDDING, NEVER_QUANTIZED, OUTPUT, GgufClass, GgufSource, Place
from deployfit.kept import OnDemand
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

DEFAULT = "*"
STACKS = "experts"  # any stack of matrices, whatever its category
UNQUANTIZED = ("F32", "F16", "BF16")


class LayerLists(NamedTuple):
    """Layers of one model that a publisher treats apart: `sensitive` ones in more bits, `middle` ones in fewer."""

    sensitive: frozenset[int] = frozenset()
    middle: frozenset[int] = frozenset()

    def before(self, layer: int) -> int:
        """Return how many layers before a layer are in neither list."""
        return layer - sum(apart < layer for listed in self for apart in listed)


class Given(NamedTuple):
    """What the conditions on a whole model may ask."""

    source: GgufSource
    imatrix: bool


def _in_more_bits(position: int, layers: int) -> bool:
    """The layers that the "M" recipes favour: the first and last eighth, and every third between."""
    eighth = layers // 8
    return position < eighth or position >= 7 * layers // 8 or (position - eighth) % 3 == 2


OF_THE_MODEL: Mapping[str, Callable[[Given], bool]] = {
    "gqa>=4": lambda given: given.source.gqa >= 4,
    "experts>=4": lambda given: given.source.experts >= 4,
    "experts==8": lambda given: given.source.experts == 8,
    "experts!=8": lambda given: given.source.experts != 8,
    "70B": lambda given: given.source.is_70b,
    "imatrix": lambda given: given.imatrix,
    "no imatrix": lambda given: not given.imatrix,
    "dense": lambda given: given.source.experts == 0,
    "moe": lambda given: given.source.experts > 0,
    "tied": lambda given: given.source.tied,
    "untied": lambda given: not given.source.tied,
}
OF_THE_PLACE: Mapping[str, Callable[[Place, LayerLists], bool]] = {
    "layer<2": lambda place, lists: place.position < 2,
    "layer<4": lambda place, lists: place.position < 4,
    "layer<n/8": lambda place, lists: place.position < place.out_of // 8,
    "layer<n/16": lambda place, lists: place.position < place.out_of // 16,
    "n/8<=layer<7n/8": lambda place, lists: place.out_of // 8 <= place.position < 7 * place.out_of // 8,
    "layer in more bits": lambda place, lists: _in_more_bits(place.position, place.out_of),
    "next layer in more bits": lambda place, lists: _in_more_bits(place.position + 1, place.out_of),
    "own ordinal in more bits": lambda place, lists: _in_more_bits(place.own, place.blocks),
    "ordinal<n/8": lambda place, lists: place.ordinal < place.blocks // 8,
    "mtp": lambda place, lists: place.is_draft,
    "sensitive layer": lambda place, lists: place.layer in lists.sensitive,
    "middle layer": lambda place, lists: place.layer in lists.middle,
    "rest in more bits": lambda place, lists: _in_more_bits(lists.before(place.layer), place.blocks),
    "rest<n/8": lambda place, lists: lists.before(place.layer) < place.blocks // 8,
    "rest<n/16": lambda place, lists: lists.before(place.layer) < place.blocks // 16,
    "last layer": lambda place, lists: place.layer == place.blocks - 1,
}
CONDITIONS = (*OF_THE_MODEL, *OF_THE_PLACE)


class Rule(NamedTuple):
    """Tensors of this category get this type when every condition holds, by the conditions' names.

    The conditions on the model and on the tensor's place are apart: the former are asked once.
    """

    category: str
    of_model: tuple[str, ...]
    of_place: tuple[str, ...]
    tensor_type: TensorType


class Recipe(NamedTuple):
    """A named mixture of tensor types; `rules` are in order of precedence.

    `overrides` stand before them: a publisher's choices, whose category is a pattern of the tensor's role (`ssm_*`).
    `fused_qkv` is set for an earlier generation of the engine: it gave the fused projection of linear layers a
    type of its own, and did not count it among attention's values.
    """

    name: str
    default: TensorType
    rules: tuple[Rule, ...]
    overrides: tuple[Rule, ...] = ()
    fused_qkv: TensorType | None = None
    layer_lists: LayerLists = LayerLists()


def parse_rule(row: Row, category: str) -> Rule:
    """Return the rule of a row with the columns `when`, conditions joined by ` & `, and `tensor_type`."""
    names = [name for name in row.text("when", blank=True).split(" & ") if name]
    if any(name not in CONDITIONS for name in names):
        row.fault("when", "conditions out of " + ", ".join(CONDITIONS))
    of_model, of_place = (tuple(name for name in names if name in known) for known in (OF_THE_MODEL, OF_THE_PLACE))
    return Rule(category, of_model, of_place, TENSOR_TYPES[row.one_of("tensor_type", TENSOR_TYPES)])


RECIPES = Table(
    "gguf_recipes.csv",
    ["recipe", "category", "when", "tensor_type"],
    lambda row: parse_rule(row, row.text("category")),
)


def recipes_of(unread: Mapping[str, list[Row]]) -> Mapping[str, Recipe]:
    """Return the recipes by name, of rows that are read when they are needed."""
    return OnDemand(unread, lambda name: _recipe(name, *RECIPES.parsed(unread[name])))


def _recipe(name: str, first: Rule, *others: Rule) -> Recipe:
    if first.category != DEFAULT:
        raise DataError([f"data/{RECIPES.file}: {name}: the first row must have the category {DEFAULT}"])
    return Recipe(name, first.tensor_type, others)


GENERATIONS = Table(
    "gguf_generations.csv",
    ["generation", "recipe", "attn_qkv"],
    lambda row: (row.text("generation"), row.text("recipe"), row.one_of("attn_qkv", ["", *TENSOR_TYPES])),
)


def of_generation(recipe: Recipe, generation: str, rows: Iterable[tuple[str, str, str]]) -> Recipe:
    """Return the recipe as an earlier generation of the engine had it, from rows of GENERATIONS.

    A blank type stands for the recipe's default, and so does a recipe that has no row.
    """
    types = {name: tensor_type for written, name, tensor_type in rows if written == generation}
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


class TypedClass(NamedTuple):
    """Tensors that are equal, their type under a recipe included; `layers` are some or all of the class's.

    `nbytes` are those of one of them.
    """

    tensors: GgufClass
    tensor_type: TensorType
    layers: tuple[int, ...]
    nbytes: int


def typed_classes(recipe: Recipe, source: GgufSource, *, imatrix: bool) -> list[TypedClass]:
    """Return the types that the quantizer gives; raise InputError if it cannot make the recipe of this model.

    What recipes do with a class of tensors is kept: they are many, and differ in few classes.
    """
    given = Given(source, imatrix)
    overrides = _overrides(recipe.overrides)
    is_unquantized = recipe.default.name in UNQUANTIZED
    by_category: dict[tuple[str, bool], Sequence[Rule]] = {}
    typed: list[TypedClass] = []
    for index, tensors in enumerate(source.classes):
        alike = tensors.category, tensors.is_stack
        if alike not in by_category:
            by_category[alike] = _rules(recipe, tensors, given)
        rules = by_category[alike]
        if recipe.fused_qkv is not None and tensors.role == "attn_qkv":
            rules = [Rule(tensors.role, (), (), recipe.fused_qkv)]
        if first := overrides[tensors.role, tensors.category]:
            rules = [*(rule for rule in first if _holds(rule, given)), *rules]
        if rules and rules[0].of_place:
            for tensor_type, layers in _by_place(rules, recipe, source, tensors).items():
                fitting = _fitting(tensor_type, recipe, tensors)
                typed.append(TypedClass(tensors, fitting, layers, fitting.nbytes(tensors.params)))
            continue
        wanted = rules[0].tensor_type if rules else tensors.source_type
        key = index, wanted.name, is_unquantized
        if key not in source.typed:
            fitting = _fitting(wanted, recipe, tensors)
            source.typed[key] = TypedClass(tensors, fitting, tensors.layers, fitting.nbytes(tensors.params))
        typed.append(source.typed[key])
    return typed


def _by_place(
    rules: Sequence[Rule], recipe: Recipe, source: GgufSource, tensors: GgufClass
) -> dict[TensorType, tuple[int, ...]]:
    """Return the layers by the type of the first rule that holds; as in the source where none does."""
    types = [*(rule.tensor_type for rule in rules), tensors.source_type]
    wanted: dict[TensorType, tuple[int, ...]] = {}
    for tensor_type, layers in zip(types, _split(rules, recipe, source, tensors), strict=True):
        if layers:
            before = wanted.get(tensor_type)
            wanted[tensor_type] = tuple(sorted((*before, *layers))) if before else layers
    return wanted


def _split(rules: Sequence[Rule], recipe: Recipe, source: GgufSource, tensors: GgufClass) -> Sequence[tuple[int, ...]]:
    """Return the layers that each rule is the first to hold for, and at last those that none holds for.

    Recipes differ in types much more than in conditions, so that the answers are kept.
    """
    fused_apart = recipe.fused_qkv is not None
    conditions = tuple(rule.of_place for rule in rules)
    key = tensors.name, tensors.shape, tensors.part, conditions, fused_apart, recipe.layer_lists
    if key not in source.splits:
        left = source.places(tensors, fused_apart=fused_apart)
        first = []
        for names in conditions:
            held = left
            for name in names:
                holds = OF_THE_PLACE[name]
                held = [place for place in held if holds(place, recipe.layer_lists)]
            if held:
                here = {place.layer for place in held}
                left = [place for place in left if place.layer not in here]
            first.append(tuple(place.layer for place in held))
        source.splits[key] = (*first, tuple(place.layer for place in left))
    return source.splits[key]


def _rules(recipe: Recipe, tensors: GgufClass, given: Given) -> list[Rule]:
    """Return the recipe's rules for a category as far as the first that holds everywhere, the default at last."""
    if tensors.category == NEVER_QUANTIZED:
        return []
    categories = (tensors.category, STACKS) if tensors.is_stack else (tensors.category,)
    rules = [rule for rule in recipe.rules if rule.category in categories and _holds(rule, given)]
    rules.append(Rule(DEFAULT, (), (), recipe.default))
    return rules[: 1 + next(index for index, rule in enumerate(rules) if not rule.of_place)]


class _Overrides(dict[tuple[str, str], Sequence[Rule]]):
    """A publisher's rules by role and category; what the engine never quantizes must be there with its full name."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, alike: tuple[str, str]) -> Sequence[Rule]:
        role, category = alike
        if category == NEVER_QUANTIZED:
            found = [rule for rule in self._rules if rule.category == role]
        else:
            found = [rule for rule in self._rules if _matches(role, rule.category)]
        self[alike] = found
        return found


_overrides = lru_cache(maxsize=1024)(_Overrides)


@lru_cache(maxsize=16_384)  # roles by patterns
def _matches(role: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase  # 4 ms that only a publisher's recipe should pay

    return fnmatchcase(role, pattern)


def _holds(rule: Rule, given: Given) -> bool:
    return all(OF_THE_MODEL[name](given) for name in rule.of_model)


# Types that cannot be made well without an importance matrix; Q2_K only in one recipe. The engine refuses them.
WITH_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
WITH_IMATRIX_IN = {"Q2_K_S": "Q2_K"}
NEVER_WITH_IMATRIX = (OUTPUT, EMBEDDING, "per_layer_token_embd")


def needs_imatrix(recipe: Recipe, typed: Iterable[TypedClass]) -> bool:
    """Return whether llama.cpp refuses to make this without an importance matrix.

    It depends on the model: types that cannot hold its rows are replaced by others, which may not need one.
    """
    needing = (*WITH_IMATRIX, WITH_IMATRIX_IN.get(recipe.name, ""))
    return any(each.tensor_type.name in needing and each.tensors.role not in NEVER_WITH_IMATRIX for each in typed)


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


def _fitting(wanted: TensorType, recipe: Recipe, tensors: GgufClass) -> TensorType:
    if recipe.default.name in UNQUANTIZED:
        return wanted
    if tensors.category == OUTPUT and tensors.row_size % recipe.default.block_size:
        wanted = TENSOR_TYPES["Q8_0"]
    if tensors.row_size % wanted.block_size == 0:
        return wanted
    if wanted.name not in FALLBACKS and wanted.block_size > 32:
        raise InputError(
            f"llama.cpp cannot make {recipe.name}: {tensors.full_name(tensors.layers[0])} has rows of"
            f" {tensors.row_size}, which {wanted.name} (blocks of {wanted.block_size}) cannot hold and has no fallback"
            " for"
        )
    fallback = TENSOR_TYPES[FALLBACKS.get(wanted.name, wanted.name)]
    return fallback if tensors.row_size % fallback.block_size == 0 else TENSOR_TYPES["F16"]
