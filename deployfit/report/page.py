"""The document of `page`: which models it holds, and the page itself where a format can hold one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deployfit.models import Model
from deployfit.report.document import Document, Page, Statement, of_rows

SCHEMA = "deployfit/page/1"


def page_document(models: Sequence[Model], opened: str, make: Callable[[], str]) -> Document:
    """Return a row per model; `make` gives the page, which is asked for only by a format that can hold it."""
    rows = [
        {
            "model": model.name,
            "family": model.row.family,
            "trained_context_tokens": model.blueprint.trained_context,
            "vision": model.blueprint.vision is not None,
            "mtp": bool(model.blueprint.drafts),
        }
        for model in models
    ]
    how = f": it is in {opened}" if opened else ": write it with --output fit.html, or show it with --open"
    named = models[0].name if len(models) == 1 else f"{len(models)} models"
    return of_rows(SCHEMA, rows, [Statement(f"{how}.", f"A page of {named}"), Page(make)])
