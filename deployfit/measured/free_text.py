"""Measurements that others published: which model, quant, runtime and Mac they are about, and which can be judged.

Rows stay as they were published. What they say is read by the rules here and in `engines`, and what makes a row useless
is a rule in `data/measurement_rules.csv`, so that nothing is left out by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from deployfit.errors import InputError
from deployfit.measured.naming import named_model
from deployfit.models import Model
from deployfit.quants.weights import Quant
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

PARTS = ("kv_cache", "recurrent_state", "compute_buffer", "peak", "footprint")  # what logs state of a run's memory
KINDS = ("speed", "decode", "prefill", "memory", "verdict", *PARTS)
FindQuant = Callable[[str, str], Quant]  # a name and a runtime


class Rule(NamedTuple):
    """A row of `data/measurement_rules.csv`: what makes a measurement useless, unless something else stands there.

    Patterns are in lower case and compared with such a text: to be told that case does not matter takes twice as long.
    """

    of: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    reason: str

    def holds(self, text: str) -> bool:
        """Whether it holds for a measurement's words, in lower case."""
        return bool(self.pattern.search(text)) and not (self.unless and self.unless.search(text))


def _pattern(row: Row, column: str) -> re.Pattern[str]:
    text = row.text(column, blank=True)
    if any(letter.isupper() for letter in re.sub(r"\\.", "", text)):
        row.fault(column, "a regular expression in lower case")
    try:
        return re.compile(text)
    except re.error as error:
        row.fault(column, f"a regular expression ({error})")
        return re.compile("")


def _rule(row: Row) -> Rule:
    unless = _pattern(row, "unless")
    return Rule(
        of=row.one_of("of", KINDS),
        pattern=_pattern(row, "pattern"),
        unless=unless if unless.pattern else None,
        reason=row.text("reason"),
    )


RULES = Table("measurement_rules.csv", ["of", "pattern", "unless", "reason"], _rule)


class Subject(NamedTuple):
    """What a measurement is about."""

    model: Model
    quant: Quant
    runtime: str


class NotJudged(Exception):
    """Why a measurement cannot be judged."""


MOST_CHARACTERS = 4_000  # of a row: ten times the longest that is shipped; some patterns' time grows with the square


def check_length(row: Iterable[object]) -> None:
    """Raise NotJudged if a row is longer than anybody's words about a measurement."""
    if sum(len(str(cell)) for cell in row) > MOST_CHARACTERS:
        raise NotJudged(f"more than {MOST_CHARACTERS:,} characters in a row")


def read_model(text: str, models: Mapping[str, Model]) -> Model:
    """Return the catalogue's model that a text names, however it is written.

    >>> from deployfit.catalogue import models
    >>> read_model("hf.co/unsloth/Qwen3.6-35B-A3B-GGUF", models()).name
    'Qwen3.6-35B-A3B'
    >>> read_model("gemma4:26b-mlx", models()).name
    'Gemma-4-26B-A4B'
    >>> read_model("devstral:24b", models()).name
    'Devstral-Small-2507'
    """
    found = model_within(text, models) or models.get(named_model(text))
    if found is None:
        raise NotJudged("no model of the catalogue")
    return found


def model_within(text: str, models: Mapping[str, Model]) -> Model | None:
    """Return the model whose whole name stands somewhere in a text, None if none does."""
    name = _name_within(text.casefold(), tuple(models))
    return models[name] if name else None


@lru_cache(maxsize=1024)  # many measurements are of one model
def _name_within(text: str, names: tuple[str, ...]) -> str:
    words = re.sub(r"[\s:_]+", "-", text)
    words = re.sub(r"(\d\.\d)/\d\.\d", r"\1", words)  # Qwen3.5/3.6-35B-A3B: two models of one geometry
    for name, short in _shortened(names):
        if short in words and re.search(rf"(?<![\w.]){re.escape(short)}(?!\w|\.\d)", words):
            return name
    return ""


@lru_cache(maxsize=4)
def _shortened(names: tuple[str, ...]) -> Sequence[tuple[str, str]]:
    """Return the names, the longest first, with what suffices of each: without the size of its active experts."""
    longest = sorted(names, key=len, reverse=True)
    return [(name, re.sub(r"-a\d+b$", "", name.casefold())) for name in longest]


_NO_TOKENS = r"[- ]?bit|\s?(?:[gm]i?b|tok\w*/s|t/s|slots?|seqs?|sequences|parallel|users?|servers?)\b"
_TOKENS = re.compile(rf"(?<![\w.])(\d[\d,]{{0,14}}(?:\.\d{{1,6}})?) ?([km])?(?![\w.]|{_NO_TOKENS})", re.IGNORECASE)
_OTHER_FLAG = re.compile(r"(?<!\S)--?(?!c\b|ctx)[a-z][\w-]*[ =]?\S*", re.IGNORECASE)


def read_tokens(text: str, kilo: int = 1024) -> int | None:
    """Return the first number of tokens that a text states, None if it states none; k means `kilo`.

    >>> [read_tokens(text) for text in ("12288, KV q4_0, -np 1", "32K f16 / 64K", "-np 4, 8-bit KV", "-c 8192")]
    [12288, 32768, None, 8192]
    """
    match = _TOKENS.search(_OTHER_FLAG.sub("", text))
    if match is None:
        return None
    unit = {"": 1, "k": kilo, "m": kilo**2}[(match[2] or "").lower()]
    return round(float(match[1].replace(",", "")) * unit)


def read_number(text: str, name: str, default: int) -> int:
    """Return the whole number that follows a name in a text, the default if there is none.

    >>> read_number("prefill step 512", "step", 2048), read_number("", "step", 2048)
    (512, 2048)
    """
    match = re.search(rf"{name}\D{{0,6}}?(\d{{1,9}})", text, re.IGNORECASE)
    return int(match[1]) if match else default


def found_quant(name: str, runtime: str, find: FindQuant) -> Quant:
    """Return the quant of a name; raise NotJudged if there is none."""
    try:
        return find(name, runtime)
    except InputError:
        raise NotJudged(f"no recipe {name} is known") from None


def count_reason(left_out: dict[str, int], reason: object) -> None:
    """Count what was left out for a reason."""
    left_out[str(reason)] = left_out.get(str(reason), 0) + 1


def check_rules(of: str, words: str, rules: Sequence[Rule]) -> None:
    """Raise NotJudged if a rule makes a measurement useless."""
    lower = words.lower()
    for rule in rules:
        if rule.of == of and rule.holds(lower):
            raise NotJudged(rule.reason)
