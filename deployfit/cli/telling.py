"""Options that tell something and are all that the program then does: `--help`, `--version`.

click's own do the same, and load the translations of what they say first, which is a millisecond of every answer.
"""

from __future__ import annotations

from collections.abc import Callable

import click


def telling(*names: str, said: str, told: Callable[[click.Context], str]) -> click.Option:
    """Return an option that prints a text and exits; `said` is its help."""

    def show(context: click.Context, option: click.Parameter, is_given: bool) -> None:
        if is_given and not context.resilient_parsing:
            click.echo(told(context), color=context.color)
            context.exit()

    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, help=said, callback=show)


def help_option() -> click.Option:
    """Return the option that shows a command's help."""
    return telling("-h", "--help", said="Show this message and exit.", told=lambda context: context.get_help())
