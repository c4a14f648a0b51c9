"""Publishers: what unsloth, bartowski, mlx-community and others really ship.

A publisher's recipe is a base recipe and ordered overrides, as rows of data. Where it could be solved, the size
is counted; else the published size is taken; else the base recipe stands in, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from deployfit.architectures.qwen35 import Part
from deployfit.basis import Basis
from deployfit.errors import InputError, unknown
from deployfit.formats.checkpoint import CheckpointRecipe
from deployfit.formats.gguf_recipes import LayerLists, Recipe, Rule, of_generation
from deployfit.formats.mlx import MlxRecipe
from deployfit.models import Model
from deployfit.quants.checkpoint import checkpoint_weights
from deployfit.quants.gguf import gguf_header_bytes, gguf_weights, ollama_weights
from deployfit.quants.mlx import mlx_weights
from deployfit.quants.weights import FORMATS, GGUF, MLX, Options, Weights
from deployfit.tables import Row, parse_table
from deployfit.units import gb

PARTS = tuple(part.value for part in Part)
BF16_BYTES = 2
ORIGINAL = "BF16"
WHAT = ("file", "tensors", "repository")


class PublishedSize(NamedTuple):
    """A row of `data/published_sizes.csv`; exact if `plus_minus_bytes` is 0."""

    publisher: str
    repo: str
    model: str
    recipe: str
    format: str
    nbytes: int
    plus_minus_bytes: int
    of: str  # what has this size: the file (all shards), its tensors, or the whole repository
    contains: tuple[str, ...]
    date: str
    confidence: str
    source: str
    note: str

    @property
    def is_exact(self) -> bool:
        """Whether it is a number of bytes, not a rounded one."""
        return self.plus_minus_bytes == 0


def is_model(size: PublishedSize) -> bool:
    """Return whether the size is that of a model: not of an mmproj file, nor of both together."""
    both = size.format == GGUF and size.of == "repository"
    return not both and not size.recipe.startswith("mmproj")


SIZE_COLUMNS = [
    "publisher",
    "repo",
    "model",
    "recipe",
    "format",
    "bytes",
    "plus_minus_bytes",
    "of",
    "contains",
    "date",
    "confidence",
    "source",
    "note",
]


def parse_published_sizes(text: str, place: str) -> list[PublishedSize]:
    """Return the rows of a CSV text with the columns of `data/published_sizes.csv`."""

    def parse(row: Row) -> PublishedSize:
        return PublishedSize(
            publisher=row.text("publisher"),
            repo=row.text("repo"),
            model=row.text("model"),
            recipe=row.text("recipe"),
            format=row.one_of("format", FORMATS),
            nbytes=row.number("bytes"),
            plus_minus_bytes=row.number("plus_minus_bytes", least=0),
            of=row.one_of("of", WHAT),
            contains=tuple(row.text("contains").split("+")),
            date=row.text("date", blank=True),
            confidence=row.one_of("confidence", ("high", "medium", "low")),
            source=row.text("source"),
            note=row.text("note", blank=True),
        )

    return parse_table(text, place, SIZE_COLUMNS, parse)


class PublisherRecipe(NamedTuple):
    """A row of `data/publisher_recipes.csv`: what a publisher's name means for some of the models.

    Not solved: `base` is only the nearest recipe, and `spread` says how far from it such files were seen.
    """

    publisher: str
    name: str
    models: tuple[str, ...]  # patterns
    base: str
    generation: str
    imatrix: bool
    solved: bool
    spread_percent: int
    aliases: tuple[str, ...]


RECIPE_COLUMNS = [
    "publisher",
    "recipe",
    "models",
    "base",
    "generation",
    "imatrix",
    "solved",
    "spread_percent",
    "aliases",
]


def parse_publisher_recipes(text: str, place: str) -> list[PublisherRecipe]:
    """Return the rows of a CSV text with the columns of `data/publisher_recipes.csv`."""

    def parse(row: Row) -> PublisherRecipe:
        return PublisherRecipe(
            publisher=row.text("publisher"),
            name=row.text("recipe"),
            models=tuple(row.text("models").split()),
            base=row.text("base"),
            generation=row.text("generation", blank=True),
            imatrix=row.flag("imatrix"),
            solved=row.flag("solved"),
            spread_percent=row.number("spread_percent", blank=True),
            aliases=tuple(row.text("aliases", blank=True).split()),
        )

    return parse_table(text, place, RECIPE_COLUMNS, parse)


class PublisherRow(NamedTuple):
    """A row of `data/publishers.csv`; `mtp_models` are patterns of the models whose files have the MTP layer.

    `joined`: text, MTP layer and vision tower are one GGUF file, as Ollama has them.
    """

    name: str
    format: str
    repo: str
    mtp_models: tuple[str, ...]
    joined: bool


def parse_publishers(text: str, place: str) -> list[PublisherRow]:
    """Return the rows of a CSV text with the columns of `data/publishers.csv`."""

    def parse(row: Row) -> PublisherRow:
        return PublisherRow(
            name=row.text("publisher"),
            format=row.one_of("format", FORMATS),
            repo=row.text("repo"),
            mtp_models=tuple(row.text("mtp_models", blank=True).split()),
            joined=row.one_of("layout", ("", "joined")) == "joined",
        )

    return parse_table(text, place, ["publisher", "format", "repo", "mtp_models", "layout"], parse)


class Bases(NamedTuple):
    """The recipes that publishers' recipes start from, and what they override."""

    gguf: Callable[[], Mapping[str, Recipe]]
    mlx: Callable[[], Mapping[str, MlxRecipe]]
    checkpoint: Callable[[], Mapping[str, CheckpointRecipe]]
    overrides: Callable[[], Mapping[tuple[str, str, str], tuple[Rule, ...]]]  # by publisher, recipe, models
    generations: Callable[[], Mapping[str, Mapping[str, str]]]
    layer_lists: Callable[[], Mapping[tuple[str, str], LayerLists]]


