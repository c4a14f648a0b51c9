"""Recipes that nobody ships for an architecture, and what is shipped in their place."""

from __future__ import annotations

from functools import lru_cache

from deployfit.catalogue import rows, rows_by
from deployfit.models import Model
from deployfit.quants.weights import FORMATS
from deployfit.tables import Row, Table
from deployfit.units import gb
from deployfit.values import NamedTuple


class ShippedRow(NamedTuple):
    """A row of `data/shipped_recipes.csv`: of these architectures only files of these recipes are shipped.

    `shipped` names such a file as a user types it.
    """

    model_types: tuple[str, ...]
    format: str
    recipes: tuple[str, ...]
    shipped: str
    why: str


def _shipped(row: Row) -> ShippedRow:
    return ShippedRow(
        tuple(row.text("model_types").split()),
        row.one_of("format", FORMATS),
        tuple(row.text("recipes").split()),
        row.text("shipped"),
        row.text("why"),
    )


SHIPPED = Table("shipped_recipes.csv", ["model_types", "format", "recipes", "shipped", "why"], _shipped)


def not_shipped(model: Model, format_name: str, recipe: str) -> tuple[str, ...]:
    """Return a note if nobody ships a recipe's file of a model, with the file that is shipped and its size.

    >>> from deployfit.catalogue import models
    >>> not_shipped(models()["gpt-oss-20b"], "GGUF", "Q4_K_M")[0].rpartition(", ")[2]
    'such as ggml-org:MXFP4 of 12.11 GB'
    """
    for row in rows(SHIPPED):
        if row.format == format_name and model.blueprint.model_type in row.model_types and recipe not in row.recipes:
            size = _published_bytes(model.name, row.shipped)
            known = f"{row.shipped} of {gb(size)} GB" if size else row.shipped
            return (f"nobody ships {recipe} of {model.name}: {row.why}, such as {known}",)
    return ()


@lru_cache(maxsize=64)
def _published_bytes(model: str, name: str) -> int:
    from deployfit.quants.published_sizes import PUBLISHED_SIZES, best_of  # few models need it

    publisher, _, recipe = name.partition(":")
    sizes = PUBLISHED_SIZES.parsed(rows_by(PUBLISHED_SIZES, "model").get(model, []))
    best = best_of([size for size in sizes if (size.publisher, size.recipe) == (publisher, recipe)])
    return best.nbytes if best else 0
