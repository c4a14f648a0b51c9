"""`deployfit check`."""

from __future__ import annotations

import os

import click

from deployfit import catalog
from deployfit.checks import check_sizes, summarize
from deployfit.cli.shared import find_model, whole_number
from deployfit.errors import InputError, unknown
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
def check(model: str | None, publisher: str | None, rows: str, format_name: str) -> int:
    """Hold the estimates against published sizes, offline.

    In GitHub Actions the Markdown table is appended to the step's summary as well.

    Exit codes: 0 all within tolerance; 1 some are not; 2 bad input.
    """
    if format_name not in FORMATS:
        raise unknown("format", format_name, FORMATS)
    shown = whole_number("rows", rows)
    publishers = catalog.publishers()
    sizes = catalog.published_sizes()
    if model is not None:
        name = find_model(model, None).name
        sizes = [size for size in sizes if size.model == name]
    if publisher is not None:
        found = [each for each in publishers if each.casefold() == publisher.strip().casefold()]
        if not found:
            raise unknown("publisher", publisher, publishers)
        sizes = [size for size in sizes if size.publisher == found[0]]
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
    click.echo(render[format_name](checked, summary, shown))
    step_summary = os.environ.get(STEP_SUMMARY)
    if step_summary:
        with open(step_summary, "a", encoding="utf-8") as file:
            file.write(check_report.check_markdown(checked, summary, shown) + "\n")
    return EXIT_OUTSIDE_TOLERANCE if summary.failed else 0