def _matches(model: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)


class Publisher:
    """A publisher: its files by recipe."""

    def __init__(
        self, row: PublisherRow, recipes: Sequence[PublisherRecipe], sizes: Sequence[PublishedSize], bases: Bases
    ) -> None:
        self.row = row
        self._recipes = [recipe for recipe in recipes if recipe.publisher == row.name]
        self._aliases = {alias: recipe.name for recipe in self._recipes for alias in recipe.aliases}
        self._sizes = [
            size._replace(recipe=self._aliases.get(size.recipe, size.recipe))
            for size in sizes
            if size.publisher == row.name and is_model(size)
        ]
        self._bases = bases

    @property
    def names(self) -> list[str]:
        """The recipes that this publisher was seen to use."""
        return list(dict.fromkeys([recipe.name for recipe in self._recipes] + [size.recipe for size in self._sizes]))

    def quant(self, name: str) -> PublishedQuant:
        """Return the publisher's recipe of that name or alias, whatever its case."""
        names = {alias.casefold(): recipe for alias, recipe in self._aliases.items()} | {
            each.casefold(): each for each in self.names
        }
        found = names.get(name.strip().casefold())
        if found is None:
            raise unknown(f"{self.row.name} recipe", name, self.names)
        return PublishedQuant(self, found)

    def quants(self) -> list[PublishedQuant]:
        """Return all recipes of this publisher."""
        return [PublishedQuant(self, name) for name in self.names]

    def rule(self, name: str, model: str) -> PublisherRecipe | None:
        """Return what the recipe's name means for a model."""
        return next((each for each in self._recipes if each.name == name and _matches(model, each.models)), None)

    def has(self, size: PublishedSize) -> bool:
        """Whether a published size is one of this publisher's models."""
        return size.publisher == self.row.name and is_model(size)

    def best_size(self, name: str, model: str) -> PublishedSize | None:
        """Return the best published size: of a file rather than of a repository, exact, the latest."""
        found = [size for size in self._sizes if (size.recipe, size.model) == (name, model) and size.of != "repository"]
        found = found or [size for size in self._sizes if (size.recipe, size.model) == (name, model)]
        return max(found, key=lambda size: (size.is_exact, size.date), default=None)

    def nearest(self, name: str, model: Model, nbytes: int) -> Weights:
        """Return a file of a model as the rule counts it that comes nearest to a size: of this recipe's, on any model.

        Where a recipe was never seen to follow a rule, the original is the nearest.
        """
        rules = [rule for rule in self._recipes if rule.name == name]
        if not rules:
            return checkpoint_weights(model, self._bases.checkpoint()[ORIGINAL])
        counted = [self.counted(rule, model) for rule in rules]
        return min(counted, key=lambda weights: abs(weights.file_bytes - nbytes))

    def overrides(self, rule: PublisherRecipe) -> tuple[Rule, ...]:
        """Return what a rule puts in front of its base recipe."""
        return self._bases.overrides().get((rule.publisher, rule.name, " ".join(rule.models)), ())

    def contents(self, model: str) -> tuple[str, ...]:
        """Return which parts this publisher's files of a model hold."""
        if self.row.format != GGUF:
            return ("text", "vision") if self.row.format == MLX else PARTS
        return ("text", "mtp") if _matches(model, self.row.mtp_models) else ("text",)

    def counted(self, rule: PublisherRecipe, model: Model) -> Weights:
        """Return the weights that a rule makes of a model."""
        mtp = _matches(model.name, self.row.mtp_models) and model.config.mtp_num_hidden_layers > 0
        if self.row.format == GGUF:
            base = self._bases.gguf()[rule.base]
            if rule.generation:
                base = of_generation(base, self._bases.generations()[rule.generation])
            recipe = base._replace(
                overrides=self.overrides(rule),
                layer_lists=self._bases.layer_lists().get((rule.publisher, model.name), LayerLists()),
            )
            if self.row.joined:
                return ollama_weights(model, recipe, imatrix=rule.imatrix)
            return gguf_weights(model, recipe, imatrix=rule.imatrix, mtp=mtp)
        if self.row.format == MLX:
            return mlx_weights(model, self._bases.mlx()[rule.base], vision=True)
        return checkpoint_weights(model, self._bases.checkpoint()[rule.base])


