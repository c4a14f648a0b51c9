"""The client: repositories and the first bytes of their files, from the Hub or from the cache.

HF_ENDPOINT, HF_TOKEN, the login's token and HF_HUB_OFFLINE mean what they mean to huggingface_hub. Nothing enters the
cache that was not held against what was asked: commit, size, ETag, and that whoever wanted it could read it.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from threading import Lock
from urllib.parse import quote

import httpx2
from huggingface_hub.errors import HFValidationError

from deployfit.errors import HubError, InputError, quoted
from deployfit.parameters import param
from deployfit.repository import RepoFile, Repository
from deployfit.sources.hub import constants, downloaded, validate_repo_id
from deployfit.sources.hub.answers import COMMIT, MOST_FILES, from_json, read_model_info, read_tree, to_json
from deployfit.sources.hub.cache import Cache
from deployfit.sources.hub.exchange import (
    API_PAUSE,
    FILE_PAUSE,
    LIST_SECONDS,
    MOST_SECONDS,
    Choose,
    Head,
    Reply,
    TooLongError,
    TooSlowError,
    UnusableError,
    Wanted,
    exchange,
    hub_headers,
)
from deployfit.sources.hub.refusals import asked_to_wait, fail, refuse

WAITS = (0.5, 1.0)  # seconds before a second and a third try
MOST_WAIT_SECONDS = 10  # that a server may ask to wait
MOST_LIST_BYTES = 16 * 2**20  # of JSON; 1,000 files take some 300 kB
# From so many files on, or empty, the list that comes with model_info may be cut short by caches of the Hub. Its own
# client distrusted it from 50,000 files on (huggingface_hub #3122, May 2025), then from 1,000 (#3565, November 2025).
MANY_FILES = 1_000
MOST_PAGES = 100  # of 1,000 files each
MOST_FAILURES = 8  # one after the other, after which nobody waits for that host any more
MOST_REVISION = 256  # characters
STUMBLES = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)

_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


class HubClient:
    """Repositories and the first bytes of their files."""

    def __init__(self, cache: Cache, *, offline: bool) -> None:
        self._cache = cache
        self.offline = offline or constants.is_offline_mode()
        self.from_cache = False  # whether an answer came from the cache because the Hub could not be asked
        self._failures = 0
        self._lock = Lock()

    def repository(self, repo_id: str, revision: str | None, *, today: bool = False) -> Repository:
        """Return a repository at a revision ("main" if none is named).

        A commit is looked up once; a branch each time, but if the Hub cannot be asked its last known state is
        taken, or what huggingface_hub downloaded of it, unless it is today's that is wanted.
        """
        asked = _checked(repo_id, revision or constants.DEFAULT_REVISION)
        key = ("repository", constants.ENDPOINT, repo_id, asked)
        cached = None if today else from_json(self._cache.get(*key))
        if cached is not None and (self.offline or COMMIT.fullmatch(asked)):
            self.from_cache = self.offline
            return cached._replace(revision=asked)
        if self.offline and not today:
            if found := downloaded.snapshot(repo_id, asked):
                self.from_cache = True
                return found
            raise HubError(
                f"{quoted(repo_id)} at {quoted(asked)} is not in the cache; ask once without {param('offline')}"
                " (and without HF_HUB_OFFLINE)"
            )
        try:
            listed = self._ask(repo_id, asked)
        except HubError:
            cached = cached or (None if today else downloaded.snapshot(repo_id, asked))
            if cached is None:
                raise
            self.from_cache = True
            return cached
        content = to_json(listed)
        self._cache.put(content, *key)
        self._cache.put(content, "repository", constants.ENDPOINT, repo_id, listed.commit)
        return listed

    def _ask(self, repo_id: str, revision: str) -> Repository:
        what = f"{quoted(repo_id)} at {quoted(revision)}"
        url = f"{constants.ENDPOINT}/api/models/{repo_id}/revision/{quote(revision, safe='')}?blobs=true"
        found = read_model_info(self._list(url, what).body, repo_id, revision)
        if not found.files or len(found.files) >= MANY_FILES:
            found = found._replace(files=self._tree(repo_id, found.commit))
        return found

    def _tree(self, repo_id: str, commit: str) -> tuple[RepoFile, ...]:
        """Return all files of a commit, page by page."""
        what = quoted(repo_id)
        url = f"{constants.ENDPOINT}/api/models/{repo_id}/tree/{commit}?recursive=true"
        files: dict[str, RepoFile] = {}
        deadline = time.monotonic() + MOST_SECONDS
        for _ in range(MOST_PAGES):
            if time.monotonic() > deadline:
                fail(TooSlowError(), what)
            reply = self._list(url, what)
            files |= {file.name: file for file in read_tree(reply.body, repo_id)}
            following = _NEXT.search(reply.head.header("Link"))
            if len(files) > MOST_FILES:
                break
            if following is None:
                return tuple(files.values())
            url = following[1]
            if not url.startswith(f"{constants.ENDPOINT}/"):
                raise HubError(f"{what}: the next page of its files is on another host; is HF_ENDPOINT right?")
        raise HubError(f"{what}: more than {MOST_FILES:,} files, or pages; that is no repository of a model")

    def _list(self, url: str, what: str) -> Reply:
        wanted = Wanted(0, MOST_LIST_BYTES, cut=False)
        return self._get(url, {}, lambda head: wanted, API_PAUSE, what, LIST_SECONDS)

    def prefix(self, repository: Repository, file: RepoFile, nbytes: int, known: bytes = b"") -> bytes:
        """Return the first bytes of a file, up to so many; what is known, or in the cache, is not asked for again."""
        nbytes = min(nbytes, file.nbytes)
        if len(known) < nbytes:
            known = max(known, self._cache.get(*_prefix_key(repository, file)) or b"", key=len)
        if len(known) < nbytes:
            known = max(known, downloaded.first_bytes(repository, file, nbytes), key=len)
        if len(known) >= nbytes:
            return known[:nbytes]
        if self.offline:
            raise HubError(f"{quoted(file.name)} is not in the cache; ask once without {param('offline')}")
        return known + self._range(repository, file, len(known), nbytes)

    def keep(self, repository: Repository, file: RepoFile, content: bytes) -> None:
        """Keep the first bytes of a file, which turned out to be what was wanted."""
        key = _prefix_key(repository, file)
        if len(self._cache.get(*key) or b"") < len(content):
            self._cache.put(content, *key)

    def forget(self, repository: Repository, file: RepoFile) -> None:
        """Forget the bytes of a file that turned out to be something else."""
        self._cache.drop(*_prefix_key(repository, file))

    def _range(self, repository: Repository, file: RepoFile, start: int, stop: int) -> bytes:
        """Return the bytes from start up to stop."""
        what = f"{quoted(repository.repo_id)}: {quoted(file.name)}"
        path = quote(file.name, errors="surrogatepass")
        url = f"{constants.ENDPOINT}/{repository.repo_id}/resolve/{repository.commit}/{path}"

        def choose(head: Head) -> Wanted:
            _check_range(head, file, start, stop)
            return Wanted(start if head.status == 200 else 0, stop - start, cut=True)

        reply = self._get(url, {"Range": f"bytes={start}-{stop - 1}"}, choose, FILE_PAUSE, what)
        if len(reply.body) != stop - start:
            raise HubError(f"{what}: asked for {stop - start:,} bytes, got {len(reply.body):,}; try again later")
        if not _is_said_to_be(reply, repository, file):
            raise HubError(f"{what}: it has changed, or is about another commit; try again later")
        whole = reply.body if start == 0 and stop == file.nbytes else None
        if not _is_same_content(reply.head, file, whole):
            raise HubError(f"{what}: another file came than was asked for; is there a login page on the way?")
        return reply.body

    def _get(
        self,
        url: str,
        more: Mapping[str, str],
        choose: Choose,
        pause: float,
        what: str,
        most_seconds: float = MOST_SECONDS,
    ) -> Reply:
        """Return an answer; a server that stumbles is asked again, one that says when, if that is soon."""
        headers = {**hub_headers(), "Accept-Encoding": "identity", **more}
        if self._failures >= MOST_FAILURES:
            raise HubError(f"{what}: not asked any more, after {MOST_FAILURES} others without an answer")
        reply: Reply | None = None
        error: Exception | None = None
        for wait in (*WAITS, None):
            try:
                reply, error = exchange(url, headers, choose, pause, most_seconds), None
            except STUMBLES as stumbled:
                reply, error = None, stumbled
            except Exception as failed:
                reply, error = None, failed
                break
            if reply is not None:
                if reply.head.status == 429:
                    asked = asked_to_wait(reply.head)
                    if asked is None or asked > MOST_WAIT_SECONDS:
                        break
                    wait = wait and asked
                elif reply.head.status < 500:
                    break
            if wait is not None:
                time.sleep(wait)
        if reply is None:
            assert error is not None
            self._count(error)
            fail(error, what)
        with self._lock:
            self._failures = 0
        if reply.head.status not in (200, 206):
            refuse(reply.head, what)
        return reply

    def _count(self, error: Exception) -> None:
        """Count what nobody answered."""
        if not isinstance(error, (UnusableError, TooLongError, UnicodeError)):
            with self._lock:
                self._failures += 1


def _checked(repo_id: str, revision: str) -> str:
    """Return the revision; raise InputError for names that no repository or revision has."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise InputError(f"{quoted(repo_id)}: not a repository's name; give owner/name") from None
    if not revision.isprintable() or len(revision) > MOST_REVISION:
        raise InputError(
            f"{quoted(repo_id)} at {quoted(revision)}: no such revision; leave out {param('revision')} for main"
        )
    return revision


