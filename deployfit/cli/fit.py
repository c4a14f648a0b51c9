"""`deployfit fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from deployfit import catalog
from deployfit.cli.shared import QUANT_HELP, SHELF, check_format, find_model, shared_options, whole_number
from deployfit.errors import InputError, quoted, unknown
from deployfit.fit import RUNS, Answer, Fit, Question
from deployfit.hardware import Mac, default_limit, find_mac, parse_macos, raised_limit
from deployfit.models import Model
from deployfit.quants.find import (
    FORMAT_OF,
    LLAMACPP,
    MLX_RUNTIME,
    RUNTIMES,
    by_runtime,
    find_quant,
    find_runtime,
    not_loaded,
    own_quants,
)
from deployfit.quants.weights import Options, Quant
from deployfit.runtimes.llamacpp import DEFAULT_UBATCH, KV_TYPES, LlamaCppSettings
from deployfit.runtimes.running import Settings
from deployfit.units import parse_limit, parse_tokens

EXIT_DOES_NOT_FIT = 3
HUB_PREFIX = "hub:"
DEFAULT_CONTEXT = "32k"
DEFAULT_MACOS = "26"


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
@click.option("--mac", metavar="MAC", help="Memory in GB, or chip and memory: 32, 'M4 Max 64'.  [default: this Mac]")
@click.option(
    "--macos", metavar="VERSION", help=f"macOS version: 15, 26, ...  [default: this Mac's, else {DEFAULT_MACOS}]"
)
@click.option("--wired-limit", metavar="SIZE", help="GPU limit as raised with iogpu.wired_limit_mb: 28g, 28672m.")
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
    """Does MODEL fit this Mac? One recipe in detail, or every recipe in a line each.

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
        asked = by_runtime([find_quant(quant, SHELF, engine) for quant in quants]) or {engine or LLAMACPP: []}
    own: dict[str, dict[str, str | None]] = {
        LLAMACPP: {
            "kv-type": kv_type,
            "kv-type-k": kv_type_k,
            "kv-type-v": kv_type_v,
            "parallel": parallel,
            "ubatch": ubatch,
        },
        MLX_RUNTIME: {"kv-bits": kv_bits, "prefill-step-size": prefill_step_size},
    }
    for name, options in own.items():
        given = [option for option, value in options.items() if value is not None]
        if given and name not in asked:
            raise InputError(f"--{given[0]} is an option of {name}, and nothing asked for runs on it; leave it out")
    where = _which_mac(mac, macos, wired_limit)
    answers: list[Answer] = []
    for name, chosen in asked.items():
        settings = _settings(name, parse_tokens(context), own[name])
        question = Question(found, settings, options=Options(imatrix=imatrix, mtp=mtp, vision=vision), **where)
        fitting = Fit(question, _menu(chosen, name), catalog.gpu_limits())
        answers += [fitting.answer(quant) for quant in dict.fromkeys(chosen or fitting.makeable())]
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


def _menu(chosen: Sequence[Quant], runtime: str) -> Sequence[Quant]:
    """Return what may be advised instead of the chosen: its publisher's other files, or the tools' own recipes."""
    if any(quant.name.startswith(HUB_PREFIX) for quant in chosen):
        return []
    publishers = {quant.name.partition(":")[0] for quant in chosen if ":" in quant.name}
    if len(publishers) == 1 and all(":" in quant.name for quant in chosen):
        return catalog.publishers()[publishers.pop()].quants()
    return own_quants(SHELF, FORMAT_OF[runtime])


def _settings(runtime: str, context_tokens: int, given: Mapping[str, str | None]) -> Settings:
    typed = {option: value for option, value in given.items() if value is not None}
    if runtime == LLAMACPP:
        both = _kv_type(typed.get("kv-type", "f16"))
        return LlamaCppSettings(
            context_tokens=context_tokens,
            kv_type_k=_kv_type(typed.get("kv-type-k", both)),
            kv_type_v=_kv_type(typed.get("kv-type-v", both)),
            parallel=whole_number("parallel", typed.get("parallel", "1")),
            ubatch=whole_number("ubatch", typed.get("ubatch", str(DEFAULT_UBATCH))),
        )
    from deployfit.runtimes.mlx import DEFAULT_PREFILL_STEP, UNQUANTIZED_BITS, MlxSettings

    return MlxSettings(
        context_tokens=context_tokens,
        kv_bits=whole_number("kv-bits", typed.get("kv-bits", str(UNQUANTIZED_BITS))),
        prefill_step_size=whole_number("prefill-step-size", typed.get("prefill-step-size", str(DEFAULT_PREFILL_STEP))),
    )


def _kv_type(text: str) -> str:
    name = text.strip().lower()
    if name not in KV_TYPES:
        raise unknown("KV type", text, KV_TYPES)
    return name


def _which_mac(mac: str | None, macos: str | None, wired_limit: str | None) -> dict[str, Any]:
    """Return the fields of a Question that say which Mac is meant; without --mac it is this machine."""
    raised = parse_limit(wired_limit) if wired_limit is not None else 0
    if mac is not None:
        found: Mac = find_mac(mac, catalog.macs())
        version = parse_macos(DEFAULT_MACOS if macos is None else macos)
    else:
        from deployfit.this_mac import this_mac

        here = this_mac()
        found, version = here.mac, _macos_of_this_mac(here.macos) if macos is None else parse_macos(macos)
        raised = raised if wired_limit is not None else here.wired_limit_bytes
    is_raised = wired_limit is not None or raised > 0
    limit = raised_limit(found, raised) if is_raised else default_limit(found, version, catalog.gpu_limits())
    return {"mac": found, "macos": version, "limit": limit, "raised": is_raised}


def _macos_of_this_mac(text: str) -> int:
    try:
        return parse_macos(text)
    except InputError as error:
        raise InputError(
            f"{error}; this Mac says {quoted(text)}: say which rule to use with --macos {DEFAULT_MACOS}"
        ) from None


def _render_fit(answers: Sequence[Answer], format_name: str) -> str:
    from deployfit.report import fit_report

    render = {
        "text": fit_report.fit_text,
        "json": fit_report.fit_json,
        "csv": fit_report.fit_csv,
        "markdown": fit_report.fit_markdown,
    }
    return render[format_name](answers)
