"""The client: asks the Hub through `huggingface_hub`, its session, its token and its retries.

HF_ENDPOINT, HF_TOKEN, the login's token and HF_HUB_OFFLINE mean what they mean to huggingface_hub. The token goes
to the Hub only: where a file is elsewhere, the redirect is followed without it.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NoReturn, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    build_hf_headers,
    hf_raise_for_status,
    http_stream_backoff,
    parse_ratelimit_headers,
)

from deployfit.errors import HubError, InputError, quoted
from deployfit.hub.cache import Cache
from deployfit.repository import RepoFile, Repository

WAITS = (0.5, 1.0)  # seconds before a second and a third try
MOST_WAIT_SECONDS = 10  # that a server may ask to wait
MOST_SECONDS = 120.0  # for one answer, however slowly it drips
MOST_LIST_BYTES = 32 * 2**20  # of JSON; 1,000 files take some 300 kB
# From so many files on, or empty, the list that comes with model_info may be cut short by caches of the Hub. Its own
# client distrusted it from 50,000 files on (huggingface_hub #3122, May 2025), then from 1,000 (#3565, November 2025).
MANY_FILES = 1_000
MOST_PAGES = 100  # of 1,000 files each
T = TypeVar("T")
_COMMIT = re.compile(r"[0-9a-f]{40}")

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what goes wrong is said once, by us


class HubClient:
    """Repositories and the first bytes of their files, from the Hub or from the cache."""

    def __init__(self, cache: Cache, *, offline: bool) -> None:
        self._cache = cache
        self.offline = offline or constants.is_offline_mode()
        self.from_cache = False  # whether an answer came from the cache because the Hub could not be asked
        self._api = HfApi(library_name="deployfit")

    def repository(self, repo_id: str, revision: str | None, *, today: bool = False) -> Repository:
        """Return a repository at a revision ("main" if none is named).

        A commit is looked up once; a branch each time, but if the Hub cannot be asked its last known state is
        taken, unless it is today's that is wanted.
        """
        asked = revision or constants.DEFAULT_REVISION
        key = ("repository", constants.ENDPOINT, repo_id, asked)
        cached = None if today else _repository_from_json(self._cache.get(*key))
        if cached is not None and (self.offline or _COMMIT.fullmatch(asked)):
            self.from_cache = self.offline
            return cached
        if self.offline and not today:
            raise HubError(
                f"{quoted(repo_id)} at {quoted(asked)} is not in the cache; ask once without --offline"
                " (and without HF_HUB_OFFLINE)"
            )
        try:
            found = self._ask(repo_id, asked)
        except HubError:
            if cached is None:
                raise
            self.from_cache = True
            return cached
        content = _repository_to_json(found)
        self._cache.put(content, *key)
        self._cache.put(content, "repository", constants.ENDPOINT, repo_id, found.commit)
        return found

    def _ask(self, repo_id: str, revision: str) -> Repository:
        try:
            _bound_session()
            info = _retrying(
                lambda: self._api.model_info(
                    repo_id, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
                )
            )
            commit = str(info.sha or "")
            files = [_repo_file(each.rfilename, each.size, each.blob_id, each.lfs) for each in info.siblings or []]
            if (not files or len(files) >= MANY_FILES) and _COMMIT.fullmatch(commit):
                files = list(_tree(repo_id, commit))
        except Exception as error:
            _fail(error, f"{quoted(repo_id)} at {quoted(revision)}")
        if not _COMMIT.fullmatch(commit) or any(file is None for file in files):
            raise HubError(f"{quoted(repo_id)}: the Hub's answer is not a list of files with sizes; try again later")
        params = getattr(info.safetensors, "parameters", None)
        return Repository(
            repo_id=repo_id,
            revision=revision,
            commit=commit,
            files=tuple(file for file in files if file is not None),
            params=_counts(params),
        )

    def prefix(self, repository: Repository, file: RepoFile, nbytes: int) -> bytes:
        """Return the first bytes of a file, up to so many; what the cache has is not asked for again."""
        nbytes = min(nbytes, file.nbytes)
        key = _prefix_key(repository, file)
        known = self._cache.get(*key) or b""
        if len(known) >= nbytes:
            return known[:nbytes]
        if self.offline:
            raise HubError(f"{quoted(file.name)} is not in the cache; ask once without --offline")
        known += self._range(repository, file, len(known), nbytes)
        self._cache.put(known, *key)
        return known

    def forget(self, repository: Repository, file: RepoFile) -> None:
        """Forget the bytes of a file that turned out to be something else, such as a portal's page."""
        self._cache.drop(*_prefix_key(repository, file))

    def _range(self, repository: Repository, file: RepoFile, start: int, stop: int) -> bytes:
        """Return the bytes from start up to stop."""
        what = f"{quoted(repository.repo_id)}: {quoted(file.name)}"
        try:
            url = hf_hub_url(repository.repo_id, file.name, revision=repository.commit)
            headers = {
                **build_hf_headers(library_name="deployfit"),
                "Range": f"bytes={start}-{stop - 1}",
                "Accept-Encoding": "identity",
            }
            wanted = _retrying(lambda: _received(url, headers, start, stop))
        except Exception as error:
            _fail(error, what)
        if len(wanted) != stop - start:
            raise HubError(f"{what}: asked for {stop - start:,} bytes, got {len(wanted):,}; try again later")
        return wanted

    def content(self, repository: Repository, name: str, most_bytes: int) -> bytes | None:
        """Return a small file as a whole, None if the repository has none of that name."""
        file = next((file for file in repository.files if file.name == name), None)
        if file is None:
            return None
        if file.nbytes > most_bytes:
            raise InputError(
                f"{quoted(repository.repo_id)}: {quoted(name)} has {file.nbytes:,} bytes; that is no {name}"
            )
        return self.prefix(repository, file, file.nbytes)


