"""What the Hub says of a repository, of which nothing is believed: JSON made into files with sizes, or one line.

Pure: what comes in are bytes. Sizes are bounded before anybody calculates with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from deployfit.errors import DataError, HubError, quoted
from deployfit.formats.untrusted import read_json
from deployfit.repository import RepoFile, Repository

COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_FILES = 100_000
MOST_NAME = 1024  # characters
MOST_FILE_BYTES = 10**15  # a petabyte
MOST_ETAG = 128

NOT_A_LIST = "the Hub's answer is not a list of files with sizes; try again later"
UNREADABLE = "the Hub's answer cannot be read; is HF_ENDPOINT right?"


def read_answer(body: bytes, what: str) -> Any:
    """Return what the Hub's JSON says."""
    try:
        return read_json(body, "")
    except DataError:
        raise HubError(f"{what}: {UNREADABLE}") from None


def read_model_info(body: bytes, repo_id: str, revision: str) -> Repository:
    """Return a repository from the answer to /api/models/OWNER/NAME/revision/REVISION?blobs=true.

    The list may be cut short, or be missing; raise HubError for what is no such answer.
    """
    what = f"{quoted(repo_id)} at {quoted(revision)}"
    info = read_answer(body, what)
    if not isinstance(info, dict):
        raise HubError(f"{what}: {UNREADABLE}")
    commit = info.get("sha")
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise HubError(f"{quoted(repo_id)}: {NOT_A_LIST}")
    if COMMIT.fullmatch(revision) and commit != revision:
        raise HubError(f"{what}: the answer is about another commit, {commit[:12]}; is HF_ENDPOINT right?")
    siblings = info.get("siblings")
    files = read_files(repo_id, siblings if siblings is not None else [], "rfilename", "blobId")
    return Repository(repo_id, revision, commit, files, _params(info.get("safetensors")))


def read_tree(body: bytes, repo_id: str) -> tuple[RepoFile, ...]:
    """Return the files of one page of the answer to /api/models/OWNER/NAME/tree/COMMIT?recursive=true."""
    rows = read_answer(body, quoted(repo_id))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HubError(f"{quoted(repo_id)}: {NOT_A_LIST}")
    return read_files(repo_id, [row for row in rows if row.get("type") == "file"], "path", "oid")


def read_files(repo_id: str, rows: object, name_key: str, blob_key: str) -> tuple[RepoFile, ...]:
    """Return the files that rows of either list tell of; raise HubError for what is none, or a name that is twice."""
    if not isinstance(rows, list) or len(rows) > MOST_FILES:
        raise HubError(f"{quoted(repo_id)}: {NOT_A_LIST}")
    files = [_file(row, name_key, blob_key) for row in rows]
    found = tuple(file for file in files if file is not None)
    if len(found) < len(files) or len({file.name for file in found}) < len(found):
        raise HubError(f"{quoted(repo_id)}: {NOT_A_LIST}")
    return found


def _file(row: object, name_key: str, blob_key: str) -> RepoFile | None:
    if not isinstance(row, dict):
        return None
    name, size, lfs = row.get(name_key), row.get("size"), row.get("lfs")
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME or not is_size(size):
        return None
    etag = (lfs.get("sha256") or lfs.get("oid")) if isinstance(lfs, dict) else row.get(blob_key)
    if not (isinstance(etag, str) and etag.isascii() and etag.isprintable() and len(etag) <= MOST_ETAG):
        etag = ""
    return RepoFile(name, size, etag)


def is_size(value: object) -> TypeGuard[int]:
    """Return whether this can be the bytes of a file.

    >>> [is_size(value) for value in (0, 17_420_000_000, -1, 10**309, 1.5, True)]
    [True, True, False, False, False, False]
    """
    return type(value) is int and 0 <= value <= MOST_FILE_BYTES


def _params(safetensors: object) -> Mapping[str, int]:
    counts = safetensors.get("parameters") if isinstance(safetensors, dict) else None
    if not isinstance(counts, dict):
        return {}
    return {name: count for name, count in counts.items() if is_size(count) and name.isprintable()}


def to_json(repository: Repository) -> bytes:
    """Return a repository for the cache."""
    return json.dumps(repository._asdict() | {"files": [list(file) for file in repository.files]}).encode()


def from_json(content: bytes | None) -> Repository | None:
    """Return the repository that the cache kept, None if it has nothing that this version reads."""
    try:
        kept = read_json(content or b"", "")
        rows = [dict(zip(("name", "size", "etag"), row, strict=True)) for row in _lists(kept["files"])]
        files = read_files("", rows, "name", "etag")
        repo_id, revision, commit = (kept[name] for name in ("repo_id", "revision", "commit"))
        if not isinstance(repo_id, str) or not isinstance(revision, str) or not COMMIT.fullmatch(commit):
            return None
        return Repository(repo_id, revision, commit, files, _params({"parameters": kept["params"]}))
    except (DataError, HubError, KeyError, TypeError, ValueError):
        return None


def _lists(value: object) -> Sequence[Sequence[Any]]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise TypeError
    return value
