"""Several Macs that run one model together."""

from __future__ import annotations

from itertools import groupby

from deployfit.hardware.machine import Machine
from deployfit.values import NamedTuple


class Cluster(NamedTuple):
    """Machines in the order in which they were named; the engine says what that means."""

    machines: tuple[Machine, ...]

    @property
    def name(self) -> str:
        """How people type it.

        >>> from deployfit.basis import Basis
        >>> from deployfit.hardware.gpu_limit import GpuLimit
        >>> from deployfit.hardware.mac import Mac
        >>> def machine(chip: str, size: int) -> Machine:
        ...     return Machine(Mac(chip, size * 2**30), 26, GpuLimit(0, Basis.ASSUMED, ""))
        >>> Cluster((machine("M3 Ultra", 256), machine("M3 Ultra", 256), machine("M4 Max", 128))).name
        '2x M3 Ultra 256 GB + M4 Max 128 GB'
        """
        named = ((name, len(list(alike))) for name, alike in groupby(each.mac.name for each in self.machines))
        return " + ".join(f"{count}x {name}" if count > 1 else name for name, count in named)

    @property
    def memory_bytes(self) -> int:
        """The memory of all together."""
        return sum(each.mac.memory_bytes for each in self.machines)

    @property
    def is_uniform(self) -> bool:
        """Whether all are alike."""
        return len({each.mac for each in self.machines}) == 1
