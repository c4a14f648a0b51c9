"""What is installed beside deployfit, as `pylock.toml` (PEP 751) holds it: versions, files and their digests.

`python packaging/lock.py` prints it as requirements for `pip install --require-hashes -r`. How to make the lock again
stands in its first lines.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).resolve().parent / "pylock.toml"
BUILDS = ("setuptools",)  # what only builds a wheel


class File(NamedTuple):
    """A file of a registry."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


class Package(NamedTuple):
    """A version of a package; `marker` is "" where it is always installed."""

    name: str
    version: str
    marker: str
    files: Sequence[File]


def packages(lock: Path = LOCK) -> list[Package]:
    """Return the packages of the lock."""
    with open(lock, "rb") as file:
        found = tomllib.load(file)["packages"]
    return [Package(each["name"], each["version"], each.get("marker", ""), list(_files(each))) for each in found]


def _files(package: dict[str, Any]) -> Iterator[File]:
    for each in [*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", [])]:
        yield File(each["url"], each["hashes"]["sha256"])


def requirements(found: Sequence[Package]) -> str:
    """Return packages as requirements with the digests of all their files."""
    lines = []
    for each in found:
        marker = f" ; {each.marker}" if each.marker else ""
        lines.append(
            f"{each.name}=={each.version}{marker}"
            + "".join(f" \\\n    --hash=sha256:{file.sha256}" for file in each.files)
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(requirements(packages()), end="")