def _prefix_key(repository: Repository, file: RepoFile) -> tuple[str, ...]:
    return ("prefix", constants.ENDPOINT, repository.repo_id, file.name, file.etag or repository.commit)


class _TooMuchError(Exception):
    """An answer goes on for too long."""


class _BoundedStream(httpx2.SyncByteStream):
    """The body of an answer, which may not be longer than that in bytes or seconds: timeouts only count pauses."""

    def __init__(self, stream: httpx2.SyncByteStream, most_bytes: float, most_seconds: float) -> None:
        self._stream = stream
        self._most_bytes = most_bytes
        self._deadline = time.monotonic() + most_seconds

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._most_bytes -= len(chunk)
            if self._most_bytes < 0 or time.monotonic() > self._deadline:
                raise _TooMuchError
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _bound(response: httpx2.Response) -> None:
    most_bytes = MOST_LIST_BYTES if response.url.path.startswith("/api/") else math.inf
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _BoundedStream(response.stream, most_bytes, MOST_SECONDS)


def _bound_session() -> httpx2.Client:
    """Return huggingface_hub's session, which bounds every answer from now on."""
    session = get_session()
    if _bound not in session.event_hooks["response"]:
        session.event_hooks["response"].append(_bound)
    return session


def _received(url: str, headers: Mapping[str, str], start: int, stop: int) -> bytes:
    """Return what a range request gives; a server that ignores ranges is cut off where there is enough."""
    received = bytearray()
    _bound_session()
    with http_stream_backoff(
        "GET",
        url,
        max_retries=0,
        headers=dict(headers),
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        hf_raise_for_status(response)
        if response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise HubError("another range came than was asked for; try again later")
        skip = start if response.status_code == 200 else 0
        for chunk in response.iter_raw():
            received += chunk
            if len(received) >= skip + stop - start:
                break
    return bytes(received[skip : skip + stop - start])


def _retrying(call: Callable[[], T]) -> T:
    """Return what a call gives; a server that stumbles is asked again, one that says when, if that is soon."""
    for wait in WAITS:
        try:
            return call()
        except HfHubHTTPError as error:
            if error.response.status_code == 429:
                wait = _asked_to_wait(error.response)
                if wait > MOST_WAIT_SECONDS:
                    raise
            elif error.response.status_code < 500:
                raise
        except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError):
            pass
        time.sleep(wait)
    return call()


def _asked_to_wait(response: httpx2.Response) -> float:
    """Return the seconds after which a server that was asked too often may be asked again; endless if it says none."""
    limit, after = parse_ratelimit_headers(response.headers), response.headers.get("Retry-After", "")
    return float(limit.reset_in_seconds if limit else after if after.isdigit() else "inf")


def _tree(repo_id: str, commit: str) -> Iterator[RepoFile | None]:
    """Yield all files of a commit, page by page.

    `HfApi.list_repo_tree` asks the same, but without a timeout, waits for minutes if the Hub says so, and takes the
    token along to wherever the next page is said to be.
    """
    url = f"{constants.ENDPOINT}/api/models/{repo_id}/tree/{commit}?recursive=true"
    for _ in range(MOST_PAGES):
        response = _retrying(partial(_page, url))
        for row in response.json():
            if row["type"] == "file":
                yield _repo_file(row["path"], row["size"], row["oid"], row.get("lfs"))
        url = response.links.get("next", {}).get("url", "")
        if not url:
            return
        if not url.startswith(f"{constants.ENDPOINT}/"):
            raise HubError(f"{quoted(repo_id)}: the next page of its files is on another host; is HF_ENDPOINT right?")
    raise HubError(f"{quoted(repo_id)}: more than {MOST_PAGES} pages of files; that is no repository of a model")


