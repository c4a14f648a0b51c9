"""`deployfit check --online` and `deployfit refresh`: the written-down sizes against those of today."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Asking
from fake_hub import SERVER_ERROR, FakeHub, SparseFile
from hub_files import REPO, config_json, gguf_file

PUBLISHED_SIZES = (Path(__file__).parent.parent / "data" / "published_sizes.csv").read_bytes()


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What was said, without the ends of lines that a screen's width makes."""
    return " ".join((done.stdout + done.stderr).split())


def test_check_online_takes_todays_sizes_and_says_what_differs(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    right = gguf_file(tmp_path, "Qwen3.5-27B", "Q8_0")
    hub.add_repo(REPO, {"Qwen3.5-27B-Q8_0.gguf": SparseFile(right.header, 28_595_763_104)})
    official = config_json("Qwen3.5-27B").replace(b'"head_dim": 256', b'"head_dim": 128')
    hub.add_repo("Qwen/Qwen3.5-27B", {"config.json": official})
    done = ask("check", "--online", "--model", "Qwen3.5-27B", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["review"]["differences"] == ["Qwen3.5-27B: head_dim is 128 on the Hub, 256 in the catalogue"]
    (row,) = report["rows"]
    assert (row["file"], row["published_bytes"], row["exact"]) == ("unsloth:Q8_0", 28_595_763_104, True)
    assert any("'bartowski/Qwen_Qwen3.5-27B-GGUF' at 'main': no such" in line for line in report["review"]["not_asked"])
    assert "unsloth:Q4_K_M of Qwen3.5-27B, written down 2026-08-21" in report["review"]["gone"]
    assert not any("unsloth:Q8_0" in line or "bartowski" in line for line in report["review"]["gone"])
    hub.repos[REPO].commit({"Qwen3.5-27B-Q8_0.gguf": SparseFile(right.header, 30_000_000_000)})
    done = ask("check", "--online", "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert done.returncode == 1
    assert "not written down: unsloth:Q8_0 of Qwen3.5-27B: 30,000,000,000 bytes today" in one_line(done)
    assert "FAILED" in done.stdout


def test_check_online_without_a_hub_is_exit_code_4(hub: FakeHub, ask: Asking) -> None:
    done = ask("check", "--online", "--model", "Qwen3.5-27B", HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (4, "")
    assert "the Hub cannot be reached" in done.stderr
    assert ask("check", "--model", "Qwen3.5-27B", HF_ENDPOINT="http://127.0.0.1:9").returncode == 0


def test_refresh_appends_dated_rows_and_never_overwrites(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    path = tmp_path / "published_sizes.csv"
    before = (Path(__file__).parent.parent / "data" / "published_sizes.csv").read_text(encoding="utf-8")
    path.write_text(before, encoding="utf-8")
    hub.add_repo(
        REPO,
        {
            "Qwen3.5-27B-Q8_0.gguf": SparseFile(b"GGUF", 28_595_763_104),  # as written down
            "Qwen3.5-27B-Q6_K.gguf": SparseFile(b"GGUF", 22_000_000_000),  # uploaded anew
            "Qwen3.5-27B-UD-Q9_K.gguf": SparseFile(b"GGUF", 33_000_000_000),  # a new name
            "mmproj-F16.gguf": SparseFile(b"GGUF", 927_000_000),
        },
    )
    words = ("refresh", str(path), "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    dry = ask(*words, "--dry-run")
    assert path.read_text(encoding="utf-8") == before
    done = ask(*words)
    assert (dry.returncode, done.returncode) == (0, 0), done.stderr
    assert done.stdout.startswith("3 sizes on the Hub, 2 of them new or changed; 2 rows appended.")
    after = path.read_text(encoding="utf-8")
    assert after.startswith(before)
    added = after[len(before) :].splitlines()
    assert [line.split(",")[3] for line in added] == ["Q6_K", "UD-Q9_K"]
    assert all("unsloth,unsloth/Qwen3.5-27B-GGUF,Qwen3.5-27B," in line and ",high," in line for line in added)
    from deployfit.quants.published_sizes import PUBLISHED_SIZES as TABLE

    assert len(TABLE.rows(after, "sizes")) == len(TABLE.rows(before, "sizes")) + 2


def test_online_means_today_and_the_cache_does_not_answer(
    hub: FakeHub, ask: Asking, files: dict[str, Any], tmp_path: Path
) -> None:
    hub.add_repo(REPO, files)
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(PUBLISHED_SIZES)
    mine = ("--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert ask("check", "--online", *mine).returncode == 1
    before = len(hub.requests)
    for words in (("check", "--online", *mine), ("refresh", str(path), *mine)):
        done = ask(*words, HF_HUB_OFFLINE="1")
        assert (done.returncode, done.stdout) == (4, "")
        assert "offline by HF_HUB_OFFLINE; unset it to ask the Hub" in done.stderr
        hub.fault("/api/models", SERVER_ERROR, times=3)
        done = ask(*words)
        assert (done.returncode, done.stdout) == (4, "")
    assert len(hub.requests) == before + 6
    assert path.read_bytes() == PUBLISHED_SIZES


def test_what_could_not_be_asked_is_exit_code_4_beside_the_answer(hub: FakeHub, ask: Asking) -> None:
    hub.add_repo(REPO, {"Qwen3.5-27B-Q8_0.gguf": SparseFile(b"GGUF", 28_595_763_104)})
    words = ("check", "--online", "--model", "Qwen3.5-27B")
    assert ask(*words).returncode == 0
    hub.fault("/api/models/bartowski", SERVER_ERROR, times=None)
    done = ask(*words)
    assert done.returncode == 4
    assert "None of 1 published sizes outside their tolerance: 1 exact" in one_line(done)
    assert "not asked: 'bartowski/Qwen_Qwen3.5-27B-GGUF' at 'main': the Hub answered HTTP 500" in one_line(done)
    hub.repos[REPO].commit({"Qwen3.5-27B-Q8_0.gguf": SparseFile(b"GGUF", 30_000_000_000)})
    assert ask(*words).returncode == 1


def test_a_file_s_name_does_not_get_into_tables_by_its_escapes(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    evil = SparseFile(b"GGUF", 5_000_000_000)
    names = ("Qwen3.5-27B-\x1b[31mQ4.gguf", "Qwen3.5-27B-a\nb,c.gguf", "Qwen3.5-27B-|.gguf", "Qwen3.5-27B-Q5_K_S.gguf")
    hub.add_repo(REPO, dict.fromkeys(names, evil))
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(PUBLISHED_SIZES)
    mine = ("--model", "Qwen3.5-27B", "--publisher", "unsloth")
    done = ask("check", "--online", *mine, "--format", "junit")
    ElementTree.fromstring(done.stdout.encode())
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stdout.count("not written down: ") == 1
    assert ask("refresh", str(path), *mine).returncode == 0
    assert path.read_bytes().removeprefix(PUBLISHED_SIZES).count(b"\n") == 1
    assert "\x1b" not in "".join(
        ask("hub", REPO, "--format", name).stdout for name in ("text", "json", "csv", "markdown")
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("at_the_end", [True, False])
def test_refresh_adds_nothing_twice_whatever_the_day_and_keeps_the_ends_of_lines(
    end: bytes, at_the_end: bool, hub: FakeHub, ask: Asking, tmp_path: Path
) -> None:
    from deployfit.quants.published_sizes import PUBLISHED_SIZES as TABLE

    hub.add_repo(REPO, {"Qwen3.5-27B-UD-Q9_K.gguf": SparseFile(b"GGUF", 33_000_000_000)})
    before = PUBLISHED_SIZES.replace(b"\n", end).removesuffix(b"" if at_the_end else end)
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(before)
    words = ("refresh", str(path), "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert "1 rows appended" in ask(*words).stdout
    after = path.read_bytes()
    assert after.startswith(before)
    (size,) = TABLE.rows(after.decode(), "sizes")[-1:]
    assert (size.recipe, size.nbytes, size.of) == ("UD-Q9_K", 33_000_000_000, "file")
    assert after.count(b"\n") == after.count(end)
    yesterday = after.replace(size.date.encode(), b"2026-09-30")
    path.write_bytes(yesterday)
    assert "0 rows appended" in ask(*words).stdout
    assert path.read_bytes() == yesterday


def test_refresh_appends_all_or_nothing(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    hub.add_repo(REPO, {"Qwen3.5-27B-UD-Q9_K.gguf": SparseFile(b"GGUF", 33_000_000_000)})
    path = tmp_path / "published_sizes.csv"
    path.write_bytes(PUBLISHED_SIZES)
    most = len(PUBLISHED_SIZES) + 10
    words = [
        sys.executable,
        "-m",
        "deployfit",
        "refresh",
        str(path),
        "--model",
        "Qwen3.5-27B",
        "--publisher",
        "unsloth",
    ]
    done = subprocess.run(
        words,
        env=ask.env(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "File too large; nothing was appended" in done.stderr
    assert {each.name for each in tmp_path.iterdir()} <= {"cache", path.name}
    assert path.read_bytes() == PUBLISHED_SIZES
    for other, said in (("/dev/zero", "not a text file"), (str(tmp_path), "not a text file")):
        done = ask("refresh", other)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_refresh_wants_a_publisher_that_exists_and_a_file_of_sizes(ask: Asking, tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("publisher,model\n", encoding="utf-8")
    for words, said in (
        (("refresh", str(tmp_path / "nowhere.csv")), "No such file or directory; give data/published_sizes.csv"),
        (("refresh", str(path)), "sizes.csv:1: no column repo, recipe"),
    ):
        done = ask(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
