"""Macs: what was sold, and how much of its memory a Mac lends to the GPU.

The GPU limit is `MTLDevice.recommendedMaxWorkingSetSize`. It depends on the memory and on the macOS
generation, not on the chip, and `sudo sysctl iogpu.wired_limit_mb=N` replaces it with exactly N MiB until
the next restart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.errors import InputError, quoted, unknown
from deployfit.tables import Row, parse_table
from deployfit.units import GIB, KIB, MIB, ceil_to, gib

PAGE = 16 * KIB  # of Apple silicon; observed limits are whole pages, rounded up

# ggml-org's Llama app for the Mac keeps both free: 1024 MiB below the GPU limit, which is also the margin of
# llama.cpp's --fit, and 4096 MiB of the memory for macOS and other programs.
GPU_RESERVE = 1024 * MIB
SYSTEM_RESERVE = 4096 * MIB

# Limits raised to 90 % of the memory were reported to work, 96 % to end in kernel panics (M5 Max 128 GB).
HIGHEST_RAISED_SHARE = 90

GENERATIONS = (15, 26)  # "15 and earlier" and "26 and later"; Apple skipped 16 to 25
FIRST_MACOS = 11  # the first for Apple silicon
LAST_MACOS = 27  # the last whose limits were observed


class Mac(NamedTuple):
    """A Mac: its memory, and its chip where that is known ("" otherwise)."""

    chip: str
    memory_bytes: int

    @property
    def name(self) -> str:
        """How people say it: "M4 Max 64 GB"."""
        memory = self.memory_bytes / GIB
        return f"{self.chip} {memory:g} GB".strip()

    @property
    def with_article(self) -> str:
        """How it stands in a sentence: "an M4 Max 64 GB Mac"."""
        article = "an" if self.name.startswith(("A", "M", "8", "18 ")) else "a"
        return f"{article} {self.name} Mac"


class MacRow(NamedTuple):
    """A row of `data/macs.csv`: a chip with one bandwidth, and the memory sizes it was sold with.

    `fp16_tflops` are those of its largest GPU, with the neural accelerators in it if there are any.
    """

    chip: str
    bandwidth_gb_s: int  # 0 where it is not known
    memory_gib: tuple[int, ...]
    gpu_cores: int = 0  # of its largest GPU
    fp16_tflops: float = 0.0  # 0 where they are not known
    neural_accelerators: bool = False

    @property
    def generation(self) -> int:
        """The chip's generation: 4 for an M4 Max, 0 if it is none of the M series."""
        digits = self.chip.split()[0].removeprefix("M")
        return int(digits) if digits.isdigit() else 0

    @property
    def shader_tflops(self) -> float:
        """What the GPU does without its neural accelerators, which double it where there are any."""
        return self.fp16_tflops / (2 if self.neural_accelerators else 1)


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


def parse_macs(text: str, place: str) -> list[MacRow]:
    """Return the rows of a CSV text with the columns of `data/macs.csv`."""

    def parse(row: Row) -> MacRow:
        sizes = row.text("memory_gib").split()
        cores = row.text("gpu_cores").rpartition("-")[2]
        if not all(size.isdigit() for size in sizes):
            row.fault("memory_gib", "whole numbers")
            sizes = []
        return MacRow(
            chip=row.text("chip"),
            bandwidth_gb_s=row.number("bandwidth_gb_s", blank=True),
            memory_gib=tuple(map(int, sizes)),
            gpu_cores=int(cores) if cores.isdigit() else row.number("gpu_cores"),
            fp16_tflops=row.decimal("fp16_tflops", blank=True),
            neural_accelerators=row.flag("neural_accelerators"),
        )

    columns = ["chip", "gpu_cores", "bandwidth_gb_s", "fp16_tflops", "neural_accelerators", "memory_gib"]
    return parse_table(text, place, columns, parse)


def parse_limits(text: str, place: str) -> list[LimitRow]:
    """Return the rows of a CSV text with the columns of `data/gpu_limits.csv`."""

    def parse(row: Row) -> LimitRow:
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

    return parse_table(text, place, ["macos", "memory_gib", "share", "less_gib", "basis", "note"], parse)


