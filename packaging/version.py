"""The version: of a tag, or of what comes after it; an sdist knows its own.

`python packaging/version.py` prints it. A tag is `v1.2.3`; commits after it count as development of the version that
CHANGELOG.md begins with, or of the next patch where that is already tagged.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAGS = "v[0-9]*"
_DESCRIBED = re.compile(r"v(?P<tag>[0-9]+(?:\.[0-9]+)*(?:rc[0-9]+)?)(?:-(?P<count>[0-9]+)-g(?P<commit>[0-9a-f]+))?")


def version(root: Path = ROOT) -> str:
    """Return the version of a source tree: an sdist, a checkout with or without tags, or an archive of one."""
    info = root / "PKG-INFO"
    if info.exists():
        return re.findall(r"^Version: (\S+)$", info.read_text(encoding="utf-8"), re.MULTILINE)[0]
    coming = entries(root)[0][0]
    described = _git(root, "describe", "--tags", "--long", "--dirty", "--match", TAGS)
    if described:
        return of_describe(described, coming)
    commit = _git(root, "rev-parse", "--short", "HEAD")
    if commit:
        return f"{coming}.dev{_git(root, 'rev-list', '--count', 'HEAD')}+g{commit}"
    archived = root / ".git_archival.txt"  # filled in by git archive, so by a forge's .zip and .tar.gz
    described = archived.read_text(encoding="utf-8").strip() if archived.exists() else ""
    return of_describe(described, coming) if _DESCRIBED.match(described) else f"{coming}.dev0"


def of_describe(described: str, coming: str) -> str:
    """Return the version that `git describe` tells of; `coming` is the one that is being worked on.

    >>> of_describe("v0.2.0-0-gabc1234", "0.2.0"), of_describe("v0.2.0-3-gabc1234", "0.3.0")
    ('0.2.0', '0.3.0.dev3+gabc1234')
    >>> of_describe("v0.2.0-3-gabc1234-dirty", "0.2.0"), of_describe("v0.2.0", "0.2.0")
    ('0.2.1.dev3+gabc1234', '0.2.0')
    """
    found = _DESCRIBED.match(described)
    assert found, described
    tag, count = found["tag"], int(found["count"] or 0)
    if not count and not described.endswith("-dirty"):
        return tag
    if coming == tag:
        *head, last = tag.partition("rc")[0].split(".")
        coming = ".".join([*head, str(int(last) + 1)])
    return f"{coming}.dev{count}+g{found['commit']}"


def entries(root: Path = ROOT) -> list[tuple[str, str]]:
    """Return the changelog's versions with their dates, the newest first; "" for one that was never released."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(
        r"^## ([0-9][0-9a-z.]*)(?: \((?:unreleased|([0-9]{4}-[0-9]{2}-[0-9]{2}))\))?$", text, re.MULTILINE
    )


def _git(root: Path, *words: str) -> str:
    """Return what git says, "" where it says nothing or this is no repository of its own."""
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    print(version())
