"""Measurements that others published: which model, quant, runtime and Mac they are about, and which can be judged.

Rows stay as they were published. What they say is read by the rules here, and what makes a row useless is a rule in
`data/measurement_rules.csv`, so that nothing is left out by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from deployfit.errors import DataError, InputError
from deployfit.models import Model
from deployfit.quants.find import LLAMACPP, MLX_RUNTIME
from deployfit.quants.weights import Quant
from deployfit.tables import Row, parse_table

PARTS = ("kv_cache", "recurrent_state", "compute_buffer", "peak", "footprint")  # what logs state of a run's memory
KINDS = ("speed", "memory", "verdict", *PARTS)
FindQuant = Callable[[str, str], Quant]  # a name and a runtime


class Rule(NamedTuple):
    """A row of `data/measurement_rules.csv`: what makes a measurement useless, unless something else stands there."""

    of: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    reason: str

    def holds(self, text: str) -> bool:
        """Whether it holds for a measurement's words."""
        return bool(self.pattern.search(text)) and not (self.unless and self.unless.search(text))


def parse_measurement_rules(text: str, place: str) -> list[Rule]:
    """Return the rules of a CSV text with the columns of `data/measurement_rules.csv`."""
    faults: list[str] = []

    def pattern(row: Row, column: str) -> re.Pattern[str]:
        try:
            return re.compile(row.text(column, blank=True), re.IGNORECASE)
        except re.error as error:
            faults.append(f"{row.place}: {column}: not a regular expression: {error}")
            return re.compile("")

    def parse(row: Row) -> Rule:
        unless = pattern(row, "unless")
        return Rule(
            of=row.one_of("of", KINDS),
            pattern=pattern(row, "pattern"),
            unless=unless if unless.pattern else None,
            reason=row.text("reason"),
        )

    rules = parse_table(text, place, ["of", "pattern", "unless", "reason"], parse)
    if faults:
        raise DataError(faults)
    return rules


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

    >>> from deployfit.catalog import models
    >>> read_model("hf.co/unsloth/Qwen3.6-35B-A3B-GGUF", models()).name
    'Qwen3.6-35B-A3B'
    >>> read_model("qwen3.5:9b-mlx", models()).name
    'Qwen3.5-9B'
    """
    words = re.sub(r"[\s:_]+", "-", text.casefold())
    words = re.sub(r"(\d\.\d)/\d\.\d", r"\1", words)  # Qwen3.5/3.6-35B-A3B: two models of one geometry
    for name in sorted(models, key=len, reverse=True):
        short = re.sub(r"-a\d+b$", "", name.casefold())
        if re.search(rf"(?<![\w.]){re.escape(short)}(?![\w.])", words):
            return models[name]
    raise NotJudged("no model of the catalogue")


def read_runtime(runtime: str, model: str) -> str:
    """Return which of the two engines a text names; what is built on MLX counts as MLX.

    >>> read_runtime("rapid-mlx 0.12.7", ""), read_runtime("LM Studio", ""), read_runtime("ollama", "qwen3.5:9b-mlx")
    ('mlx', 'llama.cpp', 'mlx')
    """
    words = runtime.casefold()
    if "mlx" in words or (re.match("ollama|lm ?studio", words) and "mlx" in model.casefold()):
        return MLX_RUNTIME
    if re.search(r"llama|lm ?studio", words):
        return LLAMACPP
    raise NotJudged("no runtime that is known")


_GGUF_NAME = re.compile(
    r"(?<![a-z0-9])(?P<ud>ud-)?(?P<name>i?q\d_(?:k_xl|k_[sml]|k|xxs|xs|nl|s|m|0|1)|bf16|f16|fp16|mxfp4)(?![a-z0-9])",
    re.IGNORECASE,
)
_MLX_NAME = re.compile(r"(mxfp[48]|nvfp4|bf16|fp16)|(\d)[- ]?bit|int(\d)", re.IGNORECASE)
SIXTEEN_BITS = ("fp16", "f16")  # as wide as BF16, and read at the same speed


def read_quant(text: str, runtime: str, find: FindQuant) -> Quant:
    """Return the quant that a text names, as the runtime's own recipe; UD- and _XL are unsloth's.

    >>> from deployfit.ask import SHELF
    >>> from deployfit.quants.find import find_quant
    >>> find = lambda name, runtime: find_quant(name, SHELF, runtime)
    >>> read_quant("Q4_K_M (19.91 GiB)", "llama.cpp", find).name, read_quant("MLX-8bit", "mlx", find).name
    ('Q4_K_M', 'q8_g64')
    """
    match = (_MLX_NAME if runtime == MLX_RUNTIME else _GGUF_NAME).search(text)
    if match is None:
        raise NotJudged("no quant is stated")
    is_mlx = runtime == MLX_RUNTIME
    name = (match[1] or f"{match[2] or match[3]}bit").lower() if is_mlx else match["name"].upper()
    if name.lower() in SIXTEEN_BITS:
        name = "BF16"
    if not is_mlx and (match["ud"] or name.endswith("K_XL")):
        name = f"unsloth:UD-{name}"
    try:
        return find(name, runtime)
    except InputError:
        raise NotJudged(f"no recipe {name} is known") from None


def read_subject(model: str, quant: str, runtime: str, models: Mapping[str, Model], find: FindQuant) -> Subject:
    """Return what a measurement is about; raise NotJudged where it does not say."""
    engine = read_runtime(runtime, model)
    found = read_model(model, models)
    return Subject(found, read_quant(quant or model, engine, find), engine)


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


_KV_TYPE = re.compile(r"(?<![a-z0-9])(bf16|f16|f32|q8_0|q5_[01]|q4_[01]|iq4_nl)(?![a-z0-9])", re.IGNORECASE)


def read_kv_types(text: str) -> tuple[str, str]:
    """Return the types of llama.cpp's keys and values that a text states, F16 if it states none.

    >>> read_kv_types("K q5_1 / V q8_0"), read_kv_types("32K f16 / 64K turbo3"), read_kv_types("")
    (('q5_1', 'q8_0'), ('f16', 'f16'), ('f16', 'f16'))
    """
    first = re.split(r"/(?=\s*\d)", text)[0]
    types = [found.lower() for found in _KV_TYPE.findall(first)] or ["f16"]
    if "turbo" in first.casefold():
        raise NotJudged("kernels or a KV format of a fork")
    return types[0], types[min(1, len(types) - 1)]


def read_number(text: str, name: str, default: int) -> int:
    """Return the whole number that follows a name in a text, the default if there is none.

    >>> read_number("prefill step 512", "step", 2048), read_number("", "step", 2048)
    (512, 2048)
    """
    match = re.search(rf"{name}\D{{0,6}}?(\d{{1,9}})", text, re.IGNORECASE)
    return int(match[1]) if match else default


def count_reason(left_out: dict[str, int], reason: object) -> None:
    """Count what was left out for a reason."""
    left_out[str(reason)] = left_out.get(str(reason), 0) + 1


def check_rules(of: str, words: str, rules: Sequence[Rule]) -> None:
    """Raise NotJudged if a rule makes a measurement useless."""
    for rule in rules:
        if rule.of == of and rule.holds(words):
            raise NotJudged(rule.reason)
