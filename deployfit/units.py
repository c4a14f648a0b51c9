"""Bytes and tokens: parsing what people type, formatting what they read.

Inside deployfit a size is an int of bytes. GB is 10**9 (what the Hub and disks mean), GiB is 2**30
(what a "32 GB" Mac has); the two meet only here.
"""

from __future__ import annotations

import re

from deployfit.errors import InputError, quoted

KIB = 1024
MIB = 1024**2
GIB = 1024**3
GB = 10**9

TOKEN_UNITS = {"": 1, "k": KIB, "m": MIB}

_TOKENS = re.compile(r"([0-9]{1,12})([kKmM]?)", re.ASCII)
_LIMIT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(g|gib|gb|m|mib|mb)", re.ASCII | re.IGNORECASE)


def ceil_to(value: int, step: int) -> int:
    """Return the least multiple of step that is not below value.

    >>> ceil_to(5000, 256)
    5120
    """
    return -(-value // step) * step


def parse_tokens(text: str) -> int:
    """Return a token count; k is 1,024 and m is 1,048,576, as engines and model cards mean them.

    >>> parse_tokens("32k")
    32768
    """
    match = _TOKENS.fullmatch(text.strip())
    if match is None:
        raise InputError(f"context: expected a whole number of tokens such as 32768 or 32k, got {quoted(text)}")
    return int(match[1]) * TOKEN_UNITS[match[2].lower()]


def parse_limit(text: str) -> int:
    """Return the bytes of a memory limit that carries its unit; every unit is binary, as in the sysctl.

    >>> parse_limit("28g")
    30064771072
    >>> parse_limit("28672m")
    30064771072
    """
    match = _LIMIT.fullmatch(text.strip())
    if match is None:
        raise InputError(f"wired limit: expected a size with its unit such as 28g or 28672m, got {quoted(text)}")
    whole, _, decimals = match[1].partition(".")
    unit = GIB if match[2][0].lower() == "g" else MIB
    return int(whole) * unit + int(decimals or 0) * unit // int("1" + "0" * len(decimals))


def gib(size_bytes: int, digits: int = 2) -> str:
    """Return bytes as a number of GiB, without the label.

    >>> gib(22906503168)
    '21.33'
    """
    return f"{size_bytes / GIB:.{digits}f}"


def gb(size_bytes: int, digits: int = 2) -> str:
    """Return bytes as a number of decimal GB, without the label.

    >>> gb(806795875168)
    '806.80'
    """
    return f"{size_bytes / GB:.{digits}f}"


def four_digits(value: float) -> float:
    """Return a number rounded to four digits, as reports give speeds.

    >>> four_digits(24.6789)
    24.68
    """
    return float(f"{value:.4g}")


def tps(tokens_per_second: float) -> str:
    """Return tokens per second to two or three digits, without the label.

    >>> tps(9.53), tps(24.4), tps(758.1)
    ('9.5', '24', '758')
    """
    return f"{tokens_per_second:.1f}" if tokens_per_second < 10 else f"{tokens_per_second:.0f}"