def _prefix_key(repository: Repository, file: RepoFile) -> tuple[str, ...]:
    return ("prefix", constants.ENDPOINT, repository.repo_id, file.name, file.etag or repository.commit)


def _check_range(head: Head, file: RepoFile, start: int, stop: int) -> None:
    """Raise UnusableError for an answer that is about another range or another file than was asked for."""
    if head.status == 206:
        wanted = f"bytes {start}-{stop - 1}/"
        said = head.header("Content-Range")
        if said not in (wanted + str(file.nbytes), wanted + "*"):
            raise UnusableError("another range came than was asked for; try again later")
    length = head.header("Content-Length")
    expected = stop - start if head.status == 206 else file.nbytes
    if length and length != str(expected):
        raise UnusableError(f"{expected:,} bytes were expected, another file came; is there a login page on the way?")


def _is_said_to_be(reply: Reply, repository: Repository, file: RepoFile) -> bool:
    """Return whether nothing that the Hub says of the file is about another commit, or another file in LFS."""
    said = [head for head in reply.heads if head.from_hub]
    commits = {head.header("X-Repo-Commit") for head in said} - {""}
    contents = {_bare(head.header("X-Linked-ETag")) for head in said} - {""}
    return commits <= {repository.commit} and (not file.etag or contents <= {file.etag})


def _is_same_content(head: Head, file: RepoFile, whole: bytes | None) -> bool:
    """Return whether what came can be what the list of files tells of.

    An ETag can say so; that of a mirror or of another host may be anything else. A file that came as a whole can be
    held against its name.
    """
    etag = _bare(head.header("ETag"))
    if etag and etag == file.etag:
        return True
    if whole is not None:
        return _is_content(whole, file)
    return not (head.from_hub and _SHA256.fullmatch(etag) and _SHA256.fullmatch(file.etag))


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _is_content(content: bytes, file: RepoFile) -> bool:
    """Return whether a file as a whole is what the list of files calls so; true where it says nothing."""
    if _SHA1.fullmatch(file.etag):
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.etag
    if _SHA256.fullmatch(file.etag):
        return hashlib.sha256(content).hexdigest() == file.etag
    return True
