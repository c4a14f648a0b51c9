"""Repositories of files: what a list of names and sizes says about the models in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from deployfit.errors import InputError, quoted

OTHER = "other"
FORMATS = {".gguf": "GGUF", ".safetensors": "safetensors", ".bin": "PyTorch", ".pt": "PyTorch", ".pth": "PyTorch"}
READ = ("GGUF", "safetensors")
MODEL = "model"
MMPROJ = "mmproj"
MOST_SHARDS = 10_000
MOST_NAMED = 12  # files in a complaint

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<suffix>\.gguf|\.safetensors)")


class RepoFile(NamedTuple):
    """A file: its path in the repository, its bytes, and what changes when its content does."""

    name: str
    nbytes: int
    etag: str


class Repository(NamedTuple):
    """A repository at one commit; `params` are the parameters by dtype as the Hub counted them."""

    repo_id: str
    revision: str  # as asked
    commit: str
    files: tuple[RepoFile, ...]
    params: Mapping[str, int]

    @property
    def nbytes(self) -> int:
        """All files together."""
        return sum(file.nbytes for file in self.files)


class FileGroup(NamedTuple):
    """A model file, or the shards that are one."""

    name: str
    format: str
    role: str
    files: tuple[RepoFile, ...]
    missing: int  # shards that the names promise and the repository does not have

    @property
    def nbytes(self) -> int:
        """All shards together."""
        return sum(file.nbytes for file in self.files)


def format_of(name: str) -> str:
    """Return the format that a file's name tells.

    >>> format_of("Q4_K_M/Qwen3.5-397B-A17B-Q4_K_M-00001-of-00006.gguf")
    'GGUF'
    """
    _, dot, suffix = name.lower().rpartition(".")
    return FORMATS.get(dot + suffix, OTHER)


def group_files(files: Iterable[RepoFile]) -> list[FileGroup]:
    """Return the model files of a repository, shards together, in the order of their names."""
    groups: dict[str, list[RepoFile]] = {}
    promised: dict[str, int] = {}
    for file in sorted(files):
        if format_of(file.name) not in READ:
            continue
        match = _SHARD.fullmatch(file.name)
        name = match["stem"] + match["suffix"] if match else file.name
        groups.setdefault(name, []).append(file)
        promised[name] = min(MOST_SHARDS, int(match["count"])) if match else 1
    return [
        FileGroup(
            name=name,
            format=format_of(name),
            role=MMPROJ if MMPROJ in name.rpartition("/")[2].lower() else MODEL,
            files=tuple(members),
            missing=max(0, promised[name] - len(members)),
        )
        for name, members in groups.items()
    ]


def bytes_by_format(repository: Repository) -> dict[str, int]:
    """Return the bytes of all files by format."""
    totals: dict[str, int] = {}
    for file in repository.files:
        name = format_of(file.name)
        totals[name] = totals.get(name, 0) + file.nbytes
    return totals


def choose_group(groups: Sequence[FileGroup], pattern: str | None, repo_id: str) -> FileGroup:
    """Return the one model that a pattern names, or the one mmproj; raise InputError if it is none or several."""
    named = [group for group in groups if pattern is None or _matches(group.name, pattern)]
    models = [group for group in named if group.role == MODEL] or named
    if len(models) == 1:
        return models[0]
    listed = models or groups
    names = (", ".join(group.name for group in listed[:MOST_NAMED]) or "none") + ", ..." * (len(listed) > MOST_NAMED)
    if not models:
        what = f"no model file matches {quoted(pattern)}" if pattern is not None else "no model file"
        hint = "" if pattern is None or "*" in pattern else f" (a pattern: {quoted(f'*{pattern}*')})"
        raise InputError(f"{quoted(repo_id)}: {what}{hint}; it has: {names}")
    raise InputError(f"{quoted(repo_id)}: {len(models)} models; choose one with --file '*PATTERN*': {names}")


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(each, pattern) for each in (name, name.rpartition("/")[2]))
