"""What stores that keep files under their own names have in common."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from deployfit.repository import GGUF, MODEL, READ, SAFETENSORS, FileGroup, RepoFile, format_of, group_files
from deployfit.sources.local import CONFIG
from deployfit.sources.model_file import as_one
from deployfit.sources.store import Entry

UNFINISHED = (".part", ".partial", ".incomplete", ".downloadinprogress", ".download", ".crdownload", ".tmp")
DOWNLOADING = "downloading_"  # how LM Studio's begin
MOST_DEPTH = 4
NO_MODEL = "no model file in it"


def is_unfinished(name: str) -> bool:
    """Return whether a file's name says that it is still being downloaded.

    >>> is_unfinished("m-Q4_K_M.gguf.downloadInProgress"), is_unfinished("m-Q4_K_M.gguf")
    (True, False)
    """
    return name.lower().endswith(UNFINISHED) or name.startswith(DOWNLOADING)


def models_in(folder: str, name: str, store: str, *, unfinished: Iterable[str] = ()) -> Iterator[Entry]:
    """Yield the models among the files of a folder; links may lead anywhere within the store, and not out of it.

    `unfinished` are names of downloads that are known to be under way for this folder.
    """
    files: list[RepoFile] = []
    faults: dict[str, str] = {}
    waiting = list(unfinished)
    for path, status in walk(folder, MOST_DEPTH):
        within = os.path.relpath(path, folder)
        if is_unfinished(os.path.basename(path)):
            waiting.append(within)
        elif format_of(within) not in READ and os.path.basename(path) != CONFIG:
            continue
        elif status is None:
            faults[within] = "half downloaded: its content is not there"
        elif not is_within(path, store):
            faults[within] = "a link out of the store; it is not followed"
        else:
            files.append(RepoFile(within, status.st_size, ""))
    groups = [group for group in as_one(group_files(files)) if group.role == MODEL]
    if any(format_of(within) != GGUF for within in faults):  # a folder of safetensors is read as a whole
        within, fault = next(iter(faults.items()))
        yield Entry(name, folder, sum(file.nbytes for file in files), f"{within}: {fault}")
        return
    for within, fault in faults.items():
        yield Entry(f"{name}/{within}", os.path.join(folder, within), 0, fault)
    if not groups and not faults:
        yield Entry(name, folder, 0, f"half downloaded: {waiting[0]}" if waiting else NO_MODEL)
    for group in groups:
        path = folder if group.format == SAFETENSORS and len(groups) == 1 else os.path.join(folder, group.files[0].name)
        yield Entry(name if len(groups) == 1 else f"{name}/{group.name}", path, group.nbytes, missing_shards(group))


def missing_shards(group: FileGroup) -> str:
    """Return what is wrong with a group of which shards are missing, "" if none is."""
    if not group.missing:
        return ""
    return f"half downloaded: {group.missing} of {group.missing + len(group.files)} shards are missing"


def walk(folder: str, depth: int) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield the files of a folder and the folders in it, with None for links that lead nowhere; raise OSError."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for name in names:
        path = os.path.join(folder, name)
        try:
            status = os.stat(path)
        except OSError:
            yield path, None
            continue
        if stat.S_ISREG(status.st_mode):
            yield path, status
        elif stat.S_ISDIR(status.st_mode) and depth > 1 and not os.path.islink(path):
            yield from walk(path, depth - 1)


def is_within(path: str, root: str) -> bool:
    """Return whether a path, with all links followed, is in a folder."""
    return os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)
