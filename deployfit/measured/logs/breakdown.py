"""llama.cpp's tables of memory by device, in whole MiB: the breakdown that servers print, and llama-fit-params' own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployfit.measured.logs.log import LoggedPart, cut_off
from deployfit.runtimes.runtime import DEVICE, HOST
from deployfit.units import MIB
from deployfit.values import NamedTuple

REPACKED = ("CPU_REPACK", "CPU_AARCH64")  # today's name and that of 2024
PARTS = ("weights", "context", "compute")  # what a row's numbers are

_MIB = r"\s*(\d{1,9})"
_ROW = re.compile(rf"\|\s+- (\w{{1,40}})(?: \([^|]*\))?\s+\|[^|]*?\(?\d{{1,9}} ={_MIB} \+{_MIB} \+{_MIB}\)?")
_PRINTED = re.compile(r"(\w{1,40}) (\d{1,9}) (\d{1,9}) (\d{1,9})\s*")


class DeviceRow(NamedTuple):
    """A device's row: model, context (caches and states) and compute, in MiB."""

    name: str
    numbers: tuple[int, ...]


def is_host(device: str) -> bool:
    """Return whether a buffer of this name is in ordinary memory (CPU_Mapped, CUDA_Host)."""
    return device.startswith(("CPU", "Host")) or device.endswith("_Host")


def breakdown_row(text: str) -> DeviceRow | None:
    """Return a row of the table.

    >>> breakdown_row("|   - MTL0 (Apple M4 Pro) | 16384 = 16031 + (8323 =  5294 +    2527 +     501) +       -7971 |")
    DeviceRow(name='MTL0', numbers=(5294, 2527, 501))
    """
    found = _ROW.search(text)
    return DeviceRow(found[1], (int(found[2]), int(found[3]), int(found[4]))) if found else None


def fit_print_parts(text: str) -> DeviceRow | None:
    """Return a row that llama-fit-params --fit-print prints.

    >>> fit_print_parts("MTL0 4588 4402 832 ")
    DeviceRow(name='MTL0', numbers=(4588, 4402, 832))
    """
    found = _PRINTED.fullmatch(text)
    return DeviceRow(found[1], (int(found[2]), int(found[3]), int(found[4]))) if found else None


def breakdown_parts(rows: Mapping[str, tuple[int, ...]]) -> list[LoggedPart]:
    """Return the parts of such a table."""
    return [
        LoggedPart(
            name,
            cut_off(str(number), MIB),
            HOST if is_host(device) else DEVICE,
            mapped=device == "Host",
            repacked=device in REPACKED,
        )
        for device, numbers in rows.items()
        for name, number in zip(PARTS, numbers, strict=True)
        if number
    ]
