"""The document of `fit` with several Macs: one verdict, a row per Mac, what starts it, and how few would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from deployfit.clusters.engine import PIPELINE
from deployfit.estimate import WORKING
from deployfit.report.document import (
    Block,
    Bullets,
    Code,
    Column,
    Document,
    Facts,
    Heading,
    Shown,
    Statement,
    Table,
    of_rows,
)
from deployfit.report.fit import size_of_file
from deployfit.report.fit_rows import EXTRA_COLUMNS, SCHEMA, TONES, all_columns, part_row, speed_columns
from deployfit.runtimes.runtime import HOST
from deployfit.units import gb, gib
from deployfit.verdict import Verdict

if TYPE_CHECKING:
    from deployfit.answers import ClusterFit, Needed
    from deployfit.clusters.verdict import ClusterAnswer, Member


def cluster_document(fits: Sequence[ClusterFit], *, shown: Shown = Shown.USUAL, said: str = "") -> Document:
    """Return the document of one answer in full, or of several in a line each; `said`: of the model's name."""
    blocks: list[Block] = [Statement(said)] if said and shown is not Shown.BRIEF else []
    if shown is Shown.BRIEF:
        blocks.append(_brief(fits))
        blocks += [_needed(fit.needed) for fit in fits if fit.needed]
    elif len(fits) == 1:
        blocks += _one(fits[0], explained=shown is Shown.EXPLAINED)
    else:
        blocks += _many(fits)
    return of_rows(SCHEMA, [cluster_row(fit) for fit in fits], blocks)


def cluster_row(fit: ClusterFit) -> dict[str, Any]:
    """Return one answer as a row: sums over all Macs, and each of them in `machines`; sizes in bytes."""
    answer = fit.answer
    asked, weights, needed = answer.asked, answer.weights, answer.estimate
    machines = asked.cluster.machines
    return {
        "model": asked.model.name,
        "recipe": weights.recipe,
        "runtime": answer.engine.name,
        "app": asked.app or None,
        "app_version": None,
        "format": weights.format,
        "mac": asked.cluster.name,
        "macos": machines[0].macos,
        "memory_bytes": asked.cluster.memory_bytes,
        "context_tokens": asked.settings.context_tokens,
        **all_columns(fit.columns),
        "imatrix": asked.options.imatrix,
        **dict.fromkeys(("image_width", "image_height", "image_tokens")),
        "tensor_bytes": weights.tensor_bytes,
        "file_bytes": weights.file_bytes,
        **needed.columns,
        "compute_buffer_upper_bytes": needed.upper_bytes_of(*WORKING),
        **dict.fromkeys(EXTRA_COLUMNS),
        "total_bytes": needed.total_bytes,
        "gpu_limit_bytes": sum(each.limit.limit_bytes for each in machines),
        "reserve_bytes": sum(each.reserve_bytes for each in machines),
        "headroom_bytes": sum(each.headroom_bytes for each in answer.members),
        "verdict": answer.verdict.value,
        **speed_columns(None),
        "max_context_tokens": answer.max_context_tokens or None,
        "choice": False,
        "parts": [part_row(part) for part in needed.parts],
        "basis": {name: basis.value for name, basis in answer.basis.items()},
        "notes": list(fit.notes),
        "not_counted": list(fit.left_out),
        "advice": list(fit.advice),
        "split": asked.split or None,
        "load_peak_bytes": sum(each.load_peak_bytes for each in answer.members),
        "machines": [machine_row(each) for each in answer.members],
        "speedups": [
            {
                "transport": each.transport,
                "low": round(each.low, 2),
                "high": round(each.high, 2),
                "rows": [row.told for row in each.rows],
            }
            for each in fit.speedups
        ],
        "macs_needed": [
            {
                "mac": each.name,
                "machines": len(each.cluster.machines),
                "memory_bytes": each.cluster.memory_bytes,
                "chips": list(each.chips),
                "split": each.split or None,
            }
            for each in fit.needed
        ],
        "commands": [{"machine": each.machine, "command": each.command} for each in fit.commands],
    }


