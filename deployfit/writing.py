"""Writing files so that nothing is lost: whoever is interrupted, or has a full disk, still has the old file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TEMPORARY = ".deployfit-"  # how the names of files begin that are not finished


def replace_file(path: str | Path, content: bytes) -> None:
    """Write a file beside the old one and put it in its place; raise OSError with the old one as it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(Path(folder) / "a:b.csv", b"x")
    ...     Path(folder, "a:b.csv").read_bytes()
    b'x'
    """
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file to be written beside the old one, which it replaces once all went well; raise OSError otherwise.

    The name is a path, whatever it looks like. A link keeps pointing where it did; the file keeps its permissions.
    What is no regular file (a terminal, a pipe, /dev/null) is written to as it is.
    """
    path = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | (0o666 & ~_umask())
    if not stat.S_ISREG(mode):
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with open(path, "wb") as device:
            yield device
        return
    number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with open(number, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), stat.S_IMODE(mode))
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:  # Ctrl-C among them
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def append_file(path: str | Path, content: bytes) -> None:
    """Append to a file, all of it or nothing; raise OSError if that cannot be done."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(number)
        try:
            _write_all(number, content)
        except OSError:
            if stat.S_ISREG(before.st_mode):
                os.ftruncate(number, before.st_size)
            raise
    finally:
        os.close(number)


def _write_all(number: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(number, left) :]


def _umask() -> int:
    """Return the permissions that new files do not get; asking for them means setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
