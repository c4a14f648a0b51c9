"""The same questions to deployfit and to peers that install offline, beside the engines' own figures."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from peers_inputs import write_config, write_gguf, write_hub_cache
from peers_questions import (
    ALL,
    BIG,
    GIB,
    SECTIONS,
    Question,
    allowed_bytes,
    deployfit_bytes,
    deployfit_command,
    engine_bytes,
    quantized_bytes,
)
from peers_table import NOT_ASKED, PEERS, NoAnswer, Peer, Reader

from deployfit.catalogue import models
from deployfit.quants.gguf import gguf_recipes

RUNS = 5
PATIENCE = 300  # seconds; an installation may need them
NOWHERE = "http://127.0.0.1:9"  # a proxy that nobody answers at: who asks the network is refused at once


def write_inputs(folder: Path) -> None:
    """Write what peers read; exit if the engine would have made another file."""
    for name in ALL:
        write_config(models()[name], folder / name)
        write_hub_cache(models()[name], folder / "hf")
    for name in ALL:
        for quant in ("Q4_K_M", "Q8_0") if name in BIG else ("Q4_K_M",):
            written = write_gguf(models()[name], gguf_recipes()[quant], folder / f"{name}-{quant}.gguf")
            if name in BIG and written != (engine := quantized_bytes(name.removeprefix("Qwen3.5-"), quant)):
                sys.exit(f"wrong input: {name} {quant}: {written} bytes of tensors, the engine says {engine}")


def environment(folder: Path) -> dict[str, str]:
    """Return an environment without network, tokens and the user's own files."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE)
    homes = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "HF_HOME": str(folder / "hf")}
    return kept | proxies | homes | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}


def run(command: list[str], env: dict[str, str] | None = None, exit_codes: tuple[int, ...] = (0,)) -> str:
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(str(error)[:120]) from error
    if done.returncode not in exit_codes:
        lines = (done.stdout + done.stderr).split("\n")
        raise NoAnswer(next((line.strip() for line in reversed(lines) if line.strip()), "no output")[:120])
    return done.stdout


def install(peer: Peer, folder: Path) -> Path:
    """Install the peer into a folder of its own, once; return where its programs are."""
    home = folder / re.sub(r"\W+", "-", peer.name)
    programs = home / "node_modules" / ".bin" if peer.is_npm else home / "bin"
    if not (home / "installed").exists():
        home.mkdir(exist_ok=True)
        if peer.is_npm:
            (home / "package.json").write_text('{"private": true}', encoding="utf-8")
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
            run(["npm", "install", "--prefix", str(home), *quiet, *peer.packages])
        else:
            run([sys.executable, "-m", "venv", str(home)])
            run([str(programs / "python"), "-m", "pip", "install", "--quiet", *peer.packages])
        (home / "installed").touch()
    if peer.prepare:
        told = [str(folder / model / "hub.json") for model in ALL]
        run([str(programs / "python"), "-c", peer.prepare, *told], environment(folder))
    return programs


class Answers(NamedTuple):
    """Of one peer to the questions of one section: bytes, or why not; the seconds of every timed process."""

    found: dict[Question, int]
    refused: dict[Question, str]
    seconds: list[float]


def ask(
    command: Callable[[Question], list[str]],
    read: Reader,
    run: Callable[[list[str]], str],
    questions: list[Question],
    runs: int,
) -> Answers:
    """Ask every question once for the answer, then `runs` times for the time."""
    answers = Answers({}, {}, [])
    for question in questions:
        try:
            words = command(question)
            answers.found[question] = read(run(words), question)
            for _ in range(runs):
                start = time.perf_counter()
                run(words)
                answers.seconds.append(time.perf_counter() - start)
        except NoAnswer as refusal:
            answers.refused[question] = str(refusal)
        except (ValueError, LookupError, TypeError) as error:
            answers.refused[question] = f"its answer was not understood: {error!r}"
    return answers


def ask_deployfit(questions: list[Question], runs: int) -> Answers:
    """Ask our own command; exit if it does not answer as the engine does."""
    answers = ask(deployfit_command, deployfit_bytes, run, questions, runs)
    for question, reason in answers.refused.items():
        sys.exit(f"no answer: {question.label}: {reason}")
    for question, ours in answers.found.items():
        if abs(ours - engine_bytes(question)) > allowed_bytes(question):
            sys.exit(f"wrong answer: {question.label}: {ours}, the engine says {engine_bytes(question)}")
    return answers


def cell(answers: Answers, question: Question) -> str:
    if question not in answers.found:
        return "-"
    found, engine = answers.found[question], engine_bytes(question)
    percent = round(100 * (found - engine) / engine)
    return f"{found / GIB:.2f} " + ("equal" if found == engine else f"{percent:+d} %" if percent else "0 %")


def table(questions: list[Question], rows: dict[str, Answers], *, markdown: bool) -> str:
    lines = [["", *(question.label for question in questions), "ms"]]
    lines.append(["engine", *(f"{engine_bytes(question) / GIB:.2f}" for question in questions), ""])
    for title, answers in rows.items():
        milliseconds = f"{1000 * statistics.median(answers.seconds):.0f}"
        lines.append([title, *(cell(answers, question) for question in questions), milliseconds])
    if markdown:
        lines.insert(1, ["---", *("---:" for _ in lines[0][1:])])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def report(wanted: list[Peer], folder: Path, *, runs: int, markdown: bool) -> None:
    write_inputs(folder)
    for questions in SECTIONS.values():
        ask_deployfit(questions, runs=0)
    programs: dict[str, Path] = {}
    missing = {peer.title: peer.skip for peer in PEERS if peer.skip and peer not in wanted} | NOT_ASKED
    for peer in wanted:
        print(f"installing {peer.title}", file=sys.stderr)
        try:
            programs[peer.name] = install(peer, folder)
        except NoAnswer as refusal:
            missing[peer.title] = f"could not be installed: {refusal}"
    env = environment(folder)
    refused: dict[tuple[str, str], list[str]] = {}
    for title, questions in SECTIONS.items():
        rows = {"deployfit": ask_deployfit(questions, runs)}
        for peer in wanted:
            theirs = [question for question in questions if peer.is_about(question)]
            # the section is not for who does not answer what it opens with
            if peer.name not in programs or not theirs or questions[0].asked not in peer.answers:
                continue
            command = partial(peer.words, folder=folder, programs=programs[peer.name])
            alone = partial(run, env=env, exit_codes=peer.exit_codes)
            answers = ask(command, peer.read, alone, theirs, runs)
            for question, reason in answers.refused.items():
                refused.setdefault((peer.title, reason), []).append(question.label)
            if answers.found:
                rows[peer.title] = answers
        print(f"{title}; GiB, and the difference from the engine\n\n{table(questions, rows, markdown=markdown)}\n")
    print("What the figures hold:\n")
    for peer in wanted:
        print(f"- {peer.title}: {peer.includes}")
    print("\nNot answered:\n")
    for (who, reason), labels in refused.items():
        print(f"- {who}, {', '.join(labels)}: {reason}")
    for who, reason in missing.items():
        print(f"- {who}: {reason}")


def main() -> None:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"timed processes per question (default: {RUNS})")
    parser.add_argument("--only", action="append", choices=names, metavar="PEER", help="this peer; may be repeated")
    parser.add_argument("--folder", type=Path, help="keep the installations here (default: a temporary folder)")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs: expected 1 or more, got {options.runs}")
    wanted = [peer for peer in PEERS if (peer.name in options.only if options.only else not peer.skip)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        report(wanted, folder, runs=options.runs, markdown=options.markdown)


if __name__ == "__main__":
    main()
