"""How far estimates are off what was published and measured, worst first: the figures of check and validate.

Nothing is timed but the two commands; their exit code and the number of rows are checked first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

ROWS = 15
PYTHON = [sys.executable, "-m", "deployfit"]


def answer(*words: str) -> tuple[str, float]:
    start = time.perf_counter()
    done = subprocess.run([*PYTHON, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"deployfit {' '.join(words)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout, time.perf_counter() - start


def main() -> None:
    report = json.loads(answer("check", "--format", "json")[0])
    if report["summary"]["rows"] != len(report["rows"]) or not report["rows"]:
        sys.exit("deployfit check does not show every row that it counts")
    for words in (("check", "--rows", str(ROWS)), ("validate",)):
        text, took = answer(*words)
        print(f"$ deployfit {' '.join(words)}    ({took:.1f} s)\n{text}")


if __name__ == "__main__":
    main()
