"""`deployfit check`: every estimate against every published size, and what a failure looks like."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import run

from deployfit import catalogue
from deployfit.catalogue import models
from deployfit.checks import Tolerance, check_sizes, summarize
from deployfit.quants.published_sizes import PUBLISHED_SIZES, PublishedSize
from deployfit.quants.publishers import all_publishers as publishers

NONE: list[Tolerance] = []


def published_sizes() -> list[PublishedSize]:
    return catalogue.rows(PUBLISHED_SIZES)


def test_every_estimate_is_within_its_tolerance() -> None:
    done = run("check", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "deployfit/check/1"
    summary, rows = report["summary"], report["rows"]
    assert (summary["rows"], summary["exact"], summary["failed"]) == (len(rows), 289, 0)
    assert summary["rows"] + summary["not_estimated"] == len(published_sizes())
    assert all(row["excess_bytes"] <= row["tolerance_bytes"] for row in rows)
    assert all(row["reason"] for row in rows if row["tolerance_bytes"] > 4096)
    errors = [row["error_percent"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert summary["worst_percent"] == errors[0]


def test_an_estimate_never_uses_the_size_that_it_is_held_against() -> None:
    """A published size that is made up changes no estimate, and is found out."""
    sizes = published_sizes()
    index = next(i for i, size in enumerate(sizes) if (size.model, size.recipe) == ("Qwen3.5-27B", "Q4_K_M"))
    forged = [*sizes[:index], sizes[index]._replace(nbytes=sizes[index].nbytes + 5000), *sizes[index + 1 :]]
    before, after = (list(check_sizes(each, publishers(), models(), NONE)) for each in (sizes, forged))
    assert [each.estimated_bytes for each in before] == [each.estimated_bytes for each in after]
    assert sum(not each.passes for each in after) == sum(not each.passes for each in before) + 1


def test_rounding_is_no_error_but_what_is_beyond_it_is() -> None:
    wanted = ("unsloth", "Qwen3.6-27B", "Q8_0")
    (size,) = [each for each in published_sizes() if (each.publisher, each.model, each.recipe) == wanted]
    assert size.plus_minus_bytes == round(0.05 * 2**30)
    beyond = size._replace(nbytes=size.nbytes + size.plus_minus_bytes * 2)
    good, bad = check_sizes([size, beyond], publishers(), models(), NONE)
    assert (good.excess_bytes, good.passes) == (0, True)
    assert (bad.excess_bytes > 0, bad.passes) == (True, False)
    assert summarize([good, bad], 2).failed == 1


HIDING_THE_INSTALLED_DATA = (
    "import sys; sys.modules['deployfit.data'] = None; from deployfit.__main__ import main; main()"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package and its data, in which one published size is wrong."""
    root = Path(__file__).parent.parent
    shutil.copytree(root / "deployfit", tmp_path / "deployfit")
    shutil.copytree(root / "data", tmp_path / "data")
    path = tmp_path / "data" / "published_sizes.csv"
    text = path.read_text(encoding="utf-8")
    assert text.count("16740812704") == 1
    path.write_text(text.replace("16740812704", "16800000000"), encoding="utf-8")
    return tmp_path


def run_in(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDING_THE_INSTALLED_DATA, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | more)


def test_a_size_outside_its_tolerance_is_exit_code_1(checkout: Path) -> None:
    done = run_in(checkout, "check", "--rows", "1")
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if " FAILED " in line]
    assert line.split()[:5] == ["Qwen3.5-27B", "unsloth:Q4_K_M", "2026-08-21", "FAILED", "0.352"]
    suite = ElementTree.fromstring(run_in(checkout, "check", "--format", "junit").stdout.encode())
    assert suite.attrib["failures"] == "1"
    failure = suite.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == "published 16800000000, estimated 16740812576, error 0.352 %"


def test_csv_and_junit_have_a_row_per_size() -> None:
    rows = list(csv.DictReader(io.StringIO(run("check", "--publisher", "mlx-community", "--format", "csv").stdout)))
    suite = ElementTree.fromstring(run("check", "--publisher", "mlx-community", "--format", "junit").stdout.encode())
    assert len(rows) == len(suite.findall("testcase")) == 106
    of_qwen = [row for row in rows if row["model"].startswith(("Qwen3.5", "Qwen3.6"))]
    assert [row["error_bytes"] for row in of_qwen if row["plus_minus_bytes"] == "0"] == ["0"] * 21


def test_in_github_actions_the_table_goes_to_the_step_summary(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    done = run("check", "--publisher", "ollama", env={**os.environ, "GITHUB_STEP_SUMMARY": str(path)})
    assert done.returncode == 0
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n**deployfit check**\n")
    assert "| Qwen3.5-9B | ollama:Q4_K_M | 2026 | ok | 0.000 | 0.100 | -11 | 6,594,474,711 |" in text


def test_a_step_summary_that_cannot_be_written_is_said_and_the_answer_stays(checkout: Path, tmp_path: Path) -> None:
    words = ("check", "--model", "Qwen3.5-27B")
    plain, summarized = (
        run_in(checkout, *words, GITHUB_STEP_SUMMARY=place) for place in ("", str(tmp_path / "nowhere" / "summary.md"))
    )
    assert (summarized.returncode, summarized.stdout) == (plain.returncode, plain.stdout)
    assert plain.returncode == 1
    assert plain.stderr == ""
    assert summarized.stderr.startswith("deployfit: GITHUB_STEP_SUMMARY '")
    assert summarized.stderr.endswith("': No such file or directory; the step's summary goes without the answer\n")


def test_junit_names_every_case_once() -> None:
    cases = ElementTree.fromstring(run("check", "--format", "junit").stdout.encode()).findall("testcase")
    names = {(case.attrib["classname"], case.attrib["name"]) for case in cases}
    assert len(names) == len(cases) > 300


def test_offline_it_does_not_load_the_hub_s_client() -> None:
    code = (
        "import sys; sys.argv = ['deployfit', 'check', '--publisher', 'ollama']\n"
        "from deployfit.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: sys.exit('huggingface_hub' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--publisher nobody", "no publisher 'nobody'; known: unsloth"),
        ("--model Qwen3.5-28B", "no model 'Qwen3.5-28B'"),
        ("--format yaml", "no format 'yaml'; known: text, csv, html, json, junit"),
        ("--rows many", "rows: expected a whole number"),
        ("--model Qwen3.5-9B --publisher nvidia", "no published size can be checked"),
    ],
)
def test_bad_words(words: str, said: str) -> None:
    done = run("check", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
