"""`deployfit hub`."""

from __future__ import annotations

import click

from deployfit.cli.from_hub import client, read_group
from deployfit.cli.shared import FORMATS, check_format
from deployfit.report import hub_report
from deployfit.report.hub_report import Detail, HubView
from deployfit.repository import choose_group, group_files


@click.command()
@click.argument("repo")
@click.option("--revision", metavar="REVISION", help="A branch, tag or commit.  [default: main]")
@click.option("--file", "pattern", metavar="GLOB", help="Read the header of this model file: '*Q4_K_M*'.")
@click.option("--offline", is_flag=True, help="Ask the cache only, as HF_HUB_OFFLINE=1 does.")
@click.option(
    "--format", "format_name", default="text", show_default=True, metavar="|".join(FORMATS), help="How to print."
)
def hub(repo: str, revision: str | None, pattern: str | None, offline: bool, format_name: str) -> None:
    """Show what is in REPO of the Hub. REPO is owner/name; model files, shards, sizes.

    Exit codes: 0 answered; 2 bad input; 3 the Hub could not be asked.
    """
    check_format(format_name)
    asked = client(offline=offline)
    repository = asked.repository(repo, revision)
    groups = group_files(repository.files)
    details = []
    if pattern is not None:
        group = choose_group(groups, pattern, repo)
        headers, weights = read_group(asked, repository, group)
        details.append(Detail(group, weights, headers.tensors))
    view = HubView(repository, groups, details, asked.from_cache)
    render = {
        "text": hub_report.hub_text,
        "json": hub_report.hub_json,
        "csv": hub_report.hub_csv,
        "markdown": hub_report.hub_markdown,
    }
    click.echo(render[format_name](view))
