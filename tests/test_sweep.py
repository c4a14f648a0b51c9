"""The sweep equals `fit`, point by point: Python's whole numbers against numpy's."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.ask import SHELF
from deployfit.catalog import gpu_limits, macs, models, speeds
from deployfit.errors import InputError
from deployfit.grid import COLUMNS, MISSING, VERDICTS, Grid, Swept, sweep
from deployfit.hardware import GPU_RESERVE, Mac, Place, default_limit, raised_limit
from deployfit.quants.find import find_quant
from deployfit.quants.weights import Options, Quant
from deployfit.runtimes.llamacpp import LlamaCppSettings
from deployfit.runtimes.mlx import MlxSettings
from deployfit.runtimes.running import Settings
from deployfit.units import GIB
from deployfit.verdict import Answer, Fit, Question

MEMORIES = sorted({row.memory_gib for row in gpu_limits()})


CHIPS = [("", memory) for memory in MEMORIES] + [(row.chip, row.memory_gib[-1]) for row in macs()]


def place_of(chip_and_memory: tuple[str, int], macos: int, raised_percent: int = 0) -> Place:
    mac = Mac(chip_and_memory[0], chip_and_memory[1] * GIB)
    if raised_percent:
        return Place(mac, macos, raised_limit(mac, mac.memory_bytes * raised_percent // 100), raised=True)
    return Place(mac, macos, default_limit(mac, macos, gpu_limits()))


def few(values: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(values, min_size=1, max_size=most, unique=True)


GGUF_NAMES = ["IQ1_S", "IQ2_XXS", "Q4_K_M", "Q8_0", "BF16", "unsloth:Q4_K_M", "ollama:Q4_K_M", "unsloth:UD-IQ1_M"]
MLX_NAMES = ["3bit", "4bit", "8bit", "mxfp4", "q4_g64_early", "mlx-community:4bit"]

names = few(st.sampled_from(sorted(models())), 2)
places = few(
    st.builds(place_of, st.sampled_from(CHIPS), st.sampled_from([15, 26]), st.sampled_from([0, 0, 0, 5, 50, 99])), 4
)
contexts = few(st.one_of(st.sampled_from([1, 255, 256, 512, 4096, 262_144, 262_145]), st.integers(1, 262_144)))
llamacpp = few(
    st.builds(
        LlamaCppSettings,
        context_tokens=st.just(1),
        kv_type_k=st.sampled_from(["f16", "q8_0", "f32", "iq4_nl"]),
        kv_type_v=st.sampled_from(["f16", "bf16", "q4_0"]),
        parallel=st.sampled_from([1, 1, 1, 3, 4]),
        ubatch=st.sampled_from([1, 100, 512, 512, 1024, 2048]),
    ),
    2,
)
mlx = few(
    st.builds(
        MlxSettings,
        context_tokens=st.just(1),
        kv_bits=st.sampled_from([16, 8, 4]),
        prefill_step_size=st.sampled_from([1, 512, 2048, 5000, 2**18]),
    ),
    2,
)
options = st.builds(Options, imatrix=st.booleans(), mtp=st.booleans(), vision=st.booleans())


def scalar(grid: Grid, point: tuple[int, ...]) -> Answer | None:
    """Return the answer of `fit` at a point, None where it refuses."""
    m, q, s, c, p = point
    how: Settings = grid.settings[s].with_context(grid.contexts[c])
    try:
        return Fit(Question(grid.models[m], how, grid.places[p], grid.options), [], gpu_limits(), speeds()).answer(
            grid.quants[q]
        )
    except InputError:
        return None


def differing(swept: Swept) -> list[tuple[int, ...]]:
    """Return the points at which the sweep does not say what `fit` says."""
    rows = iter(swept.rows())
    wrong = []
    for point in np.ndindex(swept.grid.shape):
        m, q, s, c, p = point
        expected = scalar(swept.grid, point)
        if expected is None:
            same = swept.total_bytes[m, q, s, c] == swept.verdicts[point] == -1
        else:
            same = (
                swept.total_bytes[m, q, s, c] == expected.estimate.total_bytes
                and VERDICTS[swept.verdicts[point]] is expected.verdict
                and swept.max_context_tokens[m, q, s, p] == expected.max_context_tokens
                and row_of(expected) == dict(zip(COLUMNS, next(rows), strict=True))
            )
        if not same:
            wrong.append(point)
    assert next(rows, None) is None
    return wrong


def row_of(answer: Answer) -> dict[str, object]:
    from deployfit.report.fit_report import fit_row

    row = fit_row(answer) | {"weights_basis": answer.weights.basis.value}
    return {name: row[name] for name in COLUMNS}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names, few(st.sampled_from(GGUF_NAMES)), llamacpp, contexts, places, options)
def test_the_sweep_equals_fit_under_llamacpp(
    names: list[str],
    quants: list[str],
    hows: list[LlamaCppSettings],
    contexts: list[int],
    places: list[Place],
    options: Options,
) -> None:
    chosen: list[Quant] = [find_quant(quant, SHELF) for quant in quants]
    assert (
        differing(sweep(Grid([models()[name] for name in names], chosen, hows, contexts, places, options, speeds())))
        == []
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(names, few(st.sampled_from(MLX_NAMES), 2), mlx, contexts, places, options)
def test_the_sweep_equals_fit_under_mlx(
    names: list[str],
    quants: list[str],
    hows: list[MlxSettings],
    contexts: list[int],
    places: list[Place],
    options: Options,
) -> None:
    chosen: list[Quant] = [find_quant(quant, SHELF, "mlx") for quant in quants]
    assert (
        differing(sweep(Grid([models()[name] for name in names], chosen, hows, contexts, places, options, speeds())))
        == []
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(models())), llamacpp, st.lists(st.integers(1, 1024), min_size=3, max_size=3), options)
def test_limits_that_are_just_reached_and_just_missed(
    name: str, hows: list[LlamaCppSettings], steps: list[int], options: Options
) -> None:
    """Limits raised to what a context takes, to the byte: there a little more context may need a little less."""
    model, quant, how = models()[name], find_quant("Q4_K_M", SHELF), hows[0]
    mac = Mac("", 1024 * GIB)
    grid = Grid([model], [quant], [how], [min(262_144, step * how.context_step) for step in steps], [], options)
    totals = sweep(grid).total_bytes.ravel().tolist()
    limits = [total + below for total in totals if total > 0 for below in (-1, 0, GPU_RESERVE - 1, GPU_RESERVE)]
    places = [Place(mac, 26, raised_limit(mac, limit), raised=True) for limit in limits]
    assert differing(sweep(grid._replace(places=places))) == []


def test_what_is_refused_is_missing_and_said() -> None:
    model = models()["Qwen3.5-4B"]
    quants = [find_quant(name, SHELF) for name in ("Q4_K_M", "unsloth:Q4_K_M")]
    hows = [LlamaCppSettings(1), LlamaCppSettings(1, parallel=1000)]
    swept = sweep(Grid([model], quants, hows, [256, 300_000], [place_of(("", 16), 26)]))
    assert swept.answered == len(list(swept.rows())) == 2
    assert swept.refusals == (
        "context: 300,000 tokens; choose from 1 to the trained 262,144",
        "parallel: 1,000 sequences; choose from 1 to 256",
    )
    assert (swept.total_bytes[0, 0] == MISSING).tolist() == [[False, True], [True, True]]


def test_rows_are_pythons_own_numbers_and_words() -> None:
    swept = sweep(
        Grid(
            [models()["Qwen3.5-4B"]],
            [find_quant("Q4_K_M", SHELF)],
            [LlamaCppSettings(1)],
            [512],
            [place_of(("", 8), 26)],
        )
    )
    (row,) = swept.rows()
    assert {type(value) for value in row} <= {int, str, bool, type(None)}


WORDS = ["sweep", "Qwen3.5-9B", "Qwen3.5-27B", "--quant", "Q4_K_M", "--quant", "mlx-community:4bit"]
WORDS += ["--context", "8k", "--context", "300k", "--mac", "24", "--mac", "m4 max 64", "--macos", "15", "--macos", "26"]
WORDS += ["--kv-type", "f16", "--kv-type", "q8_0", "--kv-bits", "16", "--kv-bits", "4"]


@pytest.fixture(scope="module")
def written() -> list[dict[str, object]]:
    """The rows of `deployfit sweep --format json`."""
    done = run(*WORDS, "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "deployfit/sweep/1"
    rows: list[dict[str, object]] = report["rows"]
    return rows


def test_the_command_says_what_fit_says(written: list[dict[str, object]]) -> None:
    assert len(written) == 2 * (2 + 2) * 1 * 2 * 2
    for row in (written[0], written[-1]):
        kv = ["--kv-type", str(row["kv_type_k"])] if row["kv_type_k"] else ["--kv-bits", str(row["kv_bits"])]
        mac = ["--mac", str(row["mac"]), "--macos", str(row["macos"]), "--context", "8k"]
        done = run("fit", str(row["model"]), "--quant", str(row["recipe"]), *mac, *kv, "--format", "json")
        (expected,) = json.loads(done.stdout)["rows"]
        basis = expected["basis"]["weights_bytes"]
        assert row == {name: expected[name] for name in COLUMNS if name != "weights_basis"} | {"weights_basis": basis}


def test_csv_and_a_file_hold_the_same_rows(written: list[dict[str, object]], tmp_path: Path) -> None:
    done = run(*WORDS, "--format", "csv")
    file = tmp_path / "rows.csv"
    assert run(*WORDS, "--format", "csv", "--output", str(file)).stderr == f"32 estimates written to {file}\n"
    assert file.read_text(encoding="utf-8") == done.stdout
    as_text = [
        {
            name: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in row.items()
        }
        for row in written
    ]
    assert list(csv.DictReader(done.stdout.splitlines())) == as_text


def test_parquet_and_the_frame_hold_the_same_rows(written: list[dict[str, object]], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "rows.parquet"
    done = run(*WORDS, "--format", "parquet", "--output", str(file))
    assert done.returncode == 0, done.stderr
    assert parquet.read_table(file).to_pylist() == written


def test_the_frame_keeps_whole_numbers_whole() -> None:
    from deployfit.report.sweep_report import frame

    four = find_quant("4bit", SHELF)
    hows = [LlamaCppSettings(1)], [MlxSettings(1)]
    grids = [
        Grid([models()["Qwen3.5-4B"]], [quant], how, [512, 1024], [place_of(("", 8), 26)])
        for quant, how in zip((find_quant("Q4_K_M", SHELF), four), hows, strict=True)
    ]
    swept = [sweep(grid) for grid in grids]
    table = frame(swept)
    assert list(table.columns) == list(COLUMNS)
    rows = [row for each in swept for row in each.rows()]
    assert table.astype(object).where(table.notna(), None).values.tolist() == [list(row) for row in rows]
    assert str(table["kv_bits"].dtype) == "Int64"
    assert frame([]).empty


def test_text_says_how_many_there_are_and_shows_the_first() -> None:
    lines = run(*WORDS).stdout.splitlines()
    assert lines[0].startswith("llama.cpp: 2 models x 1 recipe x 2 settings x 2 contexts x 4 Macs: fits ")
    assert lines[2] == "32 left out, as they cannot be: context: 307,200 tokens; choose from 1 to the trained 262,144"
    assert len(lines) == 3 + 2 + 20 + 2
    assert lines[-1].startswith("The first 20 of 32; all of them: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--context", "300k"], "context: 307,200 tokens; choose from 1 to the trained 262,144"),
        (["--quant", "4bit", "--mtp"], "mlx-lm and mlx-vlm drop the MTP layer; leave out --mtp"),
        (["--kv-bits", "4"], "--kv-bits is an option of mlx, and nothing asked for runs on it; leave it out"),
        (["--format", "parquet"], "parquet is no text for standard output; say where to with --output FILE"),
        (["--format", "xml"], "no format 'xml'; known: text, json, csv, parquet"),
        (["--mac", "33"], "no Mac with 33 GB; Macs were sold with"),
        *(
            (["--output", output, "--format", name], f"output {output!r}: {said}; choose a file that can be written")
            for name in ("csv", "parquet")
            for output, said in (
                ("missing/rows", "No such file or directory"),
                ("", "No such file or directory"),
                (".", "Is a directory"),
            )
        ),
        (["--parallel", "9" * 9], "parallel: 999,999,999 sequences; choose from 1 to 256"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = run("sweep", "Qwen3.5-4B", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("format_name", ["csv", "parquet"])
def test_a_full_disk_is_one_line(format_name: str) -> None:
    done = run("sweep", "Qwen3.5-4B", "--output", "/dev/full", "--format", format_name)
    said = "deployfit: output '/dev/full': No space left on device; choose a file that can be written\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_file_s_name_is_echoed_visibly(tmp_path: Path) -> None:
    done = run("sweep", "Qwen3.5-4B", "--quant", "Q8_0", "--output", "red\x1b[31m.txt", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "13 estimates written to red\\x1b[31m.txt\n")


@pytest.mark.parametrize("words", [["sweep", "Qwen3.5-4B"], ["table", "--mac", "8", "--format", "csv"], ["table"]])
def test_a_standard_output_that_is_closed_is_no_crash(words: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "deployfit", *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_too_many_at_once_are_refused_before_they_are_counted() -> None:
    many = [word for each in range(1, 60) for option in ("--parallel", "--context") for word in (option, str(each))]
    done = run("sweep", *many, *(word for each in ("f16", "q8_0", "q4_0") for word in ("--kv-type", each)))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("deployfit: 50,773,866 combinations are too many at once; name fewer models, ")


def test_parquet_without_pyarrow_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('as if it were not installed')\n", encoding="utf-8")
    words = ["sweep", "Qwen3.5-4B", "--format", "parquet", "--output", "rows.parquet"]
    done = run(*words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "deployfit: parquet needs pyarrow: pip install pyarrow, or choose --format csv\n"


def test_the_table_of_a_mac_says_what_fit_says() -> None:
    words = ["--quant", "Q4_K_M", "--quant", "Q5_K_M", "--quant", "Q6_K", "--quant", "q4_g128", "--mac", "32"]
    done = run("table", "Qwen3.5-35B-A3B", "Qwen3.5-27B", *words, "--context", "64k")
    cells = {line.split("  ")[0]: re.split(r" {2,}", line)[1:] for line in done.stdout.splitlines()}
    marks = {"fits": "", "tight": "tight ", "needs_raised_limit": "raise ", "does_not_fit": "no "}
    seen = set()
    for column, model in enumerate(("Qwen3.5-35B-A3B", "Qwen3.5-27B")):
        fitted = run("fit", model, *words, "--context", "64k", "--format", "json")
        for row in json.loads(fitted.stdout)["rows"]:
            assert cells[row["recipe"]][column] == f"{marks[row['verdict']]}{row['total_bytes'] / GIB:.2f}"
            seen.add(row["verdict"])
    assert seen >= {"fits", "needs_raised_limit", "does_not_fit"}


@pytest.mark.parametrize("format_name", ["json", "csv"])
def test_the_table_of_a_mac_is_a_sweep_for_programs(format_name: str) -> None:
    words = ["Qwen3.5-9B", "Qwen3.5-4B", "--quant", "Q8_0", "--mac", "m2 16", "--macos", "15", "--format", format_name]
    assert run("table", *words).stdout == run("sweep", *words).stdout


@pytest.mark.parametrize("words", [["--context", "32k"], ["--macos", "15"]])
def test_a_table_of_sizes_is_of_no_mac(words: list[str]) -> None:
    done = run("table", *words)
    assert done.returncode == 2
    assert done.stderr == f"deployfit: {words[0]} is for --mac; say which Mac is meant\n"
