"""What engines logged of their memory: which figure of which part, and which can be judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployfit.errors import InputError
from deployfit.measured.free_text import (
    FindQuant,
    NotJudged,
    Rule,
    check_length,
    check_rules,
    count_reason,
    read_model,
    read_number,
)
from deployfit.measured.subject import engines, read_quant, read_runtime
from deployfit.models import Model
from deployfit.parameters import python
from deployfit.quants.weights import Quant
from deployfit.runtimes import registry
from deployfit.tables import Row, Table
from deployfit.units import GB, GIB, MIB
from deployfit.values import NamedTuple


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


def _memory_row(row: Row) -> MemoryRow:
    row.text("runtime"), row.text("model"), row.text("source")  # none of them may be blank
    for column in ("ubatch", "n_parallel"):
        row.number(column, most=10**9, blank=True)
    return MemoryRow(*(row.text(column, blank=True) for column in MemoryRow._fields))


LOGS = Table("memory_logs.csv", list(MemoryRow._fields), _memory_row)


class Logged(NamedTuple):
    """A figure of a log that can be judged; what it was rounded to is within `plus_minus_bytes`."""

    row: MemoryRow
    part: str
    model: Model
    quant: Quant | None  # where no part that the runtime logs depends on it
    runtime: str
    settings: Any  # the runtime's own
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


def _read(
    row: MemoryRow, part: str, cell: str, rules: Sequence[Rule], models: Mapping[str, Model], find: FindQuant
) -> Logged:
    check_length(row)
    model = read_model(row.model, models)
    name = read_runtime(row.runtime, f"{row.model} {row.quant}")
    for of in ("memory", part):
        check_rules(of, row.words, rules)
    engine, runtime = engines()[name], registry.runtime(name)
    if part not in engine.FIGURE_PARTS:
        raise NotJudged(f"no part that {engine.LABEL} logs")
    try:
        tokens, typed = engine.memory_settings(row.context, row.kv_type, row.batch, row.ubatch, row.n_parallel, part)
        settings = runtime.settings(tokens, typed)
        runtime.check(model.blueprint, settings)
    except InputError as error:
        raise NotJudged(python(str(error))) from None
    copies = 1 + read_number(cell, "n_rs_seq", 0) if part == "recurrent_state" else 1
    quant = read_quant(row.quant, row.model, name, find) if engine.NEEDS_QUANT else None
    return Logged(row, part, model, quant, name, settings, copies, *read_figure(cell, engine.UNIT))


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
