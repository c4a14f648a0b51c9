"""`deployfit sweep`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import IO, TYPE_CHECKING

import click

from deployfit import catalog
from deployfit.ask import (
    DEFAULT_CONTEXT,
    DEFAULT_MACOS,
    SETTINGS,
    SHELF,
    all_models,
    check_settings,
    find_model,
    find_place,
    settings_of,
)
from deployfit.cli.shared import QUANT_HELP
from deployfit.errors import InputError, unknown
from deployfit.hardware import Place
from deployfit.quants.find import FORMAT_OF, LLAMACPP, RUNTIMES, by_runtime, find_quant, find_runtime, own_quants
from deployfit.quants.weights import Options
from deployfit.runtimes.llamacpp import KV_TYPES
from deployfit.runtimes.running import Settings
from deployfit.units import parse_tokens

if TYPE_CHECKING:
    from deployfit.sweep import Swept

FORMATS = ("text", "json", "csv", "parquet")
MOST_POINTS = 50_000_000  # about a GB of memory, and 10 GB of CSV


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

    Everything but --runtime may be repeated. The columns are those of deployfit fit --format json.
    """
    if format_name not in FORMATS:
        raise unknown("format", format_name, FORMATS)
    if format_name == "parquet" and output is None:
        raise InputError("parquet is no text for standard output; say where to with --output FILE")
    engine = None if runtime is None else find_runtime(runtime)
    named = by_runtime([find_quant(quant, SHELF, engine) for quant in quants])
    asked = named or {engine or LLAMACPP: own_quants(SHELF, FORMAT_OF[engine or LLAMACPP])}
    given = {
        "kv-type": kv_type,
        "parallel": parallel,
        "ubatch": ubatch,
        "kv-bits": kv_bits,
        "prefill-step-size": prefill_step_size,
    }
    check_settings({option: "" for option, texts in given.items() if texts}, list(asked))
    models = [find_model(name, catalog_file) for name in _once(names) or all_models(catalog_file)]
    tokens = [parse_tokens(text) for text in _once(contexts) or [DEFAULT_CONTEXT]]
    places = list(_places(_once(macs), _once(versions)))
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)

    from deployfit import sweep as sweeping

    swept = []
    for name, chosen in asked.items():
        grid = sweeping.Grid(models, list(dict.fromkeys(chosen)), list(_settings(name, given)), tokens, places, options)
        if grid.points > MOST_POINTS:
            raise InputError(
                f"{grid.points:,} combinations are too many at once; name fewer models, recipes, settings, contexts or"
                f" Macs, for up to {MOST_POINTS:,}"
            )
        swept.append(sweeping.sweep(grid))
    sweeping.require_answers(swept)
    _write(swept, format_name, output)


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _places(macs: Sequence[str], versions: Sequence[str]) -> Iterator[Place]:
    sizes = sorted({size for row in catalog.macs() for size in row.memory_gib})
    for mac, macos in product(macs or map(str, sizes), versions or [DEFAULT_MACOS]):
        yield find_place(mac, macos, None)


def _settings(runtime: str, given: Mapping[str, Sequence[str]]) -> Iterator[Settings]:
    """Yield every combination of the options of a runtime."""
    own = {option: _once(given[option]) for option in SETTINGS[runtime] if given.get(option)}
    for texts in product(*own.values()):
        yield settings_of(runtime, 1, dict(zip(own, texts, strict=True)))


def _write(swept: Sequence[Swept], format_name: str, output: str | None) -> None:
    from deployfit.report import sweep_report

    if format_name == "parquet":
        sweep_report.write_parquet(swept, output or "")
    elif output is None:
        _write_text(swept, format_name, sys.stdout)
    else:
        with open(output, "w", encoding="utf-8", newline="") as file:
            _write_text(swept, format_name, file)
    if output is not None:
        click.echo(f"{sum(each.answered for each in swept):,} estimates written to {output}", err=True)


def _write_text(swept: Sequence[Swept], format_name: str, out: IO[str]) -> None:
    from deployfit.report import sweep_report

    if format_name == "text":
        out.write(sweep_report.sweep_text(swept) + "\n")
    elif format_name == "csv":
        sweep_report.write_csv(swept, out)
    else:
        sweep_report.write_json(swept, out)
