"""What people see: every command in a real terminal of three widths, each of its lines looked at."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import Asking, one_line, run
from fake_hub import FakeHub, Fault

from deployfit.cli.waiting import CLEAR, FRAMES, PATIENCE, waiting
from deployfit.questions.question import PROGRESS
from deployfit.report.document import Code, Document, Statement, Ways
from deployfit.report.formats import Screen
from deployfit.report.formats.text import render

README = Path(__file__).parent.parent / "README.md"
WIDE = 200
WIDTHS = (60, 80, 120)
MAC = ("--mac", "M2 Pro 32")
COMMANDS = (
    ("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", *MAC),
    ("fit", "Qwen3.5-27B", "--quant", "unsloth:Q6_K", "--vision", "--explain", *MAC),
    ("fit", "Qwen3.5-122B-A10B", "--quant", "Q4_K_M", *MAC),
    ("fit", "Qwen3.5-35B-A3B", *MAC),
    ("fit", "gpt-oss-20b", "--mac", "16"),
    ("fit", "Qwen3.5-9B", "--app", "ollama", *MAC),
    ("fit", "Qwen3.5-27B", "--brief", *MAC),
    ("fit", "Qwen3.5-397B-A17B", "--quant", "4bit", "--mac", "2x M3 Ultra 256"),
    ("plan", "Qwen3.5-27B", *MAC),
    ("recommend", *MAC),
    ("quants", "Qwen3.5-27B"),
    ("table", "Qwen3.5-9B", "Qwen3.5-4B", *MAC),
    ("sweep", "Qwen3.5-9B", "--quant", "Q4_K_M", *MAC),
    ("models",),
    ("macs",),
)
ESCAPES = re.compile("\x1b\\[[0-9;]*[a-zA-Z]")
DRAWN = re.compile(r"[#|-]+|\\|\*|~")


def of_readme() -> list[tuple[str, ...]]:
    return [
        tuple(shlex.split(line)) for line in re.findall(r"^\$ deployfit (.*)$", README.read_text("utf-8"), re.MULTILINE)
    ]


def in_terminal(words: tuple[str, ...], width: int, more: Mapping[str, str] = {}, typed: bytes = b"") -> str:
    """Run deployfit in a terminal of its own and return all that it printed there; what is typed is shown there too."""
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "TERM": "xterm-256color"} | more
    with subprocess.Popen(
        [sys.executable, "-m", "deployfit", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        pieces = []
        try:
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        except OSError:  # the terminal is gone with whoever wrote to it
            pass
        os.close(ours)
    assert process.returncode == 0, b"".join(pieces)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def words_of(text: str) -> set[str]:
    return {word for word in text.split() if not DRAWN.fullmatch(word) and "~" not in word}


@pytest.mark.parametrize("words", dict.fromkeys([*COMMANDS, *of_readme()]), ids=" ".join)
def test_every_line_fits_and_nothing_is_broken(words: tuple[str, ...]) -> None:
    whole = words_of(ESCAPES.sub("", in_terminal(words, WIDE)).rpartition("\r")[2])
    for width in WIDTHS:
        text = ESCAPES.sub("", in_terminal(words, width)).rpartition("\r")[2]
        lines = text.splitlines()
        longest = max(lines, key=len)
        assert len(longest) <= width or " " not in longest.strip(), longest  # an address or a path stays whole
        assert words_of(text) <= whole  # no word and no number that is but a piece of one
        alone = [line for line in lines if re.fullmatch(r"\s*[0-9][0-9.,]*\s*", line)]
        assert not alone


def test_what_is_copied_is_whole_at_every_width() -> None:
    command = "llama-server -hf unsloth/Qwen3.5-27B-GGUF:Q4_K_M --ctx-size 32768 --cache-type-k q8_0 --parallel 4"
    document = Document("", [], [], [Code("Run it", command, "somewhere"), Ways("Ways", [("a way", command)])])
    for width in (40, *WIDTHS):
        shown = rendered(document, width)
        for lead in ("Run it", "a way:"):
            _, _, rest = shown.partition(lead)
            copied = rest.replace("\\\n", " ").split("\n\n")[0].split("\nGet it")[0]
            assert " ".join(copied.split()) == command


def rendered(document: Document, width: int) -> str:
    out = io.StringIO()
    render(document, out, Screen(width))
    return out.getvalue()


@pytest.mark.parametrize(
    ("more", "has_colours"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "0"}, False),
    ],
)
def test_colours_are_as_the_terminal_wants_them(more: dict[str, str], has_colours: bool) -> None:
    shown = in_terminal(("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", *MAC, "--brief"), 80, more)
    assert ("\x1b[32m" in shown) == has_colours
    assert ESCAPES.sub("", shown).startswith("fits ")


def test_what_takes_long_says_so_on_a_terminal_and_leaves_nothing_behind(hub: FakeHub, ask: Asking) -> None:
    hub.add_repo("own/repo", {"README.md": b"# card\n"})
    hub.fault("", Fault(delay=2 * PATIENCE))
    shown = in_terminal(("hub", "own/repo"), 80, ask.env())
    drawn = shown.split(CLEAR)
    assert drawn[0] == ""
    assert {text.strip() for text in drawn[1:-1]} - {""} == {f"{frame} working" for frame in FRAMES}
    assert drawn[-1].startswith("own/repo")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("file", ["4bit", "Q4_K_M"])
def test_sentences_of_parts_go_on_below_and_are_never_cut(file: str, width: int) -> None:
    words = ("fit", "Qwen3.5-27B", "--quant", file, "--mac", "M4 Max 64")
    narrow, wide = (one_line(in_terminal(words, columns)) for columns in (width, WIDE))
    assert "~" not in narrow
    table = wide[wide.index(" GiB weights") : wide.index("Run it")]
    assert set(table.split()) <= set(narrow.split())


def test_who_pastes_a_log_is_told_how_to_end_and_nothing_is_drawn_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = (Path(__file__).parent / "data" / "logs" / "mlx-lm-generate.log").read_bytes()
    shown = in_terminal(("verify", "-"), 80, typed=log + b"\n\x04")
    assert shown.count("paste the log, then press Ctrl-D\n") == 1
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    monkeypatch.setattr(said, "isatty", lambda: True)
    with waiting(reads_input=True):
        assert PROGRESS == []  # nobody draws
    assert said.getvalue() == "paste the log, then press Ctrl-D\n"


def test_a_number_stays_with_the_word_before_it() -> None:
    document = Document("", [], [], [Statement("a context of 32,768 tokens in one cache of 4 slots with 512 at once")])
    for width in range(40, 70):
        assert not [line for line in rendered(document, width).splitlines() if line[0].isdigit()]


def test_brief_and_explained_are_opposites() -> None:
    done = run("fit", "Qwen3.5-27B", *MAC, "--brief", "--explain")
    assert (done.returncode, done.stderr) == (2, "deployfit: --brief and --explain are opposites; leave one out\n")


def test_what_commands_do_is_said_whole_at_80_columns() -> None:
    lines = in_terminal(("--help",), 80).splitlines()
    assert [line for line in lines[1:] if line.endswith("...")] == []
