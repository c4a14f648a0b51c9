from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"

# Helpers of the group `engine` import the engines, and --doctest-modules would import the helpers everywhere.
collect_ignore = ["engines/llamacpp_engine.py", "engines/mlx_engine.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from today's output")


def engine_rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployfit", *words], capture_output=True, text=True, encoding="utf-8", **options
    )


Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def fit_rows() -> Callable[..., Rows]:
    """Run `deployfit fit ... --format json` as a user would and return its rows."""

    def rows(*words: str) -> Rows:
        done = run("fit", *words, "--format", "json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["schema"] == "deployfit/fit/1"
        found: Rows = report["rows"]
        return found

    return rows
