"""`deployfit table`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from deployfit.ask import (
    DEFAULT_CONTEXT,
    DEFAULT_MACOS,
    SHELF,
    all_models,
    find_model,
    find_place,
    settings_of,
    speeds_of,
)
from deployfit.cli.shared import QUANT_HELP, check_format, shared_options
from deployfit.errors import InputError
from deployfit.hardware import Place
from deployfit.models import Model
from deployfit.quants.find import FORMAT_OF, LLAMACPP, RUNTIMES, by_runtime, find_quant, find_runtime, own_quants
from deployfit.quants.weights import Options, Quant
from deployfit.report import size_table
from deployfit.units import parse_tokens


@click.command()
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option(
    "--quant",
    "quants",
    multiple=True,
    metavar="RECIPE",
    help=QUANT_HELP,
)
@click.option("--runtime", metavar="|".join(RUNTIMES), help=f"Whose recipes.  [default: {LLAMACPP}]")
@click.option("--mac", metavar="MAC", help="What it takes on this Mac, and whether it fits: 32, 'M4 Max 64'.")
@click.option("--macos", metavar="VERSION", help=f"With --mac: 15, 26, ...  [default: {DEFAULT_MACOS}]")
@click.option("--context", metavar="TOKENS", help=f"With --mac: 32768, 32k, ...  [default: {DEFAULT_CONTEXT}]")
@click.option("--vision", is_flag=True, help="Count the vision tower; without --mac, of MLX files only.")
@shared_options
def table(
    names: tuple[str, ...],
    quants: tuple[str, ...],
    runtime: str | None,
    mac: str | None,
    macos: str | None,
    context: str | None,
    vision: bool,
    imatrix: bool,
    mtp: bool,
    catalog_file: str | None,
    format_name: str,
) -> None:
    """Sizes of files: models x recipes. With --mac what running them takes there, and whether it fits."""
    check_format(format_name)
    if mac is None and (macos or context):
        raise InputError(f"{'--macos' if macos else '--context'} is for --mac; say which Mac is meant")
    engine = None if runtime is None else find_runtime(runtime)
    asked = [find_quant(quant, SHELF, engine) for quant in quants]
    asked = asked or own_quants(SHELF, FORMAT_OF[engine or LLAMACPP])
    chosen = [find_model(name, catalog_file) for name in names or all_models(catalog_file, "")]
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    if mac is None:
        click.echo(_sizes(chosen, asked, options, format_name))
    else:
        place = find_place(mac, macos or DEFAULT_MACOS, None)
        _print_needs(chosen, asked, place, parse_tokens(context or DEFAULT_CONTEXT), options, format_name)


def _sizes(chosen: Sequence[Model], asked: Sequence[Quant], options: Options, format_name: str) -> str:
    sizes: dict[str, dict[str, Any]] = {quant.name: {} for quant in asked}
    for model in chosen:
        for quant in asked:
            try:
                sizes[quant.name][model.name] = quant.weights(model, options)
            except InputError:
                if len(asked) == 1:
                    raise
    render = {
        "text": size_table.table_text,
        "json": size_table.table_json,
        "csv": size_table.table_csv,
        "markdown": size_table.table_markdown,
    }
    return render[format_name](sizes, [model.name for model in chosen])


def _print_needs(
    chosen: Sequence[Model], asked: Sequence[Quant], place: Place, tokens: int, options: Options, format_name: str
) -> None:
    from deployfit.grid import Grid, require_answers, sweep
    from deployfit.report import need_table, sweep_report

    swept = [
        sweep(Grid(chosen, quants, [settings_of(name, tokens, {})], [tokens], [place], options, speeds_of([place])))
        for name, quants in by_runtime(asked).items()
    ]
    require_answers(swept)
    if format_name == "csv":
        sweep_report.write_csv(swept, sys.stdout)
    elif format_name == "json":
        sweep_report.write_json(swept, sys.stdout)
    else:
        click.echo((need_table.need_text if format_name == "text" else need_table.need_markdown)(swept))
