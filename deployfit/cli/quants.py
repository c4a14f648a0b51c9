"""`deployfit quants`."""

from __future__ import annotations

import click

from deployfit.ask import find_model, find_publisher, known_quants
from deployfit.cli.shared import check_format, shared_options
from deployfit.quants.find import FORMAT_OF, RUNTIMES, find_runtime
from deployfit.quants.weights import FORMATS, Options
from deployfit.report import quant_list


@click.command()
@click.argument("model")
@click.option("--runtime", metavar="|".join(RUNTIMES), help="Only what this engine loads.  [default: everything]")
@click.option(
    "--publisher",
    metavar="NAME",
    help="Only this publisher's, assumed sizes too.  [default: all, and the tools' own recipes]",
)
@shared_options
def quants(
    model: str,
    runtime: str | None,
    publisher: str | None,
    imatrix: bool,
    mtp: bool,
    catalog_file: str | None,
    format_name: str,
) -> None:
    """List what exists for MODEL. Recipes and published files, smallest first, and how each size is known."""
    check_format(format_name)
    engine = None if runtime is None else find_runtime(runtime)
    found = find_model(model, catalog_file)
    formats = (FORMAT_OF[engine],) if engine else FORMATS
    known = known_quants(found, formats, find_publisher(publisher), Options(imatrix=imatrix, mtp=mtp))
    render = {
        "text": quant_list.quants_text,
        "json": quant_list.quants_json,
        "csv": quant_list.quants_csv,
        "markdown": quant_list.quants_markdown,
    }
    click.echo(render[format_name](found, known))
