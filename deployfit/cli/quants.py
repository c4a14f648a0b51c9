"""`deployfit quants`."""

from __future__ import annotations

import click

from deployfit import catalog
from deployfit.ask import SHELF, find_model, find_publisher
from deployfit.basis import Basis
from deployfit.cli.shared import check_format, shared_options
from deployfit.errors import InputError
from deployfit.quants.find import FORMAT_OF, RUNTIMES, find_runtime, own_quants
from deployfit.quants.gguf import GgufQuant
from deployfit.quants.weights import FORMATS, Options, Quant
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
    """List what exists for MODEL: recipes and published files, smallest first, and how each size is known."""
    check_format(format_name)
    engine = None if runtime is None else find_runtime(runtime)
    found = find_model(model, catalog_file)
    formats = (FORMAT_OF[engine],) if engine else FORMATS
    offered: list[Quant] = []
    if publisher is None:
        offered += [quant for each in formats for quant in own_quants(SHELF, each)]
    for quant in _publishers_quants(publisher):
        if quant.format in formats:
            offered.append(quant)
    known = []
    for quant in offered:
        try:
            options = Options(imatrix=imatrix and isinstance(quant, GgufQuant), mtp=mtp)
            weights = quant.weights(found, options)
        except InputError:
            continue
        if weights.basis is not Basis.ASSUMED or publisher is not None:
            known.append((quant, weights))
    if not known:
        raise InputError(f"nothing is known for {found.name}; leave out --runtime and --publisher to see all recipes")
    render = {
        "text": quant_list.quants_text,
        "json": quant_list.quants_json,
        "csv": quant_list.quants_csv,
        "markdown": quant_list.quants_markdown,
    }
    known.sort(key=lambda pair: pair[1].file_bytes)
    click.echo(render[format_name](found, known))


def _publishers_quants(name: str | None) -> list[Quant]:
    """Return the quants of one publisher, or of all."""
    chosen = find_publisher(name)
    known = catalog.publishers()
    return [quant for each, publisher in known.items() if chosen in (None, each) for quant in publisher.quants()]
