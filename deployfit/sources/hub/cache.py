"""A cache on disk: what was read of a file is kept under what the Hub calls its content, so it is never stale."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = "DEPLOYFIT_CACHE"
DIGEST_BYTES = hashlib.sha256().digest_size
MOST_ENTRY_BYTES = 64 * 2**20
MOST_BYTES = 512 * 2**20  # of all entries; those that were not used for longest go first
KEPT_SHARE = 0.75  # of that, so that not every write has to look again
TEMPORARY = "tmp"  # how the names of files begin that are being written
OLD_SECONDS = 3600  # after which whoever wrote such a file is not going to finish it


def default_folder() -> Path | None:
    """Return the folder: $DEPLOYFIT_CACHE, or deployfit in the user's cache folder; None if there is no home."""
    shared = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "deployfit")
    folder = os.path.expanduser(os.environ.get(ENVIRONMENT) or shared)
    return None if folder.startswith("~") else Path(folder)


class Cache:
    """Bytes by key. Keys become digests, so that no name ever becomes a path; writes are atomic.

    Two processes may use it at once: each writes a file of its own and renames it. A cache that cannot be written is
    no error, only slow. An entry that a disk or somebody damaged, or moved to another's place, does not have its digest
    any more, and is as if it were not there; so is what is no regular file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._written = MOST_BYTES  # since the folder was looked through; at first, all that may be there

    def get(self, *key: str) -> bytes | None:
        """Return what was put under this key, None if nothing was."""
        path = self._path(key)
        kept = None if path is None else _regular_file(path)
        if kept is None:
            return None
        digest, content = kept[:DIGEST_BYTES], kept[DIGEST_BYTES:]
        return content if _digest(key, content) == digest else None

    def put(self, content: bytes, *key: str) -> None:
        """Keep bytes under a key."""
        path = self._path(key)
        if path is None or len(content) > MOST_ENTRY_BYTES:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(_digest(key, content) + content)
                os.replace(name, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
            self._written += len(content)
            if self._written > MOST_BYTES * (1 - KEPT_SHARE):
                self._written = 0
                self._sweep()

    def drop(self, *key: str) -> None:
        """Forget what was put under a key."""
        path = self._path(key)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def _path(self, key: tuple[str, ...]) -> Path | None:
        digest = hashlib.sha256(_joined(key)).hexdigest()
        return self._folder / digest[:2] / digest if self._folder else None

    def _sweep(self) -> None:
        """Remove what killed processes left unfinished, and the entries that were not used for longest."""
        now = time.time()
        entries = []
        for path, status in self._files():
            if path.name.startswith(TEMPORARY):
                if now - status.st_mtime > OLD_SECONDS:
                    with contextlib.suppress(OSError):
                        path.unlink()
            else:
                entries.append((max(status.st_atime, status.st_mtime), status.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= MOST_BYTES:
            return
        for _, size, path in sorted(entries):
            if total <= MOST_BYTES * KEPT_SHARE:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files of the cache; what is none of its own is left alone."""
        if self._folder is None:
            return
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode) and (
                        path.name.startswith(TEMPORARY) or len(path.name) == 2 * DIGEST_BYTES
                    ):
                        yield path, status


def _joined(key: tuple[str, ...]) -> bytes:
    return "\0".join(key).encode("utf-8", "surrogatepass")


def _digest(key: tuple[str, ...], content: bytes) -> bytes:
    """Return the digest of an entry, which holds its key too."""
    joined = _joined(key)
    digest = hashlib.sha256(b"%d\0" % len(joined))
    digest.update(joined)
    digest.update(content)
    return digest.digest()


def _regular_file(path: Path) -> bytes | None:
    """Return a file's bytes; None for what is no regular file, or larger than any entry."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(number, "rb") as file:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode) or status.st_size > DIGEST_BYTES + MOST_ENTRY_BYTES:
                return None
            content = file.read(status.st_size)
            with contextlib.suppress(OSError):
                os.utime(number)  # it was used: not every file system notes that
            return content
    except OSError:
        return None
