"""`deployfit plan`."""

from __future__ import annotations

import click

from deployfit.ask import DEFAULT_MACOS
from deployfit.cli.shared import QUANT_HELP, check_format, place_options, shared_options
from deployfit.quants.find import RUNTIMES


@click.command()
@click.argument("model")
@click.option("--quant", "quants", multiple=True, metavar="RECIPE", help=QUANT_HELP)
@click.option("--publisher", metavar="NAME", help="All files of this publisher: unsloth, mlx-community, ...")
@click.option("--runtime", metavar="|".join(RUNTIMES), help="The engine.  [default: what loads the quant]")
@place_options(DEFAULT_MACOS)
@click.option("--vision", is_flag=True, help="Count the vision tower.")
@shared_options
def plan(
    model: str,
    quants: tuple[str, ...],
    publisher: str | None,
    runtime: str | None,
    mac: str | None,
    macos: str | None,
    wired_limit: str | None,
    vision: bool,
    imatrix: bool,
    mtp: bool,
    catalog_file: str | None,
    format_name: str,
) -> None:
    """Show how far the context of MODEL reaches. Each recipe by KV caches, on one Mac."""
    check_format(format_name)
    from deployfit.api import fits
    from deployfit.report import plan_report

    made = fits.plan(
        model,
        quants,
        mac=mac,
        macos=macos,
        wired_limit=wired_limit,
        runtime=runtime,
        publisher=publisher,
        imatrix=imatrix,
        mtp=mtp,
        vision=vision,
        catalog_file=catalog_file,
    )
    render = {
        "text": plan_report.plan_text,
        "json": plan_report.plan_json,
        "csv": plan_report.plan_csv,
        "markdown": plan_report.plan_markdown,
    }
    click.echo(render[format_name](made))
