"""What several commands share: options, and what is found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from deployfit import catalog
from deployfit.errors import InputError, quoted, unknown
from deployfit.models import Model
from deployfit.quants.find import Shelf

SHELF = Shelf(catalog.recipes, catalog.mlx_recipes, catalog.checkpoint_recipes, catalog.publishers)
FORMATS = ("text", "json", "csv", "markdown")
QUANT_HELP = "Q4_K_M, 4bit, unsloth:UD-Q4_K_XL, ...; may be repeated.  [default: every recipe of the runtime]"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command about files has."""
    options: Sequence[Decorator] = (
        click.option("--imatrix/--no-imatrix", help="Quantized with an importance matrix.  [default: no-imatrix]"),
        click.option("--mtp", is_flag=True, help="Count the multi-token-prediction (MTP) layer."),
        click.option(
            "--catalog",
            "catalog_file",
            metavar="FILE",
            help="Your own models: a CSV like data/models.csv, or a config.json.",
        ),
        click.option(
            "--format",
            "format_name",
            default="text",
            show_default=True,
            metavar="|".join(FORMATS),
            help="How to print.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def whole_number(what: str, text: str) -> int:
    """Return a whole number that was typed."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{what}: expected a whole number such as 1 or 512, got {quoted(text)}")
    return int(text)


def check_format(name: str) -> None:
    """Raise InputError for a format that does not exist."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)


def all_models(catalog_file: str | None, wanted: str) -> Mapping[str, Model]:
    """Return the catalogue, with the user's own models if there are any."""
    return catalog.models() | ({} if catalog_file is None else catalog.load_models(catalog_file, wanted))


def find_model(name: str, catalog_file: str | None) -> Model:
    """Return the model of that name, whatever its case."""
    if not name.strip() or not name.isprintable():
        raise unknown("model", name, catalog.models())
    known = all_models(catalog_file, name)
    folded = {each.casefold(): model for each, model in known.items()}
    found = known.get(name) or folded.get(name.strip().casefold())
    if found is None:
        raise unknown("model", name, known)
    return found


def find_publisher(name: str | None) -> str | None:
    """Return the publisher of that name, whatever its case; None for none."""
    if name is None:
        return None
    known = catalog.publishers()
    for each in known:
        if each.casefold() == name.strip().casefold():
            return each
    raise unknown("publisher", name, known)
