"""GGUF files: what llama.cpp's quantizer makes of a model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.catalogue import rows
from deployfit.errors import InputError
from deployfit.formats.gguf import GgufSource
from deployfit.formats.gguf_file import TOKENIZERS, KeyValues, file_bytes, header_bytes, key_values
from deployfit.formats.gguf_recipes import RECIPES, Recipe, TypedClass, needs_imatrix, recipes_of, typed_classes
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.weights import GGUF, Options, WeightClass, Weights


@cache
def gguf_recipes() -> Mapping[str, Recipe]:
    """Return llama.cpp's recipes by name.

    >>> gguf_recipes()["Q4_K_M"].default.name
    'Q4_K'
    """
    return recipes_of(rows(RECIPES))


class _Sources:
    """The source files of blueprints, found by identity: to hash a blueprint takes longer than to weigh it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, bool], tuple[Blueprint, GgufSource]] = {}

    def of(self, model: Model, *, drafts: bool) -> GgufSource:
        """Return the source file of a model, with its draft layers if wanted."""
        blueprint = model.blueprint
        key = id(blueprint), drafts
        if key not in self._kept:  # what is kept lives, so that no other blueprint has its identity
            self._kept[key] = blueprint, GgufSource(blueprint, drafts=drafts)
        return self._kept[key][1]


_sources = _Sources()


def gguf_weights(model: Model, recipe: Recipe, *, imatrix: bool, mtp: bool) -> Weights:
    """Return what the quantizer makes of a model; raise InputError if it could not.

    The vision tower is a file of its own (mmproj) and not among them.

    >>> from deployfit.catalogue import models
    >>> gguf_weights(models()["Qwen3.5-27B"], gguf_recipes()["Q4_K_M"], imatrix=False, mtp=False).tensor_bytes
    16536406016
    """
    if mtp and not model.blueprint.drafts:
        raise InputError(f"{model.name} has no MTP layer; leave out {param('mtp')}")
    source = _sources.of(model, drafts=mtp)
    typed = typed_classes(recipe, source, imatrix=imatrix)
    known = _key_values(model)
    return Weights(
        recipe=recipe.name,
        format=GGUF,
        classes=tuple(map(_weight_class, typed)),
        file_bytes=file_bytes(source, typed, known.nbytes),
        params=source.params,
        basis=Basis.EXACT if known.is_known else Basis.DERIVED,
    )


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
    source = _sources.of(model, drafts=bool(blueprint.drafts))
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
    return header_bytes(_sources.of(model, drafts=mtp), _key_values(model).nbytes)


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
        """Return whether it can be made as asked: some types need an importance matrix, and not all hold all rows."""
        if options.imatrix:
            return True
        try:
            typed = typed_classes(self.recipe, _sources.of(model, drafts=options.mtp), imatrix=False)
        except InputError:
            return False
        return not needs_imatrix(self.recipe, typed)

    def published(self, model: Model) -> str:
        """Return "": it is a recipe, nobody's file."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return what the quantizer makes."""
        return gguf_weights(model, self.recipe, imatrix=options.imatrix, mtp=options.mtp)
