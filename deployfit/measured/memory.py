"""What engines logged of their memory: which figure of which part, and which can be judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from deployfit.errors import InputError
from deployfit.measured.words import (
    FindQuant,
    NotJudged,
    Rule,
    check_length,
    check_rules,
    count_reason,
    read_kv_types,
    read_model,
    read_number,
    read_quant,
    read_runtime,
    read_tokens,
)
from deployfit.models import Model
from deployfit.quants.find import LLAMACPP
from deployfit.quants.weights import Quant
from deployfit.runtimes.llamacpp import DEFAULT_UBATCH, LlamaCppSettings
from deployfit.runtimes.mlx import DEFAULT_PREFILL_STEP, UNQUANTIZED_BITS, MlxSettings
from deployfit.tables import Row, parse_table
from deployfit.units import GB, GIB, MIB

MEMORY_COLUMNS = [
    "runtime",
    "model",
    "quant",
    "context",
    "kv_type",
    "batch",
    "ubatch",
    "weights_mib",
    "kv_mib",
    "rs_mib",
    "compute_mib",
    "peak_gb",
    "source",
    "n_parallel",
    "chip",
    "note",
]


class MemoryRow(NamedTuple):
    """A row of `data/memory_logs.csv`, in the words of its source."""

    runtime: str
    model: str
    quant: str
    context: str
    kv_type: str
    batch: str
    ubatch: str
    weights_mib: str
    kv_mib: str
    rs_mib: str
    compute_mib: str
    peak_gb: str
    source: str
    n_parallel: str
    chip: str
    note: str

    @property
    def words(self) -> str:
        """What the rules look at: all but where it stands."""
        return " | ".join(self._replace(source="")).lower()


def parse_memory_rows(text: str, place: str) -> list[MemoryRow]:
    """Return the rows of a CSV text with the columns of `data/memory_logs.csv`."""

    def parse(row: Row) -> MemoryRow:
        row.text("runtime"), row.text("model"), row.text("source")  # none of them may be blank
        for column in ("ubatch", "n_parallel"):
            row.number(column, most=10**9, blank=True)
        return MemoryRow(*(row.text(column, blank=True) for column in MEMORY_COLUMNS))

    return parse_table(text, place, MEMORY_COLUMNS, parse)


class Logged(NamedTuple):
    """A figure of a log that can be judged; what it was rounded to is within `plus_minus_bytes`."""

    row: MemoryRow
    part: str
    model: Model
    quant: Quant | None  # for llama.cpp's parts beside the weights it does not matter
    settings: LlamaCppSettings | MlxSettings
    copies: int  # of the recurrent state: drafting keeps some
    measured_bytes: int
    plus_minus_bytes: int


_FIGURE = re.compile(
    r"~?(?P<number>\d{1,12}(?:\.(?P<decimals>\d{1,6}))?)\s*(?P<unit>[GM]i?B)?(?=$|[\s,(])(?!\s*[-+/&]|\s*B/)"
)
_UNITS = {"GB": GB, "MB": GB // 1000, "GiB": GIB, "MiB": MIB}


def read_figure(text: str, unit: str) -> tuple[int, int]:
    """Return the bytes that a cell states first, and what rounding may hide: half of the last digit.

    >>> read_figure("351.75 (n_rs_seq=6 for MTP)", "MiB"), read_figure("12.95 GiB", "GB")
    ((368836608, 5243), (13904956621, 5368710))
    """
    match = _FIGURE.match(text)
    if match is None:
        raise NotJudged("more than one figure, or none that is a size")
    size = _UNITS[match["unit"] or unit]
    return round(float(match["number"]) * size), -(-size // (2 * 10 ** len(match["decimals"] or "")))


def read_prompt(text: str) -> int:
    """Return the length of the prompt that a text states; k is 1,000, as in the threads that measured so.

    >>> read_prompt("192k prompt"), read_prompt("2048 prompt, 128 gen")
    (192000, 2048)
    """
    several = re.search(r"\d\w*\s*(?:&|-|\u2013|to|and)\s*\d\w*\s+prompts?", text)
    match = re.search(r"([\d.,]+ ?k?)[- ]?(?:tok\w* )?prompt", text, re.IGNORECASE)
    if match is None:
        match = re.fullmatch(r"([\d.,]+k?)(?:/\d+)?", text, re.IGNORECASE)
    tokens = read_tokens(match[1], kilo=1000) if match and not several else None
    if tokens is None:
        raise NotJudged("no length of the prompt, or more than one")
    return tokens


FOOTPRINT = "phys_footprint"  # the whole process, with the buffers that MLX keeps; else a peak is MLX's own


def parts_of(row: MemoryRow) -> Mapping[str, str]:
    """Return the figures that a row states, by part."""
    total = "footprint" if FOOTPRINT in row.note else "peak"
    cells = {
        "kv_cache": row.kv_mib,
        "recurrent_state": row.rs_mib,
        "compute_buffer": row.compute_mib,
        total: row.peak_gb,
    }
    return {part: cell for part, cell in cells.items() if cell}


def _settings_of(row: MemoryRow, runtime: str, part: str) -> LlamaCppSettings | MlxSettings:
    if runtime != LLAMACPP:
        if part not in ("peak", "footprint"):
            raise NotJudged("no part that MLX logs")
        bits = read_number(row.kv_type, "", UNQUANTIZED_BITS)
        return MlxSettings(
            read_prompt(row.context), bits, read_number(row.batch, "(?:step|chunk)", DEFAULT_PREFILL_STEP)
        )
    if part in ("peak", "footprint"):
        raise NotJudged("no part that llama.cpp logs")
    tokens = read_tokens(row.context)
    if tokens is None:
        raise NotJudged("no context is stated")
    if part == "compute_buffer" and not row.ubatch:
        raise NotJudged("no micro-batch is stated")
    key, value = read_kv_types(row.kv_type)
    settings = LlamaCppSettings(tokens, key, value, int(row.n_parallel or 1), int(row.ubatch or DEFAULT_UBATCH))
    if part == "compute_buffer" and settings.notes(0, 0, 1):
        raise NotJudged("KV types that Metal has no attention for: it falls to the CPU, which is said and not counted")
    return settings


def _read(
    row: MemoryRow, part: str, cell: str, rules: Sequence[Rule], models: Mapping[str, Model], find: FindQuant
) -> Logged:
    check_length(row)
    model = read_model(row.model, models)
    runtime = read_runtime(row.runtime, f"{row.model} {row.quant}")
    for of in ("memory", part):
        check_rules(of, row.words, rules)
    settings = _settings_of(row, runtime, part)
    try:
        settings.check(model.config)
    except InputError as error:
        raise NotJudged(str(error)) from None
    copies = 1 + read_number(cell, "n_rs_seq", 0) if part == "recurrent_state" else 1
    quant = None if runtime == LLAMACPP else read_quant(row.quant or row.model, runtime, find)
    return Logged(row, part, model, quant, settings, copies, *read_figure(cell, "GB" if quant else "MiB"))


def judged_logs(
    rows: Iterable[MemoryRow], rules: Sequence[Rule], models: Mapping[str, Model], find: FindQuant
) -> tuple[list[Logged], dict[str, int]]:
    """Return the figures that can be judged, and how many were left out for which reason."""
    judged: list[Logged] = []
    left_out: dict[str, int] = {}
    for row in rows:
        parts = parts_of(row)
        if not parts:
            count_reason(left_out, "no figure")
        for part, cell in parts.items():
            try:
                judged.append(_read(row, part, cell, rules, models, find))
            except NotJudged as reason:
                count_reason(left_out, reason)
    return judged, left_out
