"""Numbers as people type and paste them: contexts, sizes of memory, counts, speeds."""

from __future__ import annotations

import re
from itertools import pairwise

from deployfit.errors import InputError, quoted
from deployfit.parameters import param
from deployfit.units import GIB, MIB, TOKEN_UNITS

TRAINED = 0  # the context that a model was trained for, as `-c 0` is llama.cpp's
LEAST_BARE_LIMIT = 1024  # MiB; less without a unit is a slip

MOST_DIGITS = 12
# Compiled where they are needed: most answers need one of them.
_TOKENS = rf"([0-9]{{1,{MOST_DIGITS}}}|[0-9]{{1,3}}(?:[,_][0-9]{{3}})+) ?([km]?)(?: ?(?:tok(?:ens?)?|ctx|context))?"
_SIZE = r"([0-9]{1,9}|[0-9]{1,3}(?:[,_][0-9]{3})+)(?:\.([0-9]{1,3}))? ?(?:([gm])i?b?)?"
_SPEED = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(?: ?(?:tps|t/s|tok/s|tokens/s|tokens per second))?"
_SYSCTL = r"(?:(?:sudo )?sysctl (?:-w )?)?iogpu\.wired_limit_mb ?[:=] ?"


def _whole(digits: str) -> int:
    return int(digits.replace(",", "").replace("_", ""))


def context(text: str, name: str = "context") -> int:
    """Return a context in tokens, TRAINED for `max`; k is 1,024 and m is 1,048,576, as engines mean them.

    >>> context("32k"), context("32,768"), context("1m"), context("max") == TRAINED
    (32768, 32768, 1048576, True)
    """
    typed = " ".join(text.casefold().split())
    if typed in ("max", "maximum", "full", "trained", "native"):
        return TRAINED
    digits = typed[:-1] if typed[-1:] in ("k", "m") else typed
    if digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS:  # the pattern takes longer to compile
        tokens = int(digits) * TOKEN_UNITS[typed[len(digits) :]]
    else:
        match = re.fullmatch(_TOKENS, typed, re.ASCII)
        tokens = _whole(match[1]) * TOKEN_UNITS[match[2]] if match else 0
    if not tokens:
        several = [each.strip() for each in re.split("[,;]", typed)]
        if len(several) > 1 and all(re.fullmatch(_TOKENS, each, re.ASCII) for each in several):
            raise InputError(f"{param(name)} {quoted(text)}: one context at a time here; sweep and table take several")
        raise InputError(
            f"{param(name)}: expected a whole number of tokens such as 32768, 32k or max, got {quoted(text)}"
        )
    return tokens


def contexts(text: str, name: str = "context") -> tuple[int, ...]:
    """Return the contexts of a list; a comma that groups thousands separates nothing.

    >>> contexts("8k,32k"), contexts("32,768"), contexts("32,768, 65,536")
    ((8192, 32768), (32768,), (32768, 65536))
    """
    found: list[int] = []
    for item in re.split(r",\s+|;", text.strip()):
        parts = item.split(",")
        if not re.fullmatch(_TOKENS, item.casefold().strip(), re.ASCII) and _looks_grouped(parts):
            raise InputError(
                f"{param(name)} {quoted(text)}: commas separate and group thousands; type a space after"
                " those that separate, such as '32,768, 65,536'"
            )
        grouped = len(parts) > 1 and re.fullmatch(_TOKENS, item.casefold().strip(), re.ASCII)
        found += [context(item, name)] if grouped else [context(part, name) for part in parts]
    return tuple(dict.fromkeys(found))


def _looks_grouped(parts: list[str]) -> bool:
    return any(
        before.isdigit() and len(before) <= 3 and after.isdigit() and len(after) == 3
        for before, after in pairwise(parts)
    )


def byte_size(text: str, name: str, bare_unit: int = 0) -> int:
    """Return the bytes of an amount of memory; every unit is binary, as in the sysctl and in llama.cpp's options.

    A number without a unit counts in `bare_unit` bytes, and is refused where that is 0.

    >>> byte_size("6g", "other"), byte_size("28.5 GB", "other"), byte_size("28672", "wired_limit", MIB)
    (6442450944, 30601641984, 30064771072)
    """
    match = re.fullmatch(_SIZE, " ".join(text.casefold().split()), re.ASCII)
    unit = 0 if match is None else {"g": GIB, "m": MIB}.get(match[3] or "", bare_unit)
    if match is None or not unit:
        raise InputError(f"{param(name)}: expected a size with its unit such as 28g or 28672m, got {quoted(text)}")
    decimals = match[2] or ""
    return _whole(match[1]) * unit + int(decimals or 0) * unit // int("1" + "0" * len(decimals))


def wired_limit(text: str) -> int:
    """Return the bytes of a limit for the GPU; without a unit it is in MiB, as `sysctl iogpu.wired_limit_mb` prints it.

    >>> wired_limit("28672") == wired_limit("28g") == wired_limit("iogpu.wired_limit_mb: 28672")
    True
    """
    typed = text.strip().casefold()
    limit = byte_size(re.sub(_SYSCTL, "", typed, count=1, flags=re.ASCII), "wired_limit", MIB)
    if typed.isdigit() and 0 < limit < LEAST_BARE_LIMIT * MIB:
        raise InputError(f"{param('wired_limit')} {quoted(text)} is {limit // MIB} MiB; for GiB type {limit // MIB}g")
    return limit


def speed(text: str, name: str = "min_speed") -> float:
    """Return a speed in tokens per second.

    >>> speed("7.5"), speed("10 tok/s")
    (7.5, 10.0)
    """
    match = re.fullmatch(_SPEED, " ".join(text.casefold().split()), re.ASCII)
    if match is None or not float(match[1]):
        raise InputError(f"{param(name)}: expected tokens per second such as 10 or 7.5, got {quoted(text)}")
    return float(match[1])


def whole_number(text: str, name: str) -> int:
    """Return a whole number.

    >>> whole_number("2,048", "ubatch")
    2048
    """
    typed = text.strip()
    if not re.fullmatch(r"[0-9]{1,9}|[0-9]{1,3}(?:[,_][0-9]{3}){1,2}", typed, re.ASCII):
        raise InputError(f"{param(name)}: expected a whole number such as 1 or 512, got {quoted(text)}")
    return _whole(typed)
