"""Files of this machine: a folder, or a file with what belongs to it. Only headers are read, of regular files only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from deployfit.errors import InputError, quoted
from deployfit.formats.untrusted import MOST_HEADER_BYTES
from deployfit.printable import printable
from deployfit.repository import GGUF, READ, SAFETENSORS, FileGroup, RepoFile, format_of

MOST_FILES = 20_000  # that a folder is looked through for
MOST_DEPTH = 3
CONFIG = "config.json"


class Folder:
    """The model files of a folder, and the config.json files beside them."""

    origin = ""

    def __init__(self, path: str, files: tuple[RepoFile, ...]) -> None:
        self._path = path
        self.place = printable(path)
        self.files = files

    def title(self, group: FileGroup) -> str:
        """Return the name of the folder for one of many files, else the file's own."""
        if group.format == SAFETENSORS:
            return printable(os.path.basename(os.path.abspath(self._path)))
        name = group.name.rpartition("/")[2]
        return printable(name.rpartition(".")[0] if format_of(name) == GGUF else name)

    def prefix(self, file: RepoFile, nbytes: int, known: bytes) -> bytes:
        """Return the first bytes of a file, up to so many."""
        wanted = min(nbytes, file.nbytes, MOST_HEADER_BYTES)
        content = first_bytes(os.path.join(self._path, file.name), wanted)
        if len(content) < wanted:
            raise InputError(f"{quoted(file.name)}: it has become shorter; is it still being written?")
        return content

    def keep(self, file: RepoFile, content: bytes) -> None:
        """Do nothing: the file stays where it is."""

    def forget(self, file: RepoFile) -> None:
        """Do nothing: the file stays what it is."""


def first_bytes(path: str, nbytes: int) -> bytes:
    """Return the first bytes of a regular file; raise InputError for anything else, and for what cannot be read."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise InputError(f"{quoted(path)}: not a file")
            return file.read(nbytes)
    except OSError as error:
        raise InputError(f"{quoted(path)}: {error.strerror}") from None


def folder_of(path: str) -> Folder:
    """Return the files of a folder and of the folders in it; raise InputError if it cannot be read.

    What is no regular file is left out, as are links that lead nowhere.
    """
    found = []
    for name, status in _walk(path, "", MOST_DEPTH):
        found.append(RepoFile(name, status.st_size, ""))
        if len(found) > MOST_FILES:
            raise InputError(f"{quoted(path)}: more than {MOST_FILES:,} model files; give one of them")
    return Folder(path, tuple(sorted(found)))


def beside(path: str) -> Folder:
    """Return the model files of the folder that a file is in, the file itself among them, whatever its name."""
    folder, name = os.path.split(path)
    files = dict(_walk(folder or ".", "", 1))
    files[name] = os.stat(path)
    return Folder(folder, tuple(RepoFile(file, status.st_size, "") for file, status in sorted(files.items())))


def _walk(folder: str, within: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(os.path.join(folder, within)) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        if within:
            return
        raise InputError(f"{quoted(folder)}: {error.strerror}") from None
    for name in names:
        inner = f"{within}/{name}" if within else name
        is_model = name == CONFIG or format_of(name) in READ
        with suppress(OSError):
            status = os.stat(os.path.join(folder, inner))
            if stat.S_ISREG(status.st_mode) and is_model:
                yield inner, status
            elif stat.S_ISDIR(status.st_mode) and depth > 1:
                yield from _walk(folder, inner, depth - 1)
