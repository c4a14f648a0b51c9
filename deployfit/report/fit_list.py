"""Several verdicts on a screen: a line for each, and what holds for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from deployfit.basis import Basis
from deployfit.report.document import Block, Bullets, Column, Statement, Table, Tone, Ways
from deployfit.report.fit_rows import TONES, advice_lines, heading_of, is_path
from deployfit.units import gb, gib, tps
from deployfit.verdict import Answer, Verdict

if TYPE_CHECKING:
    from deployfit.answers import Fit

MOST_LISTED = 8  # files of a list that a person is shown at once


def many(fits: Sequence[Fit], *, listed: bool) -> Iterable[Block]:
    """Yield a table for each machine and engine, of a list its sensible files, and the ways out of each."""
    grouped: dict[tuple[Any, ...], list[Fit]] = {}
    for fit in fits:
        run = fit.answer.run
        grouped.setdefault((run.machine, run.runtime.name), []).append(fit)
    for group in grouped.values():
        yield heading_of(group[0].answer)
        yield summary_of([fit.answer for fit in group])
        shown = _sensible(group) if listed else group
        yield _table(shown)
        if len(shown) < len(group):
            yield Statement(f"{len(group) - len(shown)} more: deployfit quants {group[0].answer.run.model.name}")
        for fit in shown:
            if fit.chosen:
                yield Statement(f" is our choice: {fit.chosen}.", fit.answer.weights.recipe)
        if listed and not any(fit.chosen for fit in group) and any(fit.answer.verdict is Verdict.FITS for fit in group):
            yield Statement("What fits lost much in the cited tests, so that none of it is our choice.")
        for fit in group:
            if fit.advice:
                yield Ways(f"{fit.answer.weights.recipe}: what would help", advice_lines(fit))
        yield from _common(shown)


def _sensible(fits: Sequence[Fit]) -> list[Fit]:
    """Return the files around the choice, or around that for which a way is sought: as many as a person reads."""
    by_size = sorted(fits, key=lambda fit: fit.answer.weights.text_bytes)
    middle = next((index for index, fit in enumerate(by_size) if fit.chosen or fit.advice), 0)
    first = max(0, min(middle - MOST_LISTED // 2, len(by_size) - MOST_LISTED))
    return by_size[first : first + MOST_LISTED]


def summary_of(answers: Sequence[Answer]) -> Statement:
    """Return how many fit, and which is the largest of them."""
    fitting = [answer for answer in answers if answer.verdict is Verdict.FITS]
    if len(answers) == 1:
        (only,) = answers
        return Statement(f": {only.weights.recipe}.", only.verdict.headline.capitalize(), TONES[only.verdict])
    if not fitting:
        return Statement(f" of {len(answers)} fits.", "None", Tone.BAD)
    largest = max(fitting, key=lambda answer: answer.weights.text_bytes)
    return Statement(f" of {len(answers)} fit; the largest is {largest.weights.recipe}.", f"{len(fitting)}", Tone.GOOD)


def _table(fits: Sequence[Fit]) -> Table:
    answers = [fit.answer for fit in fits]
    has_speed = answers[0].speed is not None
    columns = [
        Column("", left=True, shrinks=True),
        Column("verdict", left=True),
        Column("GiB"),
        Column("to spare"),
        Column("context", rank=1),
        *([Column("tokens/s", rank=2)] if has_speed else []),
        Column("file GB", rank=3),
        Column("bits", rank=4),
    ]
    rows = [
        [
            f"{'* ' if fit.chosen else ''}{answer.weights.recipe}",
            answer.verdict.headline,
            gib(answer.estimate.total_bytes),
            gib(answer.headroom_bytes),
            f"{answer.max_context_tokens:,}" if answer.max_context_tokens else "-",
            *([tps(answer.speed.decode.tps)] if answer.speed else []),
            gb(answer.weights.file_bytes),
            f"{answer.weights.bits_per_weight:.2f}",
        ]
        for fit, answer in zip(fits, answers, strict=True)
    ]
    return Table(columns, rows, 1, [TONES[answer.verdict] for answer in answers])


def _common(fits: Sequence[Fit]) -> Iterable[Block]:
    """Yield what holds for every row, and what holds for some of them."""
    answers = [fit.answer for fit in fits]
    first = answers[0]
    machine = first.run.machine
    lines = [
        f"GiB: all that it needs, of {gib(machine.limit.limit_bytes)} for the GPU ({machine.limit.basis.value});"
        f" to spare: beside a reserve of {gib(machine.reserve_bytes)} GiB; context: the largest that fits"
    ]
    if first.speed is not None:
        low, high = (getattr(first.speed.decode, name) / first.speed.decode.tps for name in ("low_tps", "high_tps"))
        lines.append(
            f"tokens/s: decoding at the start of the context; four measurements in five lie within {low:.2f} to"
            f" {high:.2f} times of it"
        )
        if first.speed.basis is Basis.ASSUMED:
            lines.append(f"speed is assumed: {first.speed.note}")
    elif machine.mac.chip:
        lines.append(f"speed is not known: {first.no_speed}")
    shared = [note for note in first.notes if all(note in answer.notes for answer in answers)]
    lines += shared
    others: dict[str, dict[str, str]] = {}  # by what they say but for their figures: the recipes, the choice first
    for fit in sorted(fits, key=lambda each: not each.chosen):
        for note in fit.answer.notes:
            if note not in shared:
                others.setdefault(re.sub(r"[0-9][0-9.,]*", "#", note), {})[fit.answer.weights.recipe] = note
    for noted in others.values():
        recipes, (note, *different) = list(noted), dict.fromkeys(noted.values())
        more = "" if len(recipes) == 2 else "s"
        said = f"{recipes[0]}, and likewise {len(recipes) - 1} other{more}" if different else ", ".join(recipes)
        lines.append(f"{said}: {note}")
    yield Bullets("Note", lines)
    yield Bullets("Not counted", first.left_out)


def brief(fits: Sequence[Fit], *, listed: bool) -> Iterable[Block]:
    """Yield a line for each answer, of a list one for the choice."""
    chosen = [fit for fit in fits if fit.chosen or fit.advice] if listed else []
    answers = [fit.answer for fit in chosen or (fits[:1] if listed else fits)]
    several = len({answer.run.machine for answer in answers}) > 1
    has_speed = any(answer.speed for answer in answers)
    columns = [
        Column("", left=True),
        Column(""),
        Column("", left=True, shrinks=True, late=True),
        *([Column("", left=True)] if several else []),
        Column("", rank=1),
        *([Column("", rank=2)] if has_speed else []),
    ]
    rows = [
        [
            answer.verdict.headline,
            f"{gib(answer.headroom_bytes, 1)} GiB left",
            _name_of(answer),
            *([answer.run.machine.mac.name] if several else []),
            f"{answer.max_context_tokens:,} tokens",
            *([f"{tps(answer.speed.decode.tps)} tokens/s" if answer.speed else ""] if has_speed else []),
        ]
        for answer in answers
    ]
    yield Table(columns, rows, 0, [TONES[answer.verdict] for answer in answers])


def _name_of(answer: Answer) -> str:
    """Return model and recipe; of a file its name alone, or its folder's, as the model is called after it."""
    recipe = answer.weights.recipe
    if not is_path(recipe):
        return f"{answer.run.model.name} {recipe}"
    return recipe.rpartition("/")[2] if recipe.casefold().endswith(".gguf") else answer.run.model.name
