"""The fake Hub behaves as the Hub does: every answer is read by the real client."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Telemetry asks the endpoint for a list of agents, once a day, before the first request; read when it is imported.
os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")

import httpx2
import huggingface_hub as hf
import pytest
from fake_hub import (
    HTML_PAGE,
    MALFORMED_JSON,
    SERVER_ERROR,
    UNAVAILABLE,
    FakeHub,
    Fault,
    Repo,
    SparseFile,
    rate_limited,
    redirect,
)
from huggingface_hub import constants, errors
from huggingface_hub.utils import _http

NAME = "unsloth/Qwen3.5-27B-GGUF"
GIANT = "Q4/a-00001-of-00002.gguf"
SIZE = 17_000_000_000
CONFIG = b'{"model_type": "qwen3_5"}'


def safetensors(tensors: dict[str, Any], size: int) -> SparseFile:
    header = json.dumps(tensors).encode()
    return SparseFile(struct.pack("<Q", len(header)) + header, size)


def shard(name: str, padding: int = 0) -> SparseFile:
    offsets = {"dtype": "BF16", "shape": [1000, 500], "data_offsets": [0, 1_000_000]}
    return safetensors({"__metadata__": {"format": "pt", "x": "x" * padding}, name: offsets}, 5_000_000_000)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(tokens={"hf_ann": "ann", "hf_bob": "bob"}) as hub:
        yield hub
    hf.close_session()


@pytest.fixture
def repo(hub: FakeHub) -> Repo:
    files = {"config.json": CONFIG, "README.md": b"# Hi", GIANT: SparseFile(b"GGUF\3\0\0\0", SIZE)}
    return hub.add_repo(NAME, files, xet=[GIANT])


@pytest.fixture
def api(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> hf.HfApi:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return hf.HfApi(endpoint=hub.endpoint)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's pauses between retries, not waited for."""
    found: list[float] = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=found.append))
    return found


def url(hub: FakeHub, name: str = GIANT, revision: str | None = None) -> str:
    return hf.hf_hub_url(NAME, name, revision=revision, endpoint=hub.endpoint)


def seen(hub: FakeHub) -> list[tuple[str, str, int]]:
    return [(request.host, request.method, request.status) for request in hub.requests]


