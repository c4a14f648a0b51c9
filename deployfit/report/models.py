"""The document of `models`: the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployfit.layers.blueprint import Blueprint
from deployfit.models import Model
from deployfit.report.document import Block, Column, Document, Heading, Statement, Table, of_rows
from deployfit.work import active_params

SCHEMA = "deployfit/models/1"


def models_document(models: Sequence[Model]) -> Document:
    """Return a row per model, and a table of them by family."""
    params = {model.name: sum(model.blueprint.params().values()) for model in models}
    rows = [
        {
            "model": model.name,
            "family": model.row.family,
            "total_params": params[model.name],
            "active_params": active_params(model.blueprint),
            "layers": len(model.blueprint.layers),
            "layers_with_cache": len(model.blueprint.attentions),
            "layers_with_state": len(model.blueprint.recurrents),
            "trained_context_tokens": model.blueprint.trained_context,
            "architecture": model.blueprint.model_type,
            "gguf_architecture": model.blueprint.gguf_architecture,
            "vision": model.blueprint.vision is not None,
            "mtp": bool(model.blueprint.drafts),
            "checkpoint_bytes": model.row.checkpoint_bytes or None,
            "numbers": model.row.numbers,
            "hub_repo": model.row.hub_repo,
            "aliases": list(model.row.aliases),
        }
        for model in models
    ]
    return of_rows(SCHEMA, rows, list(_blocks(models, params)))


def _blocks(models: Sequence[Model], params: Mapping[str, int]) -> Iterable[Block]:
    yield Heading(f"{len(models)} models", "deployfit fit MODEL; others: deployfit fit hub:OWNER/NAME")
    families: dict[str, list[Model]] = {}
    for model in models:
        families.setdefault(model.row.family, []).append(model)
    columns = [
        Column("model", left=True),
        Column("parameters"),
        Column("active", rank=1),
        Column("layers", left=True, rank=2),
        Column("context", rank=3),
    ]
    yield Table(
        columns,
        [
            [
                model.name,
                _billions(params[model.name]),
                _billions(active_params(model.blueprint)),
                kinds_of(model.blueprint),
                f"{model.blueprint.trained_context:,}",
            ]
            for listed in families.values()
            for model in listed
        ],
    )
    yield Statement("parameters in 10^9; active: those that a token is multiplied with, without embedding and head.")


def _billions(params: int) -> str:
    return f"{params / 10**9:.1f}B"


def kinds_of(blueprint: Blueprint) -> str:
    """Return how many layers have which kind of mixer, in words."""
    counts: dict[str, int] = {}
    for layer in blueprint.layers:
        name = layer.mixer.headline if layer.mixer else "feed-forward only"
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items())
