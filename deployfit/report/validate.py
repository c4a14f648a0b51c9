"""The document of `validate`: how errors are distributed, the worst, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployfit.measured.free_text import PARTS
from deployfit.measured.speeds import LONGEST_SHORT_CONTEXT
from deployfit.measured.verdicts import ASSUMED_CONTEXT
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Statement, Table, of_rows
from deployfit.runtimes import registry
from deployfit.units import gib, tps
from deployfit.validation import (
    FIGURES,
    SPEEDS,
    UNSEEN,
    Bar,
    MemoryCheck,
    SpeedCheck,
    Spread,
    Validation,
    VerdictCheck,
)
from deployfit.values import NamedTuple

SCHEMA = "deployfit/validate/1"
EMPTY: Mapping[str, Any] = dict.fromkeys(
    (
        *("section", "what", "runtime", "batch", "model", "recipe", "chip", "memory_gib", "context_tokens"),
        *("measured_tps", "predicted_tps", "low_tps", "high_tps"),
        *("measured_bytes", "plus_minus_bytes", "estimated_bytes", "upper_bytes"),
        *("reported_runs", "verdict", "total_bytes", "gpu_limit_bytes"),
        *("error_percent", "agrees", "source"),
    )
)
NAMES = {
    "decode": "decode",
    "decode_unstated": "decode, context not stated",
    "decode_long": "decode, long context",
    "prefill": "prefill",
    "kv_cache": "KV cache",
    "recurrent_state": "recurrent state",
    "compute_buffer": "compute buffers, device part",
    "peak": "peak that MLX reports",
    "footprint": "process with MLX's buffer cache",
}


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def _speed_row(each: SpeedCheck) -> dict[str, Any]:
    row = each.speed.row
    return {
        "section": "speed",
        "what": each.what,
        "runtime": each.runtime,
        "batch": each.batch,
        "model": each.speed.subject.model.name,
        "recipe": each.recipe,
        "chip": each.speed.chip.chip,
        "memory_gib": row.memory_gib or None,
        "context_tokens": None if each.what == "decode_unstated" else each.context_tokens,
        "measured_tps": each.measured_tps,
        "predicted_tps": _rounded(each.rate.tps),
        "low_tps": _rounded(each.rate.low_tps),
        "high_tps": _rounded(each.rate.high_tps),
        "error_percent": _rounded(each.error_percent),
        "agrees": each.agrees,
        "source": row.source,
    }


def _memory_row(each: MemoryCheck) -> dict[str, Any]:
    logged = each.logged
    return {
        "section": "memory",
        "what": each.what,
        "runtime": each.runtime,
        "model": logged.model.name,
        "recipe": logged.quant.name if logged.quant else None,
        "chip": logged.row.chip,
        "context_tokens": logged.settings.context_tokens,
        "measured_bytes": logged.measured_bytes,
        "plus_minus_bytes": logged.plus_minus_bytes,
        "estimated_bytes": each.estimated_bytes,
        "upper_bytes": each.upper_bytes,
        "error_percent": _rounded(each.error_percent),
        "agrees": each.agrees,
        "source": logged.row.source,
    }


def _verdict_row(each: VerdictCheck) -> dict[str, Any]:
    report = each.report
    return {
        "section": "verdict",
        "what": "runs",
        "runtime": each.runtime,
        "model": report.subject.model.name,
        "recipe": each.recipe,
        "chip": report.row.chip,
        "memory_gib": report.row.memory_gib,
        "context_tokens": report.settings.context_tokens,
        "reported_runs": report.runs,
        "verdict": each.verdict.value,
        "total_bytes": each.total_bytes,
        "gpu_limit_bytes": report.machine.limit.limit_bytes,
        "agrees": each.agrees,
        "source": report.row.source,
    }


def validate_document(found: Validation, shown: int) -> Document:
    """Return a row per measurement that was judged, what does not apply None; distributions, bars and reasons."""
    made = [*map(_speed_row, found.speeds), *map(_memory_row, found.memory), *map(_verdict_row, found.verdicts)]
    rows = [{**EMPTY, **row} for row in made]
    blocks = [block for section in _sections(found, shown) for block in _section_blocks(section)]
    document = of_rows(SCHEMA, rows, blocks, top=_top(found))
    return document if rows else document._replace(columns=list(EMPTY))


def _section_blocks(section: Section) -> Iterable[Block]:
    yield Heading(section.title)
    if section.rows:
        ranks = range(len(section.header))
        columns = [
            Column(name, left=index < section.left, rank=max(0, index - 4), shrinks=index == 0)
            for index, name in zip(ranks, section.header, strict=True)
        ]
        yield Table(columns, section.rows)
    for note in section.notes:
        yield Statement(note)
    if section.listed:
        yield Bullets("Counted", section.listed)


def _spreads(found: Validation) -> list[tuple[str, str, str, Spread]]:
    """Return what, runtime, batch ("" for all) and the errors, where there is something."""
    made = [
        (what, runtime, batch, found.speed_spread(runtime, what, batch))
        for runtime in registry.names()
        for what in SPEEDS
        for batch in ("", *found.batches)
    ]
    made += [(part, runtime, "", found.memory_spread(runtime, part)) for runtime in registry.names() for part in PARTS]
    return [(what, runtime, batch, spread) for what, runtime, batch, spread in made if spread]


def _top(found: Validation) -> dict[str, Any]:
    spreads = [
        {
            "what": what,
            "runtime": runtime,
            "batch": batch or "all",
            "rows": spread.rows,
            "agreeing": spread.agreeing,
            **{name: _rounded(getattr(spread, name)) for name in FIGURES},
        }
        for what, runtime, batch, spread in _spreads(found)
    ]
    bars = [
        {**bar._asdict(), "value": value, "holds": None if value is None else bar.holds(value)}
        for bar, value in ((bar, found.value(bar)) for bar in found.bars)
    ]
    return {"spreads": spreads, "bars": bars, "left_out": found.left_out}


class Section(NamedTuple):
    """A headline, a table if there is one, sentences, and a list of what was counted."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    left: int = 1  # columns of words
    listed: Sequence[str] = ()


