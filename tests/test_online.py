"""Opt-in (`pytest -m online`): the real Hugging Face Hub answers as the tests' own server does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import run

pytestmark = pytest.mark.online


def test_a_published_file_has_the_counted_tensors(tmp_path: Path) -> None:
    """The smallest of unsloth's files: its list, its header in a few requests, its size as written down."""
    env = {**os.environ, "DEPLOYFIT_CACHE": str(tmp_path)}
    words = ("hub", "unsloth/Qwen3.5-0.8B-GGUF", "--file", "*-Q8_0*", "--format", "json")
    done = run(*words, env=env)
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout)["rows"] if row["tensor_bytes"]]
    fit = run("fit", "Qwen3.5-0.8B", "--quant", "unsloth:Q8_0", "--mac", "16", "--format", "json")
    assert row["tensor_bytes"] == json.loads(fit.stdout)["rows"][0]["tensor_bytes"]
    assert run(*words, "--offline", env=env).returncode == 0


def test_the_catalogue_is_as_the_hub_has_it() -> None:
    done = run("check", "--online", "--model", "Qwen3.5-0.8B")
    assert done.returncode in (0, 1), done.stderr
    assert "differences: " not in done.stderr