def test_model_info_is_one_request(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    repo.info = {"gguf": {"total": 27_000_000_000, "architecture": "qwen35"}}
    info = api.model_info(NAME, files_metadata=True)
    assert info.sha == repo.sha
    assert info.gguf == {"total": 27_000_000_000, "architecture": "qwen35"}
    files = {file.rfilename: file for file in info.siblings or []}
    assert files["config.json"].size == len(CONFIG)
    assert files["config.json"].lfs is None
    assert files[GIANT].size == SIZE
    assert files[GIANT].lfs is not None
    assert files[GIANT].lfs["pointer_size"] == 136
    assert [request.path for request in hub.requests] == [f"/api/models/{NAME}?blobs=true"]
    assert api.model_info(NAME, expand=["gguf"]).siblings is None


def test_git_names_the_blobs_as_git_does(repo: Repo) -> None:
    done = subprocess.run(["git", "hash-object", "--stdin"], input=CONFIG, capture_output=True, check=True)
    assert repo.commits[repo.sha]["config.json"].oid == done.stdout.decode().strip()


def test_revisions(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    old = repo.sha
    new = repo.commit({"config.json": b"{}"})
    repo.refs["refs/pr/1"] = old
    for revision, sha in ((None, new), ("main", new), (old, old), ("refs/pr/1", old)):
        assert api.model_info(NAME, revision=revision).sha == sha
        assert hf.get_hf_file_metadata(url(hub, "config.json", revision)).commit_hash == sha
    with pytest.raises(errors.RevisionNotFoundError):
        api.model_info(NAME, revision="nope")
    with pytest.raises(errors.RevisionNotFoundError):
        hf.get_hf_file_metadata(url(hub, "config.json", "nope"))
    with pytest.raises(errors.RemoteEntryNotFoundError) as caught:
        hf.get_hf_file_metadata(url(hub, "nope.json"))
    assert caught.value.response.headers["X-Repo-Commit"] == new


def test_tree_in_pages(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    hub.page_size = 2
    rows = list(api.list_repo_tree(NAME, recursive=True))
    assert sorted(row.path for row in rows) == ["Q4", GIANT, "README.md", "config.json"]
    giant = next(row for row in rows if row.path == GIANT)
    assert isinstance(giant, hf.RepoFile)
    assert giant.size == SIZE
    assert giant.xet_hash is not None
    assert len(giant.xet_hash) == 64
    assert [request.query.get("cursor") for request in hub.requests] == [None, ["2"]]
    assert [row.path for row in api.list_repo_tree(NAME)] == ["Q4", "README.md", "config.json"]
    assert [row.path for row in api.list_repo_tree(NAME, "Q4", expand=True)] == [GIANT]
    with pytest.raises(errors.RemoteEntryNotFoundError):
        list(api.list_repo_tree(NAME, "Q5"))
    assert [row.path for row in api.get_paths_info(NAME, ["config.json", "nope"])] == ["config.json"]


def test_file_metadata(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    giant = hf.get_hf_file_metadata(url(hub))
    assert (giant.size, giant.commit_hash) == (SIZE, repo.sha)
    assert giant.etag == repo.commits[repo.sha][GIANT].sha256
    assert giant.location.startswith(hub.cdn)
    assert giant.xet_file_data is not None
    assert seen(hub) == [("hub", "HEAD", 302)]
    small = hf.get_hf_file_metadata(url(hub, "config.json"))
    assert (small.size, small.etag) == (len(CONFIG), repo.commits[repo.sha]["config.json"].oid)
    assert small.xet_file_data is None
    assert seen(hub)[1:] == [("hub", "HEAD", 307), ("hub", "HEAD", 200)]


def test_renamed(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    hub.renamed["old/name"] = NAME
    assert api.model_info("old/name").id == NAME
    old = hf.hf_hub_url("old/name", GIANT, endpoint=hub.endpoint)
    assert hf.get_hf_file_metadata(old).size == SIZE


def test_download(hub: FakeHub, repo: Repo, api: hf.HfApi, tmp_path: Path) -> None:
    repo.commit({"config.json": CONFIG, "small.gguf": b"GGUF" * 50_000}, xet=["small.gguf"])
    for name, content in (("config.json", CONFIG), ("small.gguf", b"GGUF" * 50_000)):
        path = api.hf_hub_download(NAME, name, cache_dir=tmp_path, token="hf_ann")
        assert Path(path).read_bytes() == content
    assert seen(hub) == [
        *(("hub", "HEAD", 307), ("hub", "HEAD", 200), ("hub", "GET", 200)),
        *(("hub", "HEAD", 302), ("hub", "GET", 302), ("cdn", "GET", 200)),
    ]
    assert all(("Authorization" in request.headers) == (request.host == "hub") for request in hub.requests)


def test_safetensors(hub: FakeHub, api: hf.HfApi) -> None:
    name, many, plain = "Qwen/Qwen3.5-9B", "Qwen/Qwen3.5-27B", "Qwen/none"
    long = shard("a", padding=200_000)
    hub.add_repo(name, {"model.safetensors": long})
    assert api.get_safetensors_metadata(name, token="hf_ann").parameter_count == {"BF16": 500_000}
    ranges = [request.headers["Range"] for request in hub.requests if request.host == "cdn"]
    assert ranges == ["bytes=0-100000", f"bytes=8-{len(long.header) - 1}"]
    assert seen(hub)[0] == ("hub", "HEAD", 302)
    assert all(("Authorization" in request.headers) == (request.host == "hub") for request in hub.requests)

    shards = [f"model-{i:05}-of-00002.safetensors" for i in (1, 2)]
    index = {"metadata": {"total_size": 2_000_000}, "weight_map": {"a": shards[0], "b": shards[1]}}
    files = {
        "model.safetensors.index.json": json.dumps(index).encode(),
        **dict(zip(shards, map(shard, "ab"), strict=True)),
    }
    hub.add_repo(many, files)
    for found in (api.get_safetensors_metadata(many), api.get_sharded_safetensors_metadata(many)):
        assert found.parameter_count == {"BF16": 1_000_000}
        assert found.weight_map == index["weight_map"]
        assert found.metadata == {"total_size": 2_000_000}
    assert hub.requests[-1].path.endswith("/safetensors-metadata/model.safetensors.index.json")

    hub.add_repo(plain, {"model.safetensors": struct.pack("<Q", 25_000_001) + b"{}"})
    with pytest.raises(errors.SafetensorsParsingError, match="too big"):
        api.get_safetensors_metadata(plain)


def test_ranges(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    def get(wanted: str, **more: str) -> httpx2.Response:
        return hf.get_session().get(url(hub), headers={"Range": wanted, **more})

    first = get("bytes=0-7", Authorization="Bearer hf_ann")
    assert (first.status_code, first.content) == (206, b"GGUF\3\0\0\0")
    assert first.headers["Content-Range"] == f"bytes 0-7/{SIZE}"
    assert [response.status_code for response in first.history] == [302]
    assert [("Authorization" in request.headers) for request in hub.requests] == [True, False]
    assert get(f"bytes={SIZE - 5}-{SIZE + 5}").content == bytes(5)
    assert get("bytes=-3").headers["Content-Range"] == f"bytes {SIZE - 3}-{SIZE - 1}/{SIZE}"
    past = get(f"bytes={SIZE}-")
    assert (past.status_code, past.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert get("bytes=0-7", **{"If-None-Match": first.headers["ETag"]}).status_code == 304
    with pytest.raises(errors.HfHubHTTPError, match="Requested range"):
        hf.utils.hf_raise_for_status(past)
    signed = hub.cdn + hub.requests[-1].path
    assert hf.get_session().head(signed, headers={"Authorization": "Bearer hf_ann"}).status_code == 400
    assert hf.get_session().head(signed.split("?")[0]).status_code == 403


def test_range_ignored_is_cut_by_the_client(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    hub.fault("", Fault(ignore_range=True), host="cdn")
    with hf.get_session().stream("GET", url(hub), headers={"Range": "bytes=0-7"}) as response:
        assert (response.status_code, response.headers["Content-Length"]) == (200, str(SIZE))
        assert next(response.iter_raw(8)) == b"GGUF\3\0\0\0"
    assert hub.requests[-1].sent < SIZE // 100


def test_who_may_read(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    repo.gated, repo.readers = "manual", ["ann"]
    assert api.model_info(NAME, files_metadata=True).gated == "manual"
    assert len(list(api.list_repo_tree(NAME))) == 3
    for token, status in ((False, 401), ("hf_bob", 403)):
        with pytest.raises(errors.GatedRepoError, match="restricted") as caught:
            hf.get_hf_file_metadata(url(hub), token=token)
        assert caught.value.response.status_code == status
    assert hf.get_hf_file_metadata(url(hub), token="hf_ann").size == SIZE

    repo.gated, repo.private = False, True
    for token, status in ((False, 401), ("hf_bob", 404)):
        for call in (lambda t: api.model_info(NAME, token=t), lambda t: hf.get_hf_file_metadata(url(hub), token=t)):
            with pytest.raises(errors.RepositoryNotFoundError) as missing:
                call(token)
            assert missing.value.response.status_code == status
            assert not isinstance(missing.value, errors.GatedRepoError)
    assert api.model_info(NAME, token="hf_ann").private
    with pytest.raises(errors.RepositoryNotFoundError):
        api.model_info("no/such")
    with pytest.raises(errors.HfHubHTTPError, match="Invalid credentials") as wrong:
        api.model_info(NAME, token="hf_wrong")
    assert type(wrong.value) is errors.HfHubHTTPError
    assert api.whoami("hf_ann")["name"] == "ann"
    with pytest.raises(errors.HfHubHTTPError, match="Invalid user token"):
        api.whoami("hf_wrong")


def test_retries(hub: FakeHub, repo: Repo, api: hf.HfApi, waits: list[float]) -> None:
    for fault, status in ((rate_limited(55), 429), (SERVER_ERROR, 500), (UNAVAILABLE, 503)):
        hub.fault("/api/models", fault)
        with pytest.raises(errors.HfHubHTTPError) as caught:
            api.model_info(NAME)
        assert caught.value.response.status_code == status
    assert waits == []  # model_info never tries again, nor does HEAD
    hub.fault("resolve", SERVER_ERROR)
    with pytest.raises(errors.HfHubHTTPError):
        hf.get_hf_file_metadata(url(hub))
    assert waits == []

    for fault in (rate_limited(55), SERVER_ERROR, UNAVAILABLE, Fault(hang_up=True)):
        hub.fault("tree", fault)
    assert len(list(api.list_repo_tree(NAME))) == 3
    assert waits == [56, 2, 4, 8]
    waits.clear()
    hub.fault("tree", SERVER_ERROR, times=None)
    with pytest.raises(errors.HfHubHTTPError):
        list(api.list_repo_tree(NAME))
    assert waits == [1, 2, 4, 8, 8]


def test_rate_limit_message(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    hub.fault("", rate_limited(55))
    with pytest.raises(errors.HfHubHTTPError, match=r"Retry after 55 seconds \(0/500 requests"):
        api.model_info(NAME)


def test_answers_that_are_not_json(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    for fault in (HTML_PAGE, MALFORMED_JSON):
        hub.fault("/api/models", fault)
        with pytest.raises(json.JSONDecodeError):
            api.model_info(NAME)
    hub.fault("/api/models", Fault(200, body=b"{}"))
    with pytest.raises(KeyError):
        api.model_info(NAME)
    hub.fault("resolve", HTML_PAGE)
    assert hf.get_hf_file_metadata(url(hub)).commit_hash is None
    hub.fault("resolve", HTML_PAGE, times=None)
    with pytest.raises(errors.LocalEntryNotFoundError, match="missing the 'X-Repo-Commit' header"):
        api.hf_hub_download(NAME, "config.json")


def test_broken_bodies(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    cases: list[tuple[Fault, type[Exception]]] = [
        (Fault(cut_after=20), httpx2.RemoteProtocolError),
        (Fault(length_error=10), httpx2.RemoteProtocolError),  # longer than the body
        (Fault(length_error=-10), json.JSONDecodeError),  # shorter: the client sees a whole, truncated answer
        (Fault(hang_up=True), httpx2.RemoteProtocolError),
    ]
    for fault, error in cases:
        hub.fault("/api/models", fault)
        with pytest.raises(error):
            api.model_info(NAME)
    hub.fault("", Fault(cut_after=5), host="cdn")
    with pytest.raises(httpx2.RemoteProtocolError):
        hf.get_session().get(url(hub), headers={"Range": "bytes=0-99"})
    assert hub.requests[-1].sent == 5
    assert not issubclass(httpx2.RemoteProtocolError, errors.HfHubHTTPError)


def test_slow_answers(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    hub.fault("/api/models", Fault(delay=60), times=None)
    with pytest.raises(httpx2.ReadTimeout):
        api.model_info(NAME, timeout=0.1)
    with pytest.raises(httpx2.ReadTimeout):
        hf.get_session().get(f"{hub.endpoint}/api/models/{NAME}", timeout=0.1)
    # A timeout is between two pieces: dripping bytes never meet it.
    hub.fault("", Fault(drip=1, drip_pause=0.06), host="cdn")
    start = time.monotonic()
    response = hf.get_session().get(url(hub), headers={"Range": "bytes=0-7"}, timeout=0.4)
    assert len(response.content) == 8
    assert time.monotonic() - start > 0.4


def test_timeout_for_calls_that_set_none(hub: FakeHub, repo: Repo, api: hf.HfApi, waits: list[float]) -> None:
    def limit(request: httpx2.Request) -> None:
        request.extensions["timeout"] = {"connect": 0.1, "read": 0.1, "write": 0.1, "pool": 0.1}

    hub.fault("tree", Fault(delay=60), times=None)
    hf.get_session().event_hooks["request"].append(limit)
    with pytest.raises(httpx2.ReadTimeout):
        list(api.list_repo_tree(NAME))
    assert len(waits) == 5


def test_redirects(hub: FakeHub, repo: Repo, api: hf.HfApi) -> None:
    hub.fault("/api/models", redirect(f"/api/models/{NAME}"), times=None)
    with pytest.raises(httpx2.TooManyRedirects):
        api.model_info(NAME)
    assert len(hub.requests) == 21
    hub.fault("resolve", redirect(f"/{NAME}/resolve/main/{GIANT}"), times=None, method="HEAD")
    with pytest.raises(httpx2.TooManyRedirects):
        hf.get_hf_file_metadata(url(hub))
    assert len(hub.requests) == 41
    hub.fault("resolve", redirect(f"{hub.third}/stolen"), times=None, method="GET")
    response = hf.get_session().get(url(hub), headers={"Authorization": "Bearer hf_ann"})
    assert response.status_code == 404
    assert hub.requests[-1].host == "third"
    assert "Authorization" not in hub.requests[-1].headers


def test_a_subprocess_and_offline(hub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    program = f"""if True:
        import huggingface_hub as hf
        print(hf.model_info({NAME!r}).sha)
        print(hf.whoami()["name"])
        """
    env = hub.environment(tmp_path, token="hf_ann")
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout.split() == [repo.sha, "ann"], done.stderr
    assert [request.path for request in hub.requests] == [f"/api/models/{NAME}", "/api/whoami-v2"]
    done = subprocess.run(
        [sys.executable, "-c", program], env=env | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert "OfflineModeIsEnabled" in done.stderr
    assert len(hub.requests) == 2
    done = subprocess.run(
        [sys.executable, "-c", program], env=env | {"HF_HUB_DISABLE_TELEMETRY": "0"}, capture_output=True, text=True
    )
    assert hub.requests[2].path == "/api/agent-harnesses"


def test_a_hub_that_is_gone(hub: FakeHub, repo: Repo, api: hf.HfApi, waits: list[float]) -> None:
    assert api.model_info(NAME).sha
    hub.__exit__(None, None, None)
    with pytest.raises(httpx2.TransportError):
        api.model_info(NAME)
    with pytest.raises(httpx2.ConnectError):
        api.model_info(NAME)
    assert waits == []
    with pytest.raises(errors.LocalEntryNotFoundError):
        api.hf_hub_download(NAME, "config.json")
    assert waits == [1, 2, 4, 8, 8]  # with nothing in the cache it asks again, with retries
