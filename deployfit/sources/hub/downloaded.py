"""The cache of huggingface_hub: what it has downloaded is not asked for again.

A repository's folder has refs, which name commits, snapshots of commits, and the blobs that they link to, each under
what the Hub calls its content. Source: huggingface_hub 2.4 (its manage-cache guide). Nothing is written to it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from deployfit.repository import RepoFile, Repository
from deployfit.sources.hub import constants
from deployfit.sources.hub.answers import COMMIT, MOST_FILES

CONTENT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
MOST_REF_BYTES = 64


def first_bytes(repository: Repository, file: RepoFile, nbytes: int) -> bytes:
    """Return the first bytes of a file, up to so many; b"" if it was not downloaded, or is not of the Hub's size."""
    if not CONTENT.fullmatch(file.etag):
        return b""
    try:
        number = os.open(_folder(repository.repo_id) / "blobs" / file.etag, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(number, "rb") as blob:
            status = os.fstat(number)
            return blob.read(nbytes) if stat.S_ISREG(status.st_mode) and status.st_size == file.nbytes else b""
    except OSError:
        return b""


def snapshot(repo_id: str, revision: str) -> Repository | None:
    """Return what was downloaded of a repository at a revision; None if nothing was.

    It may be less than the repository has: the files that somebody wanted.
    """
    folder = _folder(repo_id)
    commit = revision if COMMIT.fullmatch(revision) else _commit(folder, revision)
    try:
        files = tuple(_files(folder / "snapshots" / commit)) if commit else ()
    except OSError:
        return None
    return Repository(repo_id, revision, commit, files, {}) if files else None


def _folder(repo_id: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"


def _commit(folder: Path, revision: str) -> str:
    refs = _real(folder / "refs")
    path = _real(refs / revision)  # a branch's name may have slashes
    if not path.is_relative_to(refs) or not path.is_file():
        return ""
    try:
        with open(path, "rb") as file:
            said = file.read(MOST_REF_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return said if COMMIT.fullmatch(said) else ""


def _real(path: Path) -> Path:
    """Return where a path leads; links in a circle lead nowhere."""
    return Path(os.path.realpath(path))


def _files(snapshot: Path) -> Iterator[RepoFile]:
    """Yield the files of a snapshot that are links to blobs, as the Hub would list them."""
    blobs = _real(snapshot.parent.parent / "blobs")
    count = 0
    for path, _, names in os.walk(snapshot):
        for name in sorted(names):
            link = Path(path, name)
            blob = _real(link)
            count += 1
            if count > MOST_FILES:
                return
            if blob.parent == blobs and CONTENT.fullmatch(blob.name) and blob.is_file():
                yield RepoFile(link.relative_to(snapshot).as_posix(), blob.stat().st_size, blob.name)
