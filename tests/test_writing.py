"""Files that are written, and text that is shown: the old file survives, and names stay text on their line."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployfit.printable import printable
from deployfit.writing import TEMPORARY, append_file, replace_file


@pytest.mark.parametrize("name", ["a:b.csv", "http:", "x?y#z.csv", "\u65e5\u672c.csv", "-o", "\udcff.csv", " "])
def test_a_name_is_a_path_whatever_it_looks_like(name: str, tmp_path: Path) -> None:
    replace_file(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", 0o640)
    fresh = tmp_path / "fresh"
    mask = os.umask(0o027)
    try:
        replace_file(fresh, b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o640


def limited(code: str, path: Path, nbytes: int) -> str:
    """Run code in a process that can write files of so many bytes only; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom deployfit.writing import *\n{code}", str(path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, nbytes)),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


TRY = "try:\n    {}(sys.argv[1], bytes(100_000))\nexcept OSError as error:\n    print(error.strerror)"


@pytest.mark.parametrize("write", ["replace_file", "append_file"])
def test_a_full_disk_leaves_the_old_file_as_it_was(write: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    assert limited(TRY.format(write), path, 50_000) == "File too large"
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


def test_what_is_no_file_is_written_to_as_it_is(tmp_path: Path) -> None:
    replace_file("/dev/null", b"x")
    assert not stat.S_ISREG(os.stat("/dev/null").st_mode)
    with pytest.raises(OSError, match="No space left on device"):
        replace_file("/dev/full", b"x")
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path, b"x")
    with pytest.raises(OSError, match="No such file or directory"):
        replace_file(tmp_path / "nowhere" / "a.csv", b"x")


def test_what_is_appended_is_appended(tmp_path: Path) -> None:
    append_file(tmp_path / "a", b"one")
    append_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deployfit.writing.os.fsync", interrupted)
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


ORDERS = ["::error::x", "  ::add-mask::x", "a##[add-mask]b", "::::", "##[##[", "\n::set-output name=a::b"]


@pytest.mark.parametrize("text", ORDERS)
def test_a_workflow_obeys_nothing_that_is_shown(text: str) -> None:
    shown = printable(text)
    assert "::" not in shown
    assert "##[" not in shown


@given(st.text(st.characters()))
def test_whatever_a_name_holds_it_is_one_line_of_text(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable() and "::" not in text and "##[" not in text:
        assert shown == text