def _page(url: str) -> httpx2.Response:
    headers = build_hf_headers(library_name="deployfit")
    response = _bound_session().get(url, headers=headers, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    hf_raise_for_status(response)
    return response


def _repo_file(name: object, size: object, blob_id: object, lfs: Mapping[str, object] | None) -> RepoFile | None:
    """Return a file of the Hub's list, None if it does not say name and size."""
    if not isinstance(name, str) or not isinstance(size, int) or size < 0:
        return None
    etag = (lfs.get("sha256") or lfs.get("oid")) if lfs else blob_id
    return RepoFile(name=name, nbytes=size, etag=str(etag or ""))


def _counts(value: object) -> Mapping[str, int]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): count for name, count in value.items() if isinstance(count, int) and count >= 0}


def _repository_to_json(repository: Repository) -> bytes:
    return json.dumps(repository._asdict() | {"files": [list(file) for file in repository.files]}).encode()


def _repository_from_json(content: bytes | None) -> Repository | None:
    """Return what the cache kept, None if it has nothing that this version reads."""
    try:
        fields = json.loads(content or b"")
        return Repository(**fields | {"files": tuple(RepoFile(*file) for file in fields["files"])})
    except (ValueError, KeyError, TypeError):
        return None


REFUSALS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[str], Exception]], ...] = (
    (HFValidationError, lambda what: InputError(f"{what}: not a repository's name; give owner/name")),
    (
        GatedRepoError,
        lambda what: InputError(f"{what}: gated; accept its terms on the Hub, then log in or set HF_TOKEN"),
    ),
    (RevisionNotFoundError, lambda what: InputError(f"{what}: no such revision; leave out --revision for main")),
    (EntryNotFoundError, lambda what: InputError(f"{what}: no such file in the repository")),
    (
        RepositoryNotFoundError,
        lambda what: InputError(
            f"{what}: no such repository, or a private one; check the name, log in or set HF_TOKEN"
        ),
    ),
    (UnicodeEncodeError, lambda what: InputError(f"{what}: HF_TOKEN is no token; it has letters that none has")),
    (
        (httpx2.InvalidURL, httpx2.UnsupportedProtocol),
        lambda what: InputError(f"{what}: HF_ENDPOINT is no address such as https://huggingface.co"),
    ),
    (ImportError, lambda what: InputError(f"{what}: for a SOCKS proxy install socksio, or unset the proxy's variable")),
    (OfflineModeIsEnabled, lambda what: HubError(f"{what}: offline by HF_HUB_OFFLINE; unset it to ask the Hub")),
    (_TooMuchError, lambda what: HubError(f"{what}: the Hub's answer is far too slow or too long; try again later")),
    (httpx2.TimeoutException, lambda what: HubError(f"{what}: the Hub did not answer in time; try again later")),
    (httpx2.TooManyRedirects, lambda what: HubError(f"{what}: the Hub redirects in a circle; try again later")),
    (
        httpx2.TransportError,
        lambda what: HubError(f"{what}: the Hub cannot be reached; check the network"),
    ),
)


def _fail(error: Exception, what: str) -> NoReturn:
    """Raise one line for whatever the client threw; never its text, which may hold addresses with signatures."""
    if isinstance(error, (InputError, HubError)):
        raise error
    for kind, refusal in REFUSALS:
        if isinstance(error, kind):
            raise refusal(what) from None
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            raise InputError(f"{what}: access denied (HTTP {status}); log in, or check HF_TOKEN") from None
        if status == 429:
            seconds = _asked_to_wait(error.response)
            wait = "wait" if math.isinf(seconds) else f"wait {seconds:.0f} s"
            raise HubError(f"{what}: too many requests (HTTP 429); {wait}, or log in for a higher limit") from None
        raise HubError(f"{what}: the Hub answered HTTP {status}; try again later") from None
    if isinstance(error, OSError):
        why = error.strerror or "system error"
        raise HubError(f"{what}: {why}; check the network, SSL_CERT_FILE and the proxy's variables") from None
    if isinstance(error, (ValueError, KeyError, TypeError, AttributeError, RecursionError)):
        raise HubError(f"{what}: the Hub's answer cannot be read; is HF_ENDPOINT right?") from None
    raise error
