"""Text as it is pasted, and the words of a name: how two spellings of one name are seen to be the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

LONGEST = 300  # characters of a name, an address included

# Dashes, spaces and quotes as documents set them, and as keyboards type them.
_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys('\u2018\u2019\u201c\u201d`"', "'"),
        "\u2033": "'",
        "\u00d7": "x",
    }
)

# The same word in other names: Gemma's "it" must not read as "4bit" after a size.
_SAME = {"it": "instruct", "pt": "base"}


def cleaned(text: str) -> str:
    """Return a pasted text with plain dashes, spaces and quotes, and without the quotes around it.

    >>> cleaned(" \u201cQwen3.5\u201127B\u201d ")
    'Qwen3.5-27B'
    """
    return " ".join(text.translate(_TYPED).split()).strip("' ")


@cache
def _between_words() -> re.Pattern[str]:
    return re.compile(r"(?:[^\w.]|_|(?<![0-9])\.|\.(?![0-9]))+")


def words(text: str) -> tuple[str, ...]:
    """Return the words of a name in lower case; a point between two digits is a decimal point.

    >>> words("google_gemma-3-27b-it.Q4_K_M")
    ('google', 'gemma', '3', '27b', 'instruct', 'q4', 'k', 'm')
    """
    found = _between_words().split(text.casefold())
    return tuple(_SAME.get(word, word) for word in found if word)


def key(name: Sequence[str]) -> str:
    """Return what all spellings of a name share: its words joined, with a space only between two digits.

    >>> key(words("Gemma-3-27B")) == key(words("gemma3:27b")) == "gemma3 27b"
    True
    """
    joined = ""
    for word in name:
        joined += " " + word if joined[-1:].isdigit() and word[0].isdigit() else word
    return joined


def undotted(name: str) -> str:
    """Return a key with its decimal points as spaces, of the same length.

    >>> undotted("qwen3.5 27b")
    'qwen3 5 27b'
    """
    return name.replace(".", " ")


def means(typed: str, known: str) -> bool:
    """Return whether a typed key is a known one: a known decimal point may be typed as any separator, not the reverse.

    >>> means("qwen3 5 27b", "qwen3.5 27b"), means("qwen3.8b", "qwen3 8b")
    (True, False)
    """
    return undotted(typed) == undotted(known) and all(
        one == other or one == " " for one, other in zip(typed, known, strict=True)
    )
