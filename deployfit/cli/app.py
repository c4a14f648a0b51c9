"""The program: its commands, made of the questions, and the outermost boundary of errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import IO, Any

import click

from deployfit.cli.telling import help_option, telling
from deployfit.errors import DataError, DeployfitError
from deployfit.exit_codes import BAD_INPUT, CLOSED, EXIT_CODES, FAULT, INTERRUPTED
from deployfit.parameters import command_line
from deployfit.questions import MODULES

MOST_SHOWN = 600  # characters of a complaint: room for every recipe's name
MOST_FAULTS = 20
DEBUG = "--debug"
COMPLETE = "_DEPLOYFIT_COMPLETE"  # by which shells ask, as click has them do


class Commands(click.Group):
    """The commands by name, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name."""
        if cmd_name not in MODULES:
            return None
        from deployfit.cli.command import command_of

        return command_of(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command that was typed; say the nearest where there is none."""
        if args and args[0] not in MODULES and not args[0].startswith("-"):
            from deployfit.errors import InputError, quoted, unknown

            if meant := _model_meant(args):
                raise InputError(f"no command {quoted(args[0])}; did you mean deployfit fit {meant}?")
            raise unknown("command", args[0], MODULES)
        return super().resolve_command(ctx, args)


def run(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code. No error leaves this function."""
    debug = DEBUG in arguments
    _prepare_streams()
    try:
        if instruction := os.environ.get(COMPLETE):
            from deployfit.cli.completion import complete

            return complete(cli, COMPLETE, instruction)
        code = cli.main([word for word in arguments if word != DEBUG], prog_name="deployfit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except DeployfitError as error:
        return _refused(error)
    except click.ClickException as error:
        said = error.format_message().rstrip(".")
        if said.startswith("Got unexpected extra") and " " in (meant := _model_meant(arguments[1:])):
            said = f"a name with spaces needs quotes: deployfit {arguments[0]} {meant}"
        _complain(f"{_cut(said)}; see {_help_command(arguments)}")
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click exits where whoever read the output closed it
        return CLOSED
    except Exception as error:  # the outermost boundary
        return _unforeseen(error, arguments, debug=debug)


def _model_meant(arguments: Sequence[str]) -> str:
    """Return the words up to the first option as a shell takes them together, "" where they are no model's name."""
    from itertools import takewhile
    from shlex import quote

    from deployfit.questions.resolve import model_and_file

    typed = " ".join(takewhile(lambda word: not word.startswith("-"), arguments))
    try:
        model_and_file(typed)
    except DeployfitError:
        return ""
    return quote(typed)


def _refused(error: DeployfitError) -> int:
    lines = list(error.faults) if isinstance(error, DataError) else [error.marked]
    if len(lines) > MOST_FAULTS:
        lines = [*lines[: MOST_FAULTS - 1], f"{len(lines) - MOST_FAULTS + 1:,} more faults like these"]
    for line in lines:
        _complain(command_line(line))
    return error.exit_code


def _unforeseen(error: Exception, arguments: Sequence[str], *, debug: bool) -> int:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG):
        _complain(f"cannot write the answer: {error.strerror}; send it somewhere else")
        return BAD_INPUT
    if debug:
        import traceback

        traceback.print_exception(error)
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    _complain(
        f"a fault of deployfit while answering {_asked(arguments)!r}: {_cut(said)}; please report it with what"
        f" {DEBUG} shows"
    )
    return FAULT


def _asked(arguments: Sequence[str]) -> str:
    return arguments[0] if arguments and arguments[0] in MODULES else "the command"


def _prepare_streams() -> None:
    """Make the streams usable: closed ones swallow, encodings that cannot hold a character escape it."""
    for name in ("stdout", "stderr"):
        stream: IO[str] | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _help_command(arguments: Sequence[str]) -> str:
    command = arguments[0] if arguments and arguments[0] in MODULES else ""
    return " ".join(filter(None, ["deployfit", command, "--help"]))


def _complain(line: str) -> None:
    from deployfit.printable import printable

    try:
        sys.stderr.write(f"deployfit: {_cut(printable(line))}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody is there to read it; the exit code says it


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN // 2] + "..."


EPILOGUE = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


HELP = """Say whether a model fits a Mac, to the byte and offline.

\b
  deployfit fit Qwen3.5-27B --mac "M2 Pro 32"
  deployfit recommend --mac "M4 Max 64"
"""


def _version_text(context: click.Context) -> str:
    import deployfit

    return f"deployfit, version {deployfit.__version__}"


@click.pass_context
def _bare(context: click.Context) -> None:
    """Show the help where no command is asked for."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli = Commands(
    "deployfit",
    callback=_bare,
    params=[telling("--version", said="Show the version and exit.", told=_version_text), help_option()],
    add_help_option=False,
    invoke_without_command=True,
    help=HELP,
    epilog=EPILOGUE,
    context_settings={"max_content_width": 80},
)
