"""The document of `plan`: recipes by KV caches, in each cell the largest context that fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deployfit.apps import App
from deployfit.basis import Basis
from deployfit.context_plan import Plan
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Statement, Table, Tone, of_rows
from deployfit.report.fit_rows import all_columns, machine_name
from deployfit.units import four_digits, gb, gib, tps

SCHEMA = "deployfit/plan/1"


def plan_document(plan: Plan, app: App) -> Document:
    """Return a row per recipe and KV cache, sizes in bytes, and the grid; `app` starts the runtime."""
    return of_rows(SCHEMA, _rows(plan, app), list(_blocks(plan, app)))


def _rows(plan: Plan, app: App) -> list[dict[str, Any]]:
    return [
        {
            "model": plan.model.name,
            "recipe": row.weights.recipe,
            "runtime": plan.runtime.name,
            "app": app.name,
            "app_version": app.version,
            "format": row.weights.format,
            "mac": plan.cluster.name if plan.cluster else plan.machine.mac.name,
            "macos": plan.machine.macos,
            **all_columns(plan.runtime.columns(settings)),
            "tensor_bytes": row.weights.tensor_bytes,
            "file_bytes": row.weights.file_bytes,
            "weights_basis": row.weights.basis.value,
            "gpu_limit_bytes": sum(each.limit.limit_bytes for each in plan.machines),
            "reserve_bytes": sum(each.reserve_bytes for each in plan.machines),
            "max_context_tokens": context or None,
            "decode_tps": None if row.speed is None else four_digits(row.speed.decode.tps),
        }
        for row in plan.rows
        for settings, context in zip(plan.columns, row.max_context_tokens, strict=True)
    ]


def _blocks(plan: Plan, app: App) -> Iterable[Block]:
    macs = f"{plan.cluster.name}, macOS {plan.machine.macos}" if plan.cluster else machine_name(plan.machine)
    yield Heading(
        f"{plan.model.name} on {macs}: the largest context that fits, in tokens",
        plan.runtime.name if plan.cluster else f"{app.title} ({app.version})",
    )
    fitting = [row for row in plan.rows if row.fits]
    has_speed = any(row.speed is not None for row in plan.rows)
    if fitting:
        columns = [
            Column("", left=True, shrinks=True),
            Column("bits", rank=3),
            Column("file GB", rank=2),
            *([Column("tokens/s", rank=1)] if has_speed else []),
            *(Column(plan.runtime.brief(settings)) for settings in plan.columns),
        ]
        rows = [
            [
                row.weights.recipe,
                f"{row.weights.bits_per_weight:.2f}",
                gb(row.weights.file_bytes),
                *([tps(row.speed.decode.tps) if row.speed else "-"] if has_speed else []),
                *(f"{context:,}" if context else "-" for context in row.max_context_tokens),
            ]
            for row in fitting
        ]
        yield Table(columns, rows)
    else:
        least = plan.rows[0].weights
        room = sum(each.budget_bytes for each in plan.machines)
        yield Statement(
            f" fits: the smallest, {least.recipe}, has {gib(least.text_bytes)} GiB of weights alone, and"
            f" {gib(max(0, room))} GiB are left for a model after the reserve.",
            "Nothing",
            Tone.BAD,
        )
    yield Bullets("Note", list(_notes(plan)))


def _notes(plan: Plan) -> Iterable[str]:
    trained = plan.model.blueprint.trained_context
    nowhere = [row.weights.recipe for row in plan.rows if not row.fits]
    if len(nowhere) < len(plan.rows):
        yield f"the model was trained for {trained:,} tokens; -: not even a small context fits with the reserve"
    if nowhere and len(nowhere) < len(plan.rows):
        yield f"do not fit at all: {', '.join(nowhere)}"
    if plan.refusals:
        more = len(plan.refusals) - 1
        others = f"; {more} more reason{'s' * (more > 1)}" if more else ""
        yield f"left out: {plan.refusals[0]}{others}"
    speed = plan.rows[0].speed
    if speed is not None and len(nowhere) < len(plan.rows):
        yield "tokens/s: decoding at the start of the context; for its interval see deployfit fit"
        if speed.basis is Basis.ASSUMED:
            yield f"speed is assumed: {speed.note}"
    elif plan.machine.mac.chip:
        yield f"speed is not known: {plan.no_speed}"
    yield f"one recipe in detail: deployfit fit {plan.model.name} --quant RECIPE"
