"""A cache on disk: what was read of a file is kept under what the Hub calls its content, so it is never stale."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

ENVIRONMENT = "DEPLOYFIT_CACHE"
MOST_ENTRY_BYTES = 256 * 2**20


def default_folder() -> Path:
    """Return the folder: $DEPLOYFIT_CACHE, or deployfit in the user's cache folder."""
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deployfit"


class Cache:
    """Bytes by key. Keys become digests, so that no name ever becomes a path; writes are atomic.

    Two processes may use it at once: each writes a file of its own and renames it. A cache that cannot be
    written is no error, only slow.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, *key: str) -> bytes | None:
        """Return what was put under this key, None if nothing was."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

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
                    file.write(content)
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
