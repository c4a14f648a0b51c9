"""`deployfit validate`."""

from __future__ import annotations

import click

from deployfit import catalog
from deployfit.ask import DEFAULT_MACOS, SHELF, whole_number
from deployfit.cli.shared import FORMATS, check_format
from deployfit.measured import judged_speeds, parse_speed_rows
from deployfit.measured_memory import judged_logs, parse_memory_rows
from deployfit.measured_verdict import judged_reports, parse_verdict_rows
from deployfit.quants.find import find_quant
from deployfit.quants.weights import Quant
from deployfit.report import validate_report
from deployfit.validation import Validation, check_logs, check_reports, check_speeds, merged


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
    found = validated(speed_file, memory_file, verdict_file)
    render = {
        "text": validate_report.validate_text,
        "json": validate_report.validate_json,
        "csv": validate_report.validate_csv,
        "markdown": validate_report.validate_markdown,
    }
    click.echo(render[format_name](found, shown))


def validated(
    speed_file: str | None = None, memory_file: str | None = None, verdict_file: str | None = None
) -> Validation:
    """Return what was held against measurements, of the user's files where there are any."""
    models, rules = catalog.models(), catalog.measurement_rules()
    batches, logs, reports = catalog.speed_rows(), catalog.memory_rows(), catalog.verdict_rows()
    if speed_file is not None:
        batches = {"given": catalog.load_measurements(speed_file, "data/mac_speeds.csv", parse_speed_rows)}
    if memory_file is not None:
        logs = catalog.load_measurements(memory_file, "data/memory_logs.csv", parse_memory_rows)
    if verdict_file is not None:
        reports = catalog.load_measurements(verdict_file, "data/mac_verdicts.csv", parse_verdict_rows)

    speeds = {batch: judged_speeds(each, rules, models, catalog.macs(), _find) for batch, each in batches.items()}
    checked, not_said = check_speeds({batch: judged for batch, (judged, _) in speeds.items()}, catalog.speeds())
    logged, no_log = judged_logs(logs, rules, models, _find)
    memory, no_memory = check_logs(logged)
    reported, no_report = judged_reports(reports, rules, models, catalog.gpu_limits(), int(DEFAULT_MACOS), _find)
    verdicts, no_verdict = check_reports(reported)
    return Validation(
        speeds=checked,
        memory=memory,
        verdicts=verdicts,
        left_out={
            "speed": merged(*(left_out for _, left_out in speeds.values()), not_said),
            "memory": merged(no_log, no_memory),
            "verdict": merged(no_report, no_verdict),
        },
        coefficients=catalog.speeds().coefficients,
        bars=catalog.bars(),
    )


def _find(name: str, runtime: str) -> Quant:
    return find_quant(name, SHELF, runtime)
