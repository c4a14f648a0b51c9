"""`deployfit recommend`."""

from __future__ import annotations

import click

from deployfit.ask import DEFAULT_CONTEXT, DEFAULT_MACOS, find_place, speed_of, whole_number
from deployfit.cli.shared import FORMATS, check_format, place_options
from deployfit.errors import InputError
from deployfit.quants.find import RUNTIMES, find_runtime
from deployfit.units import parse_tokens

DEFAULT_PLACES = "5"


@click.command()
@place_options(DEFAULT_MACOS)
@click.option("--context", default=DEFAULT_CONTEXT, show_default=True, metavar="TOKENS", help="Context that must fit.")
@click.option("--use", default="coding", show_default=True, metavar="coding|chat", help="Whose benchmark decides.")
@click.option("--min-speed", metavar="TOKENS/S", help="Nothing that decodes slower.  [default: any speed]")
@click.option("--runtime", metavar="|".join(RUNTIMES), help="Only this engine.  [default: both]")
@click.option("--own", is_flag=True, help="Recipes that you would have to make yourself, too.")
@click.option("--places", default=DEFAULT_PLACES, show_default=True, metavar="N", help="How long the list may be.")
@click.option(
    "--format", "format_name", default="text", show_default=True, metavar="|".join(FORMATS), help="How to print."
)
def recommend(
    mac: str | None,
    macos: str | None,
    wired_limit: str | None,
    context: str,
    use: str,
    min_speed: str | None,
    runtime: str | None,
    own: bool,
    places: str,
    format_name: str,
) -> None:
    """Say what to run on this Mac, and why. A published file per model that fits, best first.

    The order comes from one published benchmark per use; nothing is scored here.
    """
    check_format(format_name)
    from deployfit.api.recommendations import recommend_question, recommended
    from deployfit.report import recommend_report

    most = whole_number("places", places)
    if most < 1:
        raise InputError("places: expected a whole number from 1, got 0")
    place = find_place(mac, macos, wired_limit)
    asked = recommend_question(use, speed_of(min_speed), parse_tokens(context), place)
    engine = None if runtime is None else find_runtime(runtime)
    found = recommended(asked, place, engine, own=own)[:most]
    render = {
        "text": recommend_report.recommend_text,
        "json": recommend_report.recommend_json,
        "csv": recommend_report.recommend_csv,
        "markdown": recommend_report.recommend_markdown,
    }
    click.echo(render[format_name](found, place, asked))
