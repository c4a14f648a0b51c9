"""What the Hub has today of everything that is written down, for `deployfit check --online` and `deployfit refresh`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from deployfit import catalogue
from deployfit.checks import Review
from deployfit.crosscheck import (
    RepositoryToAsk,
    changes,
    gone,
    model_differences,
    repositories,
    sizes_of,
)
from deployfit.errors import DataError, DeployfitError, HubError, InputError, quoted
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.published_sizes import PUBLISHED_SIZES, PublishedSize
from deployfit.quants.publishers import all_publishers
from deployfit.sources.headers import read_config
from deployfit.sources.hub.client import HubClient
from deployfit.sources.hub.model import RepositoryFiles, client
from deployfit.sources.listing import Progress, silent
from deployfit.sources.parallel import in_parallel
from deployfit.values import NamedTuple


class Today(NamedTuple):
    """What the Hub has today: sizes, in which repositories, how the catalogue differs, and what could not be asked.

    `complete`: whether all of the Hub's answers were such that one can go by them; that a repository is not there is.
    """

    sizes: list[PublishedSize]
    repo_ids: set[str]
    differences: list[str]
    not_asked: list[str]
    complete: bool


def ask_the_hub(models: Sequence[Model], publisher: str | None, progress: Progress = silent) -> Today:
    """Return today's sizes of every repository of these models, and the catalogue's differences.

    What does not exist is said and left out; if nothing can be reached at all, HubError is raised. The cache does not
    answer here: it knows of other days.
    """
    hub = client(offline=False)
    publishers = all_publishers()
    names = {model.name for model in models}
    wanted = [
        asked
        for asked in repositories(catalogue.rows(PUBLISHED_SIZES), publishers, catalogue.models())
        if asked.model in names and publisher in (None, asked.publisher)
    ]
    date = datetime.now(UTC).date().isoformat()
    sizes: list[PublishedSize] = []
    repo_ids: set[str] = set()
    failed: list[DeployfitError] = []
    with progress("asking the Hub", len(wanted)) as step:

        def ask(asked: RepositoryToAsk) -> list[PublishedSize] | DeployfitError:
            try:
                repository = hub.repository(asked.repo_id, None, today=True)
            except DeployfitError as error:
                return error
            finally:
                step()
            return list(sizes_of(repository, asked, publishers[asked.publisher], date))

        for asked, found in zip(wanted, in_parallel(ask, wanted), strict=True):
            if isinstance(found, DeployfitError):
                failed.append(found)
            else:
                sizes += found
                repo_ids.add(asked.repo_id)
    unreachable = [error for error in failed if isinstance(error, HubError)]
    if unreachable and not sizes:
        raise unreachable[0]
    differences = [] if publisher else [line for model in models for line in _differences(hub, model, failed)]
    complete = not any(isinstance(error, HubError) for error in failed)
    return Today(sizes, repo_ids, differences, list(dict.fromkeys(map(str, failed))), complete)


def _differences(hub: HubClient, model: Model, failed: list[DeployfitError]) -> list[str]:
    if not model.row.hub_repo:
        return []
    try:
        repository = hub.repository(model.row.hub_repo, None, today=True)
        config = read_config(RepositoryFiles(hub, repository))
        if config is None:
            raise InputError(f"{quoted(repository.repo_id)}: no config.json in it")
    except DeployfitError as error:
        failed.append(error)
        return []
    known = json.loads(catalogue.data_text(f"configs/{model.name}.json"))
    return model_differences(model, repository, known, config, catalogue.architectures())


def review_of(today: Today) -> Review:
    """Return what somebody should look at."""
    known = catalogue.rows(PUBLISHED_SIZES)
    new = [
        f"{size.publisher}:{size.recipe} of {size.model}: {size.nbytes:,} bytes today"
        for size in changes(today.sizes, known)
    ]
    lost = [
        f"{size.publisher}:{size.recipe} of {size.model}, written down {size.date or 'without a date'}"
        for size in gone(today.sizes, known, today.repo_ids)
    ]
    return Review(tuple(today.differences), tuple(new), tuple(lost), tuple(today.not_asked))


def all_or(name: str | None) -> list[Model]:
    """Return the catalogue's models, or the one of a name."""
    models = catalogue.models()
    if name is None:
        return list(models.values())
    if name not in models:
        raise InputError(f"{name}: only models of the catalogue are published; leave out {param('model')}")
    return [models[name]]


class Refreshed(NamedTuple):
    """What a file of published sizes would become: its old text with today's new rows behind it."""

    today: Today
    new: list[PublishedSize]
    text: str


def refreshed(
    text: str, place: str, models: Sequence[Model], publisher: str | None, progress: Progress = silent
) -> Refreshed:
    """Return a file like data/published_sizes.csv with the Hub's sizes of today; rows are only ever appended.

    Raise DataError for a file that deployfit would not read, before as after.
    """
    known = PUBLISHED_SIZES.rows(text, place)
    today = ask_the_hub(models, publisher, progress)
    new = changes(today.sizes, known)
    if not new:
        return Refreshed(today, [], text)
    end = "\r\n" if "\r\n" in text else "\n"
    longer = text + ("" if text.endswith("\n") else end) + _rows(new, end)
    if len(PUBLISHED_SIZES.rows(longer, place)) != len(known) + len(new):
        raise DataError([f"{place}: its last row is not finished; nothing was appended"])
    return Refreshed(today, new, longer)


def _rows(sizes: Sequence[PublishedSize], end: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, PUBLISHED_SIZES.columns, lineterminator=end)
    for size in sizes:
        fields = size._asdict() | {"bytes": size.nbytes, "contains": "+".join(size.contains)}
        writer.writerow({column: fields[column] for column in PUBLISHED_SIZES.columns})
    return out.getvalue()
