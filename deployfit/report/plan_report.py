"""The report of `deployfit plan`: recipes by KV caches, in each cell the largest context that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployfit.basis import Basis
from deployfit.contexts import Plan, PlanRow
from deployfit.report.tabular import aligned, csv_text, headline_of, markdown
from deployfit.runtimes.running import Settings
from deployfit.units import four_digits, gb, gib, tps

SCHEMA = "deployfit/plan/1"


def plan_rows(plan: Plan) -> list[Mapping[str, Any]]:
    """Return a row per recipe and KV cache; sizes in bytes."""
    return [
        {
            "model": plan.model.name,
            "recipe": row.weights.recipe,
            "runtime": settings.runtime,
            "format": row.weights.format,
            "mac": plan.place.mac.name,
            "macos": plan.place.macos,
            **settings.columns,
            "tensor_bytes": row.weights.tensor_bytes,
            "file_bytes": row.weights.file_bytes,
            "weights_basis": row.weights.basis.value,
            "gpu_limit_bytes": plan.place.limit.limit_bytes,
            "reserve_bytes": plan.place.reserve_bytes,
            "max_context_tokens": context,
            "decode_tps": None if row.speed is None else four_digits(row.speed.decode.tps),
        }
        for row in plan.rows
        for settings, context in zip(plan.columns, row.max_context_tokens, strict=True)
    ]


def plan_json(plan: Plan) -> str:
    """Return the JSON report."""
    import json

    return json.dumps({"schema": SCHEMA, "rows": plan_rows(plan)}, indent=2)


def plan_csv(plan: Plan) -> str:
    """Return the same as CSV."""
    return csv_text(plan_rows(plan))


def plan_text(plan: Plan) -> str:
    """Return the grid for a person: what fits nowhere is named below it."""
    rows = [_cells(plan, row) for row in plan.rows if row.fits]
    table = [*aligned(_header(plan), rows), ""] if rows else []
    return "\n".join([_title(plan), "", *table, *_notes(plan)])


def plan_markdown(plan: Plan) -> str:
    """Return the same as Markdown."""
    rows = [_cells(plan, row) for row in plan.rows if row.fits]
    return "\n\n".join([_title(plan), *([markdown(_header(plan), rows)] if rows else []), *_notes(plan)])


def _title(plan: Plan) -> str:
    return f"{headline_of(plan.model, plan.place)}, {plan.columns[0].runtime}: the largest context that fits, in tokens"


def _header(plan: Plan) -> list[str]:
    speed = ["tokens/s"] if _has_speed(plan) else []
    return ["recipe", "bits/weight", "file GB", *speed, *map(_column_name, plan.columns)]


def _column_name(settings: Settings) -> str:
    """Return the KV cache of a column, and what else differs from the runtime's defaults."""
    columns = settings.columns
    if columns["kv_type_k"] is not None:
        return f"KV {columns['kv_type_k']}"
    kv = f"KV {columns['kv_bits']} bits"
    return kv if columns["prefill_step_size"] == 2048 else f"{kv}, step {columns['prefill_step_size']}"


def _has_speed(plan: Plan) -> bool:
    return any(row.speed is not None for row in plan.rows)


def _cells(plan: Plan, row: PlanRow) -> list[str]:
    return [
        row.weights.recipe,
        f"{row.weights.bits_per_weight:.2f}",
        gb(row.weights.file_bytes),
        *([tps(row.speed.decode.tps) if row.speed else "-"] if _has_speed(plan) else []),
        *(f"{context:,}" if context else "-" for context in row.max_context_tokens),
    ]


def _notes(plan: Plan) -> Sequence[str]:
    trained = plan.model.config.max_position_embeddings
    nowhere = [row.weights.recipe for row in plan.rows if not row.fits]
    if len(nowhere) < len(plan.rows):
        notes = [f"The model was trained for {trained:,} tokens; -: not even a small context fits with the reserve."]
    else:
        least = plan.rows[0].weights
        notes = [
            f"Nothing fits: the smallest, {least.recipe}, has {gib(least.text_bytes)} GiB of weights alone, and"
            f" {gib(max(0, plan.place.budget_bytes))} GiB are left for a model after the reserve."
        ]
    if nowhere:
        notes.append(f"Fit with no context: {', '.join(nowhere)}.")
    if plan.refusals:
        more = len(plan.refusals) - 1
        others = f"; {more} more reason{'s' * (more > 1)}" if more else ""
        notes.append(f"Left out: {plan.refusals[0]}{others}.")
    notes += _speed_notes(plan) if len(nowhere) < len(plan.rows) else []
    notes.append(f"One recipe in detail: deployfit fit {plan.model.name} --quant RECIPE.")
    return notes


def _speed_notes(plan: Plan) -> Sequence[str]:
    speed = plan.rows[0].speed
    if speed is None:
        return [f"Speed is not known: {plan.no_speed}."] if plan.place.mac.chip else []
    notes = ["tokens/s: decoding at the start of the context; for its interval see deployfit fit."]
    return [*notes, f"Speed is assumed: {speed.note}."] if speed.basis is Basis.ASSUMED else notes
