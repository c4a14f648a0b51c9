"""`deployfit check`."""

from __future__ import annotations

import os

import click

from deployfit import catalog
from deployfit.ask import find_model, find_publisher, whole_number
from deployfit.checks import Review, check_sizes, summarize
from deployfit.cli.app import EXIT_HUB
from deployfit.errors import InputError, quoted, unknown
from deployfit.report import check_report

EXIT_OUTSIDE_TOLERANCE = 1
FORMATS = ("text", "json", "csv", "markdown", "junit")
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


@click.command()
@click.option("--model", metavar="MODEL", help="Only this model.  [default: all]")
@click.option("--publisher", metavar="NAME", help="Only this publisher.  [default: all]")
@click.option("--rows", metavar="N", default="20", show_default=True, help="Rows of the text and Markdown tables.")
@click.option(
    "--format", "format_name", default="text", show_default=True, metavar="|".join(FORMATS), help="How to print."
)
@click.option("--online", is_flag=True, help="Ask the Hub for today's sizes, and how the catalogue differs from it.")
def check(model: str | None, publisher: str | None, rows: str, format_name: str, online: bool) -> int:
    """Hold estimates against published sizes. Those written down, or with --online the Hub's of today.

    In GitHub Actions the Markdown table is appended to the step's summary as well.

    Exit codes: 0 all within tolerance; 1 some are not; 2 bad input; 3 the Hub could not be asked about everything.
    """
    if format_name not in FORMATS:
        raise unknown("format", format_name, FORMATS)
    shown = whole_number("rows", rows)
    publishers = catalog.publishers()
    name = None if model is None else find_model(model, None).name
    publisher = find_publisher(publisher)
    sizes, review, complete = catalog.published_sizes(), Review(), True
    if online:
        from deployfit.cli.online import all_or, ask_the_hub, review_of  # huggingface_hub: a quarter of a second

        today = ask_the_hub(all_or(name), publisher)
        sizes, review, complete = today.sizes, review_of(today), today.complete
    for line in review.lines:
        click.echo(line, err=True)
    sizes = [size for size in sizes if name in (None, size.model) and publisher in (None, size.publisher)]
    checked = list(check_sizes(sizes, publishers, catalog.models(), catalog.tolerances()))
    if not checked:
        raise InputError("no published size can be checked; leave out --model or --publisher")
    summary = summarize(checked, len(sizes))
    render = {
        "text": check_report.check_text,
        "json": check_report.check_json,
        "csv": check_report.check_csv,
        "markdown": check_report.check_markdown,
        "junit": check_report.check_junit,
    }
    click.echo(render[format_name](checked, summary, shown, review))
    step_summary = os.environ.get(STEP_SUMMARY)
    if step_summary:
        try:
            with open(step_summary, "a", encoding="utf-8") as file:
                file.write(check_report.check_markdown(checked, summary, shown, review) + "\n")
        except OSError as error:
            where = f"{STEP_SUMMARY} {quoted(step_summary)}"
            click.echo(f"deployfit: {where}: {error.strerror}; the step's summary goes without the table", err=True)
    if summary.failed:
        return EXIT_OUTSIDE_TOLERANCE
    return 0 if complete else EXIT_HUB
