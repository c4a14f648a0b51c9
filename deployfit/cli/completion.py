"""What a shell offers for the values of options and arguments, by the parameter's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from click import Command, Context, Parameter

from deployfit.errors import DeployfitError, InputError, quoted
from deployfit.exit_codes import ANSWERED, BAD_INPUT


def complete(cli: Command, variable: str, instruction: str) -> int:
    """Print what a shell asks for in its environment: its script, or what completes a line; return the exit code.

    Words that are no command complete to nothing. Whoever asks as no shell does is told so.
    """
    from click.shell_completion import shell_complete

    try:
        if shell_complete(cli, {}, "deployfit", variable, instruction) == 0:
            return ANSWERED
    except DeployfitError:
        return BAD_INPUT  # in the middle of a line that somebody types
    except (KeyError, ValueError):  # COMP_WORDS or COMP_CWORD is missing, or nothing that a shell writes
        pass
    raise InputError(f"{variable}={quoted(instruction)} is for shells, which complete words with it; unset it")


def offered(ctx: Context, param: Parameter, incomplete: str) -> list[str]:
    """Return the known values that begin as typed, whatever the case; none where the values are not a list.

    >>> from click import Argument, Command
    >>> offered(Context(Command("fit")), Argument(["model"]), "qwen3.5-2")
    ['Qwen3.5-27B', 'Qwen3.5-2B']
    """
    begun = incomplete.casefold()
    values = VALUES[param.name](ctx) if param.name in VALUES else ()
    return [value for value in dict.fromkeys(values) if value.casefold().startswith(begun)]


def _models(ctx: Context) -> Iterable[str]:
    from deployfit import catalogue

    return catalogue.models().rows


def _quants(ctx: Context) -> Iterable[str]:
    from deployfit.quants import shelf
    from deployfit.questions.choices import published_files
    from deployfit.questions.resolve import find_model
    from deployfit.runtimes import registry

    own = [quant.name for name in registry.names() for quant in shelf.own_quants(registry.format_of(name))]
    named = ctx.params.get("model") or next(iter(ctx.args), "")  # an option that lacks its value stops the parser
    try:
        model = find_model(named)
    except InputError:
        return own
    return [
        *(quant.name for name in registry.names() for quant in published_files(model, registry.format_of(name))),
        *own,
    ]


def _macs(ctx: Context) -> Iterable[str]:
    """Yield chips with their memory as one word, which needs no quotes."""
    from deployfit import catalogue
    from deployfit.hardware.mac import MACS

    for row in catalogue.rows(MACS):
        for size in row.memory_gib:
            yield f"{row.chip.casefold().replace(' ', '')}-{size}"


def _apps(ctx: Context) -> Iterable[str]:
    from deployfit import catalogue
    from deployfit.apps import APPS

    return [app.name for app in catalogue.rows(APPS)]


def _publishers(ctx: Context) -> Iterable[str]:
    from deployfit.quants import shelf

    return shelf.publishers()


def _runtimes(ctx: Context) -> Iterable[str]:
    from deployfit.runtimes import registry

    return registry.names()


def _formats(ctx: Context) -> Iterable[str]:
    from deployfit.report import formats

    return formats.names()


def _kv_types(ctx: Context) -> Iterable[str]:
    from deployfit.runtimes.llamacpp.settings import KV_TYPES

    return KV_TYPES


def _load_modes(ctx: Context) -> Iterable[str]:
    from deployfit.runtimes.llamacpp.settings import LOAD_MODES

    return LOAD_MODES


def _uses(ctx: Context) -> Iterable[str]:
    from deployfit import catalogue
    from deployfit.ranking import USES

    return [each.name for each in catalogue.rows(USES)]


def _families(ctx: Context) -> Iterable[str]:
    from deployfit import catalogue

    return [row.family for row in catalogue.models().rows.values()]


def _documents(ctx: Context) -> Iterable[str]:
    from deployfit.schema.documents import SHAPES

    return SHAPES


VALUES: Mapping[str, Callable[[Context], Iterable[str]]] = {
    "model": _models,
    "quant": _quants,
    "mac": _macs,
    "app": _apps,
    "publisher": _publishers,
    "runtime": _runtimes,
    "format": _formats,
    "document": _documents,
    "draft_model": _models,
    "family": _families,
    "use": _uses,
    **dict.fromkeys(("kv_type", "kv_type_k", "kv_type_v"), _kv_types),
    "load_mode": _load_modes,
}
