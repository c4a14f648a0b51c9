"""`deployfit refresh`."""

from __future__ import annotations

import csv
import errno
import io
import os

import click

from deployfit.ask import find_model, find_publisher
from deployfit.cli.app import EXIT_HUB
from deployfit.cli.online import all_or, ask_the_hub
from deployfit.crosscheck import changes
from deployfit.errors import InputError, quoted
from deployfit.quants.publishers import SIZE_COLUMNS, PublishedSize, parse_published_sizes


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--model", metavar="MODEL", help="Only this model.  [default: all]")
@click.option("--publisher", metavar="NAME", help="Only this publisher.  [default: all]")
@click.option("--dry-run", is_flag=True, help="Say what would be added, and add nothing.")
def refresh(path: str, model: str | None, publisher: str | None, dry_run: bool) -> int:
    """Append the Hub's sizes of today to FILE. For maintainers: FILE is data/published_sizes.csv.

    Rows are only ever appended, with their date; what is written down already stays as it is.

    Exit codes: 0 done; 2 bad input; 3 the Hub could not be asked about everything.
    """
    text = _text(path)
    known = parse_published_sizes(text, os.path.basename(path))
    models = all_or(None if model is None else find_model(model, None).name)
    today = ask_the_hub(models, find_publisher(publisher))
    new = changes(today.sizes, known)
    for line in today.not_asked:
        click.echo(f"not asked: {line}", err=True)
    if new and not dry_run:
        _append(path, text, new)
    done = "would be appended" if dry_run else "appended"
    click.echo(f"{len(today.sizes)} sizes on the Hub, {len(new)} of them new or changed; {len(new)} rows {done}.")
    for size in new:
        click.echo(f"  {size.publisher}:{size.recipe} of {size.model}: {size.nbytes:,} bytes")
    return 0 if today.complete else EXIT_HUB


def _text(path: str) -> str:
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # some devices never end
            raise ValueError
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{quoted(path)}: {reason}; give data/published_sizes.csv of a checkout") from None


def _append(path: str, text: str, sizes: list[PublishedSize]) -> None:
    """Append rows with the ends of lines that the file has: all of them, or if the disk is full none."""
    end = "\r\n" if "\r\n" in text else "\n"
    rows = ("" if text.endswith("\n") else end) + _rows(sizes, end)
    try:
        with open(path, "ab", buffering=0) as file:
            size = file.tell()
            if file.write(rows.encode()) < len(rows.encode()):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise InputError(f"{quoted(path)}: {error.strerror}; nothing was appended") from None


def _rows(sizes: list[PublishedSize], end: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, SIZE_COLUMNS, lineterminator=end)
    for size in sizes:
        fields = size._asdict() | {"bytes": size.nbytes, "contains": "+".join(size.contains)}
        writer.writerow({column: fields[column] for column in SIZE_COLUMNS})
    return out.getvalue()
