"""Every spelling of every model of the catalogue, and what one of them means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING

from deployfit.values import NamedTuple
from deployfit.words.aliases import AliasRow
from deployfit.words.quants import FORMAT_WORDS, recognized
from deployfit.words.text import key, means, undotted, words

if TYPE_CHECKING:
    from deployfit.models import ModelRow
    from deployfit.words.named import PublishedName

# Words of a maker's own versions of one model, which all have its shape, and of how a file was made.
_VERSIONS = frozenset(("instruct", "chat", "base", "text", "thinking", "hf", "qat", "latest", "i1", "imatrix"))
_MTP = "mtp"
# That some names begin with.
_MAKERS = frozenset(
    ("meta", "nvidia", "google", "microsoft", "ibm", "openai", "bytedance", "liquidai", "mistralai", "moonshotai")
)
_LONGEST_RECIPE = 5  # words: "i1 ud q4 k xl"
_SIZE_TOLERANCE = 0.05  # between a size in a name and the count of parameters: Phi-4 of 14.66B is called 14b
_UNITS = {"m": 10**6, "b": 10**9, "t": 10**12}


class Ending(NamedTuple):
    """What stood behind a model's name: a recipe as it was typed, or a publisher's own, a format, MTP."""

    quant: str = ""
    format: str | None = None
    mtp: bool = False
    qat: bool = False
    published: PublishedName | None = None


@cache
def _size() -> re.Pattern[str]:
    return re.compile(r"e?[0-9]+(?:\.[0-9]+)?[bmt]|[0-9]+x[0-9]+b")


def is_size(word: str) -> bool:
    """Return whether a word of a name is a model's size, all of its experts together.

    >>> [word for word in ("qwen3.5", "35b", "a3b", "e4b", "8x7b") if is_size(word)]
    ['35b', 'e4b', '8x7b']
    """
    return _size().fullmatch(word) is not None


def endings(name: Sequence[str]) -> Iterator[tuple[Sequence[str], Ending]]:
    """Yield a name with less and less of what may stand behind it, and what that was.

    >>> [(" ".join(rest), ending.quant) for rest, ending in endings(words("phi-4-Q4_K_M-GGUF"))]
    [('phi 4 q4 k m gguf', ''), ('phi 4 q4 k m', ''), ('phi 4', 'q4_k_m')]
    """
    found = Ending()
    while name:
        yield name, found
        last = name[-1]
        if last in FORMAT_WORDS and found.format is None:
            found = found._replace(format=FORMAT_WORDS[last])
        elif last == _MTP:
            found = found._replace(mtp=True)
        elif last in _VERSIONS:
            found = found._replace(qat=found.qat or last == "qat")
        elif not found.quant and (length := _recipe_length(name)):
            found = found._replace(quant="_".join(name[-length:]))
            name = name[: -length + 1] if length > 1 else name
        else:
            return
        name = name[:-1]


@cache
def _recipe_start() -> re.Pattern[str]:
    return re.compile(
        r"(?:ud|i1|i?q[1-8]|tq[12]|int[2-8]|[2-8]|(?:[2-8]|16)_?bits?|b?f(?:p|loat)?[0-9]|mxfp|nvfp|gptq|mixed)"
    )


def _recipe_length(name: Sequence[str]) -> int:
    """Return how many words at the end are a recipe; "int4" is one only of MLX's, others mean their own by it."""
    for length in range(min(_LONGEST_RECIPE, len(name) - 1), 0, -1):
        if _recipe_start().match(name[-length]):
            typed = "_".join(name[-length:])
            if recognized(typed) and (not typed.startswith("int") or "mlx" in name):
                return length
    return 0


class Known(NamedTuple):
    """A model of the catalogue as it was found; `alias` is the other model's name that led to it, "" for its own."""

    model: str
    alias: str = ""


