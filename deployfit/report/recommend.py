"""The document of `recommend`: the places as a table, and why each stands where it does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deployfit.basis import Basis
from deployfit.hardware.machine import Machine
from deployfit.ranking import Recommendation, Wanted
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Table, of_rows
from deployfit.report.fit import machine_name
from deployfit.units import four_digits, gib, tps

SCHEMA = "deployfit/recommend/1"


def recommend_document(places: Sequence[Recommendation], machine: Machine, wanted: Wanted) -> Document:
    """Return a row per place, sizes in bytes and speeds in tokens per second, and the reasons."""
    return of_rows(SCHEMA, [_row(each, machine, wanted) for each in places], list(_blocks(places, machine, wanted)))


def _row(each: Recommendation, machine: Machine, wanted: Wanted) -> dict[str, Any]:
    candidate, weights, speed, score = each.candidate, each.candidate.weights, each.candidate.speed, each.score
    return {
        "model": candidate.model.name,
        "recipe": weights.recipe,
        "runtime": candidate.runtime,
        "format": weights.format,
        "mac": machine.mac.name,
        "macos": machine.macos,
        "context_tokens": wanted.context_tokens,
        "use": wanted.use.name,
        "weights_basis": weights.basis.value,
        "file_bytes": weights.file_bytes,
        "total_bytes": candidate.total_bytes,
        "headroom_bytes": candidate.headroom_bytes,
        "max_context_tokens": candidate.max_context_tokens or None,
        "decode_tps": None if speed is None else four_digits(speed.decode.tps),
        "decode_full_tps": None if speed is None else four_digits(speed.decode_full.tps),
        "speed_basis": None if speed is None else speed.basis.value,
        "benchmark": None if score is None else score.benchmark,
        "score": None if score is None else score.score,
        "score_publisher": None if score is None else score.publisher,
        "score_source": None if score is None else score.source,
        "bits_evidence": each.bits.evidence,
        "bits_source": each.bits.source,
        "reasons": list(each.reasons),
    }


def _blocks(places: Sequence[Recommendation], machine: Machine, wanted: Wanted) -> Iterable[Block]:
    floor = f", at least {wanted.min_tps:g} tokens/s" if wanted.min_tps else ""
    yield Heading(
        f"What to run on {machine_name(machine)}", f"{wanted.use.name}, {wanted.context_tokens:,} tokens{floor}"
    )
    has_speed = any(each.candidate.speed for each in places)
    columns = [
        Column(""),
        Column("model", left=True),
        Column("file", left=True, shrinks=True),
        Column("GiB"),
        Column("to spare", rank=1),
        *([Column("tokens/s", rank=2)] if has_speed else []),
        Column("score", rank=4),
        Column("context", rank=3),
        Column("runtime", left=True, rank=5),
    ]
    yield Table(columns, [_cells(number, each, has_speed=has_speed) for number, each in enumerate(places, start=1)])
    for number, each in enumerate(places, start=1):
        yield Bullets(f"{number}. {each.candidate.model.name}", each.reasons)
    yield Bullets("Note", list(_notes(places, wanted)))


def _cells(number: int, each: Recommendation, *, has_speed: bool) -> list[str]:
    candidate, speed = each.candidate, each.candidate.speed
    return [
        str(number),
        candidate.model.name,
        candidate.weights.recipe,
        gib(candidate.total_bytes),
        gib(candidate.headroom_bytes),
        *([tps(speed.decode.tps) if speed else "-"] if has_speed else []),
        f"{each.score.score:g}" if each.score else "-",
        f"{candidate.max_context_tokens:,}",
        candidate.runtime,
    ]


def _notes(places: Sequence[Recommendation], wanted: Wanted) -> Iterable[str]:
    use = wanted.use
    yield f"score: {use.benchmark} as published, of the original precision: {use.note}"
    speeds = [each.candidate.speed for each in places if each.candidate.speed]
    if speeds:
        yield "tokens/s: decoding at the start of the context; see deployfit fit for the rest"
    else:
        yield f"speed is not known: {wanted.no_speed}"
    for note in dict.fromkeys(speed.note for speed in speeds if speed.basis is Basis.ASSUMED):
        yield f"speed is assumed: {note}"
    yield from dict.fromkeys(f"{each.bits.evidence}: {each.bits.source}" for each in places if each.bits.source)
