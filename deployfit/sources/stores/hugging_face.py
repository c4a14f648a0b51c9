"""The Hugging Face cache: `models--OWNER--NAME/` with blobs, refs to commits, and snapshots of links into the blobs.

Source: huggingface_hub 2.4 (its manage-cache guide and constants.py); llama.cpp keeps its downloads there too since
2026-02 (common/hf-cache.cpp). A blob that is under way ends in `.incomplete` or `.downloadInProgress`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from deployfit.errors import InputError
from deployfit.sources.store import Entry, Places
from deployfit.sources.stores.folders import NO_MODEL, is_unfinished, models_in

NAME = "Hugging Face"
PREFIX = "models--"
SHOWN_COMMIT = 8
MOST_REF_BYTES = 64


def roots(places: Places) -> list[str]:
    """Return the cache, the first of the variables that say where it is."""
    named = [places.variable("HF_HUB_CACHE"), places.variable("HUGGINGFACE_HUB_CACHE")]
    if home := places.variable("HF_HOME"):
        named.append(os.path.join(home, "hub"))
    if shared := places.variable("XDG_CACHE_HOME"):
        named.append(os.path.join(shared, "huggingface", "hub"))
    return [next(filter(None, [*named, places.at_home(".cache", "huggingface", "hub")]), "")]


def entries(root: str) -> Iterator[Entry]:
    """Yield the models of each repository's snapshots, that of its main branch first."""
    with os.scandir(root) as found:
        folders = sorted(entry.name for entry in found if entry.name.startswith(PREFIX) and entry.is_dir())
    for folder in folders:
        name = folder.removeprefix(PREFIX).replace("--", "/")
        path = os.path.join(root, folder)
        try:
            yield from _of_repository(path, name, root)
        except OSError as error:
            yield Entry(name, path, 0, f"cannot be read: {error.strerror}")


def _of_repository(path: str, name: str, root: str) -> Iterator[Entry]:
    unfinished = [blob for blob in _names(os.path.join(path, "blobs")) if is_unfinished(blob)]
    main = _main_commit(path)
    commits = sorted(_names(os.path.join(path, "snapshots")), key=lambda commit: (commit != main, commit))
    if not commits:
        yield Entry(name, path, 0, "half downloaded" if unfinished else NO_MODEL)
    found: dict[str, Entry] = {}
    for number, commit in enumerate(commits):
        shown = name if number == 0 else f"{name}@{commit[:SHOWN_COMMIT]}"
        for entry in models_in(os.path.join(path, "snapshots", commit), shown, root, unfinished=unfinished):
            found.setdefault(os.path.realpath(entry.path), entry)
    models = [entry for entry in found.values() if entry.fault != NO_MODEL]
    yield from models or list(found.values())[:1]


def _main_commit(path: str) -> str:
    from deployfit.sources.local import first_bytes

    try:
        return first_bytes(os.path.join(path, "refs", "main"), MOST_REF_BYTES).decode("ascii", "replace").strip()
    except InputError:
        return ""


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