def _spelled(row: ModelRow) -> Iterator[tuple[str, str]]:
    """Yield the spellings of a model, each with the alias that it is, "" for its own."""
    maker = row.hub_repo.partition("/")[0]
    for name in filter(None, (row.name, row.hub_repo, *row.aliases)):
        owner, _, last = name.rpartition("/")
        alias = "" if name in (row.name, row.hub_repo) else last
        yield last, alias
        if ".0-" in last:
            yield last.replace(".0-", "-"), alias  # "Granite 4"
        if owner or maker:
            yield f"{owner or maker}/{last}", alias  # as in bartowski's "Qwen_Qwen3.5-27B"


_Index = dict[str, dict[str, dict[str, str]]]  # alias by spelling without and with decimal points, and by model


class Spellings:
    """What names mean: by the whole name, without its version and date, or by its beginning."""

    def __init__(self, rows: Sequence[ModelRow], aliases: Sequence[AliasRow]) -> None:
        self.rows = rows
        self._whole: _Index = {}
        known = {row.name for row in rows}
        for row in rows:
            for spelling, alias in _spelled(row):
                _note(self._whole, words(spelling), row.name, alias)
        for other in aliases:
            if other.model in known:
                _note(self._whole, words(other.name), other.model, other.repo.rpartition("/")[2])

    @cached_property
    def _short(self) -> _Index:
        """The same without versions, recipes and dates; most names are found without it."""
        index: _Index = {}
        for row in self.rows:
            for spelling, alias in _spelled(row):
                for short in _shortened(words(spelling)):
                    _note(index, short, row.name, alias)
        return index

    def models(self, name: Sequence[str]) -> list[Known]:
        """Return the models that a whole name means: one or none, or several where it leaves out what parts them."""
        typed = key(name)
        found = _found(self._whole, typed) or _found(self._short, typed)
        if not found and (undated := _without_version(name)) != name:
            found = _found(self._short, key(undated))
        return [Known(model, "" if self._own(model, alias) else alias) for model, alias in found.items()]

    def sized(self, name: Sequence[str]) -> list[Known]:
        """Return the models that a name means without the size in it, if that is the size that they have.

        >>> from deployfit.catalogue import rows
        >>> from deployfit.models import MODELS
        >>> Spellings(rows(MODELS), []).sized(words("GLM-4.5-Air-106B-A12B"))
        [Known(model='GLM-4.5-Air', alias='')]
        """
        sizes = [word for word in name if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?[bmt]", word)]
        if len(sizes) != 1:
            return []
        found = self.models([word for word in name if word not in sizes and not _is_active_size(word)])
        size = float(sizes[0][:-1]) * _UNITS[sizes[0][-1]]
        counts = {row.name: row.total_params or 0 for row in self.rows}
        return [known for known in found if abs(counts[known.model] - size) <= _SIZE_TOLERANCE * size]

    def reordered(self, name: Sequence[str]) -> list[Known]:
        """Return the models whose whole name has the same words in any order."""
        return self._in_any_order.get(_sorted(name), [])

    @cached_property
    def _in_any_order(self) -> dict[tuple[str, ...], list[Known]]:
        index: dict[tuple[str, ...], list[Known]] = {}
        for row in self.rows:
            for spelling, alias in _spelled(row):
                found = index.setdefault(_sorted(words(spelling)), [])
                if row.name not in (known.model for known in found):
                    found.append(Known(row.name, alias))
        return index

    def _own(self, model: str, alias: str) -> bool:
        """Whether an alias is no other model: the model's own name with its maker's, or without its version."""
        name = key(without_maker(words(alias)))
        return alias == "" or any(
            name in map(key, (words(spelling), *_shortened(words(spelling))))
            for row in self.rows
            if row.name == model
            for spelling, other in _spelled(row)
            if not other
        )

    def beginning(self, name: Sequence[str]) -> list[Known]:
        """Return the models whose name begins so; if one goes on with nothing but its active size, that one.

        >>> from deployfit.catalogue import rows
        >>> from deployfit.models import MODELS
        >>> Spellings(rows(MODELS), []).beginning(words("Qwen3.5-35B"))
        [Known(model='Qwen3.5-35B-A3B', alias='')]
        """
        typed = key(name)
        found: dict[str, Known] = {}
        nearest: dict[str, Known] = {}
        for beginning, known, rest in self._beginnings.get(undotted(typed), ()):
            if means(typed, beginning):
                found.setdefault(known.model, known)
                if all(map(_is_active_size, rest)):
                    nearest.setdefault(known.model, known)
        return list(nearest.values() if len(nearest) == 1 else found.values())

    @cached_property
    def _beginnings(self) -> dict[str, list[tuple[str, Known, Sequence[str]]]]:
        """What every spelling begins with, up to each of its words, and the words that go on from there."""
        index: dict[str, list[tuple[str, Known, Sequence[str]]]] = {}
        for row in self.rows:
            for spelling, alias in _spelled(row):
                name = words(spelling)
                for count in range(1, len(name)):
                    beginning = key(name[:count])
                    index.setdefault(undotted(beginning), []).append((beginning, Known(row.name, alias), name[count:]))
        return index

    @cached_property
    def _names(self) -> list[tuple[str, Sequence[str], str]]:
        return [(row.name, words(row.name), key(words(row.name))) for row in self.rows]

    def containing(self, name: Sequence[str]) -> list[Known]:
        """Return the models whose name has all of these words."""
        return [
            Known(model)
            for model, known, _ in self._names
            if set(name) <= {*known, *(word.removesuffix(".0") for word in known)}
        ]

    def continued(self, name: Sequence[str]) -> list[Known]:
        """Return the models whose name goes on within its last word: "qwen" and "qwen3.5-27" have the rest to come."""
        typed = key(name)
        return [
            Known(model)
            for model, _, spelled in self._names
            if spelled.startswith(typed) and spelled[len(typed) :][:1].isalnum() and _turns(spelled, len(typed))
        ]


def _sorted(name: Sequence[str]) -> tuple[str, ...]:
    """Return the letters and numbers of a name in one order: "llama4" is two words, as "Llama-4"."""
    return tuple(sorted(re.findall(r"[^\W\d]+|[0-9.]+[^\W\d]*", " ".join(name))))


def _turns(spelled: str, place: int) -> bool:
    return spelled[place].isdigit() != spelled[place - 1].isdigit()


def _is_active_size(word: str) -> bool:
    return re.fullmatch(r"a[0-9]+(?:\.[0-9]+)?b", word) is not None


def without_maker(name: Sequence[str]) -> Sequence[str]:
    """Return a name without its maker's, which some write before it.

    >>> without_maker(("meta", "llama", "3.1", "8b"))
    ('llama', '3.1', '8b')
    """
    return name[1:] if len(name) > 1 and name[0] in _MAKERS else name


def _note(index: _Index, name: Sequence[str], model: str, alias: str) -> None:
    spelling = key(name)
    models = index.setdefault(undotted(spelling), {}).setdefault(spelling, {})
    models[model] = alias and models.get(model, alias)  # its own name counts for more


def _found(index: _Index, typed: str) -> dict[str, str]:
    """Return the models of a key, each with its alias."""
    near = index.get(undotted(typed), {})
    return {model: alias for known, models in near.items() if means(typed, known) for model, alias in models.items()}


def _shortened(name: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield a name without version, recipe and date, one after the other."""
    while True:
        rest = name
        for rest, _ in endings(name):
            if rest != name:
                yield rest
        if len(rest) < 2 or not _is_date(rest[-1]):
            return
        if (undated := _without_version(rest)) != rest:
            yield undated
        name = rest[:-1]
        yield name


def _is_date(word: str) -> bool:
    return re.fullmatch(r"[0-9]{4}", word) is not None


def _without_version(name: Sequence[str]) -> Sequence[str]:
    """Return a name without the version before its date.

    >>> _without_version(words("Mistral-Nemo-Base-2407"))
    ('mistral', 'nemo', '2407')
    """
    place = len(name) - 2
    return (*name[:place], name[-1]) if place > 0 and _is_date(name[-1]) and name[place] in _VERSIONS else name
