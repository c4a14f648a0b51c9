"""The estimate: what a running model needs, part by part, and how each part is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.formats.mmproj import mmproj_tensor_bytes
from deployfit.models import Model
from deployfit.quants.weights import GGUF, Options, Weights
from deployfit.runtimes.running import Settings


class Estimate(NamedTuple):
    """What a running model occupies, in bytes; the parts do not overlap and add up to the total.

    `mtp_bytes` is all that drafting with the MTP layer adds, its weights included; `compute_buffer_upper_bytes`
    bounds the working memory.
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


# How the parts beside the weights are known. llama.cpp's compute buffers equal the engine's own on a GPU-like
# device, but Metal is known from its rules and a few logs; MLX's prefill memory is a rule with a measured error;
# drafting is counted by rules, not held against the engine.
PART_BASIS: Mapping[str, Basis] = {
    "kv_cache": Basis.EXACT,
    "recurrent_state": Basis.EXACT,
    "compute_buffer": Basis.DERIVED,
    "vision": Basis.DERIVED,
    "mtp": Basis.DERIVED,
}


def part_basis(weights: Weights) -> Mapping[str, Basis]:
    """Return how each part is known, the file as a whole too: what stands around the tensors is a rule."""
    file = Basis.DERIVED if weights.basis is Basis.EXACT else weights.basis
    return {"weights": weights.basis, **PART_BASIS, "file": file}


def estimate(model: Model, weights: Weights, settings: Settings, options: Options) -> Estimate:
    """Return what the runtime allocates for this model and these settings."""
    memory = settings.memory(model.config)
    return Estimate(
        weights_bytes=weights.text_bytes,
        kv_cache_bytes=memory.kv_cache_bytes,
        recurrent_state_bytes=memory.recurrent_state_bytes,
        compute_buffer_bytes=memory.work_bytes,
        compute_buffer_upper_bytes=memory.work_upper_bytes,
        vision_bytes=vision_bytes(model, weights) if options.vision else 0,
        mtp_bytes=weights.mtp_bytes + settings.mtp_bytes(model.config) if options.mtp else 0,
    )


def least_bytes(model: Model, weights: Weights, settings: Settings, options: Options) -> int:
    """Return a lower bound of the estimate's total that never falls as the context grows."""
    total = weights.text_bytes + settings.least_bytes(model.config)
    if options.vision:
        total += vision_bytes(model, weights)
    if options.mtp:
        total += weights.mtp_bytes + settings.mtp_bytes(model.config)
    return total


def vision_bytes(model: Model, weights: Weights) -> int:
    """Return the vision tower's bytes: as in the files, or llama.cpp's mmproj beside them."""
    if weights.format == GGUF and not weights.vision_bytes:
        return mmproj_tensor_bytes(model.config.vision)
    return weights.vision_bytes
