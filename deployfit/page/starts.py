"""Which settings the page offers: every application, with a few KV caches and numbers of slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from deployfit import catalogue
from deployfit.apps import APPS, App
from deployfit.errors import InputError
from deployfit.questions.resolve import Start, start_of
from deployfit.runtimes import registry
from deployfit.values import NamedTuple

SLOTS = ("", "1", "2", "4")  # "": what the application chooses
SLOTS_PARAMETER = "parallel"
ANY_CONTEXT = "max"  # the page says it itself


class Offered(NamedTuple):
    """An application with a KV cache and a number of slots: positions in the lists that the page shows.

    `settings` is a position in `Starts.settings`; the context in there does not matter.
    """

    app: int
    kv: int
    slots: int
    settings: int
    start: Start


class Starts(NamedTuple):
    """Everything that is offered. `caches` are the KV caches by runtime, as they are typed, the usual one first."""

    apps: Sequence[App]
    caches: Mapping[str, Sequence[Mapping[str, str]]]
    settings: Sequence[tuple[str, Any]]  # of a runtime
    offered: Sequence[Offered]


def all_starts() -> Starts:
    """Return what the page offers; settings that several applications choose are there once.

    >>> starts = all_starts()
    >>> len(starts.settings) < len(starts.offered)
    True
    """
    apps = catalogue.rows(APPS)
    caches = {name: list(registry.runtime(name).planned) for name in registry.names()}
    settings: dict[tuple[str, Any], int] = {}
    offered = []
    for index, kv, slots, start in _every(apps, caches):
        made = start.runtime.settings(1, {**start.chosen, **start.typed})
        place = settings.setdefault((start.runtime.name, made), len(settings))
        offered.append(Offered(index, kv, slots, place, start))
    return Starts(apps, caches, list(settings), offered)


def _every(
    apps: Sequence[App], caches: Mapping[str, Sequence[Mapping[str, str]]]
) -> Iterator[tuple[int, int, int, Start]]:
    """Yield what an application can be started with; what it has no option for is left out."""
    for index, app in enumerate(apps):
        for slots, number in enumerate(SLOTS):
            for kv, typed in enumerate(caches[app.runtime]):
                asked = {**typed, **({SLOTS_PARAMETER: number} if number else {})}
                known = {each.name for each in registry.parameters()[app.runtime]}
                if known.issuperset(asked):
                    with suppress(InputError):
                        yield index, kv, slots, start_of(app.name, app.runtime, ANY_CONTEXT, asked)
