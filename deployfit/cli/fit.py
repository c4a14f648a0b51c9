"""`deployfit fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from deployfit.ask import (
    DEFAULT_CONTEXT,
    DEFAULT_MACOS,
    HUB_PREFIX,
    answers_of,
    find_model,
    find_place,
    quants_of,
)
from deployfit.cli.shared import QUANT_HELP, check_format, place_options, shared_options
from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.quants.find import FORMAT_OF, RUNTIMES, by_runtime, find_runtime, not_loaded
from deployfit.quants.weights import Options, Quant
from deployfit.runtimes.llamacpp import DEFAULT_UBATCH, KV_TYPES
from deployfit.units import parse_tokens
from deployfit.verdict import RUNS, Answer

EXIT_DOES_NOT_FIT = 3


@click.command()
@click.argument("model")
@click.option(
    "--quant",
    "quants",
    multiple=True,
    metavar="RECIPE",
    help=QUANT_HELP,
)
@click.option("--runtime", metavar="|".join(RUNTIMES), help="The engine.  [default: what loads the quant]")
@place_options(DEFAULT_MACOS)
@click.option(
    "--context",
    default=DEFAULT_CONTEXT,
    show_default=True,
    metavar="TOKENS",
    help="Context of all sequences together: 32768, 32k.",
)
@click.option("--kv-type", metavar="TYPE", help=f"llama.cpp's KV cache: {', '.join(KV_TYPES)}.  [default: f16]")
@click.option("--kv-type-k", metavar="TYPE", help="The keys' type, if it differs.")
@click.option("--kv-type-v", metavar="TYPE", help="The values' type, if it differs.")
@click.option("--parallel", metavar="N", help="llama.cpp: sequences at once; they share the context.  [default: 1]")
@click.option("--ubatch", metavar="TOKENS", help=f"llama.cpp: micro-batch (-ub).  [default: {DEFAULT_UBATCH}]")
@click.option("--kv-bits", metavar="BITS", help="MLX's KV cache: 2, 3, 4, 5, 6, 8, 16.  [default: 16]")
@click.option("--prefill-step-size", metavar="TOKENS", help="MLX: tokens of the prompt at once.  [default: 2048]")
@click.option("--file", "pattern", metavar="GLOB", help="With hub:OWNER/NAME: the model file, '*Q4_K_M*'.")
@click.option("--revision", metavar="REVISION", help="With hub:OWNER/NAME: a branch, tag or commit.  [default: main]")
@click.option("--offline", is_flag=True, help="With hub:OWNER/NAME: ask the cache only.")
@click.option("--vision", is_flag=True, help="Count the vision tower (llama.cpp: mmproj F16; MLX: mlx-vlm's BF16).")
@click.option(
    "--exit-code", "use_exit_code", is_flag=True, help="Exit with 3 if nothing asked for runs within the GPU limit."
)
@shared_options
def fit(
    model: str,
    quants: tuple[str, ...],
    runtime: str | None,
    mac: str | None,
    macos: str | None,
    wired_limit: str | None,
    context: str,
    kv_type: str | None,
    kv_type_k: str | None,
    kv_type_v: str | None,
    parallel: str | None,
    ubatch: str | None,
    kv_bits: str | None,
    prefill_step_size: str | None,
    pattern: str | None,
    revision: str | None,
    offline: bool,
    vision: bool,
    use_exit_code: bool,
    imatrix: bool,
    mtp: bool,
    catalog_file: str | None,
    format_name: str,
) -> int:
    """Say whether MODEL fits this Mac. One recipe in detail, or every recipe in a line each.

    MODEL is a name of the catalogue, or hub:OWNER/NAME for a file of the Hugging Face Hub (--file).

    Exit codes: 0 answered; 2 bad input; 3 does not fit (under --exit-code only), or the Hub could not be asked.
    """
    check_format(format_name)
    engine = None if runtime is None else find_runtime(runtime)
    if model.startswith(HUB_PREFIX):
        if quants:
            raise InputError("--quant is for models of the catalogue; choose a file of the repository with --file")
        found, actual = _from_hub(model, revision, pattern, offline, engine)
        asked: Mapping[str, list[Quant]] = by_runtime([actual])
    else:
        if pattern or revision or offline:
            raise InputError(f"--file, --revision and --offline are for {HUB_PREFIX}OWNER/NAME; leave them out")
        found = find_model(model, catalog_file)
        asked = quants_of(quants, engine)
    given = {
        "kv-type": kv_type,
        "kv-type-k": kv_type_k,
        "kv-type-v": kv_type_v,
        "parallel": parallel,
        "ubatch": ubatch,
        "kv-bits": kv_bits,
        "prefill-step-size": prefill_step_size,
    }
    typed = {option: text for option, text in given.items() if text is not None}
    place = find_place(mac, macos, wired_limit)
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    answers = answers_of(found, asked, place, parse_tokens(context), typed, options)
    click.echo(_render_fit(answers, format_name))
    runs = any(answer.verdict in RUNS for answer in answers)
    return EXIT_DOES_NOT_FIT if use_exit_code and not runs else 0


def _from_hub(
    text: str, revision: str | None, pattern: str | None, offline: bool, runtime: str | None
) -> tuple[Model, Quant]:
    from deployfit.cli.from_hub import model_from_hub

    model, quant = model_from_hub(text.removeprefix(HUB_PREFIX), revision, pattern, offline=offline)
    if runtime is not None and quant.format != FORMAT_OF[runtime]:
        raise InputError(not_loaded(quant, runtime))
    return model, quant


def _render_fit(answers: Sequence[Answer], format_name: str) -> str:
    from deployfit.report import fit_report

    render = {
        "text": fit_report.fit_text,
        "json": fit_report.fit_json,
        "csv": fit_report.fit_csv,
        "markdown": fit_report.fit_markdown,
    }
    return render[format_name](answers)
