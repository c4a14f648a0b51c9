"""What every engine that splits a model over machines says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from deployfit.hardware.cluster import Cluster
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes.runtime import MemoryPart
from deployfit.values import NamedTuple

PIPELINE = "pipeline"  # each machine has some of the layers
TENSOR = "tensor"  # each machine has a part of every layer
SPLITS = (TENSOR, PIPELINE)
WHOLE = ""  # one machine has all


class Asked(NamedTuple):
    """A model on a cluster: how it is split, and how the runtime on each machine is started.

    `shares` are those that were typed, one per machine; empty where the engine chooses. `app` is the application that
    was typed, "" for the usual one.
    """

    model: Model
    cluster: Cluster
    settings: Any  # the runtime's own
    split: str
    options: Options = Options()
    shares: tuple[float, ...] = ()
    app: str = ""

    @property
    def size(self) -> int:
        """How many machines there are."""
        return len(self.cluster.machines)


class Division(NamedTuple):
    """What each machine loads, in the order of the cluster.

    `layers` are the numbers of the layers that a machine holds, or holds a part of. `loaded` are its weights, as parts
    with its number. `load_peaks` are the most bytes of weights that a machine holds at once while loading. `output` is
    the machine with the output head, where only one has it. `refusal` says why the engine does not start it so,
    although it is known what that would take; "" if it does.
    """

    layers: tuple[Sequence[int], ...]
    loaded: tuple[Sequence[MemoryPart], ...]
    load_peaks: tuple[int, ...]
    output: int = -1
    refusal: str = ""


class Command(NamedTuple):
    """What to type on which machine."""

    machine: str
    command: str


class ClusterEngine(Protocol):
    """An engine that splits a model over machines; found by its name."""

    @property
    def name(self) -> str:
        """As people type it."""

    @property
    def runtime(self) -> str:
        """The runtime on each machine: its settings and the formats that it loads."""

    @property
    def splits(self) -> Sequence[str]:
        """The splits that it has, the one that it takes without a choice first."""

    def why_not(self, model: Model, split: str, count: int) -> str:
        """Return why the engine cannot split a model so over that many machines, whatever the file; "" if it can."""

    def why_not_weights(self, asked: Asked, weights: Weights) -> str:
        """Return why the engine cannot split these weights so, "" if it can."""

    def division(self, asked: Asked, weights: Weights) -> Division:
        """Return what each machine loads."""

    def running(self, asked: Asked, division: Division, settings: Any) -> Sequence[Sequence[MemoryPart]]:
        """Return what each machine allocates beside the weights, with these settings."""

    def least_bytes(self, asked: Asked, division: Division, settings: Any) -> Sequence[int]:
        """Return a lower bound of that for each machine which never falls as the context grows."""

    def notes(self, asked: Asked) -> Sequence[str]:
        """Return what a user should know of this model under this engine."""

    def commands(self, asked: Asked, division: Division, quant: Quant, weights: Weights) -> Sequence[Command]:
        """Return the commands that start it."""
