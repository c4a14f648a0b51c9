"""The document of `recommend`: the places as a table, and why each stands where it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deployfit import catalogue
from deployfit.basis import Basis
from deployfit.hardware.cluster import Cluster
from deployfit.hardware.gpu_limit import GENERATION_NAMES, GENERATIONS, LIMITS, default_limit, generation_of
from deployfit.hardware.machine import Machine
from deployfit.parameters import param
from deployfit.ranking import Recommendation, Wanted
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Table, of_rows
from deployfit.report.fit_rows import machine_name
from deployfit.units import four_digits, gib, tps
from deployfit.verdict import Verdict, verdict_at

SCHEMA = "deployfit/recommend/1"


def recommend_document(
    places: Sequence[Recommendation],
    machine: Machine,
    wanted: Wanted,
    among: str,
    apps: Mapping[str, str],
    cluster: Cluster | None = None,
) -> Document:
    """Return a row per place, sizes in bytes and speeds in tokens per second, and the reasons.

    `apps`: the application that starts each runtime. `cluster`: the Macs, where they are several.
    """
    rows = [_row(each, machine, wanted, apps) for each in places]
    if cluster is not None:
        rows = [{**row, "mac": cluster.name} for row in rows]
        among_and = [among, "to spare: on the Mac with the least; split as each engine does by itself (deployfit fit)"]
        return of_rows(SCHEMA, rows, list(_blocks(places, machine, wanted, among_and, cluster)))
    started = f"as {' and '.join(dict.fromkeys(apps.values()))} start them"
    return of_rows(SCHEMA, rows, list(_blocks(places, machine, wanted, [among, started])))


def _row(each: Recommendation, machine: Machine, wanted: Wanted, apps: Mapping[str, str]) -> dict[str, Any]:
    candidate, weights, speed, score = each.candidate, each.candidate.weights, each.candidate.speed, each.score
    return {
        "model": candidate.model.name,
        "recipe": weights.recipe,
        "runtime": candidate.runtime,
        "app": apps[candidate.runtime],
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
        "score": None if score is None or each.bits.is_lossy else score.score,
        "score_publisher": None if score is None else score.publisher,
        "score_source": None if score is None else score.source,
        "bits_evidence": each.bits.evidence,
        "bits_source": each.bits.source,
        "reasons": list(each.reasons),
    }


def _blocks(
    places: Sequence[Recommendation],
    machine: Machine,
    wanted: Wanted,
    among: Sequence[str],
    cluster: Cluster | None = None,
) -> Iterable[Block]:
    floor = f", at least {wanted.min_tps:g} tokens/s" if wanted.min_tps else ""
    where = machine_name(machine) if cluster is None else f"{cluster.name}, macOS {machine.macos}"
    yield Heading(f"What to run on {where}", f"{wanted.use.name}, {wanted.context_tokens:,} tokens{floor}")
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
    yield Bullets("Note", list(_notes(places, None if cluster else machine, wanted, among)))


def _cells(number: int, each: Recommendation, *, has_speed: bool) -> list[str]:
    candidate, speed = each.candidate, each.candidate.speed
    return [
        str(number),
        candidate.model.name,
        candidate.weights.recipe,
        gib(candidate.total_bytes),
        gib(candidate.headroom_bytes),
        *([tps(speed.decode.tps) if speed else "-"] if has_speed else []),
        f"{each.score.score:g}" if each.score and not each.bits.is_lossy else "-",
        f"{candidate.max_context_tokens:,}",
        candidate.runtime,
    ]


def _notes(
    places: Sequence[Recommendation], machine: Machine | None, wanted: Wanted, among: Sequence[str]
) -> Iterable[str]:
    use = wanted.use
    yield from among
    if wanted.min_headroom_bytes:
        yield (
            f"at least {gib(wanted.min_headroom_bytes, 1)} GiB are left beside the reserve, for a browser and the like"
            f" ({param('min_headroom')})"
        )
    yield f"score: {use.benchmark} as published, of the original precision: {use.note}"
    speeds = [each.candidate.speed for each in places if each.candidate.speed]
    if speeds:
        yield "tokens/s: decoding at the start of the context; see deployfit fit for the rest"
    else:
        yield f"speed is not known: {wanted.no_speed}"
    for note in dict.fromkeys(speed.note for speed in speeds if speed.basis is Basis.ASSUMED):
        yield f"speed is assumed: {note}"
    for line, named in _elsewhere(places, machine).items() if machine else ():
        yield f"{line}: {', '.join(named)}"
    yield f"not counted: the vision tower ({param('vision')} of fit), what a server's caches grow to"
    yield from dict.fromkeys(f"{each.bits.evidence}: {each.bits.source}" for each in places if each.bits.source)


def _elsewhere(places: Sequence[Recommendation], machine: Machine) -> dict[str, list[str]]:
    """Return what the other generation of macOS says otherwise, with the models concerned."""
    other = next(each for each in GENERATIONS if each != generation_of(machine.macos))
    if machine.raised:
        return {}
    there = machine._replace(macos=other, limit=default_limit(machine.mac, other, catalogue.rows(LIMITS)))
    found: dict[str, list[str]] = {}
    for each in places:
        verdict = verdict_at(there, each.candidate.total_bytes)
        if verdict is not Verdict.FITS:
            line = f"{GENERATION_NAMES[other]} lends {gib(there.limit.limit_bytes)} GiB: there the verdict is"
            found.setdefault(f"{line} {verdict.headline}", []).append(each.candidate.model.name)
    return found