def machine_row(member: Member) -> dict[str, Any]:
    """Return what one Mac holds, as an object of a row."""
    estimate = member.estimate
    return {
        "mac": member.machine.mac.name,
        "layers": member.layers,
        "weights_bytes": estimate.bytes_of("weights"),
        "parts": [part_row(part) for part in member.parts],
        "total_bytes": estimate.total_bytes,
        "load_peak_bytes": member.load_peak_bytes,
        "gpu_limit_bytes": member.machine.limit.limit_bytes,
        "headroom_bytes": member.headroom_bytes,
        "verdict": member.verdict.value,
    }


def _heading(fit: ClusterFit) -> Heading:
    asked = fit.answer.asked
    split = f"{fit.answer.engine.name}, {_split_words(asked.split)}: " if asked.split else f"{fit.answer.engine.name}: "
    macos = f"macOS {asked.cluster.machines[0].macos}"
    return Heading(f"{asked.model.name} on {asked.cluster.name}, {macos}", split + fit.headline)


def _split_words(split: str) -> str:
    return "layers on each Mac (pipeline)" if split == PIPELINE else "a part of every layer on each Mac (tensor)"


def _brief(fits: Sequence[ClusterFit]) -> Table:
    """Return a line for each answer."""
    columns = (
        Column("", left=True),
        Column(""),
        Column("", left=True, shrinks=True),
        Column("", left=True),
        Column("", rank=1),
    )
    rows = []
    for fit in fits:
        answer, asked = fit.answer, fit.answer.asked
        name, context = f"{asked.model.name} {answer.weights.recipe}", f"{answer.max_context_tokens:,} tokens"
        spare = f"{gib(answer.worst.headroom_bytes, 1)} GiB left"
        rows.append([answer.verdict.headline, spare, name, asked.cluster.name, context])
    return Table(columns, rows, 0, [TONES[fit.answer.verdict] for fit in fits])


def _one(fit: ClusterFit, *, explained: bool = False) -> Iterable[Block]:
    answer = fit.answer
    yield _heading(fit)
    weights = answer.weights
    yield Statement(
        f" {weights.recipe}, {size_of_file(answer.quant, weights)}", _sentence(answer), TONES[answer.verdict]
    )
    yield _machines(answer)
    if explained:
        yield from map(_parts, range(1, len(answer.members) + 1), answer.members)
    yield Facts(list(_facts(fit)))
    if fit.needed:
        yield _needed(fit.needed)
    yield Bullets("What would help", fit.advice)
    for command in fit.commands:
        yield Code(f"on {command.machine}", command.command)
    yield Bullets("Note", fit.notes)
    yield Bullets("Not counted", fit.left_out)


def _sentence(answer: ClusterAnswer) -> str:
    """Return the verdict with what the worst Mac has left or lacks, as the beginning of a sentence."""
    worst = answer.worst
    spare = worst.headroom_bytes
    over = worst.needed_bytes - worst.machine.limit.limit_bytes
    where = "" if len(answer.members) == 1 else f" on Mac {answer.members.index(worst) + 1}"
    if answer.division.refusal:
        return "Does not start:"
    return {
        Verdict.FITS: f"Fits, {gib(spare, 1)} GiB to spare{where}:",
        Verdict.TIGHT: f"Tight, {gib(-spare, 1)} GiB into the reserve{where}:",
        Verdict.NEEDS_RAISED_LIMIT: f"Needs a raised limit, {gib(over, 1)} GiB over it{where}:",
        Verdict.DOES_NOT_FIT: f"Does not fit, {gib(over, 1)} GiB over the limit{where}:",
        Verdict.UNKNOWN: "Not known:",
    }[answer.verdict]


