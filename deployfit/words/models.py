"""Models by what people copy: names, repositories, publishers' files, addresses, Ollama's tags, LM Studio's ids.

A name is never guessed: what may be several models is refused with all of them, and what is none, a distillation or
a fine-tune of one among them, is refused with the way to ask about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted
from deployfit.words.named import Named

if TYPE_CHECKING:
    from deployfit.models import ModelRow
    from deployfit.quants.publishers import PublisherRow
    from deployfit.words.aliases import AliasRow
    from deployfit.words.named import PublishedName

FILE_OF_HUB = "hub:"  # before a repository whose own file is meant


def model_named(
    text: str,
    models: Sequence[ModelRow],
    publishers: Callable[[], Sequence[PublisherRow]] = tuple,
    aliases: Callable[[], Sequence[AliasRow]] = tuple,
    recipes: Callable[[], Iterable[PublishedName]] = tuple,
) -> Named:
    """Return the model that a text names, and what it says of the file; raise InputError for several or none.

    Publishers and aliases are read only where the text is not plainly a model's name, the names of publishers'
    recipes only where it is one of their repositories.

    >>> from deployfit.catalogue import rows
    >>> from deployfit.models import MODELS
    >>> model_named("Qwen 3.5 27B 4-bit", rows(MODELS))[:3]
    ('Qwen3.5-27B', '4bit', 'MLX')
    """
    folded = text.strip().casefold()
    if folded.startswith(FILE_OF_HUB):
        raise InputError(f"{quoted(text)} is a file of the Hub; name a model of the catalogue here")
    plain = next((row.name for row in models if row.name.casefold() == folded), None)
    if plain is not None:
        return Named(plain)
    from deployfit.words.reader import Reader  # what a plain name need not pay for

    return Reader(text, models, publishers(), aliases(), recipes).named()
