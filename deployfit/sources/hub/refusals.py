"""Whatever goes wrong with the Hub, in one line: what was asked, what is wrong, the way out.

Never the text of another's error, which may hold addresses with signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

import httpx2
from huggingface_hub.errors import OfflineModeIsEnabled

from deployfit.errors import DeployfitError, HubError, InputError
from deployfit.parameters import param
from deployfit.sources.hub.exchange import Head, TooLongError, TooSlowError, UnusableError

MOST_WAIT_DIGITS = 6  # of the seconds that a server asks to wait

# What the Hub says in X-Error-Code.
CODES: Mapping[str, str] = {
    "RevisionNotFound": f"no such revision; leave out {param('revision')} for main",
    "EntryNotFound": "no such file in the repository",
    "GatedRepo": "gated; accept its terms on the Hub, then log in or set HF_TOKEN",
    "RepoNotFound": "no such repository, or a private one; check the name, log in or set HF_TOKEN",
}
BAD_TOKEN = "Invalid credentials in Authorization header"
DISABLED = "Access to this resource is disabled."

Refusal = Callable[[str], DeployfitError]
ERRORS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Refusal], ...] = (
    (
        (httpx2.InvalidURL, httpx2.UnsupportedProtocol),
        lambda what: InputError(f"{what}: HF_ENDPOINT is no address such as https://huggingface.co"),
    ),
    (UnicodeError, lambda what: InputError(f"{what}: it has letters that no address can hold")),
    (ImportError, lambda what: InputError(f"{what}: for a SOCKS proxy install socksio, or unset the proxy's variable")),
    (OfflineModeIsEnabled, lambda what: HubError(f"{what}: offline by HF_HUB_OFFLINE; unset it to ask the Hub")),
    (
        (TooSlowError, TooLongError),
        lambda what: HubError(f"{what}: the Hub's answer is far too slow or too long; try again later"),
    ),
    (httpx2.TimeoutException, lambda what: HubError(f"{what}: the Hub did not answer in time; try again later")),
    (httpx2.TooManyRedirects, lambda what: HubError(f"{what}: the Hub redirects in a circle; try again later")),
    (httpx2.DecodingError, lambda what: HubError(f"{what}: the Hub's answer cannot be read; is HF_ENDPOINT right?")),
    (httpx2.TransportError, lambda what: HubError(f"{what}: the Hub cannot be reached; check the network")),
    (
        (ValueError, LookupError, TypeError, AttributeError),  # what a client makes of an answer that is none
        lambda what: HubError(f"{what}: the Hub's answer cannot be read; is HF_ENDPOINT right?"),
    ),
)


def fail(error: BaseException, what: str) -> NoReturn:
    """Raise one line for an error on the way."""
    if isinstance(error, UnusableError):
        raise HubError(f"{what}: {error}") from None
    for kind, refusal in ERRORS:
        if isinstance(error, kind):
            raise refusal(what) from None
    if isinstance(error, OSError):
        why = error.strerror or "system error"
        raise HubError(f"{what}: {why}; check the network, SSL_CERT_FILE and the proxy's variables") from None
    raise error


def refuse(head: Head, what: str) -> NoReturn:
    """Raise one line for an answer that is a refusal."""
    status, code = head.status, head.header("X-Error-Code")
    if code in CODES:
        raise InputError(f"{what}: {CODES[code]}")
    if head.header("X-Error-Message") == DISABLED:
        raise InputError(f"{what}: the Hub has disabled it; look for another")
    if head.from_hub and (status == 404 or (status == 401 and head.header("X-Error-Message") != BAD_TOKEN)):
        raise InputError(f"{what}: {CODES['RepoNotFound']}")
    if head.from_hub and status in (401, 403):
        raise InputError(f"{what}: access denied (HTTP {status}); log in, or check HF_TOKEN")
    if status == 429:
        seconds = asked_to_wait(head)
        wait = "wait" if seconds is None else f"wait {seconds} s"
        raise HubError(f"{what}: too many requests (HTTP 429); {wait}, or log in for a higher limit")
    raise HubError(f"{what}: the Hub answered HTTP {status}; try again later")


def asked_to_wait(head: Head) -> int | None:
    """Return the seconds after which a server that was asked too often may be asked again, None if it says none.

    >>> asked_to_wait(Head(429, {"RateLimit": '"api";r=0;t=55'}, True)), asked_to_wait(Head(429, {}, True))
    (55, None)
    """
    limit = head.header("RateLimit").rpartition("t=")[2]
    for text in (limit, head.header("Retry-After")):
        if text.isascii() and text.isdigit() and len(text) <= MOST_WAIT_DIGITS:
            return int(text)
    return None
