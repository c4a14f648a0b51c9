"""Asking the Hub about everything that is written down, for `deployfit check --online` and `deployfit refresh`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import click

from deployfit import catalog
from deployfit.checks import Review
from deployfit.cli.from_hub import client, config_of
from deployfit.crosscheck import Asked, changes, gone, model_differences, repositories, sizes_of
from deployfit.errors import DeployfitError, HubError, InputError
from deployfit.hub.client import HubClient
from deployfit.hub.parallel import in_parallel
from deployfit.models import Model
from deployfit.quants.publishers import PublishedSize

Found = list[PublishedSize] | DeployfitError


class Today(NamedTuple):
    """What the Hub has today: sizes, in which repositories, how the catalogue differs, and what could not be asked.

    `complete`: whether all of the Hub's answers were such that one can go by them; that a repository is not there is.
    """

    sizes: list[PublishedSize]
    repo_ids: set[str]
    differences: list[str]
    not_asked: list[str]
    complete: bool


def ask_the_hub(models: Sequence[Model], publisher: str | None) -> Today:
    """Return today's sizes of every repository of these models, and the catalogue's differences.

    What does not exist is said and left out; if nothing can be reached at all, HubError is raised. The cache does not
    answer here: it knows of other days.
    """
    hub = client(offline=False)
    publishers = catalog.publishers()
    names = {model.name for model in models}
    wanted = [
        asked
        for asked in repositories(catalog.published_sizes(), publishers, catalog.models())
        if asked.model in names and publisher in (None, asked.publisher)
    ]
    date = datetime.now(UTC).date().isoformat()

    def ask(asked: Asked) -> Found:
        try:
            repository = hub.repository(asked.repo_id, None, today=True)
        except DeployfitError as error:
            return error
        return list(sizes_of(repository, asked, publishers[asked.publisher], date))

    sizes: list[PublishedSize] = []
    repo_ids: set[str] = set()
    failed: list[DeployfitError] = []
    for asked, found in zip(wanted, _with_bar(in_parallel(ask, wanted), len(wanted)), strict=True):
        if isinstance(found, DeployfitError):
            failed.append(found)
        else:
            sizes += found
            repo_ids.add(asked.repo_id)
    if not sizes:
        for error in failed:
            if isinstance(error, HubError):
                raise error
    differences = [] if publisher else [line for model in models for line in _differences(hub, model, failed)]
    complete = not any(isinstance(error, HubError) for error in failed)
    return Today(sizes, repo_ids, differences, list(dict.fromkeys(map(str, failed))), complete)


def _with_bar(answers: Iterable[Found], length: int) -> list[Found]:
    if not sys.stderr.isatty():
        return list(answers)
    with click.progressbar(answers, length=length, label="asking the Hub", file=sys.stderr) as bar:
        return list(bar)


def _differences(hub: HubClient, model: Model, failed: list[DeployfitError]) -> list[str]:
    if not model.hub_repo:
        return []
    try:
        repository = hub.repository(model.hub_repo, None, today=True)
        return model_differences(model, repository, config_of(hub, repository))
    except DeployfitError as error:
        failed.append(error)
        return []


def review_of(today: Today) -> Review:
    """Return what somebody should look at."""
    known = catalog.published_sizes()
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
    models = catalog.models()
    if name is None:
        return list(models.values())
    if name not in models:
        raise InputError(f"{name}: only models of the catalogue are published; leave out --model")
    return [models[name]]
