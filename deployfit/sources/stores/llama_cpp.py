"""llama.cpp's cache: `OWNER_NAME_FILE.gguf` in one folder; since 2026-02 the layout of the Hugging Face cache.

Source: common/common.cpp (fs_get_cache_directory), common/download.cpp and common/hf-cache.cpp, 2026-10-01. A download
that is under way ends in `.downloadInProgress`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from deployfit.repository import GGUF, MODEL, RepoFile, format_of, group_files
from deployfit.sources.store import Entry, Places
from deployfit.sources.stores import hugging_face
from deployfit.sources.stores.folders import is_unfinished, is_within, missing_shards

NAME = "llama.cpp"


def roots(places: Places) -> list[str]:
    """Return the folder that the variable names, else those of macOS and of other systems."""
    if named := places.variable("LLAMA_CACHE"):
        return [named]
    shared = places.variable("XDG_CACHE_HOME") or places.at_home(".cache")
    found = [places.at_home("Library", "Caches", "llama.cpp"), os.path.join(shared, "llama.cpp") if shared else ""]
    return [root for root in found if root]


def entries(root: str) -> Iterator[Entry]:
    """Yield the models of either layout."""
    files: list[RepoFile] = []
    with os.scandir(root) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        path = os.path.join(root, name)
        if is_unfinished(name) and name.partition(".gguf")[1]:
            yield Entry(name.partition(".gguf")[0], path, 0, "half downloaded")
        elif format_of(name) == GGUF and os.path.isfile(path):
            if is_within(path, root):
                files.append(RepoFile(name, os.path.getsize(path), ""))
            else:
                yield Entry(name, path, 0, "a link out of the store; it is not followed")
    for group in group_files(files):
        if group.role == MODEL:
            path = os.path.join(root, group.files[0].name)
            yield Entry(group.name.removesuffix(".gguf"), path, group.nbytes, missing_shards(group))
    yield from hugging_face.entries(root)
