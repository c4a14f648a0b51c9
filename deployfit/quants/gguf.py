"""GGUF files: what llama.cpp's quantizer makes of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from deployfit.basis import Basis
from deployfit.catalogue import rows, rows_by
from deployfit.errors import InputError
from deployfit.formats.gguf import SHIPPED_EXPERTS, WITHOUT_DRAFTS, GgufSource
from deployfit.formats.gguf_file import TOKENIZERS, KeyValues, file_bytes, header_bytes, key_values
from deployfit.formats.gguf_recipes import RECIPES, STACKS, Recipe, TypedClass, needs_imatrix, recipes_of, typed_classes
from deployfit.kept import keep
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.shipped import not_shipped
from deployfit.quants.weights import GGUF, Options, WeightClass, Weights
from deployfit.values import NamedTuple


@cache
def gguf_recipes() -> Mapping[str, Recipe]:
    """Return llama.cpp's recipes by name.

    >>> gguf_recipes()["Q4_K_M"].default.name
    'Q4_K'
    """
    return recipes_of(rows_by(RECIPES, "recipe"))


MOST_SOURCES = 256  # kept
_sources: dict[tuple[int, bool], tuple[Blueprint, GgufSource]] = {}


def gguf_source(model: Model, *, drafts: bool) -> GgufSource:
    """Return the file that the quantizer reads, with the draft layers if wanted; made once for a blueprint."""
    blueprint = model.blueprint
    key = id(blueprint), drafts
    found = _sources.get(key)
    return (found or keep(_sources, key, (blueprint, GgufSource(blueprint, drafts=drafts)), MOST_SOURCES))[1]


def gguf_weights(model: Model, recipe: Recipe, *, imatrix: bool, mtp: bool) -> Weights:
    """Return what the quantizer makes of a model; raise InputError if it could not.

    The vision tower is a file of its own (mmproj) and not among them.

    >>> from deployfit.catalogue import models
    >>> gguf_weights(models()["Qwen3.5-27B"], gguf_recipes()["Q4_K_M"], imatrix=False, mtp=False).tensor_bytes
    16536406016
    """
    source = _makeable(model, mtp=mtp)
    typed = typed_classes(recipe, source, imatrix=imatrix)
    known = _key_values(model)
    return Weights(
        recipe=recipe.name,
        format=GGUF,
        classes=tuple(map(_weight_class, typed)),
        file_bytes=file_bytes(source, typed, known.nbytes),
        params=source.params,
        basis=Basis.EXACT if known.is_known else Basis.DERIVED,
        notes=(REQUANTIZED,) if _requantizes(model, typed) else (),
    )


REQUANTIZED = (
    "weights: the experts are shipped in MXFP4; llama.cpp requantizes them only with --allow-requantize, and files that"
    " are published keep them"
)


def _requantizes(model: Model, typed: Sequence[TypedClass]) -> bool:
    shipped = SHIPPED_EXPERTS.get(model.blueprint.gguf_architecture)
    return shipped is not None and any(each.tensors.is_stack and each.tensor_type.name != shipped for each in typed)


def _makeable(model: Model, *, mtp: bool) -> GgufSource:
    if mtp and not model.blueprint.drafts:
        raise InputError(f"{model.name} has no MTP layer; leave out {param('mtp')}")
    if mtp and model.blueprint.model_type in WITHOUT_DRAFTS:
        raise InputError(f"llama.cpp's files of {model.name} have no MTP layer; leave out {param('mtp')}")
    return gguf_source(model, drafts=mtp)


def _weight_class(typed: TypedClass) -> WeightClass:
    tensors, tensor_type, layers, nbytes = typed
    return WeightClass(tensors.role, tensor_type.name, tensors.part, layers, nbytes)


def _key_values(model: Model) -> KeyValues:
    return key_values(model.row.tokenizer, model.blueprint.vocab, rows(TOKENIZERS))


def ollama_weights(model: Model, recipe: Recipe, *, imatrix: bool) -> Weights:
    """Return what Ollama makes of a model: text, draft layers and vision tower in one file."""
    from deployfit.formats import ollama

    blueprint = model.blueprint
    weights = gguf_weights(model, recipe, imatrix=imatrix, mtp=bool(blueprint.drafts))
    source = gguf_source(model, drafts=bool(blueprint.drafts))
    typed = typed_classes(recipe, source, imatrix=imatrix)
    tower = ollama.vision_sizes(blueprint.vision) if blueprint.vision else ()
    vision = [WeightClass(name, type_name, Part.VISION, (OUTSIDE,), nbytes) for name, type_name, nbytes in tower]
    return weights._replace(
        classes=(*weights.classes, *vision),
        file_bytes=ollama.blob_bytes(blueprint, typed),
        params=weights.params + sum(tensor.params for tensor in blueprint.vision_tensors()),
    )


def gguf_header_bytes(model: Model, *, mtp: bool) -> int:
    """Return the bytes of a file of this model that are not tensors."""
    return header_bytes(gguf_source(model, drafts=mtp), _key_values(model).nbytes)


class GgufQuant(NamedTuple):
    """A recipe of llama.cpp's quantizer."""

    recipe: Recipe
    format: str = GGUF
    publisher: str = ""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether llama.cpp makes it as asked: some types need an importance matrix, not all hold all rows.

        One that is made for experts is another recipe where there are none.
        """
        if model.blueprint.experts is None and any(rule.category == STACKS for rule in self.recipe.rules):
            return False
        try:
            typed = typed_classes(self.recipe, _makeable(model, mtp=options.mtp), imatrix=options.imatrix)
        except InputError:
            return False
        makeable = options.imatrix or not needs_imatrix(self.recipe, typed)
        return makeable and not _requantizes(model, typed)

    def published(self, model: Model) -> str:
        """Return "": it is a recipe, nobody's file."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return what the quantizer makes, with a note if nobody ships such a file."""
        weights = gguf_weights(model, self.recipe, imatrix=options.imatrix, mtp=options.mtp)
        return weights._replace(notes=not_shipped(model, GGUF, self.recipe.name))
