"""What an attack found, each kind held: answers that are not what was asked for, bodies without end, foreign caches."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attack.hub_faults import small_model
from attack.raw_hub import COMMIT, FAULTS, OTHER_COMMIT, REPO, Fault, RawHub
from fake_hub import SparseFile
from test_local_files import put

from deployfit.catalogue import models, rows
from deployfit.crosscheck import RepositoryToAsk, sizes_of
from deployfit.errors import DataError, DeployfitError, HubError, InputError
from deployfit.quants.published_sizes import PUBLISHED_SIZES
from deployfit.quants.publishers import all_publishers
from deployfit.repository import RepoFile, Repository, group_files
from deployfit.sources.hub import cache as caches
from deployfit.sources.hub import constants, exchange
from deployfit.sources.hub.answers import read_model_info, to_json
from deployfit.sources.hub.cache import Cache, default_folder
from deployfit.sources.hub.client import HubClient
from deployfit.sources.hub.model import look
from deployfit.sources.open import open_source


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawHub]:
    """A raw Hub, asked in this process with a cache of its own and no waiting between tries."""
    with RawHub(*small_model(tmp_path)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setenv("DEPLOYFIT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("deployfit.sources.hub.client.WAITS", (0.0, 0.0))
        yield hub


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refused(raw: RawHub, fault: Fault | None, **how: Any) -> str:
    """Return the one line with which a repository is refused that goes wrong in a way."""
    raw.fault = fault
    with pytest.raises(DeployfitError) as caught:
        open_source(f"hub:{REPO}", **how)
    raw.fault = None
    line = str(caught.value)
    assert line.isprintable(), line
    return line


# F2: nothing enters the cache that was not held against what was asked


IN_PLACE_OF_FILES = [
    "a page as long as was asked for",
    "a page in place of every file",
    "zeros",
    "another content",
    "another commit's file",
    "a range of another size",
    "fewer bytes",
]


@pytest.mark.parametrize("name", IN_PLACE_OF_FILES)
def test_what_is_not_the_file_is_never_kept(name: str, raw: RawHub, tmp_path: Path) -> None:
    refused(raw, FAULTS[name])
    assert len(entries(tmp_path / "cache")) == 2  # the list, by branch and by commit
    assert open_source(f"hub:{REPO}").model is not None
    assert open_source(f"hub:{REPO}", offline=True).model is not None


def test_a_page_in_place_of_a_config_is_forgotten(raw: RawHub) -> None:
    """Once it was kept for good; with --file its loss was swallowed, and parameters were counted wrong."""
    config = raw.files["config.json"]
    raw.files = {"m.safetensors": struct.pack("<Q", 2) + b"{}", "config.json": config}
    raw.sizes = {name: len(content) for name, content in raw.files.items()}

    def page(asked: Any, hub: RawHub) -> Any:
        if not asked.path.endswith("config.json"):
            return None
        body = b"<html>" + b" " * (len(config) - 6)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        return iter([head + body])

    assert "another file came than was asked for; is there a login page" in refused(raw, page, pattern="m.safetensors")
    raw.fault = page
    with pytest.raises(HubError, match="another file came"):
        look(REPO, pattern="*")
    raw.fault = None
    assert look(REPO, pattern="*").looked[0].weights.params == 1


def test_a_config_is_held_against_its_name_even_if_it_is_json(raw: RawHub) -> None:
    config = raw.files["config.json"]
    other = config.replace(b"1024", b"2048")
    assert len(other) == len(config)
    assert hashlib.sha1(b"blob %d\0" % len(config) + config).hexdigest() == raw.etag("config.json")
    client = HubClient(Cache(None), offline=False)
    repository = client.repository(REPO, None)
    file = next(each for each in repository.files if each.name == "config.json")
    assert client.prefix(repository, file, file.nbytes) == config
    raw.fault = lambda asked, hub: iter([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(other) + other])
    with pytest.raises(HubError, match="another file came"):
        client.prefix(repository, file, file.nbytes)


# F22


def test_a_commit_that_was_asked_for_is_the_answer_s(raw: RawHub) -> None:
    raw.fault = lambda asked, hub: iter([b"HTTP/1.1 200 OK\r\n\r\n" + hub.info(sha=OTHER_COMMIT)])
    client = HubClient(Cache(default_folder()), offline=False)
    with pytest.raises(HubError, match="the answer is about another commit, dddddddddddd"):
        client.repository(REPO, COMMIT)
    raw.fault = None
    assert client.repository(REPO, COMMIT).commit == COMMIT
    assert HubClient(Cache(default_folder()), offline=True).repository(REPO, COMMIT).revision == COMMIT


# F7, F8, F10: however an answer goes on


@pytest.mark.parametrize(
    "name", ["404 without end", "302 with a body without end", "503 without end", "chunks without end"]
)
def test_bodies_without_end_are_left(name: str, raw: RawHub) -> None:
    begin = time.monotonic()
    refused(raw, FAULTS[name])
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "name", ["gzip said of plain text", "gzip damaged", "br", "zstd", "an encoding that nobody knows"]
)
def test_what_is_compressed_is_refused_unpacked(name: str, raw: RawHub) -> None:
    assert "the answer is compressed, which was not asked for" in refused(raw, FAULTS[name])
    assert all(asked.headers["accept-encoding"] == "identity" for asked in raw.asked)


@pytest.mark.parametrize(
    "name", ["a header letter by letter, for ever", "100 Continue for ever", "a body letter by letter"]
)
def test_an_answer_has_a_deadline_headers_too(name: str, raw: RawHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HEADER_SECONDS", 1.0)
    monkeypatch.setattr("deployfit.sources.hub.client.LIST_SECONDS", 1.0)
    monkeypatch.setattr("deployfit.sources.hub.client.API_PAUSE", 0.5 if "header" in name else 1.0)
    begin = time.monotonic()
    line = refused(raw, FAULTS[name])
    assert "the Hub's answer is far too slow or too long" in line or "did not answer in time" in line
    assert time.monotonic() - begin < 8


def test_after_many_that_do_not_answer_nobody_waits_any_more(raw: RawHub) -> None:
    client = HubClient(Cache(None), offline=False)
    raw.fault = FAULTS["no answer: closed at once"]
    for number in range(12):
        with pytest.raises(HubError):
            client.repository(f"own/m{number}", None)
    assert len(raw.asked) == 8 * 3


# F9, F18: what stands in answers and in variables


ANSWERS = {
    "429 with 400 digits": "too many requests (HTTP 429); wait, or log in",
    "429 with other digits": "too many requests (HTTP 429); wait, or log in",
    "429 after two 500": "too many requests (HTTP 429); wait, or log in",
    "a size of 10^309": "the Hub's answer cannot be read",
    "a size of 10^18": "is not a list of files with sizes",
    "a size of true": "is not a list of files with sizes",
    "a name twice": "is not a list of files with sizes",
    "404 with a list": "no such repository, or a private one",
    "404 with null": "no such repository, or a private one",
    "404 with numbers": "no such repository, or a private one",
    "302 to a file": "the answer points to no address of the web",
    "302 to ftp": "the answer points to no address of the web",
    "302 to itself": "the Hub redirects in a circle",
    "pages in a circle": "that is no repository of a model",
    "JSON of 8 MB of lists": "the Hub's answer cannot be read",
    "JSON of any depth": "the Hub's answer cannot be read",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_an_answer_says_is_bounded_before_anybody_calculates(name: str, raw: RawHub) -> None:
    assert ANSWERS[name] in refused(raw, FAULTS[name])


def test_messages_name_what_is_wrong(raw: RawHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such revision" in refused(raw, None, revision="\udcff")
    assert "no such revision" in refused(raw, None, revision="a\nb")
    monkeypatch.setenv("HF_TOKEN", "hf_\u00e9")
    assert refused(raw, None) == "HF_TOKEN is no token; it has letters that none has"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_HUB_USER_AGENT_ORIGIN", "\u0130")
    assert "HF_HUB_USER_AGENT_ORIGIN has letters that no header can hold" in refused(raw, None)


def test_the_program_says_who_asks_and_nothing_else(raw: RawHub) -> None:
    from deployfit import __version__

    open_source(f"hub:{REPO}")
    agents = {asked.headers["user-agent"] for asked in raw.asked}
    assert len(agents) == 1
    assert agents.pop().startswith(f"deployfit/{__version__}; hf_hub/")
    assert all(asked.path.startswith((f"/api/models/{REPO}/", f"/{REPO}/resolve/{COMMIT}/")) for asked in raw.asked)


# F3


@pytest.mark.parametrize("layer", ["\u00b2", "\u2460", "9" * 40, "-1", "", "1e3"])
def test_layers_that_are_no_number_are_unknown(layer: str, tmp_path: Path) -> None:
    name = f"blk.{layer}.attn_q.weight".encode()
    record = struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, 32, 0, 0)
    key = b"general.architecture"
    value = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, 1) + b"x"
    header = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + value + record
    put(tmp_path, {"m.gguf": SparseFile(header, len(header) + 500)})
    opened = open_source(str(tmp_path / "m.gguf"))
    assert opened.quant is not None
    weights = opened.quant.weights(None, options())  # type: ignore[arg-type]
    assert [(each.role, each.layers, each.nbytes) for each in weights.classes] == [("unknown", (-1,), 128)]


def options() -> Any:
    from deployfit.quants.weights import Options

    return Options()


# F4, F5, F6: lists of files


def sizes(*files: RepoFile) -> list[tuple[str, int]]:
    repository = Repository("unsloth/Qwen3.5-4B-GGUF", "main", COMMIT, tuple(files), {})
    asked = RepositoryToAsk(repository.repo_id, "unsloth", "Qwen3.5-4B", "", "GGUF")
    found = list(sizes_of(repository, asked, all_publishers()["unsloth"], "2026-11-26"))
    return [(size.recipe, size.nbytes) for size in found]


def test_an_empty_file_is_no_size(tmp_path: Path) -> None:
    files = RepoFile("Qwen3.5-4B-Q8_0.gguf", 0, ""), RepoFile("Qwen3.5-4B-Q4_0.gguf", 5, "")
    assert sizes(*files) == [("Q4_0", 5)]


def test_shards_of_one_stem_are_not_added_to_its_file() -> None:
    name = "Qwen3.5-4B-Q4_K_M"
    shards = [RepoFile(f"{name}-0000{number}-of-00002.gguf", size, "") for number, size in ((1, 6), (2, 4))]
    more = [RepoFile(f"{name}-00001-of-00003.gguf", 7, "")]
    groups = {
        group.name: (group.nbytes, group.missing)
        for group in group_files([RepoFile(f"{name}.gguf", 10, ""), *shards, *more])
    }
    assert groups == {f"{name}.gguf": (10, 0), f"{name}-of-00002.gguf": (10, 0), f"{name}-of-00003.gguf": (7, 2)}
    assert sizes(*shards) == [("Q4_K_M", 10)]
    assert sizes(RepoFile(f"{name}.gguf", 10, ""), *shards) == [("Q4_K_M", 10)]
    assert sizes(RepoFile(f"{name}.gguf", 11, ""), *shards) == []


def test_refresh_writes_nothing_that_would_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from deployfit.sources.hub import today

    known = rows(PUBLISHED_SIZES)[0]
    text = ",".join(PUBLISHED_SIZES.columns) + "\n"
    for nbytes in (0, 10**18 + 1):
        found = today.Today([known._replace(nbytes=nbytes)], {known.repo}, [], [], True)
        monkeypatch.setattr(today, "ask_the_hub", lambda *_, found=found: found)
        with pytest.raises(DataError, match="bytes: expected a whole number"):
            today.refreshed(text, "sizes.csv", [], None)
    good = today.Today([known], {known.repo}, [], [], True)
    monkeypatch.setattr(today, "ask_the_hub", lambda *_: good)
    assert PUBLISHED_SIZES.rows(today.refreshed(text, "sizes.csv", [], None).text, "sizes.csv") == [known]


def test_sizes_beyond_all_disks_are_no_list() -> None:
    info = {"sha": COMMIT, "siblings": [{"rfilename": "m.gguf", "size": 10**15 + 1}]}
    with pytest.raises(HubError):
        read_model_info(json.dumps(info).encode(), "a/b", "main")


@pytest.mark.parametrize("letter", ["\U0001f600".encode(), rb"\ud83d\ude00"])
def test_a_letter_that_makes_all_others_four_times_as_wide(letter: bytes) -> None:
    with pytest.raises(HubError, match="cannot be read"):
        read_model_info(b'{"sha":"%s","x":"%s' % (b"c" * 40, letter) + b"a" * 9_000_000 + b'"}', "a/b", "main")
    wide = b'{"sha":"%s","x":"%s' % (b"c" * 40, letter) + b"a" * 1_000_000 + b'"}'
    narrow = b'{"sha":"%s","x":"' % (b"c" * 40) + b"a" * 16_000_000 + b'"}'
    assert [read_model_info(body, "a/b", "main").files for body in (wide, narrow)] == [(), ()]


# F11: headers of many shards


def test_headers_of_all_shards_together_are_bounded(tmp_path: Path) -> None:
    """Each shard's is long, and its string a hole on the disk."""
    text = 16_000_000
    header = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IQ", 8, text)
    shards = {f"m-{number:05}-of-00005.gguf": SparseFile(header, len(header) + text) for number in range(1, 6)}
    put(tmp_path, shards)
    with pytest.raises(DataError, match="the headers of its shards have more than 40,000,000 bytes"):
        open_source(str(tmp_path / "m-00001-of-00005.gguf"))


