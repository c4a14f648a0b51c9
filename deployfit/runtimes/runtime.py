"""What every runtime says of a running model, so that nothing above need know which one it is.

A runtime is a folder here with `settings.py` (its parameters, and plain settings) and `engine.py` (what it allocates).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from deployfit.basis import Basis
from deployfit.layers.blueprint import Blueprint
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.quants.weights import Options, Weights
    from deployfit.vision.largest import LargestImage

DEVICE = "device"
HOST = "host"


class MemoryPart(NamedTuple):
    """A part of what a running model occupies, in bytes; parts do not overlap.

    `label` is what the runtime's users call it, `detail` a sentence about it. `where`: in the GPU's buffers or in
    ordinary memory, which on a Mac is the same memory. `machine` counts from 0. `later`: it is not there at the start
    but grows in use, up to `upper_bytes`; it is not in the total. `usual_bytes` is what it comes to when one request
    at a time is answered, whatever the context, and `setting` the parameter that limits it.
    """

    name: str
    label: str
    nbytes: int
    upper_bytes: int
    basis: Basis
    detail: str = ""
    where: str = DEVICE
    machine: int = 0
    later: bool = False
    usual_bytes: int = 0
    setting: str = ""


class DraftModel(NamedTuple):
    """A separate model that drafts for another one."""

    name: str
    blueprint: Blueprint
    weights: Weights


class Runtime(Protocol):
    """An engine. Every function of settings takes this runtime's own.

    Settings say how it is started: a named tuple with `context_tokens`, those that the caches are to hold for all
    sequences together, and `with_context(tokens)`, which returns the same settings for another context.
    """

    @property
    def name(self) -> str:
        """As people type it."""

    @property
    def formats(self) -> Sequence[str]:
        """The formats that it loads, the usual one first."""

    def settings(self, context_tokens: int, typed: Mapping[str, str]) -> Any:
        """Return settings from what was typed, by parameter; raise InputError for what cannot be."""

    def check(self, blueprint: Blueprint, settings: Any) -> None:
        """Raise InputError for what the engine would refuse, kinds of layers that it does not know among it."""

    def loaded(self, blueprint: Blueprint, weights: Weights, options: Options, settings: Any) -> Sequence[MemoryPart]:
        """Return what of the weights is loaded, draft layers and vision tower among it if they are asked for."""

    def running(self, blueprint: Blueprint, settings: Any, options: Options) -> Sequence[MemoryPart]:
        """Return what is allocated beside the weights, whatever the recipe."""

    def kept(self, blueprint: Blueprint, settings: Any, options: Options) -> Sequence[MemoryPart]:
        """Return of what is running that which is kept from token to token: caches and states."""

    def least_bytes(self, blueprint: Blueprint, settings: Any, options: Options) -> int:
        """Return a lower bound of all that is running which never falls as the context grows."""

    def straight_until(self, blueprint: Blueprint, settings: Any, options: Options) -> int:
        """Return the context up to which what is running (but for upper bounds) grows by equal steps.

        The steps are those of `context_step`, counted from this context, which is the answer if nothing is known.
        """

    def context_step(self, settings: Any) -> int:
        """Return in which steps the caches grow."""

    def sequences(self, settings: Any) -> int:
        """Return how many sequences share the caches."""

    def most_context(self, blueprint: Blueprint, settings: Any) -> int:
        """Return the longest context that is of use: the trained one, once or for each sequence."""

    @property
    def planned(self) -> Sequence[Mapping[str, str]]:
        """The settings whose largest contexts a plan compares, as they are typed; the usual ones first."""

    def brief(self, settings: Any) -> str:
        """Return in a word or two how settings differ from the usual ones: the head of a column of a plan."""

    def headline(self, settings: Any) -> str:
        """Return the settings in words."""

    def states(self, blueprint: Blueprint, settings: Any, options: Options) -> int:
        """Return how many states of a sequence the recurrent state consists of."""

    def columns(self, settings: Any) -> Mapping[str, int | str | bool | None]:
        """Return the settings as columns of a report: by parameter."""

    def extra_columns(self, blueprint: Blueprint, settings: Any, options: Options) -> Mapping[str, int | None]:
        """Return sizes of things of which the parts say only how much they are together: columns of a report."""

    def thriftier(self, blueprint: Blueprint, settings: Any) -> Iterable[tuple[Mapping[str, str], Any]]:
        """Yield settings that need less memory, best first, with what to type for them."""

    def largest_image(
        self, blueprint: Blueprint, settings: Any, parts: Sequence[MemoryPart], free_bytes: int
    ) -> LargestImage | None:
        """Return the largest image that still fits beside the parts; None if none does, or the model sees none."""

    def notes(
        self, blueprint: Blueprint, settings: Any, weights_bytes: int, total_bytes: int, limit_bytes: int
    ) -> Sequence[str]:
        """Return what a user should know of these settings."""

    def upper_note(self, upper: str) -> str:
        """Return what a user should know when the working memory's upper bound, in GiB, is much higher."""

    def left_out(self, blueprint: Blueprint, settings: Any, options: Options) -> Sequence[str]:
        """Return what may be allocated that is not counted, drafting among it if it could be asked for."""
