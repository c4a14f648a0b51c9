"""Publishers: what unsloth, bartowski, mlx-community and others really ship.

A publisher's recipe is a base recipe and ordered overrides, as rows of data. On the models on which it was solved the
size is counted; else the published size is taken; else the recipe stands in, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache

from deployfit.basis import Basis
from deployfit.catalogue import rows, rows_by
from deployfit.errors import InputError, unknown
from deployfit.formats import checkpoint, mlx
from deployfit.formats.gguf_recipes import GENERATIONS, LayerLists, Rule, of_generation, parse_rule
from deployfit.kept import OnDemand, keep
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.models import ORIGINAL_BYTES, Model
from deployfit.parameters import param
from deployfit.quants.checkpoint import checkpoint_weights
from deployfit.quants.gguf import gguf_header_bytes, gguf_recipes, gguf_weights, ollama_weights
from deployfit.quants.mlx import mlx_source, mlx_weights
from deployfit.quants.published_sizes import PARTS, PUBLISHED_SIZES, PublishedSize, best_of, is_model, sizes_a_model
from deployfit.quants.weights import (
    ALIKE_PERCENT,
    FORMATS,
    GGUF,
    MLX,
    SAFETENSORS,
    Options,
    WeightClass,
    Weights,
    scaled,
)
from deployfit.tables import Row, Table
from deployfit.units import gb
from deployfit.values import NamedTuple

ORIGINAL = "BF16"
MOST_FILES, MOST_MADE = 2048, 128  # of a publisher, kept


class PublisherRow(NamedTuple):
    """A row of `data/publishers.csv`; a publisher has one for each format.

    `models` are patterns of the models whose repositories are called so, `mtp_models` of those whose files have the
    MTP layer. Of `mtp_repo_models` the files that have it are in a repository of their own, `mtp_repo`. `joined`: text,
    MTP layer and vision tower are one GGUF file, as Ollama has them.
    """

    name: str
    format: str
    repo: str
    models: tuple[str, ...]
    mtp_models: tuple[str, ...]
    mtp_repo: str
    mtp_repo_models: tuple[str, ...]
    joined: bool


def _publisher(row: Row) -> PublisherRow:
    return PublisherRow(
        name=row.text("publisher"),
        format=row.one_of("format", FORMATS),
        repo=row.text("repo"),
        models=tuple(row.text("models", blank=True).split()),
        mtp_models=tuple(row.text("mtp_models", blank=True).split()),
        mtp_repo=row.text("mtp_repo", blank=True),
        mtp_repo_models=tuple(row.text("mtp_repo_models", blank=True).split()),
        joined=row.one_of("layout", ("", "joined")) == "joined",
    )


PUBLISHERS = Table(
    "publishers.csv",
    ["publisher", "format", "repo", "models", "mtp_models", "mtp_repo", "mtp_repo_models", "layout"],
    _publisher,
)


class PublisherRecipe(NamedTuple):
    """A row of `data/publisher_recipes.csv`: what a publisher's name means for the models that match a pattern.

    `solved_on` are the models of which it reproduces every published size. On others it is the best guess, or where
    it was solved on none only the nearest recipe, and `spread_percent` says how far from it such files were seen.
    """

    publisher: str
    name: str
    format: str
    models: tuple[str, ...]  # patterns
    base: str
    generation: str
    imatrix: bool
    overrides: str  # their name in `data/publisher_overrides.csv`
    solved_on: tuple[str, ...]
    spread_percent: int
    aliases: tuple[str, ...]


def _recipe(row: Row) -> PublisherRecipe:
    return PublisherRecipe(
        publisher=row.text("publisher"),
        name=row.text("recipe"),
        format=row.one_of("format", FORMATS),
        models=tuple(row.text("models").split()),
        base=row.text("base"),
        generation=row.text("generation", blank=True),
        imatrix=row.flag("imatrix"),
        overrides=row.text("overrides", blank=True),
        solved_on=tuple(row.text("solved_on", blank=True).split()),
        spread_percent=row.number("spread_percent", blank=True),
        aliases=tuple(row.text("aliases", blank=True).split()),
    )


PUBLISHER_RECIPES = Table(
    "publisher_recipes.csv",
    [
        "publisher",
        "recipe",
        "format",
        "models",
        "base",
        "generation",
        "imatrix",
        "overrides",
        "solved_on",
        "spread_percent",
        "aliases",
    ],
    _recipe,
)


OVERRIDES = Table(
    "publisher_overrides.csv",
    ["overrides", "tensor", "when", "tensor_type"],
    lambda row: parse_rule(row, row.text("tensor")),
)


def _layer_lists(row: Row) -> tuple[tuple[str, str], LayerLists]:
    lists = []
    for column in LayerLists._fields:
        numbers = row.text(column).split()
        if not all(number.isdigit() for number in numbers):
            row.fault(column, "layers counted from 0")
            numbers = []
        lists.append(frozenset(map(int, numbers)))
    return (row.text("publisher"), row.text("model")), LayerLists(*lists)


LAYER_LISTS = Table("publisher_layers.csv", ["publisher", "model", *LayerLists._fields], _layer_lists)


@cache
def all_publishers() -> dict[str, Publisher]:
    """Return the publishers by name.

    >>> all_publishers()["unsloth"].quant("ud-q4_k_xl").name
    'unsloth:UD-Q4_K_XL'
    """
    grouped: dict[str, list[PublisherRow]] = {}
    for row in rows(PUBLISHERS):
        grouped.setdefault(row.name, []).append(row)
    recipes, sizes = rows(PUBLISHER_RECIPES), rows_by(PUBLISHED_SIZES, "publisher")
    return {name: Publisher(own, recipes, sizes.get(name, [])) for name, own in grouped.items()}


@cache
def _overrides() -> Mapping[str, Sequence[Rule]]:
    """Return what stands in front of a base recipe, by name."""
    unread = rows_by(OVERRIDES, "overrides")
    return OnDemand(unread, lambda name: OVERRIDES.parsed(unread[name]))


def matches(model: str, patterns: Sequence[str]) -> bool:
    """Return whether a model's name is one of these patterns."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)


