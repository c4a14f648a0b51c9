"""What a name of a model says."""

from __future__ import annotations

from deployfit.values import NamedTuple


class PublishedName(NamedTuple):
    """A recipe by the name that its publisher gives it."""

    publisher: str
    format: str
    recipe: str


class Named(NamedTuple):
    """A model of the catalogue as it was named, and what the name says of its file; None for what it does not say.

    `publisher` is one whose files are known; `owner` that of a repository whose own files are not. `mtp`: the name is
    that of a file with the MTP layer. `alias` is the name of another model, of the same shape, that was given.
    """

    model: str
    quant: str | None = None
    format: str | None = None
    publisher: str | None = None
    owner: str | None = None
    mtp: bool = False
    alias: str | None = None

    @property
    def quant_text(self) -> str | None:
        """The recipe as it is typed, with its publisher.

        >>> Named("Qwen3.5-27B", "Q4_K_M", "GGUF", "unsloth").quant_text
        'unsloth:Q4_K_M'
        """
        return f"{self.publisher}:{self.quant}" if self.publisher and self.quant else self.quant
