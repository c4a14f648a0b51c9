"""GGUF files: what llama.cpp's quantizer makes of a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from deployfit.architectures.qwen35 import Part, Qwen35
from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.formats.ggml import TensorType
from deployfit.formats.gguf import GgufTensor, gguf_tensors
from deployfit.formats.gguf_file import file_bytes
from deployfit.formats.gguf_recipes import NEED_IMATRIX, Recipe, tensor_sizes, tensor_types
from deployfit.models import Model
from deployfit.quants.weights import GGUF, Options, Weights, is_embedding


@lru_cache(maxsize=8)
def _tensors(config: Qwen35, mtp: bool) -> Sequence[GgufTensor]:
    return gguf_tensors(config, mtp=mtp)


def gguf_weights(model: Model, recipe: Recipe, *, imatrix: bool, mtp: bool) -> Weights:
    """Return what the quantizer makes of a model; raise InputError if it could not.

    The vision tower is a file of its own (mmproj) and not among them.

    >>> from deployfit.catalog import models, recipes
    >>> gguf_weights(models()["Qwen3.5-27B"], recipes()["Q4_K_M"], imatrix=False, mtp=False).tensor_bytes
    16536406016
    """
    config = model.config
    if mtp and not config.mtp_num_hidden_layers:
        raise InputError(f"{model.name} has no MTP layer; leave out --mtp")
    tensors = _tensors(config, mtp)
    types = _types(config, recipe, tensors, imatrix=imatrix)
    sizes = tensor_sizes(tensors, types)
    mtp_bytes = embedding_bytes = expert_bytes = 0
    for tensor, size in zip(tensors, sizes, strict=True):
        if tensor.layer >= config.num_hidden_layers:
            mtp_bytes += size
        elif tensor.is_experts:
            expert_bytes += size
        elif is_embedding(tensor.name):
            embedding_bytes += size
    return Weights(
        recipe=recipe.name,
        format=GGUF,
        text_bytes=sum(sizes) - mtp_bytes,
        mtp_bytes=mtp_bytes,
        vision_bytes=0,
        file_bytes=file_bytes(tensors, sizes, config.vocab_size),
        params=sum(tensor.params for tensor in tensors),
        basis=Basis.EXACT,
        embedding_bytes=embedding_bytes,
        expert_bytes=expert_bytes,
    )


def ollama_weights(model: Model, recipe: Recipe, *, imatrix: bool) -> Weights:
    """Return what Ollama makes of a model: text, MTP layer and vision tower in one file."""
    from deployfit.formats import ollama

    weights = gguf_weights(model, recipe, imatrix=imatrix, mtp=True)
    tensors = _tensors(model.config, True)
    types = _types(model.config, recipe, tensors, imatrix=imatrix)
    vision_params = sum(tensor.params for tensor in model.tensors if tensor.part is Part.VISION)
    return weights._replace(
        vision_bytes=ollama.vision_bytes(model.config.vision),
        file_bytes=ollama.blob_bytes(model.config, tensors, types),
        params=weights.params + vision_params,
    )


def _types(config: Qwen35, recipe: Recipe, tensors: Sequence[GgufTensor], *, imatrix: bool) -> Sequence[TensorType]:
    gqa = config.num_attention_heads // config.num_key_value_heads
    return tensor_types(recipe, tensors, gqa=gqa, experts=config.num_experts, imatrix=imatrix)


def gguf_header_bytes(model: Model, *, mtp: bool) -> int:
    """Return the bytes of a file of this model that are not tensors."""
    return file_bytes(_tensors(model.config, mtp), [], model.config.vocab_size)


class GgufQuant(NamedTuple):
    """A recipe of llama.cpp's quantizer."""

    recipe: Recipe
    format: str = GGUF

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether it can be made as asked: some need an importance matrix."""
        return options.imatrix or self.recipe.name not in NEED_IMATRIX

    def published(self, model: Model) -> str:
        """Return "": it is a recipe, nobody's file."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return what the quantizer makes."""
        return gguf_weights(model, self.recipe, imatrix=options.imatrix, mtp=options.mtp)