class Publisher:
    """A publisher: its files by recipe; `sizes` are its rows of PUBLISHED_SIZES, read where they are asked for."""

    def __init__(self, own: Sequence[PublisherRow], recipes: Iterable[PublisherRecipe], sizes: Iterable[Row]) -> None:
        self.rows = {row.format: row for row in own}
        self.name = own[0].name
        self._recipes = [recipe for recipe in recipes if recipe.publisher == self.name]
        self._aliases = {alias: recipe.name for recipe in self._recipes for alias in recipe.aliases}
        self._sizes: dict[tuple[str, str], list[Row]] = {}
        self._best: dict[tuple[str, str], PublishedSize | None] = {}
        self._formats = {recipe.name: recipe.format for recipe in reversed(self._recipes)}
        for size in sizes:
            format_name, recipe = size.text("format"), size.text("recipe")
            if format_name in self.rows and sizes_a_model(format_name, size.text("of"), recipe):
                name = self._aliases.get(recipe, recipe)
                self._sizes.setdefault((name, size.text("model")), []).append(size)
                self._formats.setdefault(name, format_name)
        # Counted once: a recipe can be asked for itself, for a size to be checked, and as the nearest to others.
        # A blueprint is found by identity, which is quicker than by value, and kept so that no other has it.
        self._counted: dict[tuple[object, ...], tuple[Blueprint, Weights]] = {}
        self._made: dict[tuple[str, int], tuple[Blueprint, Sequence[Weights]]] = {}

    @property
    def names(self) -> list[str]:
        """The recipes that this publisher was seen to use."""
        return list(dict.fromkeys([recipe.name for recipe in self._recipes] + [name for name, _ in self._sizes]))

    def quant(self, name: str) -> PublishedQuant:
        """Return the publisher's recipe of that name or alias, whatever its case."""
        names = {alias.casefold(): recipe for alias, recipe in self._aliases.items()} | {
            each.casefold(): each for each in self.names
        }
        found = names.get(name.strip().casefold())
        if found is None:
            raise unknown(f"{self.name} recipe", name, self.names)
        return PublishedQuant(self, found)

    def quants(self) -> list[PublishedQuant]:
        """Return all recipes of this publisher."""
        return [PublishedQuant(self, name) for name in self.names]

    def rule(self, name: str, model: str) -> PublisherRecipe | None:
        """Return what the recipe's name means for a model."""
        known = self._aliases.get(name, name)
        return next((each for each in self._recipes if each.name == known and matches(model, each.models)), None)

    def has(self, size: PublishedSize) -> bool:
        """Whether a published size is one of this publisher's models."""
        return size.publisher == self.name and size.format in self.rows and is_model(size)

    def any_rule(self, name: str) -> PublisherRecipe:
        """Return a rule for a name that has none for a model: its own for another, else any of its format."""
        known = [rule for rule in self._recipes if rule.format == self._formats[name]]
        return next((rule for rule in known if rule.name == name), known[0])

    def row_of(self, name: str) -> PublisherRow:
        """Return the row of the format in which a recipe's files are."""
        return self.rows[self._formats[name]]

    def best_size(self, name: str, model: str) -> PublishedSize | None:
        """Return the best published size of a recipe."""
        found = name, model
        if found not in self._sizes:
            return None
        if found not in self._best:
            self._best[found] = best_of(PUBLISHED_SIZES.parsed(self._sizes[found]))
        return self._best[found]

    def nearest(self, name: str, model: Model, nbytes: int) -> Weights:
        """Return the file of a model that comes nearest to a size, of those that can be counted.

        That is what this recipe's rules for any model make of it, or where that is another size, the format's tool.
        """

        def off(weights: Weights) -> int:
            return abs(weights.file_bytes - nbytes)

        ruled = [self.counted(rule, model) for rule in self._recipes if rule.name == name]
        if ruled and 100 * off(min(ruled, key=off)) <= ALIKE_PERCENT * nbytes:
            return min(ruled, key=off)
        made = self._of_the_tool(self._formats[name], model)
        best = min(made, key=off, default=None)
        if best and off(best) <= ORIGINAL_BYTES * sum(_params(model.blueprint).values()) - nbytes:
            return best  # the original is farther
        return min([*made, *self._of_the_tool(SAFETENSORS, model)], key=off)

    def _of_the_tool(self, format_name: str, model: Model) -> Sequence[Weights]:
        """Return what the tool of a format makes of a model with each of its recipes; of safetensors, the original."""
        key = format_name, id(model.blueprint)
        if key not in self._made:
            return keep(self._made, key, (model.blueprint, tuple(self._make(format_name, model))), MOST_MADE)[1]
        return self._made[key][1]

    def _make(self, format_name: str, model: Model) -> Iterator[Weights]:
        if format_name == GGUF:
            drafts = matches(model.name, self.rows[GGUF].mtp_models) and bool(model.blueprint.drafts)
            for recipe in gguf_recipes().values():
                with suppress(InputError):
                    yield gguf_weights(model, recipe, imatrix=True, mtp=drafts)
        elif format_name == MLX:
            for each in _mlx_recipes().values():
                with suppress(InputError):
                    yield mlx_weights(model, each, vision=bool(mlx_source(model).tower.tensors))
        else:
            yield checkpoint_weights(model, checkpoint.recipes_of(rows(checkpoint.RECIPES))[ORIGINAL])

    def contents(self, format_name: str, model: str) -> tuple[str, ...]:
        """Return which parts this publisher's files of a model hold in a format."""
        row = self.rows[format_name]
        if row.format != GGUF:
            return ("text", "vision") if row.format == MLX else PARTS
        return ("text", "mtp") if matches(model, row.mtp_models) else ("text",)

    def counted(self, rule: PublisherRecipe, model: Model, *, mtp: bool = False) -> Weights:
        """Return the weights that a rule makes of a model; `mtp`: with the MTP layer, wherever the files have it."""
        alike = rule.format, rule.base, rule.generation, rule.imatrix, rule.overrides  # for other models, perhaps
        key = *alike, id(model.blueprint), mtp
        if key not in self._counted:
            weights = self._count(rule, model, mtp=mtp)._replace(publisher=self.name)
            return keep(self._counted, key, (model.blueprint, weights), MOST_FILES)[1]
        return self._counted[key][1]

    def _count(self, rule: PublisherRecipe, model: Model, *, mtp: bool) -> Weights:
        row = self.rows[rule.format]
        if row.format == MLX:
            return mlx_weights(model, _mlx_recipes()[rule.base], vision=bool(mlx_source(model).tower.tensors))
        if row.format != GGUF:
            return checkpoint_weights(model, checkpoint.recipes_of(rows(checkpoint.RECIPES))[rule.base])
        base = gguf_recipes()[rule.base]
        if rule.generation:
            base = of_generation(base, rule.generation, rows(GENERATIONS))
        recipe = base._replace(
            overrides=tuple(_overrides()[rule.overrides]) if rule.overrides else (),
            layer_lists=dict(rows(LAYER_LISTS)).get((rule.publisher, model.name), LayerLists()),
        )
        if row.joined:
            return ollama_weights(model, recipe, imatrix=rule.imatrix)
        drafts = (mtp or matches(model.name, row.mtp_models)) and bool(model.blueprint.drafts)
        return gguf_weights(model, recipe, imatrix=rule.imatrix, mtp=drafts)