def _machines(answer: ClusterAnswer) -> Table:
    columns = (
        Column("Mac", left=True, shrinks=True),
        Column("layers"),
        Column("weights", rank=1),
        Column("caches", rank=3),
        Column("compute", rank=3),
        Column("GiB"),
        Column("loading", rank=2),
        Column("limit", rank=4),
        Column("to spare"),
        Column("verdict", left=True),
    )
    rows = []
    for number, member in enumerate(answer.members, start=1):
        estimate = member.estimate
        rows.append(
            [
                f"{number}: {member.machine.mac.name}",
                str(member.layers),
                gib(estimate.bytes_of("weights", "vision")),
                gib(estimate.bytes_of("kv_cache", "recurrent_state")),
                gib(estimate.bytes_of(*WORKING, "output")),
                gib(estimate.total_bytes),
                gib(member.load_peak_bytes),
                gib(member.machine.limit.limit_bytes),
                gib(member.headroom_bytes),
                member.verdict.headline,
            ]
        )
    return Table(columns, rows, len(columns) - 1, [TONES[member.verdict] for member in answer.members])


def _parts(number: int, member: Member) -> Table:
    """Return what a Mac holds, part by part, and how each is known."""
    columns = (
        Column(f"Mac {number}", left=True),
        Column("GiB"),
        Column("known", left=True),
        Column("", left=True, rank=1, folds=True),
    )
    parts = [
        [part.label + " (host)" * (part.where == HOST), gib(part.nbytes), part.basis.value, part.detail]
        for part in member.estimate.at_start
    ]
    machine = member.machine
    limits = [
        ["total", gib(member.estimate.total_bytes), "", ""],
        ["most while loading", gib(member.load_peak_bytes), "", "of weights"],
        ["GPU limit", gib(machine.limit.limit_bytes), machine.limit.basis.value, machine.limit.note],
        ["reserve", gib(machine.reserve_bytes), "", "for Metal, macOS and other programs"],
    ]
    return Table(columns, parts + limits)


def _facts(fit: ClusterFit) -> Iterable[tuple[str, str]]:
    answer = fit.answer
    trained = answer.asked.model.blueprint.trained_context
    if answer.max_context_tokens >= trained:
        yield "context", f"up to the trained {trained:,} tokens"
    elif answer.max_context_tokens:
        yield "context", f"up to {answer.max_context_tokens:,} tokens (trained: {trained:,})"
    else:
        yield "context", "none fits"
    if len(answer.members) == 1:
        return
    count = len(answer.members)
    if not fit.speedups:
        yield "speed", f"not known: nobody measured {answer.engine.name} with this split on {count} Macs"
    for each in fit.speedups:
        low, high = f"{each.low:.2f}", f"{each.high:.2f}"
        times = low if low == high else f"{low} to {high}"
        yield "speed", f"{times} times that of one Mac over {each.transport}, as measured:"
        for row in each.rows:
            yield "", row.told
    if fit.speedups:
        yield "", "over other links it is not known"


def _needed(needed: Sequence[Needed]) -> Table:
    columns = (Column("fewest Macs that run it", left=True), Column("GB together"), Column("chips", left=True, rank=1))
    rows = [[each.name, str(each.cluster.memory_bytes // 2**30), ", ".join(each.chips)] for each in needed]
    return Table(columns, rows)


def _many(fits: Sequence[ClusterFit]) -> Iterable[Block]:
    grouped: dict[tuple[str, str, str], list[ClusterFit]] = {}
    for fit in fits:
        asked = fit.answer.asked
        grouped.setdefault((asked.cluster.name, fit.answer.engine.name, asked.split), []).append(fit)
    for group in grouped.values():
        yield _heading(group[0])
        columns = (
            Column("", left=True, shrinks=True),
            Column("verdict", left=True),
            Column("GiB"),
            Column("most on a Mac", rank=1),
            Column("to spare"),
            Column("context", rank=2),
            Column("file GB", rank=3),
        )
        rows = []
        for fit in group:
            answer = fit.answer
            context = answer.max_context_tokens
            rows.append(
                [
                    answer.weights.recipe,
                    answer.verdict.headline,
                    gib(answer.estimate.total_bytes),
                    gib(max(member.needed_bytes for member in answer.members)),
                    gib(answer.worst.headroom_bytes),
                    f"{context:,}" if context else "-",
                    gb(answer.weights.file_bytes),
                ]
            )
        yield Table(columns, rows, 1, [TONES[fit.answer.verdict] for fit in group])
        shared = [note for note in group[0].notes if all(note in fit.notes for fit in group)]
        yield Bullets("Note", shared)
        yield Bullets("Not counted", group[0].left_out)
