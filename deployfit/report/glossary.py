"""The words that the screens use, each explained in a sentence or two."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from functools import cache

from deployfit.values import NamedTuple


class Term(NamedTuple):
    """A row of `glossary.csv`: what the word is `about` is the heading that it stands under."""

    about: str
    term: str
    sentence: str


@cache
def terms() -> tuple[Term, ...]:
    """Return all terms, in the order in which they are to be read."""
    with open(os.path.join(os.path.dirname(__file__), "glossary.csv"), encoding="utf-8", newline="") as file:
        return tuple(Term(**row) for row in csv.DictReader(file))


@cache
def explanations() -> Mapping[str, str]:
    """Return what each term means.

    >>> explanations()["GB"]
    '10^9 bytes. File sizes and downloads are said in GB, as the Hub does.'
    """
    return {term.term: term.sentence for term in terms()}