# F15, F16, F19, F20: the cache


def test_an_entry_at_another_s_place_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(b"one", "a", "b")
    cache.put(b"two", "a", "c")
    one, two = entries(tmp_path)
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    assert (cache.get("a", "b"), cache.get("a", "c")) == (None, None)
    cache.put(b"one", "a", "b")
    assert cache.get("a", "b") == b"one"


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_endless_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"x" * 100)
    path.symlink_to(target)


@pytest.mark.parametrize("make", [make_fifo, make_endless_link, make_sparse, make_folder, make_link])
def test_only_regular_files_are_entries(make: Callable[[Path], None], tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(b"one", "a")
    (path,) = entries(tmp_path)
    path.unlink()
    make(path)
    reading = threading.Thread(target=lambda: found.append(cache.get("a")), daemon=True)
    found: list[bytes | None] = []
    reading.start()
    reading.join(5)
    assert found == [None]
    if make is not make_folder:
        cache.put(b"two", "a")
        assert cache.get("a") == b"two"
    target = path.with_name("target")
    assert not target.exists() or target.read_bytes() == b"x" * 100


FORGED = [
    b"[]",
    b"5",
    b"null",
    b'{"files":5}',
    b"[" * 100_000,
    b'{"repo_id":1,"revision":[],"commit":"x","files":[],"params":{}}',
]


@pytest.mark.parametrize("content", FORGED)
def test_a_forged_list_with_a_right_digest_is_as_none(content: bytes, raw: RawHub) -> None:
    cache = Cache(default_folder())
    cache.put(content, "repository", constants.ENDPOINT, REPO, "main")
    with pytest.raises(HubError, match="is not in the cache"):
        HubClient(cache, offline=True).repository(REPO, None)
    assert HubClient(cache, offline=False).repository(REPO, None).commit == COMMIT


def test_the_cache_has_a_bound_and_old_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MOST_BYTES", 10_000)
    cache = Cache(tmp_path)
    for number in range(40):
        cache.put(bytes(1000), str(number))
        for path in entries(tmp_path):  # as if a second had passed
            status = path.stat()
            os.utime(path, (status.st_atime - 1, status.st_mtime - 1))
        assert cache.get("0") is not None  # what is used stays
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 14_000
    assert cache.get("39") is not None
    assert cache.get("1") is None


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    Cache(tmp_path).put(b"one", "a")
    folder = entries(tmp_path)[0].parent
    for name, age in (("tmpold", 7200), ("tmpnew", 10), ("notes.txt", 7200)):
        path = folder / name
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    Cache(tmp_path).put(b"two", "b")
    assert {path.name for path in folder.iterdir()} >= {"tmpnew", "notes.txt"}
    assert not (folder / "tmpold").exists()


def test_without_a_home_there_is_no_cache_and_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DEPLOYFIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert default_folder() is None
    cache = Cache(default_folder())
    cache.put(b"one", "a")
    assert cache.get("a") is None
    assert list(tmp_path.iterdir()) == []


def test_a_kept_repository_is_as_it_was() -> None:
    files = RepoFile("\ud800\n.gguf", 5, "x"), RepoFile("b", 10**15, "")
    repository = Repository("a/b", "main", COMMIT, files, {"BF16": 5})
    from deployfit.sources.hub.answers import from_json

    assert from_json(to_json(repository)) == repository


def test_known_models_have_published_sizes() -> None:
    """The lists above are of a model and a publisher that exist."""
    assert "Qwen3.5-4B" in models()
    with pytest.raises(InputError):
        all_publishers()["unsloth"].quant("nothing")


def test_pages_and_shards_without_end_have_a_deadline(raw: RawHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployfit.sources.hub.client.MOST_SECONDS", 0.0)
    assert "far too slow or too long" in refused(raw, FAULTS["pages in a circle"])
    monkeypatch.setattr("deployfit.sources.headers.MOST_SECONDS", -1.0)
    assert "the headers of its shards come far too slowly" in refused(raw, None)
