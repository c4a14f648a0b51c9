"""Errors that a user can act on: each names the thing, the place and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployfit.exit_codes import BAD_INPUT, HUB_NOT_ASKED
from deployfit.parameters import python

MAX_ECHO = 60


class DeployfitError(Exception):
    """Base of every error that deployfit raises on purpose; its text is one line.

    Parameters in it are marked until a door has spelled them; as text they are spelled as in Python.
    """

    exit_code = BAD_INPUT

    def __str__(self) -> str:
        return python(super().__str__())

    @property
    def marked(self) -> str:
        """The text with its parameters marked."""
        return super().__str__()


class InputError(DeployfitError):
    """What the user typed cannot be answered."""


class DataError(DeployfitError):
    """A data file is wrong; the text lists every fault found in it, one a line."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class HubError(DeployfitError):
    """The Hub could not be asked, or answered what cannot be used; what the user typed may be right."""

    exit_code = HUB_NOT_ASKED


def quoted(text: object) -> str:
    r"""Return text for echoing in a message: quoted, cut short, control characters made visible.

    >>> quoted("Qwen3.5-28B")
    "'Qwen3.5-28B'"
    >>> quoted("\\x1b[31mred")
    "'\\\\x1b[31mred'"
    """
    shown = str(text)
    if len(shown) > MAX_ECHO:
        shown = shown[:MAX_ECHO] + "..."
    return ascii(shown)


def unknown(kind: str, got: object, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not in a closed list, with the nearest names.

    >>> print(unknown("model", "Qwen3.5-28B", ["Qwen3.5-27B", "Qwen3.5-2B", "Qwen3.5-0.8B"]))
    no model 'Qwen3.5-28B'; did you mean Qwen3.5-2B or Qwen3.5-27B?
    >>> print(unknown("runtime", "vllm", ["llama.cpp"]))
    no runtime 'vllm'; known: llama.cpp
    """
    from difflib import get_close_matches  # 1 ms that only a mistake should pay

    names = list(known)
    by_folded = {name.casefold(): name for name in names}
    near = get_close_matches(str(got).casefold(), by_folded, n=2, cutoff=0.6)
    hint = (
        "did you mean " + " or ".join(by_folded[name] for name in near) + "?" if near else "known: " + ", ".join(names)
    )
    return InputError(f"no {kind} {quoted(got)}; {hint}")
