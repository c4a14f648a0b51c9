"""The estimate: what a model needs, part by part, and how each part is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.formats.gguf import GgufTensor, gguf_tensors
from deployfit.formats.gguf_file import file_bytes
from deployfit.formats.gguf_recipes import Recipe, tensor_sizes, tensor_types
from deployfit.formats.mmproj import mmproj_tensor_bytes
from deployfit.models import Model
from deployfit.runtimes import llamacpp
from deployfit.runtimes.llamacpp import Settings


class Weights(NamedTuple):
    """A recipe's weights for one model.

    `tensor_bytes` are all tensors of the file, `mtp_bytes` those of its MTP block (0 if it has none).
    """

    recipe: str
    tensor_bytes: int
    mtp_bytes: int
    file_bytes: int
    params: int

    @property
    def bits_per_weight(self) -> float:
        """For display only."""
        return 8 * self.tensor_bytes / self.params


class Quantizer:
    """Makes a model's weights under any recipe; the tensor list is made once."""

    def __init__(self, model: Model, *, imatrix: bool, mtp: bool) -> None:
        self.model = model
        self._imatrix = imatrix
        self._tensors: list[GgufTensor] = gguf_tensors(model.config, mtp=mtp)

    def weights(self, recipe: Recipe) -> Weights:
        """Return the weights under this recipe; raise InputError if llama.cpp could not make it."""
        config = self.model.config
        gqa = config.num_attention_heads // config.num_key_value_heads
        types = tensor_types(recipe, self._tensors, gqa=gqa, experts=config.num_experts, imatrix=self._imatrix)
        sizes = tensor_sizes(self._tensors, types)
        trunk_layers = config.num_hidden_layers
        return Weights(
            recipe=recipe.name,
            tensor_bytes=sum(sizes),
            mtp_bytes=sum(
                size for tensor, size in zip(self._tensors, sizes, strict=True) if tensor.layer >= trunk_layers
            ),
            file_bytes=file_bytes(self._tensors, sizes, config.vocab_size),
            params=sum(tensor.params for tensor in self._tensors),
        )


class Estimate(NamedTuple):
    """What a running model occupies, in bytes; the parts do not overlap and add up to the total.

    `mtp_bytes` is all that drafting with the MTP layer adds, its weights included; `compute_buffer_upper_bytes`
    bounds the compute buffers on Metal.
    """

    weights_bytes: int
    kv_cache_bytes: int
    recurrent_state_bytes: int
    compute_buffer_bytes: int
    compute_buffer_upper_bytes: int
    vision_bytes: int
    mtp_bytes: int

    @property
    def parts(self) -> Mapping[str, int]:
        """The parts of the total by name."""
        return {
            "weights": self.weights_bytes,
            "kv_cache": self.kv_cache_bytes,
            "recurrent_state": self.recurrent_state_bytes,
            "compute_buffer": self.compute_buffer_bytes,
            "vision": self.vision_bytes,
            "mtp": self.mtp_bytes,
        }

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


# How the parts are known. The compute buffers equal the engine's own on a GPU-like device, but Metal is
# known from its rules and a few logs; likewise drafting is counted by rules, not held against the engine.
PART_BASIS: Mapping[str, Basis] = {
    "weights": Basis.EXACT,
    "kv_cache": Basis.EXACT,
    "recurrent_state": Basis.EXACT,
    "compute_buffer": Basis.DERIVED,
    "vision": Basis.DERIVED,
    "mtp": Basis.DERIVED,
    "file": Basis.DERIVED,
}


def estimate(model: Model, weights: Weights, settings: Settings, *, mtp: bool, vision: bool) -> Estimate:
    """Return what llama.cpp allocates for this model and these settings."""
    config = model.config
    compute = llamacpp.compute_buffers(config, settings)
    return Estimate(
        weights_bytes=weights.tensor_bytes - weights.mtp_bytes,
        kv_cache_bytes=llamacpp.kv_cache_bytes(config, settings),
        recurrent_state_bytes=llamacpp.recurrent_state_bytes(config, settings),
        compute_buffer_bytes=compute.total_bytes,
        compute_buffer_upper_bytes=compute.upper_bytes,
        vision_bytes=mmproj_tensor_bytes(config.vision) if vision else 0,
        mtp_bytes=weights.mtp_bytes + llamacpp.mtp_runtime_bytes(config, settings) if mtp else 0,
    )


def least_bytes(model: Model, weights: Weights, settings: Settings, *, mtp: bool, vision: bool) -> int:
    """Return a lower bound of the estimate's total that never falls as the context grows."""
    config = model.config
    return (
        weights.tensor_bytes
        + llamacpp.kv_cache_bytes(config, settings)
        + llamacpp.recurrent_state_bytes(config, settings)
        + llamacpp.least_compute_bytes(config, settings)
        + (mmproj_tensor_bytes(config.vision) if vision else 0)
        + (llamacpp.mtp_runtime_bytes(config, settings) if mtp else 0)
    )
