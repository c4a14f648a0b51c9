"""What every runtime says of a running model, so that the verdict need not know which one it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

from deployfit.architectures.qwen35 import Qwen35


class Memory(NamedTuple):
    """What a runtime allocates beside the weights, in bytes; `work_upper_bytes` bounds the working memory."""

    kv_cache_bytes: int
    recurrent_state_bytes: int
    work_bytes: int
    work_upper_bytes: int


class Settings(Protocol):
    """How a runtime is started; each runtime has its own."""

    @property
    def context_tokens(self) -> int:
        """Tokens that the caches are to hold."""

    @property
    def runtime(self) -> str:
        """The runtime's name."""

    @property
    def sequences(self) -> int:
        """How many sequences share the caches."""

    @property
    def context_step(self) -> int:
        """In which steps the runtime makes its caches grow."""

    @property
    def words(self) -> str:
        """The settings in a headline."""

    @property
    def work_name(self) -> str:
        """What the runtime's users call its working memory."""

    def work_words(self, upper: str) -> str:
        """How the upper bound of the working memory is explained, given in GiB."""

    def upper_note(self, upper: str) -> str:
        """What a user should know when the upper bound is much higher, given in GiB."""

    @property
    def columns(self) -> Mapping[str, int | str | None]:
        """The settings as columns of a report; the same columns for every runtime."""

    def check(self, config: Qwen35) -> None:
        """Raise InputError for settings that the runtime would refuse or that the model was not trained for."""

    def with_context(self, tokens: int) -> Self:
        """Return the same settings for another context."""

    def memory(self, config: Qwen35) -> Memory:
        """Return what the runtime allocates."""

    def least_bytes(self, config: Qwen35) -> int:
        """Return a lower bound of all of `memory` that never falls as the context grows."""

    def straight_until(self, config: Qwen35) -> int:
        """Return the context up to which `memory` (but for its upper bound) and `mtp_bytes` grow by equal steps.

        The steps are those of `context_step`, counted from this context, which is the answer if nothing is known.
        """

    def mtp_bytes(self, config: Qwen35) -> int:
        """Return what drafting with the MTP layer allocates beside its weights; raise InputError if it cannot."""

    def thriftier(self) -> Iterable[tuple[str, Self]]:
        """Yield smaller KV caches: what to type, and the settings."""

    def notes(self, weights_bytes: int, total_bytes: int, limit_bytes: int) -> Sequence[str]:
        """Return what a user should know of these settings."""

    @property
    def left_out(self) -> Sequence[str]:
        """What the runtime may allocate that is not counted."""


NO_COLUMNS: Mapping[str, int | str | None] = {
    "kv_type_k": None,
    "kv_type_v": None,
    "parallel": None,
    "ubatch": None,
    "kv_bits": None,
    "prefill_step_size": None,
}
