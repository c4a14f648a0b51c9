"""The program: its commands, each in a module of its own that is imported when it is asked for, and its errors."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from deployfit import __version__
from deployfit.errors import DataError, DeployfitError, HubError

EXIT_BAD_INPUT = 2
EXIT_HUB = 3
MOST_SHOWN = 600  # characters of a complaint: room for every recipe's name
COMMANDS = ("fit", "plan", "recommend", "table", "sweep", "quants", "check", "validate", "hub", "refresh")


class Commands(click.Group):
    """The commands by name, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"deployfit.cli.{cmd_name}"), cmd_name)
        return command


def main() -> NoReturn:
    """Run the command line; every error is one line on stderr and a documented exit code."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (None where it is closed)
    try:
        code = cli.main(standalone_mode=False)
    except HubError as error:
        _complain(str(error))
        code = EXIT_HUB
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
    command = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in COMMANDS else ""
    return " ".join(filter(None, ["deployfit", command, "--help"]))


def _complain(*lines: str) -> int:
    for line in lines:
        click.echo("deployfit: " + _cut(visible(line)), err=True)
    return EXIT_BAD_INPUT


def visible(text: str) -> str:
    """Return a text with its control characters spelled out, so that it stays a line and does nothing to a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN // 2] + "..."


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="deployfit")
@click.pass_context
def cli(context: click.Context) -> None:
    """Say whether a model fits a Mac, to the byte and offline."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
