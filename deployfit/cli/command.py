"""A question as a command: its parameters as options, its answer in the format that was asked for."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from deployfit.cli.screen import screen_of
from deployfit.cli.telling import help_option
from deployfit.cli.waiting import waiting
from deployfit.errors import InputError, quoted
from deployfit.parameters import Parameter, command_line, option
from deployfit.printable import printable
from deployfit.questions import MODULES
from deployfit.questions.question import Answered, Question

if TYPE_CHECKING:
    from deployfit.report.document import Document

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STANDARD_OUTPUT = STANDARD_INPUT = "-"

EVERY = (
    Parameter("format", "How to print it.", "NAME", "by the end of --output's name, else text"),
    Parameter("output", "Where to; - is standard output.", "FILE", "standard output"),
)


def command_of(name: str) -> click.Command:
    """Return the command that asks a question."""
    question: Question = import_module(f"deployfit.questions.{MODULES[name]}").QUESTION
    asked = [*question.parameters, *(_of_runtimes(question) if question.runtimes else ())]

    def answer(format: str | None, output: str | None, **typed: Any) -> int:
        from deployfit.report import formats

        format_name = formats.format_named(format, output)
        if output is None and formats.is_binary(format_name):
            raise InputError(f"{format_name} is no text for standard output; say where to with {option('output')} FILE")
        given = {key: value for key, value in typed.items() if value not in (None, ())}
        with waiting(reads_input=given.get("log") == STANDARD_INPUT):
            found = question.ask(**given)
            document = found.document().spelled(command_line)
        return _shown(found, document, question, format_name, output)

    return click.Command(
        name,
        params=[*(_parameter(each, question) for each in (*asked, *EVERY)), help_option()],
        callback=answer,
        add_help_option=False,
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
            shell_complete=_offered,
        )
    spelled = option(asked.name)
    help_text = asked.help + (f"  [default: {asked.default}]" if asked.default else "")
    if not asked.takes:
        names = f"{spelled}/--no-{spelled[2:]}" if asked.off else spelled
        return click.Option([names, asked.name], is_flag=True, default=None, help=help_text)
    return click.Option(
        [spelled, asked.name], metavar=asked.takes, multiple=asked.many, help=help_text, shell_complete=_offered
    )


def _offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Return what a shell is to offer; a shell asks, and hardly anybody else."""
    from deployfit.cli.completion import offered

    return list(offered(ctx, param, incomplete))


def _shown(answer: Answered, document: Document, question: Question, name: str, output: str | None) -> int:
    """Write the answer; return the exit code."""
    from deployfit.report import formats

    if question.step_summary and (summary := os.environ.get(STEP_SUMMARY)):
        _append_summary(document, summary)
    if output is None or output == STANDARD_OUTPUT:
        if formats.is_binary(name):
            formats.render(document, name, sys.stdout.buffer)
        else:
            formats.render(document, name, sys.stdout, screen_of(sys.stdout))
        return answer.exit_code
    from deployfit.writing import replacing

    try:
        with waiting(), replacing(output) as file:
            if formats.is_binary(name):
                formats.render(document, name, file)
            else:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                formats.render(document, name, text)
                text.detach()
    except OSError as error:
        raise InputError(
            f"{option('output')} {quoted(output)}: {error.strerror or error}; choose a file that can be written"
        ) from None
    click.echo(f"written to {printable(output)}", err=True)
    return answer.exit_code


def _append_summary(document: Document, path: str) -> None:
    """Append the answer's Markdown to the summary of a step of GitHub Actions."""
    from deployfit.report import formats
    from deployfit.writing import append_file

    text = io.StringIO()
    formats.render(document, "markdown", text)
    try:
        append_file(path, (text.getvalue() + "\n").encode())
    except OSError as error:
        where = f"{STEP_SUMMARY} {quoted(path)}"
        click.echo(f"deployfit: {where}: {error.strerror}; the step's summary goes without the answer", err=True)
