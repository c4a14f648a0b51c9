"""Without --mac deployfit answers for the machine it runs on; a fake sysctl, first on the path, stands in for it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import run

M4_MAX = {
    "hw.memsize": "68719476736",
    "machdep.cpu.brand_string": "Apple M4 Max",
    "kern.osproductversion": "26.1",
    "iogpu.wired_limit_mb": "0",
}
FIT = ("fit", "Qwen3.5-4B", "--quant", "Q4_K_M", "--format", "json")


def machine(folder: Path, answers: Mapping[str, str]) -> dict[str, str]:
    """An environment in which sysctl knows these keys and no others."""
    cases = "\n".join(f"'{key}') echo '{value}' ;;" for key, value in answers.items())
    script = folder / "sysctl"
    script.write_text(f'#!/bin/sh\ncase "$2" in\n{cases}\n*) exit 1 ;;\nesac\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def answer(folder: Path, answers: Mapping[str, str], *words: str) -> dict[str, Any]:
    done = run(*FIT, *words, env=machine(folder, answers))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    return dict(row)


def test_its_memory_chip_and_macos_are_found(tmp_path: Path) -> None:
    row = answer(tmp_path, M4_MAX)
    assert (row["mac"], row["macos"], row["gpu_limit_bytes"]) == ("M4 Max 64 GB", 26, 55_662_788_608)


def test_a_raised_limit_is_honoured(tmp_path: Path) -> None:
    row = answer(tmp_path, {**M4_MAX, "iogpu.wired_limit_mb": "57344"})
    assert row["gpu_limit_bytes"] == 57344 * 2**20


def test_options_win_over_what_was_found(tmp_path: Path) -> None:
    assert answer(tmp_path, M4_MAX, "--macos", "15")["gpu_limit_bytes"] == 51_539_607_552
    assert answer(tmp_path, M4_MAX, "--wired-limit", "60g")["gpu_limit_bytes"] == 60 * 2**30
    assert answer(tmp_path, M4_MAX, "--mac", "32")["gpu_limit_bytes"] == 26_800_603_136


def test_an_older_macos_has_no_wired_limit(tmp_path: Path) -> None:
    old = {"hw.memsize": "8589934592", "machdep.cpu.brand_string": "Apple M1", "kern.osproductversion": "15.5"}
    row = answer(tmp_path, old)
    assert (row["mac"], row["macos"], row["basis"]["gpu_limit_bytes"]) == ("M1 8 GB", 15, "derived")


def test_a_memory_that_was_never_sold_is_a_virtual_machine_and_assumed(tmp_path: Path) -> None:
    row = answer(tmp_path, {**M4_MAX, "hw.memsize": str(20 * 2**30), "machdep.cpu.brand_string": "Apple M4 (Virtual)"})
    assert row["basis"]["gpu_limit_bytes"] == "assumed"
    assert any("never observed" in note for note in row["notes"])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({**M4_MAX, "machdep.cpu.brand_string": "Intel(R) Core(TM) i9"}, "no Apple silicon"),
        ({**M4_MAX, "hw.memsize": "lots"}, "not a Mac"),
        ({**M4_MAX, "hw.memsize": "0"}, "not a Mac"),
        ({**M4_MAX, "hw.memsize": "\u00b2"}, "not a Mac"),
        ({**M4_MAX, "hw.memsize": "9" * 5000}, "not a Mac"),
        ({**M4_MAX, "machdep.cpu.brand_string": "Apple M4\a"}, "no Apple silicon"),
        ({**M4_MAX, "iogpu.wired_limit_mb": "99999999"}, "--wired-limit"),
        ({**M4_MAX, "kern.osproductversion": "31.0"}, "say which rule to use with --macos 26"),
        ({}, "not a Mac"),
    ],
)
def test_what_is_not_an_apple_silicon_mac_is_refused(answers: dict[str, str], expected: str, tmp_path: Path) -> None:
    done = run(*FIT, env=machine(tmp_path, answers))
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
