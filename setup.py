"""Which packages there are: every folder of deployfit, and the data beside it; and the version."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

VERSION = runpy.run_path(str(Path(__file__).parent / "packaging" / "version.py"))["version"]()

setup(version=VERSION, packages=[*find_packages(include=["deployfit", "deployfit.*"]), "deployfit.data"])