@cache
def _mlx_recipes() -> Mapping[str, mlx.MlxRecipe]:
    return {recipe.name: recipe for recipe in rows(mlx.RECIPES)}


class PublishedQuant(NamedTuple):
    """A publisher's recipe."""

    owner: Publisher
    recipe: str

    @property
    def name(self) -> str:
        """The publisher and its recipe, as a user types them."""
        return f"{self.publisher}:{self.recipe}"

    @property
    def format(self) -> str:
        """The format of its files."""
        return self.owner.row_of(self.recipe).format

    @property
    def publisher(self) -> str:
        """The publisher's name."""
        return self.owner.name

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether such a file of the model was seen, or its recipe is solved on it."""
        rule = self._rule(model)
        return bool(self.published(model)) or (rule is not None and model.name in rule.solved_on)

    def _rule(self, model: Model) -> PublisherRecipe | None:
        """Return what the recipe's name means for a model, if the model was published at all."""
        return self.owner.rule(self.recipe, model.name) if model.row.hub_repo else None

    def published(self, model: Model) -> str:
        """Return the date of the size that was seen."""
        size = self.owner.best_size(self.recipe, model.name)
        return "" if size is None else size.date or "undated"

    def published_bytes(self, model: Model) -> int:
        """Return the best published size, 0 where none was seen."""
        size = self.owner.best_size(self.recipe, model.name)
        return 0 if size is None else size.nbytes

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the weights: counted where the recipe is solved, else as published, else by the nearest recipe."""
        if options.imatrix:
            raise InputError(
                f"{self.name}: its publisher has decided about the importance matrix; leave out {param('imatrix')}"
            )
        rule = self._rule(model)
        published = self.owner.best_size(self.recipe, model.name)
        if rule is not None and model.name in rule.solved_on:
            weights = self.owner.counted(rule, model)._replace(recipe=self.name, basis=Basis.DERIVED, notes=())
        elif published is not None:
            weights = self._measured(model, published)
        elif rule is not None:
            note = _assumed(rule, self.name)
            weights = self.owner.counted(rule, model)._replace(recipe=self.name, basis=Basis.ASSUMED, notes=(note,))
        else:
            raise InputError(
                f"no size of {self.name} for {model.name} is known; deployfit quants {model.name} lists what is"
            )
        return self._with_drafts(model, weights) if options.mtp and not weights.mtp_bytes else weights

    def _with_drafts(self, model: Model, weights: Weights) -> Weights:
        """Return the weights of the file with the MTP layer that the publisher has elsewhere.

        The layer is counted by the recipe, or by the one that comes nearest.
        """
        row = self.owner.row_of(self.recipe)
        if not matches(model.name, row.mtp_repo_models):
            raise InputError(
                f"{self.name}: the file of {model.name} has no MTP layer that is known; leave out {param('mtp')}"
            )
        rule = self._rule(model) or self.owner.any_rule(self.recipe)
        with_drafts = self.owner.counted(rule, model, mtp=True)
        repo = row.mtp_repo.format(model=model.name)
        note = f"file: the one in {repo}; its MTP layer is counted by the recipe {rule.name}, its own size is not known"
        more = with_drafts.file_bytes - self.owner.counted(rule, model).file_bytes
        layer = tuple(each for each in with_drafts.classes if each.part is Part.MTP)
        return weights._replace(
            classes=weights.classes + layer,
            file_bytes=weights.file_bytes + more,
            params=weights.params + _params(model.blueprint)[Part.MTP],
            basis=Basis.ASSUMED,
            notes=(*weights.notes, note),
        )

    def _measured(self, model: Model, published: PublishedSize) -> Weights:
        """Return weights of the published size: the vision tower as it always is, the rest shared out.

        MTP layer and text by their parameters; the tensors of each as in the nearest recipe that can be counted.
        """
        params = {part: count for part, count in _params(model.blueprint).items() if part.value in published.contains}
        if self.format == MLX and params.get(Part.VISION) == 0:  # a tower that the blueprint does not tell
            params[Part.VISION] = mlx_source(model).tower.nbytes // ORIGINAL_BYTES
        quantized = params.get(Part.TEXT, 0) + params.get(Part.MTP, 0)
        vision_bytes = ORIGINAL_BYTES * params.get(Part.VISION, 0)
        rest = published.nbytes - vision_bytes
        if published.of != "tensors" and self.format == GGUF:
            rest -= gguf_header_bytes(model, mtp=Part.MTP in params)
        mtp_bytes = rest * params.get(Part.MTP, 0) // quantized
        alike = self.owner.nearest(self.recipe, model, published.nbytes)
        classes = scaled(alike.classes, Part.TEXT, rest - mtp_bytes)
        if mtp_bytes:
            classes += scaled(alike.classes, Part.MTP, mtp_bytes)
        if vision_bytes:
            classes += (WeightClass("vision", ORIGINAL, Part.VISION, (OUTSIDE,), vision_bytes),)
        date = f", {published.date}" if published.date else ""
        rounded = "" if published.is_exact else f", rounded to {gb(2 * published.plus_minus_bytes)} GB"
        return Weights(
            recipe=self.name,
            format=self.format,
            classes=classes,
            file_bytes=published.nbytes,
            params=sum(params.values()),
            basis=Basis.MEASURED,
            notes=(f"weights: the published size ({' + '.join(published.contains)}{date}{rounded}), not counted",),
            publisher=self.publisher,
        )


MOST_COUNTED = 256  # kept
_counted: dict[int, tuple[Blueprint, Mapping[Part, int]]] = {}


def _params(blueprint: Blueprint) -> Mapping[Part, int]:
    """Return how many numbers each part has."""
    found = _counted.get(id(blueprint))
    return (found or keep(_counted, id(blueprint), (blueprint, blueprint.params()), MOST_COUNTED))[1]


def _assumed(rule: PublisherRecipe, name: str) -> str:
    solved = rule.solved_on or rule.overrides
    what = "counted by its recipe on other models" if solved else f"those of the nearest recipe, {rule.base}"
    spread = f"; such files were up to {rule.spread_percent} % larger or smaller" if rule.spread_percent else ""
    return f"weights: no size of {name} is known; {what}{spread}"
