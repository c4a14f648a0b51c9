"""Measured speeds: rows of `data/mac_speeds.csv`, and which of them can be judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from deployfit.hardware.mac import Mac, MacRow, find_chip
from deployfit.measured.free_text import (
    FindQuant,
    NotJudged,
    Rule,
    Subject,
    check_length,
    check_rules,
    count_reason,
    model_within,
)
from deployfit.measured.subject import engines, read_subject
from deployfit.models import Model
from deployfit.tables import Row, Table
from deployfit.units import GIB
from deployfit.values import NamedTuple


class SpeedRow(NamedTuple):
    """A row of `data/mac_speeds.csv`, in the words of its source.

    `context_tokens` is what was in the context when decoding was measured, or the prompt that was read in; None
    where it is not stated. Speeds are tokens per second, 0 where there is none.
    """

    chip: str
    memory_gib: int  # 0 where it is not stated
    bandwidth_gb_s: int  # as stated with it, 0 where it is not
    model: str
    quant: str
    runtime: str
    context_tokens: int | None
    prefill_tps: float
    decode_tps: float
    source: str
    note: str

    @property
    def words(self) -> str:
        """What the rules look at: runtime first, then model, quant and note."""
        return " | ".join((self.runtime, self.model, self.quant, self.note)).lower()


SPEED_COLUMNS = [
    "chip",
    "ram_gb",
    "bandwidth_gbs",
    "model",
    "quant",
    "runtime",
    "context",
    "pp_tps",
    "tg_tps",
    "source",
    "note",
]


def _speed_row(row: Row) -> SpeedRow:
    context, note = row.text("context", blank=True), row.text("note", blank=True)
    return SpeedRow(
        chip=row.text("chip"),
        memory_gib=int(row.decimal("ram_gb", blank=True)),
        bandwidth_gb_s=int(row.decimal("bandwidth_gbs", blank=True)),
        model=row.text("model"),
        quant=row.text("quant", blank=True),
        runtime=row.text("runtime"),
        context_tokens=int(context) if _STATED.fullmatch(context) and not _ALLOCATED.search(note) else None,
        prefill_tps=row.decimal("pp_tps", blank=True),
        decode_tps=row.decimal("tg_tps", blank=True),
        source=row.text("source"),
        note=note,
    )


# The terms of the rule for speed were chosen with the first and the later ones. The last, mostly of other families,
# come from other sources; how well the others predict them stands beside the coefficients.
SPEED_FILES = {
    "first": Table("mac_speeds.csv", SPEED_COLUMNS, _speed_row),
    "later": Table("mac_speeds_later.csv", SPEED_COLUMNS, _speed_row),
    "families": Table("mac_speeds_families.csv", SPEED_COLUMNS, _speed_row),
}

_STATED = re.compile(r"[0-9]{1,9}")
_ALLOCATED = re.compile(r"ctx (size|allocated)")  # then it is how much was reserved, not how much was filled


def read_chip(row: SpeedRow, macs: Sequence[MacRow]) -> MacRow:
    """Return the chip that a measurement was made on; raise NotJudged where its bandwidth is not known.

    Engines write "Apple M4 Max".
    """
    named = row.chip.casefold().removeprefix("apple ")
    bins = [each for each in macs if each.chip.casefold() == named]
    found = find_chip(Mac(bins[0].chip, row.memory_gib * GIB), macs) if bins else None
    if found is None and row.memory_gib == 0:
        found = next((each for each in bins if each.bandwidth_gb_s == row.bandwidth_gb_s), None)
        found = bins[0] if found is None and len(bins) == 1 else found
    if found is None:
        raise NotJudged("no chip, or none that was sold with this memory")
    if not found.bandwidth_gb_s:
        raise NotJudged("the chip's bandwidth is not known")
    cores = re.search(r"gpu cores (\d+)", row.note)
    if cores and 0 < int(cores[1]) < found.gpu_cores:
        share = int(cores[1]) / found.gpu_cores
        found = found._replace(gpu_cores=int(cores[1]), fp16_tflops=found.fp16_tflops * share)
    return found


LONGEST_SHORT_CONTEXT = 9_000  # tokens; beyond, decoding speed is another question
SHORTEST_PROMPT = 400  # tokens; a shorter one measures the start-up, not the prefill


def prompt_of(row: SpeedRow, runtime: str) -> int | None:
    """Return how many tokens were read in when prefill was measured; None where that cannot be said."""
    tokens = row.context_tokens
    if tokens == 0:
        tokens = engines()[runtime].BENCHMARK_PROMPT
    return None if tokens is None or tokens < SHORTEST_PROMPT or "short prompt" in row.note else tokens


def decode_context_of(row: SpeedRow) -> int | None:
    """Return how many tokens were in the context when decoding was measured; None where that is not stated."""
    return 0 if row.context_tokens is None and "short prompt" in row.note else row.context_tokens


def check_source(source: str, model: Model, models: Mapping[str, Model]) -> None:
    """Raise NotJudged if the name of a measurement's source is about a model of another size.

    >>> from deployfit.catalogue import models
    >>> check_source("results/qwen3_6-27b-4bit.json", models()["Qwen3.5-9B"], models())
    Traceback (most recent call last):
    deployfit.measured.free_text.NotJudged: its source is named after another model
    """
    named = model_within(re.sub(r"qwen-?3[._-]?([568])-", r"qwen3.\1-", source.casefold()), models)
    if named is not None and named.blueprint.layers != model.blueprint.layers:
        raise NotJudged("its source is named after another model")


class Speed(NamedTuple):
    """A measured speed that can be judged."""

    row: SpeedRow
    subject: Subject
    chip: MacRow


def _blank(row: SpeedRow, kind: str) -> SpeedRow:
    return row._replace(decode_tps=0.0) if kind == "decode" else row._replace(prefill_tps=0.0)


def judged_speeds(
    rows: Iterable[SpeedRow],
    rules: Sequence[Rule],
    models: Mapping[str, Model],
    macs: Sequence[MacRow],
    find: FindQuant,
) -> tuple[list[Speed], dict[str, int]]:
    """Return the measurements that can be judged, and how many were left out for which reason.

    Of some that is one of the two speeds; then the row is judged without it.
    """
    judged: list[Speed] = []
    left_out: dict[str, int] = {}
    for row in rows:
        try:
            check_length(row)
            subject = read_subject(row.model, row.quant, row.runtime, models, find)
            check_source(row.source, subject.model, models)
            chip = read_chip(row, macs)
            check_rules("speed", row.words, rules)
            engines()[subject.runtime].check_version(row.runtime, subject.model.blueprint)
            if (row.context_tokens or 0) > subject.model.blueprint.trained_context:
                raise NotJudged("more context than the model was trained for")
        except NotJudged as reason:
            count_reason(left_out, reason)
            continue
        for kind, tps in (("decode", row.decode_tps), ("prefill", row.prefill_tps)):
            try:
                check_rules(kind, row.words, rules if tps else ())
            except NotJudged as reason:
                count_reason(left_out, reason)
                row = _blank(row, kind)
        judged.append(Speed(row, subject, chip))
    return judged, left_out
