"""Cold answers of every command against `import click`, as whole processes, in turn with it.

An installed copy is what counts: `python benchmarks/cold_start.py PATH/bin/python` times that interpreter's deployfit.
With `--cpu` it is the processor's time that is compared, which other programs disturb less; `--runs N`: how many turns.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

FIGURES = Path(__file__).parent.parent / "tests" / "data"
RUNS = 21

QWEN = [f"Qwen3.5-{size}" for size in ("397B-A17B", "122B-A10B", "35B-A3B", "27B", "9B", "4B", "2B", "0.8B")]
QWEN += ["Qwen3.6-35B-A3B", "Qwen3.6-27B", "Qwen3.8-27B"]
FIT = ["fit", "Qwen3.5-27B", "--mac", "32"]
ONE = [*FIT, "--quant", "Q4_K_M"]
# What is asked, and how many times `import click` it may take.
COMMANDS: dict[str, tuple[Sequence[str], float | None]] = {
    "fit, one recipe": (ONE, 1.6),
    "the same as JSON": ([*ONE, "--format", "json"], None),
    "with the speed of a chip": (["fit", "Qwen3.5-27B", "--mac", "M4 Max 64", "--quant", "Q4_K_M"], None),
    "fit, of another family": (["fit", "gpt-oss-20b", "--mac", "32", "--quant", "Q8_0"], 1.7),
    "fit, every recipe": ([*FIT, "--own", "--runtime", "llama.cpp"], 2.0),
    "fit, every file": (FIT, None),
    "plan": (["plan", "Qwen3.5-27B", "--mac", "32"], None),
    "recommend": (["recommend", "--mac", "M2 Pro 32"], 6.0),
    "table of the 11 Qwen3.5": (["table", *QWEN], 3.0),
    "table of all models": (["table"], None),
    "sweep, every model": (["sweep", "--mac", "32"], None),
    "quants": (["quants", "Qwen3.5-27B"], 3.0),
    "models": (["models"], None),
    "check": (["check"], 12.0),
    "validate": (["validate"], 14.0),
}


def engine_row(name: str, wanted: dict[str, str]) -> dict[str, str]:
    with open(FIGURES / name, encoding="utf-8") as file:
        (row,) = [each for each in csv.DictReader(file) if wanted.items() <= each.items()]
    return row


def check(python: str, folder: str) -> None:
    """Exit unless the answer that is going to be timed equals the engine's figures."""
    command = [python, "-m", "deployfit", *ONE, "--app", "llama-bench", "--format", "json"]
    (row,) = json.loads(subprocess.check_output(command, cwd=folder))["rows"]
    file_made = {"model": "27B", "ftype": "Q4_K_M", "mtp": "0", "imatrix": "0"}
    context = {"model": "27B", "n_ctx": "32768", "type_k": "f16", "type_v": "f16", "n_ubatch": "512", "n_parallel": "1"}
    pairs = {
        "tensor_bytes": (
            row["tensor_bytes"],
            engine_row("llamacpp_quantize.csv", file_made)["tensor_bytes"],
        ),
        "kv_cache_bytes + recurrent_state_bytes": (
            row["kv_cache_bytes"] + row["recurrent_state_bytes"],
            engine_row("llamacpp_memory_cpu.csv", {**context, "flash_attn": "on"})["context_bytes"],
        ),
    }
    for name, (ours, engine) in pairs.items():
        if ours != int(engine):
            sys.exit(f"wrong answer: {name} {ours}, the engine says {engine}")


def seconds(command: Sequence[str], folder: str, *, cpu: bool) -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=folder)
    if not cpu:
        return time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", nargs="?", default=sys.executable)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    python, cpu = given.python, given.cpu
    commands = {"import click": [python, "-c", "import click"]}
    commands |= {name: [python, "-m", "deployfit", *asked] for name, (asked, _) in COMMANDS.items()}
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:  # where no checkout is imported by mistake
        check(python, folder)
        for _ in range(given.runs):
            for name, command in commands.items():
                times[name].append(seconds(command, folder, cpu=cpu))
    base = statistics.median(times["import click"])
    print("processor's time" if cpu else "wall clock")
    for name, measured in times.items():
        low, middle, high = (1000 * value for value in (min(measured), statistics.median(measured), max(measured)))
        aim = COMMANDS[name][1] if name in COMMANDS else None
        said = f", aim {aim:g}" if aim else ""
        print(f"{name:26} {low:6.0f} {middle:6.0f} {high:6.0f} ms (min median max) {middle / 1000 / base:6.2f} x{said}")


if __name__ == "__main__":
    main()
