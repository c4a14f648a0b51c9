"""Bytes and tokens: parsing what people type, formatting what they read.

Inside deployfit a size is an int of bytes. GB is 10**9 (what the Hub and disks mean), GiB is 2**30
(what a "32 GB" Mac has); the two meet only here.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024**2
GIB = 1024**3
GB = 10**9

TOKEN_UNITS = {"": 1, "k": KIB, "m": MIB}


def ceil_to(value: int, step: int) -> int:
    """Return the least multiple of step that is not below value.

    >>> ceil_to(5000, 256)
    5120
    """
    return -(-value // step) * step


def gib(size_bytes: int, digits: int = 2) -> str:
    """Return bytes as a number of GiB, without the label.

    >>> gib(22906503168), gib(-3145728)
    ('21.33', '0.00')
    """
    text = f"{size_bytes / GIB:.{digits}f}"
    return text if text.strip("-0.") else text.removeprefix("-")


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