_CHIP_AND_MEMORY = re.compile(r"(?:(?P<chip>\S.*) )?(?P<memory>[0-9]{1,4}) ?(?:GB|GiB|G)?", re.ASCII | re.IGNORECASE)
_CHIP = re.compile(r"[A-Za-z][A-Za-z0-9 ]*", re.ASCII)


def find_mac(text: str, macs: Sequence[MacRow]) -> Mac:
    """Return the Mac that a text names: its memory in GB, or its chip and memory.

    >>> find_mac("m4 max 64", [MacRow(chip="M4 Max", bandwidth_gb_s=546, memory_gib=(48, 64))]).name
    'M4 Max 64 GB'
    """
    words = " ".join(text.split())
    chips = {row.chip.casefold(): row.chip for row in macs}
    match = _CHIP_AND_MEMORY.fullmatch(words)
    typed = (match["chip"] or "") if match else words
    if not (match and not typed) and not _CHIP.fullmatch(typed):
        raise InputError(
            f"mac: expected a memory size or a chip with one, such as 32 or 'M4 Max 64', got {quoted(text)}"
        )
    if typed and typed.casefold() not in chips:
        raise unknown("Mac chip", typed, chips.values())
    chip = chips[typed.casefold()] if typed else ""
    sizes = sorted({size for row in macs if chip in ("", row.chip) for size in row.memory_gib})
    memory = int(match["memory"]) if match else None
    if memory not in sizes:
        sold = "it was sold with " if chip else "Macs were sold with "
        sold += ", ".join(map(str, sizes)) + " GB"
        if memory is None:
            raise InputError(f"mac {quoted(words)}: memory size missing; {sold}")
        raise InputError(f"no {chip or 'Mac'} with {memory} GB; {sold}")
    return Mac(chip=chip, memory_bytes=memory * GIB)


def find_chip(mac: Mac, macs: Sequence[MacRow]) -> MacRow | None:
    """Return the chip of a Mac; the memory picks the bandwidth on Max chips. None if no chip is named or sold so.

    >>> rows = [MacRow("M4 Max", 410, (36,)), MacRow("M4 Max", 546, (48, 64))]
    >>> find_chip(Mac(chip="M4 Max", memory_bytes=64 * GIB), rows).bandwidth_gb_s
    546
    """
    memory = mac.memory_bytes // GIB
    return next((row for row in macs if row.chip == mac.chip and memory in row.memory_gib), None)


def parse_macos(text: str) -> int:
    """Return the major version of a macOS version such as 15, 15.7 or 26.3.1.

    >>> parse_macos("15.7.7")
    15
    """
    major, *rest = text.strip().split(".")
    if not (
        major.isascii()
        and major.isdigit()
        and len(major) <= 3
        and all(part.isascii() and part.isdigit() for part in rest)
    ):
        raise InputError(f"macos: expected a version such as 15 or 26.3, got {quoted(text)}")
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
        raise InputError("wired limit: expected more than 0, such as 28g")
    if limit_bytes > mac.memory_bytes:
        raise InputError(
            f"wired limit: {gib(limit_bytes)} GiB is more than the {gib(mac.memory_bytes)} GiB of memory; choose less"
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


class Place(NamedTuple):
    """Where a model is to run: a Mac under a macOS, and the GPU limit there; `raised` says that the user has set it.

    `macos` is a major version.
    """

    mac: Mac
    macos: int
    limit: GpuLimit
    raised: bool = False

    @property
    def budget_bytes(self) -> int:
        """The bytes that a model may take: the GPU limit less the reserve."""
        return min(self.limit.limit_bytes - GPU_RESERVE, self.mac.memory_bytes - SYSTEM_RESERVE)

    @property
    def reserve_bytes(self) -> int:
        """What is kept free below the GPU limit."""
        return self.limit.limit_bytes - self.budget_bytes

    @property
    def highest_total_bytes(self) -> int:
        """The most that a model may take if the limit is raised as far as can be advised."""
        return highest_raised_limit(self.mac) - GPU_RESERVE
