"""Cold answers of every command against `import click`, as whole processes."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

FIGURES = Path(__file__).parent.parent / "tests" / "data"
RUNS = 21
AIM = 2.0

PYTHON = [sys.executable, "-m", "deployfit"]
CLICK = [sys.executable, "-c", "import click"]
ONE = [*PYTHON, "fit", "Qwen3.5-27B", "--mac", "32", "--quant", "Q4_K_M"]
ONE_JSON = [*ONE, "--format", "json"]
COMMANDS = {
    "import click": CLICK,
    "fit, one recipe": ONE,
    "the same as JSON": ONE_JSON,
    "with the speed of a chip": [*PYTHON, "fit", "Qwen3.5-27B", "--mac", "M4 Max 64", "--quant", "Q4_K_M"],
    "fit, every recipe": [*PYTHON, "fit", "Qwen3.5-27B", "--mac", "32"],
    "plan": [*PYTHON, "plan", "Qwen3.5-27B", "--mac", "32"],
    "recommend": [*PYTHON, "recommend", "--mac", "M2 Pro 32"],
    "table": [*PYTHON, "table"],
    "sweep, every model": [*PYTHON, "sweep", "--mac", "32"],
    "quants": [*PYTHON, "quants", "Qwen3.5-27B"],
    "check": [*PYTHON, "check"],
    "validate": [*PYTHON, "validate"],
}


def engine_row(name: str, wanted: dict[str, str]) -> dict[str, str]:
    with open(FIGURES / name, encoding="utf-8") as file:
        (row,) = [each for each in csv.DictReader(file) if wanted.items() <= each.items()]
    return row


def check() -> None:
    """Exit unless the answer that is going to be timed equals the engine's figures."""
    (row,) = json.loads(subprocess.check_output(ONE_JSON))["rows"]
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


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    check()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    base = statistics.median(times["import click"])
    for name, measured in times.items():
        low, middle, high = (1000 * value for value in (min(measured), statistics.median(measured), max(measured)))
        ratio = statistics.median(measured) / base
        print(f"{name:26} {low:6.0f} {middle:6.0f} {high:6.0f} ms (min median max) {ratio:6.2f} x import click")
    print(f"aim: one recipe at most {AIM:g} x import click")


if __name__ == "__main__":
    main()
