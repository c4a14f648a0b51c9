"""The sweep equals `fit`, point by point: Python's whole numbers against numpy's."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.answers import Fit
from deployfit.catalogue import models, rows
from deployfit.errors import InputError
from deployfit.grid import COLUMNS, MISSING, VERDICTS, Grid, GridResult, sweep
from deployfit.hardware.gpu_limit import LIMITS, default_limit, raised_limit
from deployfit.hardware.mac import MACS, Mac
from deployfit.hardware.machine import GPU_RESERVE, Machine
from deployfit.lookup import find_quant
from deployfit.parameters import python
from deployfit.quants.shelf import recipes
from deployfit.quants.weights import Options, Quant
from deployfit.questions.resolve import speeds
from deployfit.report.fit_rows import fit_row
from deployfit.report.sweep import frame
from deployfit.runtimes import registry
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.mlx.caches import seen_tokens
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.runtimes.runtime import Runtime
from deployfit.units import GIB
from deployfit.verdict import Answer, Judge, Run

LIMIT_ROWS, MAC_ROWS = rows(LIMITS), rows(MACS)
MEMORIES = sorted({row.memory_gib for row in LIMIT_ROWS})
LLAMACPP, MLX = registry.runtime("llama.cpp"), registry.runtime("mlx")
FEW = settings(max_examples=40, deadline=None, derandomize=True)


CHIPS = [("", memory) for memory in MEMORIES] + [(row.chip, row.memory_gib[-1]) for row in MAC_ROWS]


def machine_of(chip_and_memory: tuple[str, int], macos: int, raised_percent: int = 0) -> Machine:
    mac = Mac(chip_and_memory[0], chip_and_memory[1] * GIB)
    if raised_percent:
        return Machine(mac, macos, raised_limit(mac, mac.memory_bytes * raised_percent // 100), raised=True)
    return Machine(mac, macos, default_limit(mac, macos, LIMIT_ROWS))


def few(values: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(values, min_size=1, max_size=most, unique=True)


GGUF_NAMES = ["IQ1_S", "IQ2_XXS", "Q4_K_M", "Q8_0", "BF16", "unsloth:Q4_K_M", "ollama:Q4_K_M", "unsloth:UD-IQ1_M"]
MLX_NAMES = ["3bit", "4bit", "8bit", "mxfp4", "q4_g64_early", "mlx-community:4bit"]

names = few(st.sampled_from(sorted(models())), 2)
machines = few(
    st.builds(machine_of, st.sampled_from(CHIPS), st.sampled_from([15, 26]), st.sampled_from([0, 0, 0, 5, 50, 99])), 4
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
        kv_unified=st.sampled_from([False, False, True]),
        swa_full=st.sampled_from([False, False, True]),
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
    how = grid.settings[s].with_context(grid.contexts[c])
    run = Run(grid.models[m], grid.runtime, how, grid.machines[p], grid.options)
    try:
        return Judge(run, LIMIT_ROWS, speeds()).answer(grid.quants[q])
    except InputError:
        return None


def differing(swept: GridResult) -> list[tuple[int, ...]]:
    """Return the points at which the sweep does not say what `fit` says."""
    rows = iter(swept.rows())
    wrong = []
    for point in np.ndindex(swept.grid.shape):
        m, q, s, c, p = point
        expected = scalar(swept.grid, point)
        if expected is None:
            same = swept.total_bytes[m, q, s, c] == swept.verdicts[point] == -1
        else:
            row = dict(zip(COLUMNS, next(rows), strict=True))
            same = (
                swept.total_bytes[m, q, s, c] == expected.estimate.total_bytes
                and VERDICTS[swept.verdicts[point]] is expected.verdict
                and swept.max_context_tokens[m, q, s, p] == expected.max_context_tokens
                and row == row_of(expected)
            )
        if not same:
            wrong.append(point)
    assert next(rows, None) is None
    return wrong


def row_of(answer: Answer) -> dict[str, object]:
    row = fit_row(Fit(answer, ())) | {"weights_basis": answer.weights.basis.value}
    return {name: row[name] for name in COLUMNS}


@FEW
@given(names, few(st.sampled_from(GGUF_NAMES)), llamacpp, contexts, machines, options)
def test_the_sweep_equals_fit_under_llamacpp(
    names: list[str],
    quants: list[str],
    hows: list[LlamaCppSettings],
    contexts: list[int],
    machines: list[Machine],
    options: Options,
) -> None:
    chosen: list[Quant] = [find_quant(quant, "llama.cpp") for quant in quants]
    asked = [models()[name] for name in names]
    assert differing(sweep(Grid(asked, chosen, LLAMACPP, hows, contexts, machines, options, speeds()))) == []


@FEW
@given(names, few(st.sampled_from(MLX_NAMES), 2), mlx, contexts, machines, options)
def test_the_sweep_equals_fit_under_mlx(
    names: list[str],
    quants: list[str],
    hows: list[MlxSettings],
    contexts: list[int],
    machines: list[Machine],
    options: Options,
) -> None:
    chosen: list[Quant] = [find_quant(quant, "mlx") for quant in quants]
    asked = [models()[name] for name in names]
    assert differing(sweep(Grid(asked, chosen, MLX, hows, contexts, machines, options, speeds()))) == []


@pytest.mark.parametrize(("runtime", "hows"), [(LLAMACPP, llamacpp), (MLX, mlx)], ids=["llama.cpp", "mlx"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_limits_that_are_just_reached_and_just_missed(
    runtime: Runtime, hows: st.SearchStrategy[list[Any]], data: st.DataObject
) -> None:
    """Limits raised to what a context takes, to the byte: there a little more context may need a little less."""
    model, how = models()[data.draw(st.sampled_from(sorted(models())))], data.draw(hows)[0]
    steps = data.draw(st.lists(st.integers(1, 1024), min_size=3, max_size=3))
    tokens = [min(model.blueprint.trained_context, step * runtime.context_step(how)) for step in steps]
    quant = find_quant("Q4_K_M" if runtime is LLAMACPP else "4bit")
    mac = Mac("", 1024 * GIB)
    grid = Grid([model], [quant], runtime, [how], tokens, [], data.draw(options))
    totals = sweep(grid).total_bytes.ravel().tolist()
    limits = [total + below for total in totals if total > 0 for below in (-1, 0, GPU_RESERVE - 1, GPU_RESERVE)]
    machines = [Machine(mac, 26, raised_limit(mac, min(limit, mac.memory_bytes)), raised=True) for limit in limits]
    assert differing(sweep(grid._replace(machines=machines))) == []


WINDOWED = [name for name, model in models().items() if any(map(seen_tokens, model.blueprint.attentions))]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(WINDOWED), st.sampled_from([1, 100, 512, 2048, 5000]), st.floats(0, 1), st.floats(0, 1))
def test_mlx_grows_in_straight_lines_up_to_where_it_says(name: str, step: int, where: float, middle: float) -> None:
    """Layers with a window hold a chunk beside it while a prompt is read, and the last chunk may be short."""
    blueprint = models()[name].blueprint

    def running(context: int) -> int:
        return sum(part.nbytes for part in MLX.running(blueprint, MlxSettings(context, 16, step), Options()))

    first = 256 * (1 + int(where * (blueprint.trained_context // 256 - 1)))
    until = MLX.straight_until(blueprint, MlxSettings(first, 16, step), Options())
    assert first <= until <= blueprint.trained_context
    steps = (until - first) // 256
    if steps > 1:
        each = running(first + 256) - running(first)
        for count in {steps, 1 + int(middle * (steps - 1))}:
            assert running(first + 256 * count) == running(first) + each * count


def test_what_is_refused_is_missing_and_said() -> None:
    model = models()["Qwen3.5-4B"]
    quants = [find_quant(name) for name in ("Q4_K_M", "unsloth:Q4_K_M")]
    hows = [LlamaCppSettings(1), LlamaCppSettings(1, parallel=1000)]
    swept = sweep(Grid([model], quants, LLAMACPP, hows, [256, 300_000], [machine_of(("", 16), 26)]))
    assert swept.answered == len(list(swept.rows())) == 2
    assert list(map(python, swept.refusals)) == [
        "context: 300,000 tokens; choose from 1 to the trained 262,144",
        "parallel: 1,000 sequences; choose from 1 to 256",
    ]
    assert (swept.total_bytes[0, 0] == MISSING).tolist() == [[False, True], [True, True]]


def test_rows_are_pythons_own_numbers_and_words() -> None:
    swept = sweep(
        Grid(
            [models()["Qwen3.5-4B"]],
            [find_quant("Q4_K_M")],
            LLAMACPP,
            [LlamaCppSettings(1)],
            [512],
            [machine_of(("", 8), 26)],
        )
    )
    (row,) = swept.rows()
    assert {type(value) for value in row} <= {int, str, bool, type(None)}


WORDS = ["sweep", "Qwen3.5-9B", "Qwen3.5-27B", "--quant", "Q4_K_M", "--quant", "mlx-community:4bit"]
WORDS += ["--context", "8k", "--context", "2m", "--mac", "24", "--mac", "m4 max 64", "--macos", "15", "--macos", "26"]
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
    assert run(*WORDS, "--output", str(file)).stderr == f"written to {file}\n"
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
    done = run(*WORDS, "--output", str(file))
    assert done.returncode == 0, done.stderr
    assert parquet.read_table(file).to_pylist() == written


def test_the_frame_keeps_whole_numbers_whole() -> None:
    asked = [("Q4_K_M", LLAMACPP, LlamaCppSettings(1)), ("4bit", MLX, MlxSettings(1))]
    grids = [
        Grid([models()["Qwen3.5-4B"]], [find_quant(quant)], runtime, [how], [512, 1024], [machine_of(("", 8), 26)])
        for quant, runtime, how in asked
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
    assert lines[0].split("  ")[0] == "2 models x 1 recipe x 2 settings x 2 contexts x 4 Macs"
    assert lines[0].endswith("llama.cpp")
    assert re.fullmatch(r"fits \d+, tight \d+, needs raised limit \d+, does not fit \d+", lines[2])
    assert sum(int(count) for count in re.findall(r"\d+", lines[2] + lines[6])) == 32
    assert "32 left out, as they cannot be:" in lines
    assert "- --context: 2,097,152 tokens; choose from 1 to the trained 262,144 for each" in "\n".join(lines)
    (header,) = [number for number, line in enumerate(lines) if line.startswith("model ")]
    assert [line[:4] for line in lines[header + 1 : header + 22]] == ["Qwen"] * 20 + [""]
    assert lines[-1].startswith("The first 20 of 32; all of them: ")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--app", "llama-bench", "--context", "300k"],
            "--context: 307,200 tokens; choose from 1 to the trained 262,144",
        ),
        (["--quant", "4bit", "--mtp"], "mlx-lm and mlx-vlm drop the MTP layer; leave out --mtp"),
        (["--kv-bits", "4"], "--kv-bits is an option of mlx, and nothing asked for runs on it; leave it out"),
        (["--format", "parquet"], "parquet is no text for standard output; say where to with --output FILE"),
        (["--format", "xml"], "no format 'xml'; known: text, csv, "),
        (["--mac", "33"], "no Mac with 33 GB; Macs were sold with"),
        (
            ["--output", "rows.xyz"],
            "--output: no format is known by the end of that name; say --format, or end it with",
        ),
        *(
            (["--output", output, "--format", name], f"--output {output!r}: {said}; choose a file that can be written")
            for name in ("csv", "parquet")
            for output, said in (
                ("missing/rows", "No such file or directory"),
                ("", "Is a directory"),
                (".", "Is a directory"),
            )
        ),
        (["--parallel", "9" * 9], "--parallel: 999,999,999 sequences; choose from 1 to 256"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = run("sweep", "Qwen3.5-4B", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("format_name", ["csv", "parquet"])
def test_a_full_disk_is_one_line(format_name: str) -> None:
    done = run("sweep", "Qwen3.5-4B", "--output", "/dev/full", "--format", format_name)
    said = "deployfit: --output '/dev/full': No space left on device; choose a file that can be written\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_an_answer_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("as it was\n", encoding="utf-8")
    assert run("sweep", "Qwen3.5-4B", "--context", "2m", "--output", "rows.csv", cwd=tmp_path).returncode == 2
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == "as it was\n"


def test_a_file_s_name_is_echoed_visibly(tmp_path: Path) -> None:
    done = run("sweep", "Qwen3.5-4B", "--quant", "Q8_0", "--output", "red\x1b[31m.txt", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "written to red\\x1b[31m.txt\n")


def test_a_dash_is_standard_output() -> None:
    words = ("sweep", "Qwen3.5-4B", "--quant", "Q8_0")
    assert run(*words, "--output", "-").stdout == run(*words).stdout != ""


@pytest.mark.parametrize("words", [["sweep", "Qwen3.5-4B"], ["table", "Qwen3.5-4B", "--mac", "8", "--format", "csv"]])
def test_a_standard_output_that_is_closed_is_no_crash(words: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "deployfit", *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_told_apart() -> None:
    """As with `deployfit sweep --format csv | head -1`."""
    command = [sys.executable, "-m", "deployfit", "sweep", "Qwen3.5-4B"]
    with subprocess.Popen([*command, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_too_many_at_once_are_refused_before_they_are_counted() -> None:
    many = [word for each in range(1, 200) for option in ("--parallel", "--context") for word in (option, str(each))]
    done = run("sweep", "Qwen3.5-4B", *many, *(word for each in range(1, 60) for word in ("--ubatch", str(each))))
    assert (done.returncode, done.stdout) == (2, "")
    points = len(recipes()) * 199 * 199 * 59 * len({size for row in MAC_ROWS for size in row.memory_gib})
    assert done.stderr.startswith(f"deployfit: {points:,} combinations are too many at once; name fewer models, ")


def test_parquet_without_pyarrow_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('as if it were not installed')\n", encoding="utf-8")
    words = ["sweep", "Qwen3.5-4B", "--output", "rows.parquet"]
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


@pytest.mark.skipif(sys.platform == "darwin", reason="this machine is a Mac")
@pytest.mark.parametrize("words", [["--context", "32k"], ["--macos", "15"], ["--other", "4g"]])
def test_a_table_of_what_running_takes_is_of_a_mac(words: list[str]) -> None:
    done = run("table", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("deployfit: this machine is not a Mac; say which Mac is meant with --mac")
