"""What the program does in front of a Hub that goes wrong: one line, a code that is documented, no wrong answer.

Each fault is met by two questions. Afterwards the same cache is asked again with the Hub well, and once more offline:
both must answer as if nothing had been.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from hub_files import config_json, gguf_file

from .raw_hub import COMMIT, FAULTS, REPO, RawHub

TOKEN = "hf_" + "s3cr3t" * 5
CODES = (0, 2, 3, 4)
MOST_SECONDS = 200.0
MOST_BYTES = 160 * 2**20  # of a process, of which up to 60 MB are Python and its imports
QUESTIONS = (("fit", f"hub:{REPO}", "--mac", "16"), ("hub", REPO, "--file", "*", "--revision", COMMIT))


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    error: str
    seconds: float
    peak_bytes: int


def run(words: Sequence[str], env: dict[str, str]) -> Ran:
    """Run the program; its memory is that of the largest child so far, so each runs under a small watcher."""
    watcher = (
        "import json,resource,subprocess,sys;"
        "d=subprocess.run([sys.executable,'-m','deployfit',*sys.argv[1:]],capture_output=True);"
        "u=resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([d.returncode,d.stdout.decode('utf-8','replace'),d.stderr.decode('utf-8','replace'),u.ru_maxrss]))"
    )
    begin = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", watcher, *words],
            env=env,
            capture_output=True,
            timeout=MOST_SECONDS,
            preexec_fn=_bounded,
        )
    except subprocess.TimeoutExpired:
        return Ran(-1, "", "killed: it does not end", MOST_SECONDS, 0)
    code, out, error, peak = json.loads(done.stdout)
    unit = 1 if sys.platform == "darwin" else 1024
    return Ran(code, out, error, time.monotonic() - begin, peak * unit)


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def small_model(folder: Path) -> tuple[dict[str, bytes], dict[str, int]]:
    """The files of the repository, and their sizes: a GGUF file and a configuration."""
    file = gguf_file(folder, "Qwen3.5-0.8B", "Q4_0")
    config = config_json("Qwen3.5-0.8B")
    return {"m.gguf": file.header, "config.json": config}, {"m.gguf": file.size, "config.json": len(config)}


def environment(hub: RawHub, home: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "PROXY" not in name.upper()
    }
    return kept | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": home,
        "HF_TOKEN": TOKEN,
        "DEPLOYFIT_CACHE": str(Path(home) / "cache"),
        "HF_HUB_ETAG_TIMEOUT": "3",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3",
        "NO_PROXY": "127.0.0.1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def complaints(done: Ran) -> list[str]:
    """Return what is wrong with how the program ended."""
    shown = done.out + done.error
    wrong = []
    if done.code not in CODES:
        wrong.append(f"exit code {done.code}")
    if "Traceback" in shown or "fault of deployfit" in shown:
        wrong.append("a traceback")
    if done.code and done.error.count("\n") != 1:
        wrong.append(f"{done.error.count(chr(10))} lines")
    if TOKEN in shown:
        wrong.append("the token")
    if any(not line.isprintable() for line in shown.split("\n")):
        wrong.append("control characters")
    if any(line.lstrip().startswith("::") for line in shown.split("\n")):
        wrong.append("orders to a workflow")
    if done.seconds > MOST_SECONDS / 2:
        wrong.append(f"{done.seconds:.0f} s")
    if done.peak_bytes > MOST_BYTES:
        wrong.append(f"{done.peak_bytes >> 20} MB")
    return wrong


class Met(NamedTuple):
    """A fault that was met: how each question ended, and everything that was wrong."""

    name: str
    ran: list[Ran]
    wrong: list[str]


def meet(names: Iterable[str], questions: Sequence[Sequence[str]] = QUESTIONS, at_once: int = 1) -> Iterator[Met]:
    """Yield what came of each fault; most of the time is waiting, so several can be met at once."""
    with tempfile.TemporaryDirectory() as folder:
        model = small_model(Path(folder))
        with RawHub(*model) as hub:
            truth = []
            for question in questions:
                with tempfile.TemporaryDirectory() as home:
                    truth.append(run(question, environment(hub, home)).out)
        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(lambda name: _meet(name, model, questions, truth), names)


def _meet(
    name: str,
    model: tuple[Mapping[str, bytes], Mapping[str, int]],
    questions: Sequence[Sequence[str]],
    truth: Sequence[str],
) -> Met:
    with tempfile.TemporaryDirectory() as home, RawHub(*model) as hub:
        env = environment(hub, home)
        hub.fault = FAULTS[name]
        ran = [run(question, env) for question in questions]
        hub.fault = None
        wrong = [f"{complaint}: {done.error[:200]}" for done in ran for complaint in complaints(done)]
        wrong += [
            f"answered {question[0]} otherwise than without the fault"
            for question, done, right in zip(questions, ran, truth, strict=True)
            if done.code == 0 and question[0] == "fit" and done.out != right
        ]
        for question, right in zip(questions, truth, strict=True):
            again, offline = run(question, env), run([*question, "--offline"], env)
            wrong += [f"{question[0]} afterwards: {again.error or again.out}"] * (again.out != right)
            same = offline.out.split() == right.split() or "from the cache" in " ".join(offline.out.split())
            wrong += [f"{question[0]} offline: {offline.error}"] * (not same)
    return Met(name, ran, wrong)


def main() -> None:
    print("| fault | fit | hub --file | seconds | MB | said |")
    print("| --- | --- | --- | --- | --- | --- |")
    total = bad = 0
    for met in meet(FAULTS, at_once=6):
        total += 1
        bad += bool(met.wrong)
        codes = " | ".join(str(done.code) for done in met.ran)
        seconds, peak = max(done.seconds for done in met.ran), max(done.peak_bytes for done in met.ran)
        line = (met.ran[0].error or "answered").strip().removeprefix("deployfit: ")[:90].replace("|", "\\|")
        print(f"| {met.name} | {codes} | {seconds:.1f} | {peak >> 20} | {line} |", flush=True)
        for complaint in met.wrong:
            print(f"WRONG {met.name}: {complaint}", file=sys.stderr, flush=True)
    print(f"\n{total} kinds of fault, {2 * total} runs; {bad} with something wrong.")


if __name__ == "__main__":
    main()
