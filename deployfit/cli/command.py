"""A question as a command: its parameters as options, its answer in the format that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from deployfit.cli.screen import screen_of
from deployfit.parameters import Parameter, command_line, option
from deployfit.questions import MODULES
from deployfit.questions.question import Answered, Question

EVERY = (
    Parameter("format", "How to print it.", "NAME", "by the end of --output's name, else text"),
    Parameter("output", "Where to; - is standard output.", "FILE", "standard output"),
)


def command_of(name: str) -> click.Command:
    """Return the command that asks a question."""
    question: Question = import_module(f"deployfit.questions.{MODULES[name]}").QUESTION
    asked = [*question.parameters, *(_of_runtimes(question) if question.runtimes else ())]

    def answer(format: str | None, output: str | None, **typed: Any) -> int:
        given = {key: value for key, value in typed.items() if value not in (None, ())}
        return _shown(question.ask(**given), format, output)

    return click.Command(
        name,
        params=[_parameter(each, question) for each in (*asked, *EVERY)],
        callback=answer,
        help=question.summary,
        epilog=question.epilogue or None,
    )


def _of_runtimes(question: Question) -> Sequence[Parameter]:
    from deployfit.runtimes import registry

    known = {each.name: each for own in registry.parameters().values() for each in own}
    return [each._replace(many=question.many) for each in known.values()]


def _parameter(asked: Parameter, question: Question) -> click.Parameter:
    if asked.name in question.arguments:
        return click.Argument(
            [asked.name],
            metavar=f"[{asked.takes}]..." if asked.many else asked.takes,
            required=not asked.many,
            nargs=-1 if asked.many else 1,
        )
    spelled = option(asked.name)
    help_text = asked.help + (f"  [default: {asked.default}]" if asked.default else "")
    if not asked.takes:
        names = f"{spelled}/--no-{spelled[2:]}" if asked.off else spelled
        return click.Option([names, asked.name], is_flag=True, default=None, help=help_text)
    return click.Option([spelled, asked.name], metavar=asked.takes, multiple=asked.many, help=help_text)


def _shown(answer: Answered, format_name: str | None, output: str | None) -> int:
    """Write the answer; return the exit code."""
    from deployfit.report import formats

    name = formats.format_named(format_name, output)
    document = answer.document().spelled(command_line)
    if output is None or output == "-":
        if formats.is_binary(name):
            formats.render(document, name, sys.stdout.buffer)
        else:
            formats.render(document, name, sys.stdout, screen_of(sys.stdout))
        return answer.exit_code
    from deployfit.writing import write_atomically

    def write(file: Any) -> None:
        formats.render(document, name, file)

    write_atomically(output, write, binary=formats.is_binary(name))
    click.echo(f"written to {output}", err=True)
    return answer.exit_code