def _sections(found: Validation, shown: int) -> list[Section]:
    return [
        _speed_section(found),
        _unseen_section(found),
        *(
            _worst_section(found, runtime, shown)
            for runtime in registry.names()
            if found.speed_spread(runtime, "decode")
        ),
        _memory_section(found),
        _verdict_section(found),
        _bars_section(found),
        *(_left_out_section(of, reasons) for of, reasons in found.left_out.items() if reasons),
    ]


def _speed_section(found: Validation) -> Section:
    batches = found.batches if len(found.batches) > 1 else []
    rows = []
    for runtime in registry.names():
        for what in SPEEDS:
            spread = found.speed_spread(runtime, what)
            if spread is None:
                continue
            cells = [f"{runtime} {NAMES[what]}", *_numbers(spread), f"{spread.agreeing_percent:.0f}"]
            for batch in batches:
                part = found.speed_spread(runtime, what, batch)
                cells += [str(part.rows), f"{part.median_percent:.1f}"] if part else ["-", "-"]
            rows.append(cells)
    header = ["", "rows", "median %", "p90 %", "worst %", "inside %"]
    header += [name for batch in batches for name in (f"{batch} rows", "median %")]
    return Section(
        f"speed: {len(found.speeds)} measurements; error of the predicted tokens/s, and how many lie inside its 80 %"
        " interval",
        header,
        rows,
        [
            f"decode: with up to {LONGEST_SHORT_CONTEXT:,} tokens in the context; not stated: taken for an empty one.",
            *(
                ["first and later: what the rule's terms were chosen with; families: what was collected afterwards."]
                if batches
                else []
            ),
        ],
    )


def _numbers(spread: Spread) -> list[str]:
    percents = (spread.median_percent, spread.p90_percent, spread.worst_percent)
    return [str(spread.rows), *(f"{percent:.1f}" for percent in percents)]


def _unseen_section(found: Validation) -> Section:
    rows = []
    for runtime in registry.names():
        for what in ("decode", "prefill"):
            values = [found.unseen(runtime, what, name) for name in UNSEEN]
            rows.append([f"{runtime} {what}", *("-" if value is None else f"{value:.1f}" for value in values)])
    return Section(
        "speed that the coefficients were not fitted to (they are fitted to all rows that deployfit ships, at any"
        " context)",
        ["", "sources %", "inside", "chips %", "architectures %", "later %", "inside"],
        rows,
        [
            "Median errors and shares in percent. Left out of the fit: a source, a chip, an architecture; later: the"
            " measurements that were collected last, predicted from those that the terms were chosen with. As"
            " benchmarks/fit_speed.py wrote them beside the coefficients. inside: of sources left out, in the"
            " interval that is shipped, which is made from their errors and so holds about 80 % of them; of the"
            " later measurements, in the interval that the others make: the harder test."
        ],
    )


