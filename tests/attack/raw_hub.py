"""A Hub out of raw sockets, which can say anything: a repository of one small model, and what goes wrong with it."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

COMMIT, OTHER_COMMIT = "c" * 40, "d" * 40
REPO = "own/repo"
PAGE = b"<!doctype html><title>Log in to this network</title>" + b" " * 4000
JSON = {"Content-Type": "application/json"}


class Asked(NamedTuple):
    """A request."""

    path: str
    headers: Mapping[str, str]

    @property
    def is_list(self) -> bool:
        return self.path.startswith("/api/")

    @property
    def start(self) -> int:
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    @property
    def stop(self) -> int:
        return int(self.headers.get("range", "bytes=0-0").rpartition("-")[2]) + 1


class Abort(Exception):
    """Reset the connection."""


Answering = Iterator[bytes | float]  # what is sent, and seconds of silence
Fault = Callable[[Asked, "RawHub"], Answering | None]


def answer(status: int, headers: Mapping[str, object], body: bytes, *, length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status} Said"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if length and "Content-Length" not in headers else []
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def chunked(status: int, headers: Mapping[str, object], chunks: Iterator[bytes]) -> Answering:
    yield answer(status, {**headers, "Transfer-Encoding": "chunked"}, b"", length=False)
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def endless(piece: bytes = b"x" * 65_536) -> Iterator[bytes]:
    while True:
        yield piece


class RawHub:
    """The server. `files` are the repository's; `fault` answers first, and None from it means that it passes."""

    def __init__(self, files: Mapping[str, bytes], sizes: Mapping[str, int]) -> None:
        self.files, self.sizes = files, sizes
        self.fault: Fault | None = None
        self.asked: list[Asked] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._closing = threading.Event()

    def __enter__(self) -> RawHub:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._socket.close()

    def etag(self, name: str) -> str:
        content = self.files[name]
        if name.endswith(".json"):
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return hashlib.sha256(content + b"%d" % self.sizes[name]).hexdigest()

    def rows(self) -> list[dict[str, object]]:
        found = []
        for name, size in self.sizes.items():
            row: dict[str, object] = {"rfilename": name, "path": name, "type": "file", "size": size}
            row |= {"blobId": self.etag(name), "oid": self.etag(name)}
            row |= {} if name.endswith(".json") else {"lfs": {"sha256": self.etag(name), "size": size}}
            found.append(row)
        return found

    def info(self, **more: object) -> bytes:
        return json.dumps({"id": REPO, "sha": COMMIT, "siblings": self.rows()} | more).encode()

    def file_headers(self, name: str) -> dict[str, object]:
        headers: dict[str, object] = {"X-Repo-Commit": COMMIT, "ETag": f'"{self.etag(name)}"', "Accept-Ranges": "bytes"}
        return headers | {} if name.endswith(".json") else headers | {"X-Linked-ETag": f'"{self.etag(name)}"'}

    def name(self, asked: Asked) -> str:
        return unquote(asked.path.partition("/resolve/")[2].partition("/")[2])

    def honest(self, asked: Asked) -> bytes:
        if asked.path.startswith(f"/api/models/{REPO}/revision/"):
            return answer(200, JSON, self.info())
        if asked.path.startswith(f"/api/models/{REPO}/tree/"):
            return answer(200, JSON, json.dumps(self.rows()).encode())
        name = self.name(asked)
        if name not in self.files:
            return answer(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
        start, stop = asked.start, min(asked.stop, self.sizes[name])
        headers = self.file_headers(name) | {"Content-Range": f"bytes {start}-{stop - 1}/{self.sizes[name]}"}
        return answer(206, headers, self.content(name, start, stop))

    def content(self, name: str, start: int, stop: int) -> bytes:
        known = self.files[name][start:stop]
        return known + bytes(stop - start - len(known))

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                asked = _read(connection)
                if asked is None:
                    return
                self.asked.append(asked)
                said = self.fault(asked, self) if self.fault else None
                for piece in said if said is not None else [self.honest(asked)]:
                    if isinstance(piece, float):
                        time.sleep(piece)
                    else:
                        connection.sendall(piece)
            except Abort:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                return


def _read(connection: socket.socket) -> Asked | None:
    connection.settimeout(60)
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return None
        data += more
    first, *lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(first.split(" ")[1], headers)


# Faults: of any answer, of lists, of files


def said(*pieces: bytes | float) -> Fault:
    """Whatever is asked, these bytes are the answer."""
    return lambda asked, hub: iter(pieces)


def of_lists(fault: Fault) -> Fault:
    return lambda asked, hub: fault(asked, hub) if asked.is_list else None


def of_files(fault: Fault) -> Fault:
    return lambda asked, hub: None if asked.is_list else fault(asked, hub)


def listed(**more: object) -> Fault:
    """The list of files, with other things in it."""
    return of_lists(lambda asked, hub: iter([answer(200, JSON, hub.info(**more))]))


def siblings(*rows: object) -> Fault:
    return listed(siblings=list(rows))


def ranged(change: Callable[[dict[str, object], Asked, RawHub], bytes | None]) -> Fault:
    """A file's bytes, with other headers around them or others in their place."""

    def fault(asked: Asked, hub: RawHub) -> Answering:
        name = hub.name(asked)
        start, stop = asked.start, min(asked.stop, hub.sizes[name])
        headers = hub.file_headers(name) | {"Content-Range": f"bytes {start}-{stop - 1}/{hub.sizes[name]}"}
        status = 206
        body = change(headers, asked, hub)
        if "status" in headers:
            status = int(str(headers.pop("status")))
        yield answer(status, headers, hub.content(name, start, stop) if body is None else body)

    return of_files(fault)


def changing(**changes: object) -> Fault:
    named = {name.replace("_", "-"): value for name, value in changes.items()}

    def change(headers: dict[str, object], asked: Asked, hub: RawHub) -> None:
        headers.update(named)

    return ranged(change)


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20))
    return packed + packer.flush()


