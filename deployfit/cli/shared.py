"""What several commands share: their options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from deployfit.errors import unknown

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


def place_options(default_macos: str) -> Decorator:
    """Return a decorator that adds the options that say which Mac is meant."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--wired-limit", metavar="SIZE", help="GPU limit as raised with iogpu.wired_limit_mb: 28g, 28672m."
            ),
            click.option(
                "--macos",
                metavar="VERSION",
                help=f"macOS version: 15, 26, ...  [default: this Mac's, else {default_macos}]",
            ),
            click.option(
                "--mac", metavar="MAC", help="Memory in GB, or chip and memory: 32, 'M4 Max 64'.  [default: this Mac]"
            ),
        ):
            command = option(command)
        return command

    return add


def check_format(name: str) -> None:
    """Raise InputError for a format that does not exist."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
