"""Short runs of the attacks. What they print when they run long stands in `benchmarks/attack.md`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from . import fuzz, guided, kills, surroundings
from .hub_faults import MOST_BYTES, meet
from .raw_hub import FAULTS

# Inputs in the short run: all kinds, in about the proportion of the long one, and a few command lines.
INPUTS = {
    "GGUF headers": 1500,
    "safetensors headers": 1500,
    "answers of the Hub": 600,
    "files of models": 30,
    "answers about a config.json": 20,
    "logs": 120,
    "questions of agents": 60,
    "command lines": 6,
}


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=[target.name for target in fuzz.TARGETS])
def test_fuzzing(target: fuzz.Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(os.environ, "DEPLOYFIT_CACHE", str(tmp_path))
    found = fuzz.run_target(target, range(INPUTS.get(target.name, 300)))
    assert found.wrong == []
    assert found.accepted > 0 or target.name == "command lines"
    assert found.refused > 0


SHORT = [
    "404 without end",
    "16 MB of one text, with an emoji",
    "gzip damaged",
    "a page in place of every file",
    "a header as long as any",
]


def test_a_hub_that_goes_wrong() -> None:
    """The program as a whole: its exit code, one line, its memory; and afterwards all is well."""
    met = list(meet(SHORT, [("fit", "hub:own/repo", "--mac", "16")], at_once=2))
    assert [each.wrong for each in met] == [[]] * len(SHORT)
    assert {each.ran[0].code for each in met} == {2, 4}
    assert max(each.ran[0].peak_bytes for each in met) < MOST_BYTES


def test_there_are_many_kinds_of_fault() -> None:
    assert len(FAULTS) >= 160


def test_kills_on_one_cache() -> None:
    found = kills.kill(4, seed=7, asked_after=4)
    assert found.wrong == []
    assert found.asked > 0


SURROUNDINGS = [
    "latin-1: a hostile name as",
    "utf-8: a hostile name as text",
    "stdout on a full disk",
    "--output on a full disk",
]


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings(name: str) -> None:
    came = list(surroundings.all_cases([name]))
    assert came
    assert [each.wrong for each in came if each.wrong] == []


def test_ctrl_c_at_any_line() -> None:
    """A press that comes while things are imported is as quiet as a later one."""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack.interrupts", "8"], cwd=root, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=[target.name for target in fuzz.TARGETS])
def test_bytes_decide_what_is_built(target: fuzz.Target) -> None:
    """What guided fuzzing changes are bytes: all of them build something, and the same bytes the same."""
    ends = [b"", b"\xff" * 400, random.Random(1).randbytes(400)]
    built = [target.build(guided.Chances(data)) for data in ends]
    assert built == [target.build(guided.Chances(data)) for data in ends]
    assert built[0] != built[2]
