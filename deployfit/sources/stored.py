"""Models that other programs have downloaded: all that are there, with what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from deployfit.errors import DeployfitError
from deployfit.printable import printable
from deployfit.sources.listing import Progress, silent
from deployfit.sources.open import open_source
from deployfit.sources.opened import Opened
from deployfit.sources.store import Entry, Places, Store
from deployfit.values import NamedTuple

MOST_ENTRIES = 5_000  # in one store


class StoredModel(NamedTuple):
    """A model in a store; `opened` is None where `fault` says what is wrong."""

    store: str
    name: str
    path: str
    nbytes: int
    fault: str
    opened: Opened | None


def here() -> Places:
    """Return this user's places."""
    home = os.path.expanduser("~")
    return Places(os.environ, "" if home.startswith("~") else home)


def all_stores() -> list[Store]:
    """Return the stores in the order of their names."""
    from deployfit.sources import stores

    found = [import_module(f"{stores.__name__}.{module.name}") for module in iter_modules(stores.__path__)]
    return sorted((module for module in found if hasattr(module, "entries")), key=lambda module: module.NAME.casefold())


def listed(places: Places) -> Iterator[tuple[str, Entry]]:
    """Yield what is in all stores, by the store's name; a file that several of them have is in the first only."""
    seen: set[str] = set()
    for store in all_stores():
        for root in dict.fromkeys(map(os.path.realpath, filter(None, store.roots(places)))):
            if not os.path.isdir(root):
                continue
            for number, entry in enumerate(_entries(store, root)):
                place = entry.path if entry.fault else os.path.realpath(entry.path)
                if place in seen:
                    continue
                seen.add(place)
                if number >= MOST_ENTRIES:
                    yield store.NAME, Entry(root, root, 0, f"more than {MOST_ENTRIES:,} models; the rest is left out")
                    break
                yield store.NAME, entry


def _entries(store: Store, root: str) -> Iterator[Entry]:
    try:
        yield from store.entries(root)
    except OSError as error:
        yield Entry(root, root, 0, f"cannot be read: {error.strerror}")


def stored_models(places: Places | None = None, progress: Progress = silent) -> Iterator[StoredModel]:
    """Yield every model that other programs have downloaded, each with its header read or with what is wrong."""
    found = list(listed(places or here()))
    with progress("reading headers", len(found)) as step:
        for store, entry in found:
            yield _opened(store, entry)
            step()


def _opened(store: str, entry: Entry) -> StoredModel:
    name, path = printable(entry.name), entry.path
    if entry.fault:
        return StoredModel(store, name, path, entry.nbytes, printable(entry.fault), None)
    try:
        opened = open_source(os.path.abspath(path))
    except (DeployfitError, OSError) as error:
        fault = str(error).partition("\n")[0]
        return StoredModel(store, name, path, entry.nbytes, printable(fault), None)
    if opened.model is not None:  # a blob does not know what it is called
        opened = opened._replace(model=opened.model._replace(row=opened.model.row._replace(name=name)))
    return StoredModel(store, name, path, entry.nbytes, "", opened)
