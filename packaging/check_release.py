"""Say whether a tag may be released: `python packaging/check_release.py v0.2.0`; exit code 1 if not.

The changelog begins with its version and a date, the tree is the tag's, and the lock holds what pyproject.toml allows.
"""

from __future__ import annotations

import re
import sys
import tomllib

from lock import packages
from version import ROOT, entries, version


def faults(tag: str) -> list[str]:
    """Return why a tag may not be released."""
    found = []
    (newest, date), *_ = entries()
    if tag != f"v{newest}":
        found.append(f"CHANGELOG.md begins with {newest}, not {tag.removeprefix('v')}")
    if not date:
        found.append(f"CHANGELOG.md: {newest} has no date yet")
    if version() != tag.removeprefix("v"):
        found.append(f"this tree is {version()}; check out {tag}, with nothing changed")
    return found + not_locked()


def not_locked() -> list[str]:
    """Return the dependencies that are not in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = {each.name.replace("_", "-") for each in packages()}
    names = [re.split(r"[^A-Za-z0-9_.-]", line)[0].lower().replace("_", "-") for line in project["dependencies"]]
    return [f"packaging/pylock.toml has no {name}; make it again" for name in names if name not in locked]


if __name__ == "__main__":
    wrong = faults(sys.argv[1])
    print("\n".join(wrong) or f"{sys.argv[1]} can be released")
    sys.exit(1 if wrong else 0)
