"""Surroundings: full disks, other encodings, no home, closed and broken streams, hostile names, Ctrl-C."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deployfit.exit_codes import EXIT_CODES, FAULT

HOSTILE = "m\x1b]0;pwned\x07\x1b[2J\n::error::x\r##[add-mask]y\u202e\u200b\u2028\x85\x9bz.gguf"
ENCODINGS = ("ascii", "latin-1", "utf-8")
FORMATS = ("text", "markdown", "csv", "json")
STARTS = (("-m", "deployfit"), ("-c", "from deployfit.__main__ import main; main()"))  # the latter as pip's script does


class Case(NamedTuple):
    """A command in a surrounding."""

    name: str
    words: Sequence[str]
    env: Mapping[str, str] = {}
    before: Callable[[], None] | None = None
    stdout: str = ""  # a file to write to
    shell: str = ""  # what stands behind the command
    codes: Sequence[int] = (0, 2)


class Came(NamedTuple):
    """What came of it."""

    name: str
    code: int
    out: bytes
    error: bytes
    wrong: list[str]


def no_files_larger_than(nbytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, nbytes))


def cases(folder: Path) -> Iterator[Case]:
    """Yield the cases; their files are made in a folder."""
    from fake_hub import SparseFile
    from hub_files import config_json, gguf_file

    fit = ["fit", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32"]
    config = folder / "\u65e5\u672c" / "config.json"
    config.parent.mkdir()
    config.write_bytes(config_json("Qwen3.5-0.8B"))
    model = gguf_file(folder, "Qwen3.5-0.8B", "Q4_0")
    assert isinstance(model, SparseFile)
    hostile = folder / HOSTILE
    with open(hostile, "wb") as file:
        file.write(model.header)
        file.truncate(model.size)
    for encoding in ENCODINGS:
        env = {"PYTHONIOENCODING": encoding}
        for name, words in (("fit", ["fit", "\u65e5\u672c", "--catalog", str(config)]), ("path", ["fit", str(config)])):
            yield Case(f"{encoding}: a name of other letters, {name}", [*words, "--mac", "32"], env)
        yield Case(f"{encoding}: a name that nobody knows", ["fit", "\u65e5\u672c\u8a9e", "--mac", "32"], env)
        for format_name in FORMATS:
            words = ["fit", str(hostile), "--mac", "16", "--format", format_name]
            yield Case(f"{encoding}: a hostile name as {format_name}", words, env)
    yield Case("LC_ALL=C", [*fit], {"LC_ALL": "C", "LANG": "C"})
    yield Case("hostile name: a message", ["fit", str(folder / ("gone" + HOSTILE)), "--mac", "16"])
    yield Case("a hostile name as model", ["fit", HOSTILE, "--mac", "16"])
    yield Case("a hostile name as Mac", ["fit", "Qwen3.5-27B", "--mac", HOSTILE])
    yield Case("a hostile name as repository", ["hub", HOSTILE, "--offline"], codes=(2, 4))
    yield Case("no home", fit, {"HOME": ""})
    yield Case("a home that is no folder", ["hub", "a/b", "--offline"], {"HOME": "/dev/null"}, codes=(4,))
    yield Case("stdout on a full disk", fit, stdout="/dev/full", codes=(2,))
    yield Case("stderr on a full disk", ["fit", "nothing", "--mac", "32"], shell="2>/dev/full", codes=(2,))
    yield Case("stdout closed", fit, shell=">&-", codes=(0, 2))
    yield Case("stderr closed", ["fit", "nothing", "--mac", "32"], shell="2>&-", codes=(2,))
    yield Case("a reader that leaves", ["quants", "Qwen3.5-27B"], shell="| true", codes=(0, 141))
    output = folder / "out.csv"
    output.write_text("old")
    many = ["sweep", "Qwen3.5-4B", "--output", str(output)]
    yield Case("--output on a full disk", many, before=no_files_larger_than(2000), codes=(2,))
    yield Case("--output in no folder", ["sweep", "Qwen3.5-4B", "--output", "/dev/null/x.csv"], codes=(2,))
    yield Case("--output where nobody may write", ["sweep", "Qwen3.5-4B", "--output", "/proc/x.csv"], codes=(2,))
    yield Case(
        "a summary on a full disk",
        ["check", "--model", "Qwen3.5-4B"],
        {"GITHUB_STEP_SUMMARY": "/dev/full"},
        codes=(0, 1),
    )
    yield Case("a timeout of no time", ["hub", "a/b", "--offline"], {"HF_HUB_ETAG_TIMEOUT": "9" * 14}, codes=(2, 4))
    yield Case("completion asked for by nobody", [], {"_DEPLOYFIT_COMPLETE": "bash_complete"}, codes=(2,))


def come(case: Case, home: str) -> Came:
    env = {**os.environ, "HOME": home, "DEPLOYFIT_CACHE": str(Path(home) / "cache"), **case.env}
    command: Any = [sys.executable, "-m", "deployfit", *case.words]
    if case.shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {case.shell}', "-", *command]
    with open(case.stdout or os.devnull, "wb") as full:
        stdout = full if case.stdout else subprocess.PIPE
        done = subprocess.run(
            command, env=env, stdout=stdout, stderr=subprocess.PIPE, preexec_fn=case.before, timeout=120, check=False
        )
    out, error = done.stdout or b"", done.stderr or b""
    return Came(case.name, done.returncode, out, error, complaints(case, done.returncode, out, error))


def complaints(case: Case, code: int, out: bytes, error: bytes) -> list[str]:
    wrong = []
    if code not in case.codes:
        wrong.append(f"exit code {code}, not one of {case.codes}")
    if code == FAULT or code not in EXIT_CODES:
        wrong.append("a code that no verdict or refusal has")
    if b"Traceback" in out + error:
        wrong.append("a traceback")
    encoding = case.env.get("PYTHONIOENCODING", "utf-8")
    shown = (out + error).decode(encoding, "replace")
    odd = sorted({char for char in shown if not char.isprintable() and char != "\n"})
    if odd:
        wrong.append(f"unprintable: {odd!r}")
    for line in shown.split("\n"):
        if line.lstrip().startswith("::") or "##[" in line:
            wrong.append(f"an order to a workflow: {line[:80]!r}")
    if "--format" in case.words and "json" in case.words and code == 0:
        json.loads(out.decode(encoding))
    return wrong


def interrupts(count: int, seed: int = 1) -> list[str]:
    """Press Ctrl-C at random moments; return what was wrong with how the program ended.

    In its first moments Python itself starts, and what it says then is its own.
    """
    chance = random.Random(seed)
    wrong = []
    for _ in range(count):
        process = subprocess.Popen(
            [sys.executable, *chance.choice(STARTS), "recommend", "--mac", "M4 Max 64"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        wait = chance.uniform(0.02, 1.0)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        if b"/deployfit/" in error or (process.returncode not in (0, 130, -2) and b"Traceback" not in error):
            wrong.append(f"after {wait:.2f} s: exit code {process.returncode}: {error.decode()[-200:]}")
    return wrong


def all_cases(names: Sequence[str] = ()) -> Iterator[Came]:
    """Yield what came of the cases, of all or of those whose names begin so."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        for case in cases(Path(folder)):
            if not names or case.name.startswith(tuple(names)):
                yield come(case, home)
                if case.name == "--output on a full disk" and Path(folder, "out.csv").read_bytes() != b"old":
                    yield Came(case.name, 0, b"", b"", ["the old file is lost"])


def main() -> None:
    total = bad = 0
    for came in all_cases():
        total += 1
        bad += bool(came.wrong)
        for complaint in came.wrong:
            print(
                f"WRONG {came.name}: {complaint} ({came.error.decode(errors='replace')[-160:]!r})",
                file=sys.stderr,
                flush=True,
            )
    pressed = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    wrong = interrupts(pressed)
    for line in wrong:
        print(f"WRONG Ctrl-C {line}", file=sys.stderr, flush=True)
    print(f"{total} cases of disks, encodings, homes, streams and names: {bad} with something wrong.")
    print(f"{pressed} presses of Ctrl-C: {len(wrong)} with something wrong.")


if __name__ == "__main__":
    main()