class PublishedQuant(NamedTuple):
    """A publisher's recipe."""

    publisher: Publisher
    recipe: str

    @property
    def name(self) -> str:
        """The publisher and its recipe, as a user types them."""
        return f"{self.publisher.row.name}:{self.recipe}"

    @property
    def format(self) -> str:
        """The format of its files."""
        return self.publisher.row.format

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether such a file of the model was seen, or its recipe is solved."""
        rule = self.publisher.rule(self.recipe, model.name)
        return bool(self.published(model)) or (rule is not None and rule.solved)

    def published(self, model: Model) -> str:
        """Return the date of the size that was seen."""
        size = self.publisher.best_size(self.recipe, model.name)
        return "" if size is None else size.date or "undated"

    def published_bytes(self, model: Model) -> int:
        """Return the best published size, 0 where none was seen."""
        size = self.publisher.best_size(self.recipe, model.name)
        return 0 if size is None else size.nbytes

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the weights: counted where the recipe is solved, else as published, else the nearest recipe's."""
        if options.imatrix:
            raise InputError(f"{self.name}: its publisher has decided about the importance matrix; leave out --imatrix")
        rule = self.publisher.rule(self.recipe, model.name)
        published = self.publisher.best_size(self.recipe, model.name)
        if rule is not None and rule.solved:
            weights = self.publisher.counted(rule, model)._replace(recipe=self.name, basis=Basis.DERIVED, notes=())
        elif published is not None:
            weights = self._measured(model, published)
        elif rule is not None:
            nearest = self.publisher.counted(rule, model)
            note = _assumed(rule, self.name, overridden=bool(self.publisher.overrides(rule)))
            weights = nearest._replace(recipe=self.name, basis=Basis.ASSUMED, notes=(note,))
        else:
            raise InputError(
                f"no size of {self.name} for {model.name} is known; deployfit quants {model.name} lists what is"
            )
        if options.mtp and not weights.mtp_bytes:
            raise InputError(f"{self.name}: the file of {model.name} has no MTP layer that is known; leave out --mtp")
        return weights

    def _measured(self, model: Model, published: PublishedSize) -> Weights:
        """Return weights of the published size: the vision tower as it always is, the rest shared out.

        MTP layer and text by their parameters; embedding and experts as in the nearest recipe that can be counted.
        """
        params = {
            part: sum(tensor.params for tensor in model.tensors if tensor.part is part)
            for part in Part
            if part.value in published.contains
        }
        quantized = params.get(Part.TEXT, 0) + params.get(Part.MTP, 0)
        vision_bytes = BF16_BYTES * params.get(Part.VISION, 0)
        rest = published.nbytes - vision_bytes
        if published.of != "tensors" and self.format == GGUF:
            rest -= gguf_header_bytes(model, mtp=Part.MTP in params)
        mtp_bytes = rest * params.get(Part.MTP, 0) // quantized
        text_bytes = rest - mtp_bytes
        alike = self.publisher.nearest(self.recipe, model, published.nbytes)
        date = f", {published.date}" if published.date else ""
        rounded = "" if published.is_exact else f", rounded to {gb(2 * published.plus_minus_bytes)} GB"
        return Weights(
            recipe=self.name,
            format=self.format,
            text_bytes=text_bytes,
            mtp_bytes=mtp_bytes,
            vision_bytes=vision_bytes,
            file_bytes=published.nbytes,
            params=sum(params.values()),
            basis=Basis.MEASURED,
            embedding_bytes=text_bytes * alike.embedding_bytes // alike.text_bytes,
            expert_bytes=text_bytes * alike.expert_bytes // alike.text_bytes,
            notes=(f"weights: the published size ({' + '.join(published.contains)}{date}{rounded}), not counted",),
        )


def _assumed(rule: PublisherRecipe, name: str, *, overridden: bool) -> str:
    what = "counted by its recipe on other models" if overridden else f"those of the nearest recipe, {rule.base}"
    spread = f"; such files were up to {rule.spread_percent} % larger or smaller" if rule.spread_percent else ""
    return f"weights: no size of {name} is known; {what}{spread}"
