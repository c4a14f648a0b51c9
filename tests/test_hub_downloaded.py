"""What huggingface_hub has downloaded already is not asked of the Hub again; its cache is read, never written."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import Asking
from fake_hub import FakeHub, SparseFile
from hub_files import REPO, gguf_file

from deployfit.repository import RepoFile, Repository
from deployfit.sources.hub import constants, downloaded

COMMIT = "a" * 40
FILE = "Qwen3.5-27B-Q4_K_M.gguf"
QUESTION = ("fit", f"hub:{REPO}", "--file", "*Q4_K_M*", "--mac", "32")


def digest_of(content: SparseFile | bytes) -> str:
    """A name for a blob, which need not be its digest: these are headers before holes."""
    return hashlib.sha256(content.header if isinstance(content, SparseFile) else content).hexdigest()


def download(cache: Path, repo: str, files: Mapping[str, SparseFile | bytes], commit: str = COMMIT) -> Path:
    """Files in the layout of huggingface_hub's cache; the sizes are holes."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    for name, content in files.items():
        blob = folder / "blobs" / digest_of(content)
        blob.parent.mkdir(parents=True, exist_ok=True)
        with open(blob, "wb") as file:
            file.write(content.header if isinstance(content, SparseFile) else content)
            if isinstance(content, SparseFile):
                file.truncate(content.size)
        link = folder / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    ref = folder / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit, "ascii")
    return folder


@pytest.fixture
def file(tmp_path: Path) -> SparseFile:
    return gguf_file(tmp_path, "Qwen3.5-27B", "Q4_K_M")


def test_a_downloaded_file_is_not_asked_for_again(hub: FakeHub, ask: Asking, file: SparseFile) -> None:
    hub.add_repo(REPO, {FILE: file})
    (etag,) = {each.etag for each in listed(ask) if each.name == FILE}
    folder = download(ask.home / "hub", REPO, {FILE: file})
    (blob,) = (folder / "blobs").iterdir()
    blob.rename(blob.with_name(etag))
    hub.requests.clear()
    (row,) = ask.rows(*QUESTION)
    assert row["file_bytes"] == file.size
    assert not [request for request in hub.requests if "/resolve/" in request.path]


def listed(ask: Asking) -> list[RepoFile]:
    """The files of the repository as the Hub lists them, with what it calls their content."""
    with urllib.request.urlopen(f"{ask.hub.endpoint}/api/models/{REPO}/revision/main?blobs=true") as answer:
        info = json.load(answer)
    return [
        RepoFile(each["rfilename"], each["size"], each.get("lfs", {}).get("sha256") or each["blobId"])
        for each in info["siblings"]
    ]


@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_without_the_hub_what_was_downloaded_is_answered(how: str, hub: FakeHub, ask: Asking, file: SparseFile) -> None:
    download(ask.home / "hub", REPO, {FILE: file, "README.md": b"# card\n"})
    more = {"HF_HUB_OFFLINE": "1"} if how == "offline" else {"HF_ENDPOINT": "http://127.0.0.1:9"}
    (row,) = ask.rows(*QUESTION, **more)
    assert any("from the cache, the Hub was not asked" in note for note in row["notes"])
    (own,) = ask.rows("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32")
    same = ["tensor_bytes", "weights_bytes", "kv_cache_bytes", "total_bytes", "verdict", "max_context_tokens"]
    assert {name: row[name] for name in same} == {name: own[name] for name in same}
    assert hub.requests == []
    done = ask(*QUESTION, "--revision", "other", **more)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert ask(*QUESTION, "--revision", COMMIT, **more).returncode == 0


def test_the_hub_is_asked_for_the_list_even_of_a_commit_that_was_downloaded(
    hub: FakeHub, ask: Asking, file: SparseFile, tmp_path: Path
) -> None:
    other = gguf_file(tmp_path, "Qwen3.5-27B", "Q8_0")
    hub.add_repo(REPO, {FILE: file, "Qwen3.5-27B-Q8_0.gguf": other})
    commit = hub.repos[REPO].sha
    download(ask.home / "hub", REPO, {FILE: file}, commit)
    rows = ask.rows("hub", REPO, "--revision", commit)
    assert {row["file"] for row in rows} == {FILE, "Qwen3.5-27B-Q8_0.gguf"}


def test_nothing_but_whole_regular_files_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: SparseFile
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = download(tmp_path / "cache", REPO, {FILE: file})
    repository = Repository(REPO, "main", COMMIT, (), {})
    etag = digest_of(file)
    assert downloaded.first_bytes(repository, RepoFile(FILE, file.size, etag), 4) == b"GGUF"
    assert downloaded.first_bytes(repository, RepoFile(FILE, file.size + 1, etag), 4) == b""  # cut short
    for bad in ("", "../refs/main", "main", "A" * 40, etag[:-1]):
        assert downloaded.first_bytes(repository, RepoFile(FILE, file.size, bad), 4) == b""
    blob = folder / "blobs" / etag
    blob.unlink()
    os.mkfifo(blob)
    assert downloaded.first_bytes(repository, RepoFile(FILE, file.size, etag), 4) == b""
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    size = os.stat("/etc/passwd").st_size
    assert downloaded.first_bytes(repository, RepoFile(FILE, size, etag), 4) == b""
    assert downloaded.snapshot(REPO, "main") is None  # the link leads out of the blobs


def test_refs_and_links_that_lead_elsewhere_name_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: SparseFile
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = download(tmp_path / "cache", REPO, {FILE: file})
    found = downloaded.snapshot(REPO, "main")
    assert found is not None
    assert found.files == (RepoFile(FILE, file.size, digest_of(file)),)
    (tmp_path / "secret").write_text(COMMIT, "ascii")
    for revision in ("../../../secret", "/etc/passwd", "", ".", "b" * 40):
        assert downloaded.snapshot(REPO, revision) is None
    (folder / "refs" / "main").write_bytes(b"\xff" * 1000)
    assert downloaded.snapshot(REPO, "main") is None
    (folder / "refs" / "pr").mkdir()
    (folder / "refs" / "pr" / "1").write_text(COMMIT, "ascii")
    assert downloaded.snapshot(REPO, "pr/1") is not None
    (folder / "snapshots" / COMMIT / "loop").symlink_to("loop")
    (folder / "snapshots" / COMMIT / "out").symlink_to(tmp_path / "secret")
    again = downloaded.snapshot(REPO, COMMIT)
    assert again is not None
    assert [each.name for each in again.files] == [FILE]


def test_nothing_is_written_to_the_cache_of_others(hub: FakeHub, ask: Asking, file: SparseFile) -> None:
    folder = download(ask.home / "hub", REPO, {FILE: file})
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))
    ask.rows(*QUESTION, HF_HUB_OFFLINE="1")
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*")) == before
