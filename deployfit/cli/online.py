"""Asking the Hub about everything that is written down, for `deployfit check --online` and `deployfit refresh`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

import click

from deployfit import catalog
from deployfit.checks import Review
from deployfit.cli.from_hub import MOST_CONFIG_BYTES, client
from deployfit.crosscheck import Asked, changes, model_differences, repositories, sizes_of
from deployfit.errors import DeployfitError, HubError, InputError
from deployfit.hub.client import HubClient
from deployfit.models import Model
from deployfit.quants.publishers import PublishedSize

PARALLEL = 8

Found = list[PublishedSize] | DeployfitError


class Today(NamedTuple):
    """What the Hub has today: sizes, how the catalogue differs from it, and what could not be asked."""

    sizes: list[PublishedSize]
    differences: list[str]
    not_asked: list[str]


def ask_the_hub(models: Sequence[Model], publisher: str | None, *, offline: bool) -> Today:
    """Return today's sizes of every repository of these models, and the catalogue's differences.

    What no longer exists is said and left out; if nothing can be reached at all, HubError is raised.
    """
    hub = client(offline=offline)
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
            repository = hub.repository(asked.repo_id, None)
        except DeployfitError as error:
            return error
        return list(sizes_of(repository, asked, publishers[asked.publisher], date))

    sizes: list[PublishedSize] = []
    not_asked: list[str] = []
    unreachable: list[HubError] = []
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        for asked, found in zip(wanted, _with_bar(pool.map(ask, wanted), len(wanted)), strict=True):
            if isinstance(found, DeployfitError):
                not_asked.append(f"{asked.repo_id}: {found}")
                if isinstance(found, HubError):
                    unreachable.append(found)
            else:
                sizes += found
    if wanted and len(unreachable) == len(wanted):
        raise unreachable[0]
    differences = [] if publisher else [line for model in models for line in _differences(hub, model, not_asked)]
    return Today(sizes, differences, not_asked)


def _with_bar(answers: Iterable[Found], length: int) -> list[Found]:
    if not sys.stderr.isatty():
        return list(answers)
    with click.progressbar(answers, length=length, label="asking the Hub", file=sys.stderr) as bar:
        return list(bar)


def _differences(hub: HubClient, model: Model, not_asked: list[str]) -> list[str]:
    if not model.hub_repo:
        return []
    try:
        repository = hub.repository(model.hub_repo, None)
        content = hub.content(repository, "config.json", MOST_CONFIG_BYTES)
        config = None if content is None else json.loads(content)
    except (DeployfitError, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, DeployfitError) else "config.json is not JSON"
        not_asked.append(f"{model.hub_repo}: {said}")
        return []
    return model_differences(model, repository, config if isinstance(config, dict) else None)


def changed(today: Today) -> list[PublishedSize]:
    """Return today's sizes that are not written down yet."""
    return changes(today.sizes, catalog.published_sizes())


def review_of(today: Today) -> Review:
    """Return what somebody should look at."""
    new = tuple(
        f"{size.publisher}:{size.recipe} of {size.model}: {size.nbytes:,} bytes today" for size in changed(today)
    )
    return Review(tuple(today.differences), new, tuple(today.not_asked))


def all_or(name: str | None) -> list[Model]:
    """Return the catalogue's models, or the one of a name."""
    models = catalog.models()
    if name is None:
        return list(models.values())
    if name not in models:
        raise InputError(f"{name}: only models of the catalogue are published; leave out --model")
    return [models[name]]
