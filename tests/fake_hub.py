"""A Hugging Face Hub on 127.0.0.1 for tests: real HTTP, giant files without disk, faults, a record of all requests.

Three hosts answer: "hub" (API and `resolve`), "cdn" (content of LFS files, under another host name), and "third" (which
has nothing and only records who comes). test_fake_hub.py says how the real client behaves in front of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

CHUNK = 1 << 16
LFS_SUFFIXES = (".gguf", ".safetensors", ".bin", ".npz")
DATE = "2026-02-24T10:00:00.000Z"
REPO = r"(?P<repo>[^/]+/[^/]+|[^/]+)"
API = re.compile(
    rf"/api/models/{REPO}(?:/(?P<verb>revision|tree|paths-info|safetensors-metadata|xet-read-token)/(?P<rest>.+))?"
)
RESOLVE = re.compile(rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
RESOLVE_CACHE = re.compile(rf"/api/resolve-cache/models/{REPO}/(?P<revision>[0-9a-f]{{40}})/(?P<file>.+)")


@dataclass(frozen=True)
class SparseFile:
    """Content without memory or disk: `header`, then zeros up to `size`."""

    header: bytes
    size: int


Content = bytes | SparseFile


@dataclass(frozen=True)
class Stored:
    """A file of a commit, in git or in LFS; `xet` adds what the Hub says about files in its Xet storage."""

    content: Content
    lfs: bool
    xet: bool = False

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.content.size if isinstance(self.content, SparseFile) else len(self.content)

    @cached_property
    def sha256(self) -> str:
        """Name of the content in LFS; that of a sparse file is only unique, not the hash of its bytes."""
        known = self.content if isinstance(self.content, bytes) else self.content.header + b"%d" % self.size
        return hashlib.sha256(known).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        """What git holds: the content, or the LFS pointer to it."""
        if isinstance(self.content, bytes) and not self.lfs:
            return self.content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @cached_property
    def oid(self) -> str:
        """Git's name of the blob."""
        return hashlib.sha1(b"blob %d\0" % len(self.pointer) + self.pointer).hexdigest()

    @property
    def etag(self) -> str:
        """The quoted ETag."""
        return f'"{self.sha256 if self.lfs else self.oid}"'

    @cached_property
    def xet_hash(self) -> str:
        """Name of the content in Xet storage (made up)."""
        return hashlib.sha256(self.sha256.encode()).hexdigest()

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`, in chunks."""
        known = self.content if isinstance(self.content, bytes) else self.content.header[: self.size]
        for at in range(start, stop, CHUNK):
            piece = known[at : min(at + CHUNK, stop)]
            yield piece + bytes(min(CHUNK, stop - at) - len(piece))


@dataclass
class Repo:
    """A model repository; a commit holds all files, branches and tags name commits."""

    name: str
    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    readers: Collection[str] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    commits: dict[str, dict[str, Stored]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(
        self, files: Mapping[str, Content], *, branch: str = "main", sha: str | None = None, xet: Collection[str] = ()
    ) -> str:
        """Make `files` the new content of `branch`; those named in `xet` are in Xet storage. Returns the commit."""
        sha = sha or hashlib.sha1(f"{self.name} {len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = {
            path: Stored(content, path.endswith(LFS_SUFFIXES) or not isinstance(content, bytes), path in xet)
            for path, content in sorted(files.items())
        }
        self.refs[branch] = sha
        return sha

    @property
    def sha(self) -> str:
        """The commit of main."""
        return self.refs["main"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong: with a status, body and headers stand for the answer; without, the true answer is disturbed."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0  # seconds before answering
    hang_up: bool = False  # close without an answer
    cut_after: int | None = None  # close after so many bytes of the body
    length_error: int = 0  # added to the true Content-Length
    ignore_range: bool = False  # 200 and all of the file
    drip: int = 0  # bytes at a time ...
    drip_pause: float = 0.05  # ... and seconds between them


HTML_PAGE = Fault(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Log in to this network</title>")
MALFORMED_JSON = Fault(200, {"Content-Type": "application/json"}, b'{"id": "cut in the mid')
SERVER_ERROR = Fault(500, {"X-Error-Message": "Internal Error"}, b'{"error":"Internal Error"}')
UNAVAILABLE = Fault(503, {"Content-Type": "text/html"}, b"<html>Service Temporarily Unavailable</html>")


def rate_limited(seconds: int = 300, *, retry_after: bool = False) -> Fault:
    """429 as the Hub sends it, with the RateLimit headers; a `Retry-After` in addition if asked for."""
    headers = {"RateLimit": f'"api";r=0;t={seconds}', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    headers |= {"Retry-After": str(seconds)} if retry_after else {}
    return Fault(429, headers, b'{"error":"We had to rate limit your IP."}')


def redirect(location: str, status: int = 302) -> Fault:
    """A redirect to anywhere; without limit of times and to the same path it is a loop."""
    return Fault(status, {"Location": location}, b"Found. Redirecting")


@dataclass
class Request:
    """A request as it came, and what it got so far (a large body may still be under way)."""

    host: Literal["hub", "cdn", "third"]
    method: str
    path: str
    headers: Message
    body: bytes = b""
    status: int = 0
    sent: int = 0

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters of the address."""
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)


@dataclass
class Answer:
    """An answer; of `content` the bytes from `start` to before `stop` are sent."""

    status: int
    headers: dict[str, str]
    content: Stored
    start: int = 0
    stop: int = 0


def _answer(body: bytes | dict[str, Any] | list[Any], status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/plain; charset=utf-8" if isinstance(body, bytes) else "application/json; charset=utf-8"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": kind, **named}, Stored(raw, False), 0, len(raw))


def _file(stored: Stored, request: Request, ignore_range: bool, **headers: str) -> Answer:
    size, wanted = stored.size, re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    named = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": stored.etag}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    if request.headers.get("If-None-Match") == stored.etag:
        return Answer(304, named, stored)
    if ignore_range or not wanted or wanted[0] == "bytes=-":
        return Answer(200, named, stored, 0, size)
    if wanted[1]:
        start, stop = int(wanted[1]), min(int(wanted[2] or size) + 1, size)
    else:
        start, stop = max(size - int(wanted[2]), 0), size
    if start >= size:
        return _answer(b"<Error><Code>InvalidRange</Code></Error>", 416, Content_Range=f"bytes */{size}")
    if stop <= start:
        return Answer(200, named, stored, 0, size)
    return Answer(206, {**named, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}, stored, start, stop)


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, **headers: str):
        self.status, self.message = status, message
        self.headers = {"X_Error_Message": message, **({"X_Error_Code": code} if code else {}), **headers}


class FakeHub:
    """The Hub and its hosts, as a context manager. `tokens` names the user of every valid token."""

    def __init__(self, *, tokens: Mapping[str, str] | None = None, page_size: int | None = None):
        self.tokens = dict(tokens or {})
        self.page_size = page_size
        self.repos: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        self.busy: dict[str, int] = {}
        self.most_busy: dict[str, int] = {}  # by host: the most requests under way at once
        self.stopping = threading.Event()
        self._faults: list[list[Any]] = []
        self._lock = threading.Lock()
        self._servers = [_Server(self, host) for host in ("hub", "cdn", "third")]
        ports = [server.server_address[1] for server in self._servers]
        # The others have a port and a host name of their own: a client that compares only one of them is not caught.
        self.endpoint, self.cdn, self.third = (
            f"http://{name}:{port}" for name, port in zip(("127.0.0.1", "localhost", "localhost"), ports, strict=True)
        )

    def __enter__(self) -> FakeHub:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        if error is None and self.errors:
            raise AssertionError("the fake Hub itself failed") from self.errors[0]

    def add_repo(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        sha: str | None = None,
        xet: Collection[str] = (),
        gated: Literal[False, "auto", "manual"] = False,
        private: bool = False,
        readers: Collection[str] = (),
        info: Mapping[str, Any] | None = None,
    ) -> Repo:
        """Add a model; `readers` are the users let in if it is gated or private, `info` adds to its model_info."""
        repo = self.repos[name] = Repo(name, gated, private, readers, info or {})
        repo.commit(files, sha=sha, xet=xet)
        return repo

    def fault(
        self, pattern: str, fault: Fault, *, times: int | None = 1, host: str | None = None, method: str | None = None
    ) -> None:
        """Let the next `times` requests (None: all) whose path with query matches `pattern` meet the fault."""
        self._faults.append([re.compile(pattern), fault, times, host, method])

    def environment(self, home: str | os.PathLike[str], token: str | None = None) -> dict[str, str]:
        """The environment of a subprocess whose Hub this is, with `home` as HF_HOME and nothing of the user's own."""
        drop = ("HF_", "HUGGING", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "TRANSFORMERS_OFFLINE")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(drop)}
        kept |= {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return kept | ({"HF_TOKEN": token} if token else {}) | {"NO_PROXY": "127.0.0.1,localhost"}

    def take_fault(self, request: Request) -> Fault | None:
        """Record the request and take the fault it meets."""
        with self._lock:
            self.requests.append(request)
            for rule in self._faults:
                pattern, fault, times, host, method = rule
                wanted = host in (None, request.host) and method in (None, request.method)
                if times != 0 and wanted and pattern.search(request.path):
                    rule[2] = None if times is None else times - 1
                    assert isinstance(fault, Fault)
                    return fault
        return None

    @contextmanager
    def counted(self, host: str) -> Iterator[None]:
        """Count a request that is under way."""
        with self._lock:
            self.busy[host] = self.busy.get(host, 0) + 1
            self.most_busy[host] = max(self.busy[host], self.most_busy.get(host, 0))
        try:
            yield
        finally:
            with self._lock:
                self.busy[host] -= 1

    def answer(self, request: Request, ignore_range: bool = False) -> Answer:
        """What the host answers when nothing goes wrong."""
        path = urlsplit(request.path).path
        try:
            if request.host == "cdn":
                return self._cdn(request, path, ignore_range)
            return self._hub(request, path, ignore_range) if request.host == "hub" else _answer(b"third host", 404)
        except _Refusal as refusal:
            api = path.startswith("/api/") and "resolve-cache" not in path
            body: bytes | dict[str, Any] = {"error": refusal.message} if api else refusal.message.encode()
            return _answer(body, refusal.status, **refusal.headers)

    def _cdn(self, request: Request, path: str, ignore_range: bool) -> Answer:
        if "Authorization" in request.headers:  # as S3 does: a signed address and a token are one too many
            return _answer(b"<Error><Code>InvalidArgument</Code></Error>", 400)
        if "Signature" not in request.query:
            return _answer(b"<Error><Code>AccessDenied</Code></Error>", 403)
        files = (file for repo in self.repos.values() for commit in repo.commits.values() for file in commit.values())
        found = next((file for file in files if path == f"/repos/{file.sha256}"), None)
        if not found:
            return _answer(b"<Error><Code>NoSuchKey</Code></Error>", 404)
        return _file(found, request, ignore_range, Content_Disposition=request.query["filename"][0])

    def _hub(self, request: Request, path: str, ignore_range: bool) -> Answer:
        user = self._user(request)
        if path == "/api/whoami-v2":
            if not user:
                raise _Refusal(401, "", "Invalid username or password.")
            return _answer({"type": "user", "name": user, "orgs": [], "auth": {"type": "access_token"}})
        if path == "/api/agent-harnesses":
            return _answer({"standardEnvVars": [], "harnesses": {}})
        match = RESOLVE_CACHE.fullmatch(path) or API.fullmatch(path) or RESOLVE.fullmatch(path)
        if not match:
            raise _Refusal(404, "", "Sorry, we can't find the page you are looking for.")
        name = match["repo"]
        if name in self.renamed:
            location = request.path.replace(name, self.renamed[name], 1)
            return _answer(f"Temporary Redirect. Redirecting to {location}".encode(), 307, Location=location)
        repo = self.repos.get(name)
        if not repo or (repo.private and user not in repo.readers):
            # The real 401 may come without a code; the client then knows it by https://, which this Hub is not.
            raise _Refusal(*((404, "RepoNotFound", "Repository not found") if user else
                             (401, "RepoNotFound", "Invalid username or password.")))  # fmt: skip
        if match.re is API:
            return self._api(repo, match["verb"], match["rest"] or "main", request)
        if repo.gated and user not in repo.readers:
            why = "and you are not in the authorized list" if user else "You must be authenticated to access it"
            raise _Refusal(403 if user else 401, "GatedRepo", f"Access to model {name} is restricted. {why}.")
        return self._resolve(repo, match, request, ignore_range)

    def _user(self, request: Request) -> str | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise _Refusal(401, "", "Invalid credentials in Authorization header")
        return self.tokens.get(token)

    def _resolve(self, repo: Repo, match: re.Match[str], request: Request, ignore_range: bool) -> Answer:
        sha, name = _commit(repo, match["revision"]), unquote(match["file"])
        stored = repo.commits[sha].get(name)
        if not stored:
            raise _Refusal(404, "EntryNotFound", "Entry not found", X_Repo_Commit=sha)
        if match.re is RESOLVE_CACHE:
            return _file(stored, request, ignore_range, X_Repo_Commit=sha)
        if not stored.lfs:  # the Hub's own cache, on the same host
            query = urlencode({urlsplit(request.path).path: "", "etag": stored.etag})
            location = f"/api/resolve-cache/models/{repo.name}/{sha}/{match['file']}?{query}"
            return _answer(b"Temporary Redirect", 307, X_Repo_Commit=sha, Location=location)
        query = urlencode({"filename": f'inline; filename="{name}";', "Expires": "1900000000", "Signature": "signed"})
        headers = {"X_Linked_Size": str(stored.size), "X_Linked_ETag": stored.etag, "Accept_Ranges": "bytes"}
        if stored.xet:
            route = f"{self.endpoint}/api/models/{repo.name}/xet-read-token/{sha}"
            headers |= {"X_Xet_Hash": stored.xet_hash, "Link": f'<{route}>; rel="xet-auth"'}
        location = f"{self.cdn}/repos/{stored.sha256}?{query}"
        return _answer(b"Found. Redirecting", 302, X_Repo_Commit=sha, Location=location, **headers)

    def _api(self, repo: Repo, verb: str | None, rest: str, request: Request) -> Answer:
        if verb == "safetensors-metadata":
            return _answer(_safetensors_headers(repo, unquote(rest)))
        revision, _, folder = rest.partition("/")
        sha = _commit(repo, revision)
        files = repo.commits[sha]
        if verb == "tree":
            return self._tree(files, unquote(folder), request)
        if verb == "paths-info":
            paths = parse_qs(request.body.decode()).get("paths", [])
            return _answer([_row(path, files[path], expand=False) for path in paths if path in files])
        if verb == "xet-read-token":
            raise _Refusal(404, "", "The fake Hub has no Xet storage: set HF_HUB_DISABLE_XET=1")
        info = {"author": repo.name.split("/")[0], "sha": sha, "private": repo.private, "gated": repo.gated}
        info |= {"lastModified": DATE, "createdAt": DATE, "disabled": False, "downloads": 1, "likes": 1, "tags": []}
        info |= {"siblings": [_sibling(path, file, "blobs" in request.query) for path, file in files.items()]}
        info |= repo.info
        if wanted := request.query.get("expand"):
            info = {key: value for key, value in info.items() if key in wanted}
        return _answer({"_id": sha[:24], "id": repo.name, "modelId": repo.name, **info})

    def _tree(self, files: Mapping[str, Stored], folder: str, request: Request) -> Answer:
        recursive, expand = (request.query.get(key) == ["true"] for key in ("recursive", "expand"))
        start = f"{folder}/" if folder else ""
        rows: dict[str, dict[str, Any]] = {}
        for path in (path for path in files if path.startswith(start)):
            parts = path[len(start) :].split("/")
            for end in range(1, len(parts)) if recursive else range(1, min(len(parts), 2)):
                at = start + "/".join(parts[:end])
                rows[at] = {"type": "directory", "oid": hashlib.sha1(at.encode()).hexdigest(), "size": 0, "path": at}
            if recursive or len(parts) == 1:
                rows[path] = _row(path, files[path], expand)
        if folder and not rows:
            raise _Refusal(404, "EntryNotFound", f'{folder} does not exist on "main"')
        first, size = int(request.query.get("cursor", ["0"])[0]), self.page_size or (50 if expand else 1000)
        page = _answer(list(rows.values())[first : first + size])
        if first + size < len(rows):
            query = {key: value[0] for key, value in request.query.items()} | {"cursor": str(first + size)}
            page.headers["Link"] = f'<{self.endpoint}{urlsplit(request.path).path}?{urlencode(query)}>; rel="next"'
        return page


def _commit(repo: Repo, revision: str) -> str:
    revision = unquote(revision)
    sha = repo.refs.get(revision, revision)
    if sha not in repo.commits:
        raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {quote(revision)}")
    return sha


def _sibling(path: str, file: Stored, blobs: bool) -> dict[str, Any]:
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    more = {"blobId": file.oid, "size": file.size, **({"lfs": lfs} if file.lfs else {})}
    return {"rfilename": path, **(more if blobs else {})}


def _row(path: str, file: Stored, expand: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
    row |= {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}} if file.lfs else {}
    row |= {"xetHash": file.xet_hash} if file.xet else {}
    commit = {"id": file.oid, "title": "Upload", "date": DATE}
    return row | ({"lastCommit": commit} if expand else {})


def _safetensors_headers(repo: Repo, index_path: str) -> dict[str, Any]:
    files = repo.commits[repo.sha]
    if index_path not in files:
        raise _Refusal(404, "EntryNotFound", "Entry not found")
    index, headers = json.loads(b"".join(files[index_path].read(0, files[index_path].size))), {}
    for shard in sorted(set(index["weight_map"].values())):
        length = int.from_bytes(b"".join(files[shard].read(0, 8)), "little")
        headers[shard] = json.loads(b"".join(files[shard].read(8, 8 + length)))
    return {"index": {"metadata": index.get("metadata", {})}, "headers": headers}


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, block_on_close, request_queue_size = True, True, False, 64

    def __init__(self, hub: FakeHub, host: Literal["hub", "cdn", "third"]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.host, self.open = hub, host, set[Any]()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.open):  # else kept-alive connections would go on answering
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.open.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error and not isinstance(error, ConnectionError):  # the client may leave when it likes
            self.hub.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        with self.server.hub.counted(self.server.host):
            self._get()

    def _get(self) -> None:
        hub = self.server.hub
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.server.host, self.command, self.path, self.headers, body)
        fault = hub.take_fault(request) or Fault()
        if (fault.delay and hub.stopping.wait(fault.delay)) or fault.hang_up:
            self.close_connection = True
            return
        if fault.status is None:
            answer = hub.answer(request, fault.ignore_range)
            answer.headers |= fault.headers
        else:
            answer = _answer(fault.body, fault.status)
            answer.headers |= {"Content-Type": "application/json", **fault.headers}
        self._send(request, answer, fault)

    do_HEAD = do_POST = do_GET

    def _send(self, request: Request, answer: Answer, fault: Fault) -> None:
        request.status = answer.status
        kind = "resolvers" if "/resolve" in request.path else "api"
        limits = {"RateLimit": f'"{kind}";r=400;t=200', "RateLimit-Policy": f'"fixed window";"{kind}";q=500;w=300'}
        self.send_response(answer.status)
        for name, value in ((limits if request.host == "hub" else {}) | answer.headers).items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(answer.stop - answer.start + fault.length_error))
        self.end_headers()
        if request.method == "HEAD" or answer.status == 304:
            return
        if fault.length_error or fault.cut_after is not None:
            self.close_connection = True
        stop = answer.stop if fault.cut_after is None else min(answer.stop, answer.start + fault.cut_after)
        for chunk in answer.content.read(answer.start, stop):
            for at in range(0, len(chunk), fault.drip or CHUNK):
                piece = chunk[at : at + (fault.drip or CHUNK)]
                self.wfile.write(piece)
                request.sent += len(piece)
                if fault.drip and self.server.hub.stopping.wait(fault.drip_pause):
                    self.close_connection = True
                    return