def after(times: int, first: Fault, then: Fault) -> Fault:
    """One fault for so many requests, then another."""
    left = [times]

    def fault(asked: Asked, hub: RawHub) -> Answering | None:
        left[0] -= 1
        return (first if left[0] >= 0 else then)(asked, hub)

    return fault


def row(name: object = "m.gguf", size: object = 1000, **more: object) -> dict[str, object]:
    return {"rfilename": name, "size": size, "blobId": "0" * 40} | more


def dripping(asked: Asked, hub: RawHub) -> Answering:
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        yield b"a"
        yield 0.5


def continuing(asked: Asked, hub: RawHub) -> Answering:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"
        yield 0.3


def dripping_body(asked: Asked, hub: RawHub) -> Answering:
    yield answer(200, {**JSON, "Content-Length": 10**6}, b"")
    while True:
        yield b" "
        yield 0.5


def resetting(asked: Asked, hub: RawHub) -> Answering:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    raise Abort


def looping_pages(asked: Asked, hub: RawHub) -> Answering | None:
    if "/tree/" not in asked.path:
        return iter([answer(200, JSON, hub.info(siblings=[]))])
    link = f'<{hub.endpoint}{asked.path}>; rel="next"'
    return iter([answer(200, {**JSON, "Link": link}, json.dumps(hub.rows()).encode())])


def many_files(asked: Asked, hub: RawHub) -> Answering:
    rows = [row(f"f{number}", 1) for number in range(66_000)]
    yield answer(200, JSON, json.dumps({"sha": COMMIT, "siblings": rows}).encode())


def deep(asked: Asked, hub: RawHub) -> Answering:
    yield answer(200, JSON, b'{"a":' * 100_000)


def gzip_bomb(status: int) -> Fault:
    packed: list[bytes] = []

    def fault(asked: Asked, hub: RawHub) -> Answering:
        packed[:] = packed or [bomb(2 << 30)]
        yield answer(status, {**JSON, "Content-Encoding": "gzip"}, packed[0])

    return fault


