"""`deployfit sweep`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from deployfit.ask import DEFAULT_CONTEXT, DEFAULT_MACOS
from deployfit.cli.app import visible
from deployfit.cli.shared import QUANT_HELP
from deployfit.errors import InputError, quoted, unknown
from deployfit.quants.find import RUNTIMES
from deployfit.quants.weights import Options
from deployfit.runtimes.llamacpp import KV_TYPES

if TYPE_CHECKING:
    from deployfit.grid import Swept

FORMATS = ("text", "json", "csv", "parquet")


@click.command()
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option("--quant", "quants", multiple=True, metavar="RECIPE", help=QUANT_HELP)
@click.option("--runtime", metavar="|".join(RUNTIMES), help="The engine.  [default: what loads the quant]")
@click.option(
    "--context", "contexts", multiple=True, metavar="TOKENS", help=f"32768, 32k, ...  [default: {DEFAULT_CONTEXT}]"
)
@click.option("--mac", "macs", multiple=True, metavar="MAC", help="16, 'M4 Max 64', ...  [default: every memory size]")
@click.option("--macos", "versions", multiple=True, metavar="VERSION", help=f"15, 26.  [default: {DEFAULT_MACOS}]")
@click.option("--kv-type", multiple=True, metavar="TYPE", help=f"llama.cpp: {', '.join(KV_TYPES)}.  [default: f16]")
@click.option("--parallel", multiple=True, metavar="N", help="llama.cpp: sequences at once.  [default: 1]")
@click.option("--ubatch", multiple=True, metavar="TOKENS", help="llama.cpp: micro-batch.  [default: 512]")
@click.option("--kv-bits", multiple=True, metavar="BITS", help="MLX: 2, 3, 4, 5, 6, 8, 16.  [default: 16]")
@click.option("--prefill-step-size", multiple=True, metavar="TOKENS", help="MLX: prompt at once.  [default: 2048]")
@click.option("--imatrix/--no-imatrix", help="Quantized with an importance matrix.  [default: no-imatrix]")
@click.option("--mtp", is_flag=True, help="Count the multi-token-prediction (MTP) layer.")
@click.option("--vision", is_flag=True, help="Count the vision tower.")
@click.option("--catalog", "catalog_file", metavar="FILE", help="Your own models, as for deployfit fit.")
@click.option("--format", "format_name", default="text", show_default=True, metavar="|".join(FORMATS), help="How.")
@click.option("--output", metavar="FILE", help="Where to.  [default: standard output]")
def sweep(
    names: tuple[str, ...],
    quants: tuple[str, ...],
    runtime: str | None,
    contexts: tuple[str, ...],
    macs: tuple[str, ...],
    versions: tuple[str, ...],
    kv_type: tuple[str, ...],
    parallel: tuple[str, ...],
    ubatch: tuple[str, ...],
    kv_bits: tuple[str, ...],
    prefill_step_size: tuple[str, ...],
    imatrix: bool,
    mtp: bool,
    vision: bool,
    catalog_file: str | None,
    format_name: str,
    output: str | None,
) -> None:
    """Every combination at once: models, recipes, contexts, KV types and Macs, a row each.

    Everything but --runtime may be repeated. The columns have the names of deployfit fit --format json.
    """
    if format_name not in FORMATS:
        raise unknown("format", format_name, FORMATS)
    if format_name == "parquet" and output is None:
        raise InputError("parquet is no text for standard output; say where to with --output FILE")
    from deployfit.api.sweeps import every_combination

    swept = every_combination(
        names,
        quants,
        runtime=runtime,
        contexts=contexts,
        macs=macs,
        versions=versions,
        settings={
            "kv-type": kv_type,
            "parallel": parallel,
            "ubatch": ubatch,
            "kv-bits": kv_bits,
            "prefill-step-size": prefill_step_size,
        },
        options=Options(imatrix=imatrix, mtp=mtp, vision=vision),
        catalog_file=catalog_file,
    )
    _write(swept, format_name, output)


def _write(swept: Sequence[Swept], format_name: str, output: str | None) -> None:
    if output is None:
        _write_text(swept, format_name, sys.stdout)
        return
    from deployfit.report import sweep_report

    try:
        if format_name == "parquet":
            sweep_report.write_parquet(swept, output)
        else:
            with open(output, "w", encoding="utf-8", newline="") as file:
                _write_text(swept, format_name, file)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # pyarrow's own words repeat the name
        raise InputError(f"output {quoted(output)}: {reason}; choose a file that can be written") from None
    click.echo(f"{sum(each.answered for each in swept):,} estimates written to {visible(output)}", err=True)


def _write_text(swept: Sequence[Swept], format_name: str, out: IO[str]) -> None:
    from deployfit.report import sweep_report

    if format_name == "text":
        out.write(sweep_report.sweep_text(swept) + "\n")
    elif format_name == "csv":
        sweep_report.write_csv(swept, out)
    else:
        sweep_report.write_json(swept, out)
