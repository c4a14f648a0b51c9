"""`macs`: the Macs that deployfit knows, and what they lend to their GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.hardware.mac import MACS, MacRow
from deployfit.hardware.machine import Machine
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text
from deployfit.questions.resolve import machine_of

if TYPE_CHECKING:
    from deployfit.report.document import Document


class Macs(Answered):
    """Chips, each with the memory sizes that it was sold with."""

    def __init__(self, machines: Sequence[tuple[MacRow, Machine]]) -> None:
        self.machines = machines

    def document(self) -> Document:
        """Return a row per chip and memory size."""
        from deployfit.report.macs import macs_document

        return macs_document(self.machines)


def list_macs(*, macos: Text = common.DEFAULT_MACOS) -> Macs:
    """Return the Macs with Apple silicon: bandwidth, arithmetic, and what they lend to their GPU.

    >>> [row["gpu_limit_bytes"] for row in list_macs().rows() if (row["chip"], row["memory_gib"]) == ("M4 Max", 64)]
    [55662788608]
    """
    return Macs(
        [(row, machine_of(f"{row.chip} {size}", str(macos))) for row in catalogue.rows(MACS) for size in row.memory_gib]
    )


QUESTION = Question(
    name="macs",
    summary="List the Macs, and what macOS lends to their GPUs.",
    ask=list_macs,
    parameters=(common.MACOS._replace(default=common.DEFAULT_MACOS),),
)
