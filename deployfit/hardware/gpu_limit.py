"""How much of its memory a Mac lends to the GPU: `MTLDevice.recommendedMaxWorkingSetSize`.

It depends on the memory and on the macOS generation, not on the chip, and `sudo sysctl iogpu.wired_limit_mb=N`
replaces it with exactly N MiB until the next restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.basis import Basis
from deployfit.errors import InputError, quoted
from deployfit.hardware.mac import Mac
from deployfit.parameters import param
from deployfit.tables import Row, Table
from deployfit.units import GIB, KIB, MIB, ceil_to, gib
from deployfit.values import NamedTuple

PAGE = 16 * KIB  # of Apple silicon; observed limits are whole pages, rounded up

SYSTEM_RESERVE = 4096 * MIB  # of the memory for macOS and other programs, as ggml-org's Llama app for the Mac keeps it

# Limits raised to 90 % of the memory were reported to work, 96 % to end in kernel panics (M5 Max 128 GB).
HIGHEST_RAISED_SHARE = 90

GENERATIONS = (15, 26)  # "15 and earlier" and "26 and later"; Apple skipped 16 to 25
FIRST_MACOS = 11  # the first for Apple silicon
LAST_MACOS = 27  # the last whose limits were observed


class LimitRow(NamedTuple):
    """A row of `data/gpu_limits.csv`: what a Mac of this memory lends to its GPU.

    The share of two thirds is kept as the 32-bit float nearest to it: 24 GB Macs logged one page more than
    16 GiB, which only that explains.
    """

    generation: int
    memory_gib: int
    numerator: int
    denominator: int
    less_gib: int
    basis: Basis
    note: str

    def limit_bytes(self, memory_bytes: int) -> int:
        """Return the GPU limit."""
        share = -(-memory_bytes * self.numerator // self.denominator)
        return ceil_to(share - self.less_gib * GIB, PAGE)


class GpuLimit(NamedTuple):
    """How much memory the GPU may use, and how that is known."""

    limit_bytes: int
    basis: Basis
    note: str


def _limit_row(row: Row) -> LimitRow:
    numerator, _, denominator = (row.text("share", blank=True) or "1/1").partition("/")
    if not (numerator.isdigit() and denominator.isdigit() and int(denominator)):
        row.fault("share", "a fraction such as 74/100")
        numerator = denominator = "1"
    return LimitRow(
        generation=row.number("macos"),
        memory_gib=row.number("memory_gib"),
        numerator=int(numerator),
        denominator=int(denominator),
        less_gib=row.number("less_gib", blank=True),
        basis=Basis(row.one_of("basis", [basis.value for basis in Basis])),
        note=row.text("note"),
    )


LIMITS = Table("gpu_limits.csv", ["macos", "memory_gib", "share", "less_gib", "basis", "note"], _limit_row)


NAMES_OF_MACOS = {"big sur": 11, "monterey": 12, "ventura": 13, "sonoma": 14, "sequoia": 15, "tahoe": 26}


def parse_macos(text: str) -> int:
    """Return the major version of a macOS version such as 15, 15.7 or 26.3.1, or of its name.

    >>> parse_macos("15.7.7"), parse_macos("macOS 26.3"), parse_macos("Sequoia")
    (15, 26, 15)
    """
    typed = text.strip().casefold().removeprefix("macos").strip()
    major, *rest = str(NAMES_OF_MACOS.get(typed, typed)).split(".")
    if not (
        major.isascii()
        and major.isdigit()
        and len(major) <= 3
        and all(part.isascii() and part.isdigit() for part in rest)
    ):
        raise InputError(f"{param('macos')}: expected a version such as 15 or 26.3, got {quoted(text)}")
    version = int(major)
    if not FIRST_MACOS <= version <= LAST_MACOS or 15 < version < 26:
        raise InputError(f"no macOS {version} for Apple silicon is known; known: 11 to 15, 26 and 27")
    return version


def generation_of(macos: int) -> int:
    """Return the generation of a macOS version: 15 stands for 15 and earlier, 26 for 26 and later."""
    return 26 if macos >= 26 else 15


GENERATION_NAMES: Mapping[int, str] = {15: "macOS 15 and earlier", 26: "macOS 26 and later"}


def default_limit(mac: Mac, macos: int, limits: Sequence[LimitRow]) -> GpuLimit:
    """Return the limit that macOS sets by itself.

    A memory size that was never sold (a virtual machine) gets the share of the next smaller one.
    """
    generation = generation_of(macos)
    rows = sorted((row for row in limits if row.generation == generation), key=lambda row: row.memory_gib)
    at_most = [row for row in rows if row.memory_gib * GIB <= mac.memory_bytes]
    row = at_most[-1] if at_most else rows[0]
    known = row.memory_gib * GIB == mac.memory_bytes
    return GpuLimit(
        limit_bytes=row.limit_bytes(mac.memory_bytes),
        basis=row.basis if known else Basis.ASSUMED,
        note=row.note if known else f"never observed for this memory; the rule for {row.memory_gib} GB",
    )


def raised_limit(mac: Mac, limit_bytes: int) -> GpuLimit:
    """Return the limit that the user has set with `iogpu.wired_limit_mb`."""
    if limit_bytes <= 0:
        raise InputError(f"{param('wired_limit')}: expected more than 0, such as 28g")
    if limit_bytes > mac.memory_bytes:
        raise InputError(
            f"{param('wired_limit')}: {gib(limit_bytes)} GiB is more than the {gib(mac.memory_bytes)} GiB of memory;"
            " choose less"
        )
    return GpuLimit(
        limit_bytes=limit_bytes, basis=Basis.MEASURED, note="iogpu.wired_limit_mb as set; Metal then lends exactly that"
    )


def highest_raised_limit(mac: Mac) -> int:
    """Return the highest limit, in whole MiB, that can be advised for iogpu.wired_limit_mb.

    >>> highest_raised_limit(Mac(chip="", memory_bytes=32 * GIB)) // MIB
    28672
    """
    share = mac.memory_bytes * HIGHEST_RAISED_SHARE // 100
    return max(0, min(share, mac.memory_bytes - SYSTEM_RESERVE)) // MIB * MIB
