"""The report of `deployfit recommend`: the places as a table, and why each stands where it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from deployfit.basis import Basis
from deployfit.hardware import Place
from deployfit.ranking import Question, Recommendation
from deployfit.report.tabular import aligned, csv_text, markdown
from deployfit.units import four_digits, gib, tps

SCHEMA = "deployfit/recommend/1"
WIDTH = 110


def recommend_row(each: Recommendation) -> Mapping[str, Any]:
    """Return a place as a row; sizes in bytes, speeds in tokens per second."""
    candidate, weights, speed = each.candidate, each.candidate.weights, each.candidate.speed
    return {
        "model": candidate.model.name,
        "recipe": weights.recipe,
        "runtime": candidate.runtime,
        "format": weights.format,
        "weights_basis": weights.basis.value,
        "file_bytes": weights.file_bytes,
        "total_bytes": candidate.total_bytes,
        "headroom_bytes": candidate.headroom_bytes,
        "max_context_tokens": candidate.max_context_tokens,
        "decode_tps": None if speed is None else four_digits(speed.decode.tps),
        "decode_full_tps": None if speed is None else four_digits(speed.decode_full.tps),
        "speed_basis": None if speed is None else speed.basis.value,
        "benchmark": None if each.score is None else each.score.benchmark,
        "score": None if each.score is None else each.score.score,
        "score_publisher": None if each.score is None else each.score.publisher,
        "score_source": None if each.score is None else each.score.source,
        "bits_evidence": each.bits.evidence,
        "bits_source": each.bits.source,
        "reasons": list(each.reasons),
    }


def recommend_json(places: Sequence[Recommendation], place: Place, question: Question) -> str:
    """Return the JSON report."""
    import json

    return json.dumps({"schema": SCHEMA, "rows": [recommend_row(each) for each in places]}, indent=2)


def recommend_csv(places: Sequence[Recommendation], place: Place, question: Question) -> str:
    """Return the same as CSV, reasons joined with "; "."""
    return csv_text([{**recommend_row(each), "reasons": "; ".join(each.reasons)} for each in places])


def recommend_text(places: Sequence[Recommendation], place: Place, question: Question) -> str:
    """Return the list for a person."""
    table = aligned(_header(places, question), _cells(places), left=4)
    why = [
        line
        for number, each in enumerate(places, start=1)
        for line in (f"{number}. {each.candidate.model.name}", *(_wrapped(reason, "   - ") for reason in each.reasons))
    ]
    notes = [_wrapped(note) for note in _notes(places, question)]
    return "\n".join([_wrapped(_title(place, question)), "", *table, "", *why, "", *notes])


def _wrapped(text: str, mark: str = "") -> str:
    """Return prose in lines that a terminal shows whole."""
    return fill(text, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False)


def recommend_markdown(places: Sequence[Recommendation], place: Place, question: Question) -> str:
    """Return the same as Markdown."""
    table = markdown(_header(places, question), _cells(places), left=4)
    why = "\n".join(
        f"{number}. {each.candidate.model.name}: {'. '.join(each.reasons)}."
        for number, each in enumerate(places, start=1)
    )
    return "\n\n".join([_title(place, question), table, why, *_notes(places, question)])


def _title(place: Place, question: Question) -> str:
    limit = "raised limit" if place.raised else f"macOS {place.macos}"
    floor = f", at least {question.min_tps:g} tokens/s" if question.min_tps else ""
    return (
        f"What to run on {place.mac.with_article} ({limit}, {gib(place.limit.limit_bytes)} GiB for the GPU) for"
        f" {question.use.name} with {question.context_tokens:,} tokens{floor}"
    )


def _header(places: Sequence[Recommendation], question: Question) -> list[str]:
    speed = ["tokens/s", "full"] if _has_speed(places) else []
    return ["", "model", "file", "runtime", "total GiB", "headroom GiB", "max context", *speed, "score"]


def _has_speed(places: Sequence[Recommendation]) -> bool:
    return any(each.candidate.speed for each in places)


def _cells(places: Sequence[Recommendation]) -> list[list[str]]:
    rows = []
    for number, each in enumerate(places, start=1):
        candidate, speed = each.candidate, each.candidate.speed
        speeds = [tps(speed.decode.tps), tps(speed.decode_full.tps)] if speed else ["-", "-"]
        rows.append(
            [
                str(number),
                candidate.model.name,
                candidate.weights.recipe,
                candidate.runtime,
                gib(candidate.total_bytes),
                gib(candidate.headroom_bytes),
                f"{candidate.max_context_tokens:,}",
                *(speeds if _has_speed(places) else []),
                f"{each.score.score:g}" if each.score else "-",
            ]
        )
    return rows


def _notes(places: Sequence[Recommendation], question: Question) -> list[str]:
    use = question.use
    notes = [f"score: {use.benchmark} as published, of the original precision: {use.note}."]
    if _has_speed(places):
        notes.append("tokens/s: decoding at the start of the context, and with all of it filled; see deployfit fit.")
        speeds = [each.candidate.speed for each in places if each.candidate.speed]
        assumed = dict.fromkeys(speed.note for speed in speeds if speed.basis is Basis.ASSUMED)
        notes += [f"Speed is assumed: {note}." for note in assumed]
    else:
        notes.append(f"Speed is not known: {question.no_speed}.")
    sources = dict.fromkeys(f"{each.bits.evidence}: {each.bits.source}" for each in places if each.bits.source)
    notes += [f"{evidence}." for evidence in sources]
    return notes
