"""One question to a server and its answer, bounded in every direction: seconds, bytes, hops, whatever comes.

The session, the token and the headers are huggingface_hub's. The token goes to the Hub only: where a redirect leads to
another host, it is followed without it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Event, Thread

import httpx2

from deployfit import __version__
from deployfit.errors import InputError
from deployfit.sources.hub import build_hf_headers, constants, get_session
from deployfit.values import NamedTuple

MOST_REDIRECTS = 5
MOST_SECONDS = 120.0  # for one body, however slowly it drips; 12 MB may come over a slow line
LIST_SECONDS = 45.0  # for a list, which has some 300 kB
HEADER_SECONDS = 30.0  # until an answer's headers are there, over all redirects
MOST_REFUSAL_BYTES = 65_536  # of a body that nobody reads: of an error, of a redirect

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what goes wrong is said once, by us


class TooSlowError(Exception):
    """An answer takes too long, however it does that."""


class TooLongError(Exception):
    """An answer goes on for longer than any that is wanted."""


class UnusableError(Exception):
    """An answer that is no answer to what was asked; the text says why."""


class Head(NamedTuple):
    """What stands before a body. `from_hub`: no other host gave it."""

    status: int
    headers: Mapping[str, str]
    from_hub: bool

    def header(self, name: str) -> str:
        """Return a header's value, "" if there is none."""
        value: str = self.headers.get(name, "")
        return value


class Wanted(NamedTuple):
    """Which bytes of a body are wanted: not the first so many, and so many at most; more is an error unless `cut`."""

    skip: int
    most: int
    cut: bool


class Reply(NamedTuple):
    """An answer, and the heads of the redirects that led to it. Only the body of one that is no refusal was read."""

    head: Head
    hops: tuple[Head, ...]
    body: bytes

    @property
    def heads(self) -> tuple[Head, ...]:
        """Everything that was said around the body."""
        return (*self.hops, self.head)


Choose = Callable[[Head], Wanted]


def hub_headers() -> dict[str, str]:
    """Return the headers for the Hub, the token among them; raise InputError for what cannot be sent."""
    try:
        headers = build_hf_headers(library_name="deployfit", library_version=__version__)
    except Exception as error:  # a login may be renewed here, over the network
        raise InputError("the Hub's token cannot be read; set HF_TOKEN, or log in again") from error
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            if name.lower() == "authorization":
                raise InputError("HF_TOKEN is no token; it has letters that none has")
            raise InputError("HF_HUB_USER_AGENT_ORIGIN has letters that no header can hold; mend or unset it")
    return headers


def exchange(
    url: str, headers: Mapping[str, str], choose: Choose, pause_seconds: float, most_seconds: float = MOST_SECONDS
) -> Reply:
    """Return the answer to a GET; `choose` says by its head which bytes of its body are wanted.

    A daemon talks, and whoever asked waits no longer than said: timeouts of sockets only count pauses, and a header may
    come letter by letter. Raises what the session raises, TooSlowError,
    TooLongError and UnusableError.
    """
    pause_seconds = min(pause_seconds, MOST_SECONDS)
    said: SimpleQueue[Reply | BaseException | None] = SimpleQueue()
    abandoned = Event()

    def talk() -> None:
        try:
            said.put(_converse(url, headers, choose, pause_seconds, lambda: said.put(None), abandoned))
        except BaseException as error:
            said.put(error)

    Thread(target=talk, daemon=True).start()
    try:
        found = said.get(timeout=max(HEADER_SECONDS, min(2 * pause_seconds, MOST_SECONDS)))
        if found is None:
            found = said.get(timeout=most_seconds)
    except Empty:
        raise TooSlowError from None
    finally:
        abandoned.set()
    if isinstance(found, BaseException):
        raise found
    assert found is not None
    return found


def _converse(
    url: str,
    headers: Mapping[str, str],
    choose: Choose,
    pause_seconds: float,
    on_head: Callable[[], None],
    abandoned: Event,
) -> Reply:
    session = get_session()
    request = session.build_request("GET", url, headers=dict(headers), timeout=pause_seconds)
    hub = _origin(request.url)
    hops: list[Head] = []
    while True:
        response = session.send(request, stream=True, follow_redirects=False)
        with contextlib.closing(response):
            head = Head(response.status_code, response.headers, _origin(response.url) == hub)
            if response.has_redirect_location:
                if len(hops) >= MOST_REDIRECTS:
                    raise httpx2.TooManyRedirects("too many", request=request)
                hops.append(head)
                _walk_over(response)
                request = _next(response, request, hub)
                continue
            on_head()
            if head.status >= 300:
                _walk_over(response)
                return Reply(head, tuple(hops), b"")
            if head.header("Content-Encoding") not in ("", "identity"):
                raise UnusableError("the answer is compressed, which was not asked for; is there a proxy on the way?")
            return Reply(head, tuple(hops), _body(response, choose(head), abandoned))


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _next(response: httpx2.Response, before: httpx2.Request, hub: tuple[str, str, int | None]) -> httpx2.Request:
    """Return the request that a redirect asks for; raise UnusableError for one that leads nowhere."""
    request = response.next_request
    if request is None or request.url.scheme not in ("http", "https"):
        raise UnusableError("the answer points to no address of the web; is HF_ENDPOINT right?")
    if before.url.scheme == "https" and request.url.scheme != "https":
        raise UnusableError("the answer points to an address without encryption; is HF_ENDPOINT right?")
    if _origin(request.url) != hub:
        request.headers.pop("Authorization", None)
    return request


def _walk_over(response: httpx2.Response) -> None:
    """Read a short body to its end, so that the connection can be used again; leave a long one alone."""
    left = MOST_REFUSAL_BYTES
    for chunk in response.iter_raw():
        left -= len(chunk)
        if left < 0:
            return


def _body(response: httpx2.Response, wanted: Wanted, abandoned: Event) -> bytes:
    skip, most, cut = wanted
    received = bytearray()
    for chunk in response.iter_raw():
        if abandoned.is_set():
            raise TooSlowError
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        received += chunk[skip:]
        skip = 0
        if len(received) > most and not cut:
            raise TooLongError
        if len(received) >= most and cut:
            break
    return bytes(memoryview(received)[:most])


def pause_seconds(variable: int) -> float:
    """Return how long a pause may be, from one of huggingface_hub's numbers."""
    return float(max(1, min(variable, int(MOST_SECONDS))))


API_PAUSE = pause_seconds(constants.HF_HUB_ETAG_TIMEOUT)
FILE_PAUSE = pause_seconds(constants.HF_HUB_DOWNLOAD_TIMEOUT)
