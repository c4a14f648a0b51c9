"""Macs with Apple silicon: what was sold, and how a text names one."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.tables import Row, Table
from deployfit.units import GIB
from deployfit.values import NamedTuple

CHIP_DECIDES = "the chip decides: say it with --mac, such as 'M4 Max 64'"  # about speed


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

    `fp16_tflops` are those of its largest GPU, with the neural accelerators in it if there are any. `macs` are the
    kinds of Mac that it came in.
    """

    chip: str
    bandwidth_gb_s: int  # 0 where it is not known
    memory_gib: tuple[int, ...]
    gpu_cores: int = 0  # of its largest GPU
    fp16_tflops: float = 0.0  # 0 where they are not known
    neural_accelerators: bool = False
    macs: str = ""

    @property
    def generation(self) -> int:
        """The chip's generation: 4 for an M4 Max, 0 if it is none of the M series."""
        digits = self.chip.split()[0].removeprefix("M")
        return int(digits) if digits.isdigit() else 0

    @property
    def shader_tflops(self) -> float:
        """What the GPU does without its neural accelerators, which double it where there are any."""
        return self.fp16_tflops / (2 if self.neural_accelerators else 1)


def _mac_row(row: Row) -> MacRow:
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
        macs=row.text("macs"),
    )


MACS = Table(
    "macs.csv",
    ["chip", "gpu_cores", "bandwidth_gb_s", "fp16_tflops", "neural_accelerators", "memory_gib", "macs"],
    _mac_row,
)


def plainly_named(text: str, macs: Sequence[MacRow]) -> Mac | None:
    """Return the Mac of a text that is a memory size, or a chip with one; None for any other text.

    >>> plainly_named("m4 max 64", [MacRow("M4 Max", 546, (48, 64))]).name, plainly_named("64GB", [])
    ('M4 Max 64 GB', None)
    """
    typed, _, memory = text.strip().rpartition(" ")
    if not (memory.isascii() and memory.isdigit() and len(memory) <= 4):
        return None
    for row in macs:
        if typed.casefold() in ("", row.chip.casefold()) and int(memory) in row.memory_gib:
            return Mac(row.chip if typed else "", int(memory) * GIB)
    return None


def names_several(text: str | None) -> bool:
    """Return whether a text means Macs that work together, or counts them.

    >>> names_several("2x M3 Ultra 256"), names_several("M3 Ultra 512 + M4 Max 128"), names_several("M4 Max 64")
    (True, True, False)
    """
    typed = (text or "").strip()
    rest = typed.lstrip("0123456789")
    return "+" in typed or (rest != typed and rest.lstrip()[:1].casefold() in ("x", "*", "\u00d7"))


def find_chip(mac: Mac, macs: Sequence[MacRow]) -> MacRow | None:
    """Return the chip of a Mac; the memory picks the bandwidth on Max chips. None if no chip is named or sold so.

    >>> rows = [MacRow("M4 Max", 410, (36,)), MacRow("M4 Max", 546, (48, 64))]
    >>> find_chip(Mac(chip="M4 Max", memory_bytes=64 * GIB), rows).bandwidth_gb_s
    546
    """
    memory = mac.memory_bytes // GIB
    return next((row for row in macs if row.chip == mac.chip and memory in row.memory_gib), None)
