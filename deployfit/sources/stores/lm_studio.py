"""LM Studio's models: `PUBLISHER/REPOSITORY/` as on the Hub, in its home folder or wherever its settings say.

Source: LM Studio's documentation (Import models) and lms (lmstudioPaths.ts), 2026-02. `~/.cache/lm-studio` is the
folder of older versions. `.lmstudio-home-pointer` and `downloadsFolder` say where users moved it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from deployfit.errors import DeployfitError
from deployfit.sources.store import Entry, Places
from deployfit.sources.stores.folders import models_in

NAME = "LM Studio"
POINTER = ".lmstudio-home-pointer"
MOST_SETTINGS = 1_000_000  # bytes


def roots(places: Places) -> list[str]:
    """Return the folders of today's versions, of older ones, and of a user who moved them."""
    homes = [places.at_home(".lmstudio"), places.at_home(".cache", "lm-studio")]
    pointer = _text(places.at_home(POINTER)).strip()
    if pointer and "\0" not in pointer:
        homes.insert(0, pointer)
    found = [_downloads(os.path.join(home, "settings.json")) for home in homes if home]
    return [*filter(None, found), *(os.path.join(home, "models") for home in homes if home)]


def entries(root: str) -> Iterator[Entry]:
    """Yield the models of each repository."""
    for publisher in _folders(root):
        try:
            repositories = _folders(os.path.join(root, publisher))
        except OSError as error:
            yield Entry(publisher, os.path.join(root, publisher), 0, f"cannot be read: {error.strerror}")
            continue
        for repository in repositories:
            path, name = os.path.join(root, publisher, repository), f"{publisher}/{repository}"
            try:
                yield from models_in(path, name, root)
            except OSError as error:
                yield Entry(name, path, 0, f"cannot be read: {error.strerror}")


def _folders(path: str) -> list[str]:
    with os.scandir(path) as found:
        return sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith("."))


def _downloads(settings: str) -> str:
    """Return the folder that LM Studio's settings name, "" if they name none."""
    from deployfit.formats.untrusted import read_object

    try:
        folder = read_object(_text(settings).encode("utf-8", "surrogateescape"), settings).get("downloadsFolder")
    except DeployfitError:
        return ""
    return folder if isinstance(folder, str) and "\0" not in folder else ""


def _text(path: str) -> str:
    from deployfit.sources.local import first_bytes

    try:
        return first_bytes(path, MOST_SETTINGS).decode("utf-8", "replace") if path else ""
    except DeployfitError:
        return ""
