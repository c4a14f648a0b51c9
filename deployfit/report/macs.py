"""The document of `macs`: chips and memory sizes."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.hardware.mac import MacRow
from deployfit.hardware.machine import Machine
from deployfit.report.document import Column, Document, Heading, Table, of_rows
from deployfit.units import GIB, gib

SCHEMA = "deployfit/macs/1"


def macs_document(machines: Sequence[tuple[MacRow, Machine]]) -> Document:
    """Return a row per chip and memory size."""
    rows = [
        {
            "chip": row.chip,
            "memory_gib": machine.mac.memory_bytes // GIB,
            "bandwidth_gb_s": row.bandwidth_gb_s or None,
            "fp16_tflops": row.fp16_tflops or None,
            "macos": machine.macos,
            "gpu_limit_bytes": machine.limit.limit_bytes,
            "gpu_limit_basis": machine.limit.basis.value,
        }
        for row, machine in machines
    ]
    columns = [
        Column("chip", left=True),
        Column("memory GB"),
        Column("GPU limit GiB"),
        Column("bandwidth GB/s", rank=1),
        Column("FP16 TFLOPS", rank=2),
        Column("limit known", left=True, rank=3),
    ]
    cells = [
        [
            row.chip,
            str(machine.mac.memory_bytes // GIB),
            gib(machine.limit.limit_bytes),
            f"{row.bandwidth_gb_s or '-'}",
            f"{row.fp16_tflops or '-'}",
            machine.limit.basis.value,
        ]
        for row, machine in machines
    ]
    heading = Heading(f"{len(rows)} Macs", f"macOS {machines[0][1].macos}")
    return of_rows(SCHEMA, rows, [heading, Table(columns, cells)])
