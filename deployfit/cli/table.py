"""`deployfit table`."""

from __future__ import annotations

from typing import Any

import click

from deployfit.ask import SHELF, all_models, find_model
from deployfit.cli.shared import QUANT_HELP, check_format, shared_options
from deployfit.errors import InputError
from deployfit.quants.find import FORMAT_OF, LLAMACPP, RUNTIMES, find_quant, find_runtime, own_quants
from deployfit.quants.weights import Options
from deployfit.report import size_table


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
@click.option("--vision", is_flag=True, help="MLX: with the vision tower, as mlx-vlm converts.")
@shared_options
def table(
    names: tuple[str, ...],
    quants: tuple[str, ...],
    runtime: str | None,
    vision: bool,
    imatrix: bool,
    mtp: bool,
    catalog_file: str | None,
    format_name: str,
) -> None:
    """Sizes of files: models x recipes."""
    check_format(format_name)
    engine = None if runtime is None else find_runtime(runtime)
    asked = [find_quant(quant, SHELF, engine) for quant in quants]
    asked = asked or own_quants(SHELF, FORMAT_OF[engine or LLAMACPP])
    chosen = [find_model(name, catalog_file) for name in names or all_models(catalog_file, "")]
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
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
    click.echo(render[format_name](sizes, [model.name for model in chosen]))
