"""Write the repository `hf-deployfit`, which `hf extensions install deployfit/hf-deployfit` installs.

`python packaging/hf_extension.py FOLDER`. By huggingface_hub's conventions an extension is a repository of that name
whose package has a script of that name; `hf deployfit ...` then runs it in an environment of its own.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

from version import ROOT, version

NAME = "hf-deployfit"
PYPROJECT = """\
# Written by packaging/hf_extension.py.
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"
description = "{description}"
requires-python = "{python}"
license = "Apache-2.0"
dependencies = ["deployfit"]

[project.scripts]
{name} = "deployfit.__main__:main"

[tool.setuptools]
py-modules = []
"""
README = """\
# hf-deployfit

[deployfit](https://github.com/deployfit/deployfit) as an extension of the `hf` command line:

    hf extensions install deployfit/hf-deployfit
    hf deployfit fit Qwen3.5-27B --mac 32
    hf deployfit here
"""


def write(folder: Path) -> None:
    """Write the repository's files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder.mkdir(parents=True, exist_ok=True)
    text = PYPROJECT.format(
        name=NAME, version=version(), description=project["description"], python=project["requires-python"]
    )
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({"description": project["description"]}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
