from __future__ import annotations

import contextlib
import csv
import gc
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, SparseFile

DATA = Path(__file__).parent / "data"

# What a shell may say of its user's Mac and screen is not for tests.
for _name in ("DEPLOYFIT_MAC", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(_name, None)

# Helpers of the group `engine` import the engines, and --doctest-modules would import the helpers everywhere.
collect_ignore = ["engines/llamacpp_engine.py", "engines/mlx_engine.py", "engines/mlx_rank.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from today's output")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which groups were left out, and how to ask for them."""
    left_out = terminalreporter.stats.get("deselected", [])
    for group in ("browser", "engine", "online"):
        if count := sum(item.get_closest_marker(group) is not None for item in left_out):
            terminalreporter.write_line(f"left out: {count} tests of the group {group} (pytest -m {group})")


def pytest_collection_finish() -> None:
    """Leave what was collected out of later searches for cycles: thousands of tests would be walked each time."""
    gc.collect()
    gc.freeze()


def engine_rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line: with options of a process as one, else here, which is several times as fast."""
    return process(*words, **options) if options else inside(*words)


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployfit", *words], capture_output=True, text=True, encoding="utf-8", **options
    )


def inside(*words: str) -> subprocess.CompletedProcess[str]:
    from deployfit.cli import app

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def one_line(text: str) -> str:
    """A text without the ends of its lines, which depend on the screen."""
    return " ".join(text.split())


NOBODY = 65534


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Let permissions count: root, who may read everything, gives that up meanwhile."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody reaches too, whom pytest's own folders shut out."""
    if os.geteuid():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


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


class Asking:
    """Runs deployfit with the fake Hub as its Hub, and a cache of its own."""

    def __init__(self, hub: FakeHub, home: Path) -> None:
        self.hub = hub
        self.home = home

    def env(self, token: str | None = None) -> dict[str, str]:
        return self.hub.environment(self.home, token) | {"DEPLOYFIT_CACHE": str(self.home / "cache")}

    def __call__(self, *words: str, token: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return run(*words, env=self.env(token) | more, timeout=60)

    def rows(self, *words: str, **more: str) -> list[dict[str, Any]]:
        done = self(*words, "--format", "json", **more)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
        return found


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(tokens={"hf_ann": "ann"}) as hub:
        yield hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, SparseFile | bytes]:
    from hub_files import gguf_file

    return {
        "README.md": b"# card\n",
        "Qwen3.5-27B-Q4_K_M.gguf": gguf_file(tmp_path, "Qwen3.5-27B", "Q4_K_M"),
        "Qwen3.5-27B-Q8_0.gguf": gguf_file(tmp_path, "Qwen3.5-27B", "Q8_0"),
        "mmproj-F16.gguf": SparseFile(b"GGUF", 927_000_000),
    }


@pytest.fixture
def ask(hub: FakeHub, tmp_path: Path) -> Asking:
    return Asking(hub, tmp_path)
