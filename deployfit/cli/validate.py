"""`deployfit validate`."""

from __future__ import annotations

import click

from deployfit.api import proofs
from deployfit.ask import whole_number
from deployfit.cli.shared import FORMATS, check_format
from deployfit.report import validate_report


@click.command()
@click.option("--speeds", "speed_file", metavar="FILE", help="Measured speeds in place of data/mac_speeds.csv.")
@click.option("--memory", "memory_file", metavar="FILE", help="Logs of memory in place of data/memory_logs.csv.")
@click.option("--verdicts", "verdict_file", metavar="FILE", help="Reports in place of data/mac_verdicts.csv.")
@click.option("--rows", metavar="N", default="5", show_default=True, help="How many of the worst are shown.")
@click.option(
    "--format", "format_name", default="text", show_default=True, metavar="|".join(FORMATS), help="How to print."
)
def validate(
    speed_file: str | None, memory_file: str | None, verdict_file: str | None, rows: str, format_name: str
) -> None:
    """Hold speed, memory and verdicts against what others measured and reported.

    What makes a row useless is a rule of data/measurement_rules.csv, and counted. A FILE has the columns of the
    one that it replaces; others may stand there too.
    """
    check_format(format_name)
    shown = whole_number("rows", rows)
    found = proofs.validate(speed_file, memory_file, verdict_file)
    render = {
        "text": validate_report.validate_text,
        "json": validate_report.validate_json,
        "csv": validate_report.validate_csv,
        "markdown": validate_report.validate_markdown,
    }
    click.echo(render[format_name](found, shown))
