"""The command line: parses words, calls, prints. The only module that knows everybody, and click."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import click

from deployfit import __version__, catalog
from deployfit.basis import Basis
from deployfit.errors import DataError, DeployfitError, InputError, quoted, unknown
from deployfit.fit import RUNS, Answer, Fit, Question
from deployfit.hardware import Mac, default_limit, find_mac, parse_macos, raised_limit
from deployfit.models import Model
from deployfit.quants.find import (
    FORMAT_OF,
    LLAMACPP,
    MLX_RUNTIME,
    RUNTIMES,
    Shelf,
    by_runtime,
    find_quant,
    find_runtime,
    own_quants,
)
from deployfit.quants.gguf import GgufQuant
from deployfit.quants.weights import FORMATS as FILE_FORMATS
from deployfit.quants.weights import Options, Quant
from deployfit.runtimes.llamacpp import DEFAULT_UBATCH, KV_TYPES, LlamaCppSettings
from deployfit.runtimes.running import Settings
from deployfit.units import parse_limit, parse_tokens

EXIT_BAD_INPUT = 2
EXIT_DOES_NOT_FIT = 3
MOST_SHOWN = 600  # characters of a complaint: room for every recipe's name

DEFAULT_CONTEXT = "32k"
DEFAULT_MACOS = "26"
SHELF = Shelf(catalog.recipes, catalog.mlx_recipes, catalog.checkpoint_recipes, catalog.publishers)
FORMATS = ("text", "json", "csv", "markdown")


def main() -> NoReturn:
    """Run the command line; every error is one line on stderr and a documented exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except DeployfitError as error:
        code = _complain(*(error.faults if isinstance(error, DataError) else [str(error)]))
    except click.ClickException as error:
        said = error.format_message().rstrip(".")
        code = _complain(f"{_cut(said)}; see {_help_command()}")
    except click.Abort:
        code = 130
    except OSError as error:
        code = _complain(f"cannot write the answer: {error.strerror}; send it somewhere else")
    sys.exit(code if isinstance(code, int) else 0)


def _help_command() -> str:
    command = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in cli.commands else ""
    return " ".join(filter(None, ["deployfit", command, "--help"]))


def _complain(*lines: str) -> int:
    for line in lines:
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        click.echo("deployfit: " + _cut(shown), err=True)
    return EXIT_BAD_INPUT


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN // 2] + "..."


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="deployfit")
@click.pass_context
def cli(context: click.Context) -> None:
    """Say whether a model fits a Mac, to the byte and offline."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


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


@cli.command()
@click.argument("model")
@click.option(
    "--quant",
    "quants",
    multiple=True,
    metavar="RECIPE",
    help="Q4_K_M, 4bit, unsloth:UD-Q4_K_XL, ...; may be repeated.  [default: every recipe of the runtime]",
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
    vision: bool,
    use_exit_code: bool,
    imatrix: bool,
    mtp: bool,
    catalog_file: str | None,
    format_name: str,
) -> int:
    """Does MODEL fit this Mac? One recipe in detail, or every recipe in a line each.

    Exit codes: 0 answered; 2 bad input; 3 does not fit (under --exit-code only).
    """
    check_format(format_name)
    engine = None if runtime is None else find_runtime(runtime)
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
    found = find_model(model, catalog_file)
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


def _menu(chosen: Sequence[Quant], runtime: str) -> Sequence[Quant]:
    """Return what may be advised instead of the chosen: its publisher's other files, or the tools' own recipes."""
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
            parallel=_whole_number("parallel", typed.get("parallel", "1")),
            ubatch=_whole_number("ubatch", typed.get("ubatch", str(DEFAULT_UBATCH))),
        )
    from deployfit.runtimes.mlx import DEFAULT_PREFILL_STEP, UNQUANTIZED_BITS, MlxSettings

    return MlxSettings(
        context_tokens=context_tokens,
        kv_bits=_whole_number("kv-bits", typed.get("kv-bits", str(UNQUANTIZED_BITS))),
        prefill_step_size=_whole_number("prefill-step-size", typed.get("prefill-step-size", str(DEFAULT_PREFILL_STEP))),
    )


def _kv_type(text: str) -> str:
    name = text.strip().lower()
    if name not in KV_TYPES:
        raise unknown("KV type", text, KV_TYPES)
    return name


def _whole_number(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{what}: expected a whole number such as 1 or 512, got {quoted(text)}")
    return int(text)


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


@cli.command()
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option(
    "--quant",
    "quants",
    multiple=True,
    metavar="RECIPE",
    help="Q4_K_M, 4bit, unsloth:UD-Q4_K_XL, ...; may be repeated.  [default: every recipe of the runtime]",
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
    from deployfit.report import size_table

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


@cli.command()
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
    from deployfit.report import quant_list

    engine = None if runtime is None else find_runtime(runtime)
    found = find_model(model, catalog_file)
    formats = (FORMAT_OF[engine],) if engine else FILE_FORMATS
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
    known = catalog.publishers()
    chosen = list(known.values())
    if name is not None:
        chosen = [publisher for each, publisher in known.items() if each.casefold() == name.strip().casefold()]
        if not chosen:
            raise unknown("publisher", name, known)
    return [quant for publisher in chosen for quant in publisher.quants()]


def check_format(name: str) -> None:
    """Raise InputError for a format that does not exist."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)


def all_models(catalog_file: str | None, wanted: str) -> Mapping[str, Model]:
    """Return the catalogue, with the user's own models if there are any."""
    return catalog.models() | ({} if catalog_file is None else catalog.load_models(catalog_file, wanted))


def find_model(name: str, catalog_file: str | None) -> Model:
    """Return the model of that name, whatever its case."""
    if not name.strip() or not name.isprintable():
        raise unknown("model", name, catalog.models())
    known = all_models(catalog_file, name)
    folded = {each.casefold(): model for each, model in known.items()}
    found = known.get(name) or folded.get(name.strip().casefold())
    if found is None:
        raise unknown("model", name, known)
    return found
