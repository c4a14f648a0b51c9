"""What comes near a name that no model of the catalogue has."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployfit.words.spellings import Spellings, endings, is_size
from deployfit.words.text import key, words

_SHORT_WORD = 2  # letters: another letter in it is another name (V3 and R3)
_MOST_MEMBERS = 12


def near(name: Sequence[str], known: Spellings) -> str:
    """Return what a message says of a name's neighbours, "" where it has none."""
    *_, (bare, _) = endings(name)
    for count in range(len(bare) - 1, 0, -1):
        models = known.models(bare[:count])
        if len(models) == 1:
            return f": '{' '.join(bare[count:])}' sets it apart from {models[0].alias or models[0].model}"
    typed = [_groups(rest) for rest, _ in endings(name)]
    named = ((row.name, _groups(words(row.name))) for row in known.rows)
    typos = [model for model, groups in named if any(_is_near(each, groups) for each in typed)]
    if typos:
        return f"; did you mean {' or '.join(typos[:3])}?"
    return _family(name, known)


def _family(name: Sequence[str], known: Spellings) -> str:
    """Return what there is with the same words before the size."""
    before = next((place for place, word in enumerate(name) if is_size(word)), len(name))
    members = known.beginning(name[:before]) if before and re.search(r"[0-9]", key(name[:before])) else []
    if not members:
        return ""
    more = len(members) - _MOST_MEMBERS
    others = f" and {more} others" if more > 0 else ""
    return f", which has {', '.join(member.model for member in members[:_MOST_MEMBERS])}{others}"


def is_typo(typed: Sequence[str], known: Sequence[str]) -> bool:
    """Return whether a name is another with one or two letters wrong; another number is another model.

    >>> is_typo(words("Qwem3.5-27B"), words("Qwen3.5-27B")), is_typo(words("Qwen3-8B"), words("Qwen3-9B"))
    (True, False)
    """
    return _is_near(_groups(typed), _groups(known))


def _groups(name: Sequence[str]) -> list[str]:
    """Return letters and digits of a name, each together."""
    return re.findall(r"[^\W\d]+|[0-9.]+", " ".join(name))


def _is_near(one: Sequence[str], other: Sequence[str]) -> bool:
    if len(one) != len(other):
        return False
    wrong = 0
    for this, that in zip(one, other, strict=True):
        if this == that:
            continue
        if this[0].isdigit() or that[0].isdigit() or min(len(this), len(that)) <= _SHORT_WORD:
            return False
        wrong += _distance(this, that)
    return 0 < wrong <= 2


def _distance(one: str, other: str) -> int:
    """Return how many letters are wrong, missing or too much."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        last, row = row, [place]
        for there, meant in enumerate(other, 1):
            row.append(min(last[there] + 1, row[-1] + 1, last[there - 1] + (letter != meant)))
    return row[-1]
