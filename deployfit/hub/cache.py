"""A cache on disk: what was read of a file is kept under what the Hub calls its content, so it is never stale."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

ENVIRONMENT = "DEPLOYFIT_CACHE"
DIGEST_BYTES = hashlib.sha256().digest_size
MOST_ENTRY_BYTES = 256 * 2**20


def default_folder() -> Path:
    """Return the folder: $DEPLOYFIT_CACHE, or deployfit in the user's cache folder."""
    shared = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "deployfit")
    return Path(os.path.expanduser(os.environ.get(ENVIRONMENT) or shared))


class Cache:
    """Bytes by key. Keys become digests, so that no name ever becomes a path; writes are atomic.

    Two processes may use it at once: each writes a file of its own and renames it. A cache that cannot be
    written is no error, only slow; an entry that a disk or somebody damaged does not have its digest any more,
    and is as if it were not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, *key: str) -> bytes | None:
        """Return what was put under this key, None if nothing was."""
        try:
            kept = self._path(key).read_bytes()
        except OSError:
            return None
        digest, content = kept[:DIGEST_BYTES], kept[DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, content: bytes, *key: str) -> None:
        """Keep bytes under a key."""
        if len(content) > MOST_ENTRY_BYTES:
            return
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(hashlib.sha256(content).digest() + content)
                os.replace(name, path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise

    def drop(self, *key: str) -> None:
        """Forget what was put under a key."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: tuple[str, ...]) -> Path:
        digest = hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / digest[:2] / digest