def page_of_the_right_size(asked: Asked, hub: RawHub) -> Answering:
    size = hub.sizes[hub.name(asked)]
    yield from chunked(200, {"Content-Type": "text/html"}, iter([(PAGE * (size // len(PAGE) + 2))[: min(size, 10**6)]]))


def endless_range(asked: Asked, hub: RawHub) -> Answering:
    name = hub.name(asked)
    headers = hub.file_headers(name) | {"Content-Range": f"bytes {asked.start}-{asked.stop - 1}/{hub.sizes[name]}"}
    return chunked(206, headers, endless())


def long_text(letter: bytes) -> Fault:
    """A list of 16 MB, almost all of them one text; one letter in it decides how much memory each letter takes."""
    return of_lists(
        lambda asked, hub: iter(
            [answer(200, JSON, b'{"sha":"%s","x":"' % COMMIT.encode() + letter * 1000 + b"a" * 15_900_000 + b'"}')]
        )
    )


def dripping_refusal(status: int) -> Fault:
    def fault(asked: Asked, hub: RawHub) -> Answering:
        yield answer(status, {"Location": "/elsewhere", "Content-Length": 10**6}, b"")
        while True:
            yield b"x"
            yield 0.5

    return fault


def trailers(asked: Asked, hub: RawHub) -> Answering:
    yield answer(200, {**JSON, "Transfer-Encoding": "chunked"}, b"", length=False)
    yield b"2\r\n{}\r\n0\r\n"
    while True:
        yield b"X: a\r\n" * 1000


def long_hints(asked: Asked, hub: RawHub) -> Answering:
    while True:
        yield b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </x>; rel=preload\r\n" * 500 + b"\r\n"


def next_page(link: str) -> Fault:
    """A list in pages, whose next one is somewhere else."""

    def fault(asked: Asked, hub: RawHub) -> Answering | None:
        if "/tree/" not in asked.path:
            return iter([answer(200, JSON, hub.info(siblings=[]))])
        said = link.replace("HUB", hub.endpoint)
        return iter([answer(200, {**JSON, "Link": said}, json.dumps(hub.rows()).encode())])

    return of_lists(fault)


def many_models(count: int) -> Fault:
    """So many models, of which none is there."""

    def fault(asked: Asked, hub: RawHub) -> Answering:
        if not asked.is_list:
            return iter([answer(404, {"X-Error-Code": "EntryNotFound"}, b"{}")])
        rows = [row(f"m{number}.gguf", 10**9) for number in range(count)]
        if "/tree/" in asked.path:
            rows = [{"type": "file", "path": each["rfilename"], **each} for each in rows]
            return iter([answer(200, JSON, json.dumps(rows).encode())])
        return iter([answer(200, JSON, json.dumps({"sha": COMMIT, "siblings": rows}).encode())])

    return fault


def long_header(asked: Asked, hub: RawHub) -> Answering | None:
    """A GGUF file whose header goes on for as long as any may: an array of strings."""
    name = hub.name(asked)
    if asked.is_list or not name.endswith(".gguf"):
        return None
    start, stop = asked.start, min(asked.stop, hub.sizes[name])
    key = b"tokenizer.ggml.tokens"
    begin = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, len(key)) + key + struct.pack("<IIQ", 9, 8, 3_999_999)
    text = struct.pack("<Q", 60) + b"t" * 60
    body = (begin + text * (stop // len(text) + 1))[start:stop]
    headers = hub.file_headers(name) | {"Content-Range": f"bytes {start}-{stop - 1}/{hub.sizes[name]}"}
    return iter([answer(206, headers, body)])


def shrinking(asked: Asked, hub: RawHub) -> Answering | None:
    """A list that is about another commit each time."""
    if not asked.is_list:
        return None
    return iter([answer(200, JSON, hub.info(sha=f"{len(hub.asked):040x}"))])


FAULTS: dict[str, Fault] = {
    "no answer: closed at once": said(),
    "closed after the status line": said(b"HTTP/1.1 200 OK\r\n"),
    "closed within a header": said(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "reset within the body": resetting,
    "a header letter by letter, for ever": dripping,
    "100 Continue for ever": continuing,
    "a body letter by letter": of_lists(dripping_body),
    "silence": said(70.0),
    "a header line of 2 MB": said(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n"),
    "100,000 headers": said(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100_000 + b"\r\n"),
    "a status line of nonsense": said(b"OK 200 HTTP/1.1\r\n\r\n"),
    "a status that is none": said(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/0.9": said(b"<html>hello</html>"),
    "HTTP/2": said(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": said(b"\x15\x03\x01\x00\x02\x02\x28"),
    "binary in headers": said(b"HTTP/1.1 200 OK\r\nX: \x00\x01\xff\r\nContent-Length: 2\r\n\r\n{}"),
    "letters of other alphabets in headers": said(
        "HTTP/1.1 200 OK\r\nETag: \u65e5\r\nContent-Length: 2\r\n\r\n{}".encode()
    ),
    "Content-Length too long": said(answer(200, {**JSON, "Content-Length": 5000}, b"{}")),
    "Content-Length too short": said(answer(200, {**JSON, "Content-Length": 1}, b"{}")),
    "Content-Length negative": said(answer(200, {**JSON, "Content-Length": -5}, b"{}")),
    "Content-Length of 400 digits": said(answer(200, {**JSON, "Content-Length": "9" * 400}, b"{}")),
    "Content-Length twice": said(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a chunk of no size": said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "a chunk of negative size": said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"),
    "a chunk of huge size": said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n"),
    "chunks without end": lambda asked, hub: chunked(200, JSON, endless()),
    "a body without end": lambda asked, hub: iter([answer(200, JSON, b"", length=False), *[b" " * 65_536] * 2000]),
    "204": said(answer(204, {}, b"")),
    "205": said(answer(205, {}, b"")),
    "an empty body": said(answer(200, JSON, b"")),
    "a page": said(answer(200, {"Content-Type": "text/html"}, PAGE)),
    "300": said(answer(300, {}, b"choose")),
    "304": said(answer(304, {}, b"")),
    "302 to itself": lambda asked, hub: iter([answer(302, {"Location": asked.path}, b"Found")]),
    "302 to nowhere": said(answer(302, {}, b"Found")),
    "302 to a file": said(answer(302, {"Location": "file:///etc/passwd"}, b"")),
    "302 to ftp": said(answer(302, {"Location": "ftp://127.0.0.1/x"}, b"")),
    "302 to gopher": said(answer(302, {"Location": "gopher://127.0.0.1/x"}, b"")),
    "302 to half an address": said(answer(302, {"Location": "http://[::1"}, b"")),
    "302 to a closed port": said(answer(302, {"Location": "http://127.0.0.1:9/"}, b"")),
    "302 with letters of other alphabets": said("HTTP/1.1 302 F\r\nLocation: http://\u65e5\u672c/\r\n\r\n".encode()),
    "302 with a body without end": lambda asked, hub: chunked(302, {"Location": "/elsewhere"}, endless()),
    "401": said(answer(401, {}, b"{}")),
    "401, a bad token": said(answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b"{}")),
    "403": said(answer(403, JSON, b'{"error": 5}')),
    "404 with a list": said(answer(404, JSON, b"[]")),
    "404 with null": said(answer(404, {**JSON, "X-Error-Code": "RepoNotFound"}, b"null")),
    "404 with numbers": said(answer(404, {**JSON, "X-Error-Code": "RepoNotFound"}, b'{"errors": 5}')),
    "404 without end": lambda asked, hub: chunked(404, JSON, endless()),
    "404, gzip of 2 GB": gzip_bomb(404),
    "410": said(answer(410, {}, b"gone")),
    "416": of_files(said(answer(416, {"Content-Range": "bytes */5"}, b""))),
    "429": said(answer(429, {}, b"{}")),
    "429 with 400 digits": said(answer(429, {"RateLimit": f'"api";r=0;t={"9" * 400}'}, b"{}")),
    "429 with other digits": said(
        "HTTP/1.1 429 T\r\nRetry-After: \u00b2\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    ),
    "429 after two 500": after(
        2,
        said(answer(500, {}, b"{}")),
        said("HTTP/1.1 429 T\r\nRetry-After: \u00b2\r\nContent-Length: 0\r\n\r\n".encode("latin-1")),
    ),
    "500": said(answer(500, {}, b"{}")),
    "503 without end": lambda asked, hub: chunked(503, {}, endless()),
    "gzip said of plain text": said(answer(200, {**JSON, "Content-Encoding": "gzip"}, b"{}")),
    "gzip damaged": said(answer(200, {**JSON, "Content-Encoding": "gzip"}, bomb(1 << 20)[:500])),
    "gzip of 2 GB": gzip_bomb(200),
    "deflate": said(answer(200, {**JSON, "Content-Encoding": "deflate"}, zlib.compress(b"{}"))),
    "br": said(answer(200, {**JSON, "Content-Encoding": "br"}, b"\x0b\x00\x80{}\x03")),
    "zstd": said(answer(200, {**JSON, "Content-Encoding": "zstd"}, b"\x28\xb5\x2f\xfd")),
    "an encoding that nobody knows": said(answer(200, {**JSON, "Content-Encoding": "rot13"}, b"{}")),
    "JSON cut": said(answer(200, JSON, b'{"sha": "cc')),
    "JSON of any depth": deep,
    "JSON of 32 MB of lists": said(answer(200, JSON, b"[" + b"[]," * 11_000_000 + b"0]")),
    "JSON of 8 MB of lists": said(answer(200, JSON, b"[" + b"[]," * 2_600_000 + b"0]")),
    "JSON in UTF-16": said(answer(200, JSON, '{"sha": 5}'.encode("utf-16"))),
    "JSON of one number": said(answer(200, JSON, b"9" * 1_000_000)),
    "a list": said(answer(200, JSON, b"[]")),
    "no commit": listed(sha=None),
    "a commit that is none": listed(sha="main"),
    "files as a text": listed(siblings="all"),
    "files of no kind": siblings(5, None, [], "x"),
    "a size of 10^309": siblings(row(size=10**309)),
    "a size of 10^18": siblings(row(size=10**18)),
    "a negative size": siblings(row(size=-1)),
    "half a byte": siblings(row(size=0.5)),
    "a size of true": siblings(row(size=True)),
    "a size as text": siblings(row(size="1000")),
    "a name twice": siblings(row(size=1000), row(size=2000)),
    "a name of 1 MB": siblings(row("m" * 10**6 + ".gguf")),
    "no name": siblings(row("")),
    "a name of escapes": siblings(row("m\x1b]0;pwned\x07\x1b[2J\n::error::x.gguf")),
    "half a letter as name": siblings(row("m\ud800.gguf")),
    "an etag of any kind": siblings(row(blobId={"a": []}), row("n.gguf", lfs=[1, 2])),
    "66,000 files": of_lists(many_files),
    "pages in a circle": of_lists(looping_pages),
    "parameters of any kind": listed(safetensors={"parameters": {"BF16": 10**400, "\x1b[2J": 5, "U8": -1, "F": "x"}}),
    "another commit than was asked for": of_lists(
        lambda asked, hub: None if "main" in asked.path else iter([answer(200, JSON, hub.info(sha=OTHER_COMMIT))])
    ),
    "no range": ranged(lambda headers, asked, hub: headers.pop("Content-Range") and None),
    "another range": changing(Content_Range="bytes 5-10/1000"),
    "a range of another size": changing(Content_Range="bytes 0-262143/999999999"),
    "ranges ignored": changing(status=200, Content_Range="none"),
    "fewer bytes": ranged(lambda headers, asked, hub: b"GGUF"),
    "more bytes": ranged(
        lambda headers, asked, hub: hub.content(hub.name(asked), asked.start, asked.stop) + b"x" * 5000
    ),
    "bytes without end": of_files(endless_range),
    "zeros": ranged(lambda headers, asked, hub: bytes(min(asked.stop, hub.sizes[hub.name(asked)]) - asked.start)),
    "a page as long as was asked for": ranged(
        lambda headers, asked, hub: (PAGE * 200)[: min(asked.stop, hub.sizes[hub.name(asked)]) - asked.start]
    ),
    "a page in place of every file": of_files(page_of_the_right_size),
    "another content": changing(X_Linked_ETag=f'"{"0" * 64}"', ETag=f'"{"0" * 64}"'),
    "another commit's file": changing(X_Repo_Commit=OTHER_COMMIT),
    "16 MB of one text": long_text(b"a"),
    "16 MB of one text, with a Chinese letter": long_text("\u65e5".encode()),
    "16 MB of one text, with an emoji": long_text("\U0001f600".encode()),
    "16 MB of one text, with an emoji escaped": long_text(b"\\ud83d\\ude00"),
    "404 letter by letter": dripping_refusal(404),
    "302 letter by letter": dripping_refusal(302),
    "trailers without end": trailers,
    "early hints for ever": long_hints,
    "101": said(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    "203": said(answer(203, JSON, b"{}")),
    "407": said(answer(407, {"Proxy-Authenticate": "Basic"}, b"")),
    "418 with escapes": said(answer(418, {"X-Error-Message": "\x1b[2J::error::x", "X-Error-Code": "\x1b]0;x"}, b"")),
    "451": said(answer(451, {"X-Error-Code": "DisabledRepo"}, b"{}")),
    "511": said(answer(511, {"Content-Type": "text/html"}, PAGE)),
    "a length and chunks": said(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ),
    "chunks of gzip": said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "a chunk's extension of 2 MB": said(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 2_000_000 + b"\r\n{}\r\n0\r\n\r\n"
    ),
    "HTTP/1.0 without a length, cut": said(b'HTTP/1.0 200 OK\r\n\r\n{"sha": "'),
    "two answers to one question": said(answer(200, JSON, b"{}") + answer(200, JSON, b"[]")),
    "a status of letters": said(b"HTTP/1.1 2OO OK\r\n\r\n"),
    "a reason of escapes": said(b"HTTP/1.1 500 \x1b[2J\x07\r\nContent-Length: 0\r\n\r\n"),
    "a cookie of 90 kB": said(answer(200, {"Set-Cookie": "a=" + "x" * 90_000, **JSON}, b"{}")),
    "307 to another scheme's letters": said(answer(307, {"Location": "HTTPS://127.0.0.1:9/"}, b"")),
    "308 to a name and password": said(answer(308, {"Location": "http://user:pass@127.0.0.1:9/x"}, b"")),
    "302 to a script": said(answer(302, {"Location": "javascript:alert(1)"}, b"")),
    "302 to a text of data": said(answer(302, {"Location": "data:application/json,{}"}, b"")),
    "302 to two slashes": said(answer(302, {"Location": "//127.0.0.1:9/x"}, b"")),
    "302 to a port that is none": said(answer(302, {"Location": "http://127.0.0.1:99999/"}, b"")),
    "302 with an address of 90 kB": said(answer(302, {"Location": "/" + "a" * 90_000}, b"")),
    "the next page on another host": next_page('<http://127.0.0.1:9/x>; rel="next"'),
    "the next page is a file": next_page('<file:///etc/passwd>; rel="next"'),
    "the next page on a host of that name": next_page('<HUB.evil.example/x>; rel="next"'),
    "the next page by a name and password": next_page('<HUB@evil.example/x>; rel="next"'),
    "the next page without an end": next_page("<" + "HUB/" + "x" * 50_000),
    "429 until 1970": said(answer(429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b"{}")),
    "429, negative": said(answer(429, {"Retry-After": "-5", "RateLimit": '"api";r=0;t=-1'}, b"{}")),
    "429, infinite": said(answer(429, {"Retry-After": "inf", "RateLimit": '"api";r=0;t=NaN'}, b"{}")),
    "a range without its unit": changing(Content_Range="0-262143/490879616"),
    "a range with another's unit": changing(Content_Range="lines 0-262143/490879616"),
    "an etag of 90 kB": changing(ETag='"' + "a" * 90_000 + '"'),
    "an etag of escapes": changing(ETag='"\x1b[2J"', X_Repo_Commit="\x1b[2J"),
    "a key twice": of_lists(
        lambda asked, hub: iter([answer(200, JSON, hub.info()[:-1] + b', "sha": "x", "siblings": []}')])
    ),
    "NaN for a size": siblings(row(size=float("nan"))),
    "text after the JSON": of_lists(lambda asked, hub: iter([answer(200, JSON, hub.info() + b"\n{}")])),
    "a mark before the JSON": of_lists(lambda asked, hub: iter([answer(200, JSON, b"\xef\xbb\xbf" + hub.info())])),
    "names of parents": siblings(row("../../../../etc/passwd.gguf"), row("/dev/zero.gguf"), row("..")),
    "a name of many folders": siblings(row("a/" * 500 + "m.gguf")),
    "an address as name": siblings(row("http://127.0.0.1:9/m.gguf"), row("m.gguf?x=#y")),
    "an order as name": siblings(row("##[add-mask]m.gguf"), row("::stop-commands::x.gguf")),
    "a name that is turned around": siblings(row("m\u202efugg.gguf"), row("\u200bm.gguf")),
    "names that differ by case": siblings(row("M.gguf", 10**6), row("m.gguf", 10**6), row("m.GGUF", 10**6)),
    "an empty file": siblings(row("m.gguf", 0)),
    "shards without end": siblings(row("m-00001-of-99999.gguf", 10**9)),
    "shards of no number": siblings(row("m-00000-of-00000.gguf", 10**9), row("m-00002-of-00001.gguf", 10**9)),
    "2,000 models that are not there": many_models(2000),
    "a header as long as any": long_header,
    "another commit each time": shrinking,
    "ranges in parts": changing(Content_Type="multipart/byteranges; boundary=x", Content_Range="bytes */5"),
}
