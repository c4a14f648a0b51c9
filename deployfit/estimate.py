"""The estimate: what a running model needs, as a list of parts, each with how it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployfit.basis import Basis
from deployfit.models import Model
from deployfit.quants.weights import Options, Weights
from deployfit.runtimes.runtime import MemoryPart, Runtime
from deployfit.values import NamedTuple

# The columns of a row of sizes: which parts each adds up. A part that is named in none is in the total and among the
# parts only.
COLUMNS: Mapping[str, Sequence[str]] = {
    "weights_bytes": ("weights",),
    "kv_cache_bytes": ("kv_cache",),
    "recurrent_state_bytes": ("recurrent_state",),
    "compute_buffer_bytes": ("compute",),
    "metal_scratch_bytes": ("metal_scratch",),
    "output_bytes": ("output",),
    "vision_bytes": ("vision", "image"),
    "mtp_bytes": (
        "draft_weights",
        "draft_kv_cache",
        "draft_state",
        "draft_compute",
        "draft_metal_scratch",
        "draft_output",
    ),
}
COLUMN_OF: Mapping[str, str] = {part: column for column, parts in COLUMNS.items() for part in parts}
WORKING = ("compute", "metal_scratch", "weight_copy")  # the working memory, of which there is an upper bound


class Estimate(NamedTuple):
    """What a running model occupies; the parts do not overlap and those that are there at the start add up."""

    parts: tuple[MemoryPart, ...]

    @property
    def at_start(self) -> list[MemoryPart]:
        """The parts that are there from the start."""
        return [part for part in self.parts if not part.later]

    @property
    def total_bytes(self) -> int:
        """All parts at the start together."""
        return sum(part.nbytes for part in self.at_start)

    @property
    def later_bytes(self) -> int:
        """The most that grows in use."""
        return sum(part.upper_bytes for part in self.parts if part.later)

    @property
    def usual_bytes(self) -> int:
        """What grows in use when one request at a time is answered."""
        return sum(part.usual_bytes for part in self.parts if part.later)

    def bytes_of(self, *names: str) -> int:
        """Return the parts of these names together, at the start."""
        return sum(part.nbytes for part in self.at_start if part.name in names)

    def upper_bytes_of(self, *names: str) -> int:
        """Return the upper bounds of the parts of these names together."""
        return sum(part.upper_bytes for part in self.at_start if part.name in names)

    @property
    def columns(self) -> dict[str, int]:
        """The parts as columns of a row of sizes."""
        return {column: self.bytes_of(*parts) for column, parts in COLUMNS.items()}

    def basis_of(self, *names: str) -> Basis | None:
        """Return how the parts of these names are known, the weakest of them; None where there is none."""
        order = list(Basis)
        return max((part.basis for part in self.parts if part.name in names), key=order.index, default=None)


def file_basis(weights: Weights) -> Basis:
    """Return how the size of the file as a whole is known: what stands around the tensors is a rule."""
    return Basis.DERIVED if weights.basis is Basis.EXACT else weights.basis


def estimate(model: Model, weights: Weights, runtime: Runtime, settings: Any, options: Options) -> Estimate:
    """Return what the runtime allocates for this model and these settings."""
    loaded = runtime.loaded(model.blueprint, weights, options, settings)
    return Estimate((*loaded, *runtime.running(model.blueprint, settings, options)))
