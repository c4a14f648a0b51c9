"""A machine: a Mac under a macOS, with what it lends to the GPU and what is kept free."""

from __future__ import annotations

from deployfit.hardware.gpu_limit import SYSTEM_RESERVE, GpuLimit, highest_raised_limit
from deployfit.hardware.mac import Mac
from deployfit.units import MIB
from deployfit.values import NamedTuple

GPU_RESERVE = 1024 * MIB  # below the GPU limit: the margin of llama.cpp's --fit, and of ggml-org's Llama app


class Machine(NamedTuple):
    """Where a model is to run; `macos` is a major version, `raised` says that the user has set the GPU limit.

    `other_bytes` is what other programs hold of the memory beyond what is kept for them anyway.
    """

    mac: Mac
    macos: int
    limit: GpuLimit
    raised: bool = False
    other_bytes: int = 0

    @property
    def budget_bytes(self) -> int:
        """The bytes that a model may take: the GPU limit less the reserve."""
        system = max(SYSTEM_RESERVE, self.other_bytes)
        return min(self.limit.limit_bytes - GPU_RESERVE, self.mac.memory_bytes - system)

    @property
    def reserve_bytes(self) -> int:
        """What is kept free below the GPU limit."""
        return self.limit.limit_bytes - self.budget_bytes

    @property
    def highest_total_bytes(self) -> int:
        """The most that a model may take if the limit is raised as far as can be advised."""
        return highest_raised_limit(self.mac) - GPU_RESERVE
