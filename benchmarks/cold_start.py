"""One cold answer against `import click`, as whole processes."""

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

ALL = [sys.executable, "-m", "deployfit", "fit", "Qwen3.5-27B", "--mac", "32"]
ONE = [*ALL, "--quant", "Q4_K_M"]
CLICK = [sys.executable, "-c", "import click"]


def check() -> None:
    """Exit unless the answer that is going to be timed equals the engine's figures."""
    (row,) = json.loads(subprocess.check_output([*ONE, "--format", "json"]))["rows"]
    wanted = {"model": "27B", "ftype": "Q4_K_M", "mtp": "0", "imatrix": "0"}
    with open(FIGURES / "llamacpp_quantize.csv", encoding="utf-8") as file:
        (engine,) = [each for each in csv.DictReader(file) if wanted.items() <= each.items()]
    if row["tensor_bytes"] != int(engine["tensor_bytes"]):
        sys.exit(f"wrong answer: tensor_bytes {row['tensor_bytes']}, the engine says {engine['tensor_bytes']}")


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    check()
    commands = {"import click": CLICK, "fit, one recipe": ONE, "fit, every recipe": ALL}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(seconds(command))
    base = statistics.median(times["import click"])
    for name, measured in times.items():
        low, middle, high = (1000 * value for value in (min(measured), statistics.median(measured), max(measured)))
        ratio = statistics.median(measured) / base
        print(f"{name:18} {low:6.0f} {middle:6.0f} {high:6.0f} ms (min median max)  {ratio:.2f} x import click")
    print(f"aim: one recipe at most {AIM:g} x import click")


if __name__ == "__main__":
    main()
