"""Fuzzing that is guided by coverage: inputs that reach new lines are kept, and changed further.

`python -m tests.attack.guided "GGUF headers" 300 FOLDER` fuzzes a target of `fuzz.py` for so many seconds; the folder
keeps its corpus from one run to the next. It needs `pip install atheris`, which is no dependency of the tests.

What libFuzzer changes is either the bytes that a reader gets, or the chances by which `mutate.py` builds what it gets:
so its structure is known and guided at once.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HONEST = 40  # inputs built by chance that a corpus begins with
LONGEST = 4096  # bytes of an input


class Guided(NamedTuple):
    """What a run came to: `features` are libFuzzer's, of branches and how often they were taken."""

    inputs: int
    coverage: int
    features: int
    corpus: int
    wrong: list[str]


class Chances(random.Random):
    """Chances that bytes decide; when there are no more, everything is the first of its kind."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data, self._at = data, 0

    def _take(self, count: int) -> int:
        found = int.from_bytes(self._data[self._at : self._at + count], "little")
        self._at += count
        return found

    def random(self) -> float:
        if self._at >= len(self._data):
            return 0.999
        return self._take(2) / 65536

    def getrandbits(self, k: int) -> int:
        return self._take((k + 7) // 8) & ((1 << k) - 1)


def _table(data: bytes) -> Any:
    from . import fuzz

    tables = fuzz.tables()
    return tables[data[0] % len(tables)][0], data[1:].decode("utf-8", "surrogatepass")


def _answer(data: bytes) -> Any:
    return ("info", "tree", "kept")[data[0] % 3], data[1:]


RAW: Mapping[str, Callable[[bytes], Any]] = {  # targets that read bytes as they come
    "GGUF headers": lambda data: data,
    "safetensors headers": lambda data: data,
    "config.json": lambda data: data,
    "answers of the Hub": _answer,
    "tables": _table,
    "logs": lambda data: data.decode("utf-8", "replace") + "\n",
}


def beginnings(name: str) -> list[bytes]:
    """Honest inputs to begin with: for chances as bytes, and for bytes as they come."""
    from . import fuzz, whole

    found = [b"\0" + random.Random(number).randbytes(256) for number in range(HONEST)]
    raw: list[bytes] = []
    if name in ("GGUF headers", "safetensors headers"):
        target = next(each for each in fuzz.TARGETS if each.name == name)
        raw = [target.build(random.Random(number)) for number in range(HONEST)]
    elif name == "config.json":
        raw = [json.dumps(each).encode() for each in fuzz.configs()]
    elif name == "answers of the Hub":
        raw = [bytes([number]) + json.dumps(fuzz.answers()[number + 1][1]).encode() for number in range(3)]
    elif name == "tables":
        raw = [bytes([number]) + text.encode() for number, (_, text) in enumerate(fuzz.tables())]
    elif name == "logs":
        raw = [text.encode() for text in whole.logs()]
    return [*found, *(b"\1" + each for each in raw)]


def _fuzz(name: str, seconds: int, corpus: str, report: str) -> None:
    """Run libFuzzer in this process, which it ends."""
    import atheris

    with atheris.instrument_imports(include=["deployfit"]):
        from . import fuzz

        target = next(each for each in fuzz.TARGETS if each.name == name)
        target.attempt(target.build(random.Random(0)))  # which imports
    seen: set[str] = set()

    def one(data: bytes) -> None:
        if not data:
            return
        try:
            given = RAW[name](data[1:] or b"\0") if data[0] % 2 and name in RAW else target.build(Chances(data[1:]))
        except (UnicodeError, IndexError):
            return
        try:
            target.attempt(given)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            if key not in seen:
                seen.add(key)
                with open(report, "a", encoding="utf-8") as file:
                    file.write(json.dumps([key, str(error)[:300], data.hex()]) + "\n")

    limits = ["-timeout=60", f"-max_len={LONGEST}", "-print_final_stats=1", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], corpus, f"-max_total_time={seconds}", *limits], one)
    atheris.Fuzz()


def run(name: str, seconds: int, folder: str) -> Guided:
    """Fuzz a target in a process of its own."""
    corpus = Path(folder, name.replace(" ", "-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(beginnings(name)):
        Path(corpus, f"begin-{number:03}").write_bytes(content)
    report = Path(folder, f"{corpus.name}.jsonl")
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack.guided", name, str(seconds)],
        env=os.environ | {"GUIDED_CORPUS": str(corpus), "GUIDED_REPORT": str(report)},
        capture_output=True,
        text=True,
        errors="replace",
    )
    rounds = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    executed = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    coverage, features = rounds[-1] if rounds else (0, 0)
    wrong = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    if done.returncode or executed is None:
        wrong.append(f"ended with {done.returncode}: {done.stderr[-600:]}")
    kept = len(list(corpus.iterdir()))
    return Guided(int(executed[1]) if executed else 0, int(coverage), int(features), kept, wrong)


def main() -> None:
    name, seconds = sys.argv[1], int(sys.argv[2])
    if corpus := os.environ.get("GUIDED_CORPUS"):
        os.environ |= {"HF_HUB_OFFLINE": "1", "DEPLOYFIT_CACHE": tempfile.mkdtemp()}
        _fuzz(name, seconds, corpus, os.environ["GUIDED_REPORT"])
    from . import fuzz

    names = [target.name for target in fuzz.TARGETS] if name == "all" else [name]
    print("| guided | inputs | edges | features | corpus | wrong |")
    print("| --- | --- | --- | --- | --- | --- |")
    for each in names:
        found = run(each, seconds, sys.argv[3])
        cells = [f"{found.inputs:,}", f"{found.coverage:,}", f"{found.features:,}", f"{found.corpus:,}"]
        print(f"| {each} | {' | '.join(cells)} | {len(found.wrong)} |", flush=True)
        for line in found.wrong:
            print(f"WRONG {each}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