def _worst_section(found: Validation, runtime: str, shown: int) -> Section:
    checks = [each for each in found.speeds if (each.runtime, each.what) == (runtime, "decode")]
    worst = sorted(checks, key=lambda each: -abs(each.error_percent))[:shown]
    return Section(
        f"worst decode of {runtime}: tokens/s (sources: --format csv)",
        ["model", "recipe", "chip", "context", "measured", "predicted", "80 % interval", "error %"],
        [
            [
                each.speed.subject.model.name,
                each.recipe,
                each.speed.chip.chip,
                f"{each.context_tokens:,}",
                tps(each.measured_tps),
                tps(each.rate.tps),
                f"{tps(each.rate.low_tps)}-{tps(each.rate.high_tps)}",
                f"{each.error_percent:+.1f}",
            ]
            for each in worst
        ],
    )


def _memory_section(found: Validation) -> Section:
    rows = []
    for runtime in registry.names():
        for part in PARTS:
            spread = found.memory_spread(runtime, part)
            if spread is None:
                continue
            checks = [each for each in found.memory if (each.runtime, each.what) == (runtime, part)]
            percents = (spread.median_percent, spread.p90_percent, spread.worst_percent)
            covered = str(sum(each.is_covered for each in checks))
            numbers = [str(spread.rows), str(spread.agreeing), *(f"{percent:.2f}" for percent in percents), covered]
            rows.append([f"{runtime} {NAMES[part]}", *numbers])
    return Section(
        f"memory: {len(found.memory)} figures of logs; error of the estimate",
        ["", "rows", "equal", "median %", "p90 %", "worst %", "within upper bound"],
        rows,
        [
            "equal: to the digits that were logged; what rounding may hide is no error. The process is held against"
            " the upper bound."
        ],
    )


def _verdict_section(found: Validation) -> Section:
    checks = found.verdicts
    agree = sum(each.agrees for each in checks)
    runs = sum(each.report.runs for each in checks)
    unstated = sum(not each.report.context_stated for each in checks)
    notes = []
    if unstated:
        notes.append(f"{unstated} of them state no context: {ASSUMED_CONTEXT:,} tokens are taken.")
    notes += [_disagreement(each) for each in checks if not each.agrees]
    return Section(
        f"verdicts: {len(checks)} reports, {agree} agree ({runs} say that it runs, {len(checks) - runs} that it does"
        " not)",
        notes=notes,
    )


def _disagreement(each: VerdictCheck) -> str:
    report = each.report
    return (
        f"{report.subject.model.name} {each.recipe} on {report.machine.mac.name}, {each.settings_headline}: reported"
        f" {'to run' if report.runs else 'not to run'}, deployfit says {each.verdict.headline}:"
        f" {gib(each.total_bytes)} of {gib(report.machine.limit.limit_bytes)} GiB"
    )


def _bars_section(found: Validation) -> Section:
    judged = [(bar, value) for bar, value in ((bar, found.value(bar)) for bar in found.bars) if value is not None]
    missed = [(bar, value) for bar, value in judged if not bar.holds(value)]
    return Section(
        f"bars (data/bars.csv): {len(judged) - len(missed)} of {len(judged)} hold",
        notes=[_missed(bar, value) for bar, value in missed],
    )


def _missed(bar: Bar, value: float) -> str:
    name = f"{bar.runtime} {NAMES[bar.what]}, {bar.figure.replace('_', ' ')}"
    return f"MISSED: {name}: {value:.1f} is not within {bar.least:g} to {bar.most:g} ({bar.reason})"


def _left_out_section(of: str, reasons: Mapping[str, int]) -> Section:
    listed = [f"{count} {reason}" for reason, count in reasons.items()]
    return Section(f"left out of {of}: {sum(reasons.values())}", listed=listed)
