"""The machine that deployfit runs on, if it is a Mac: asked of sysctl, as Apple's own tools do."""

from __future__ import annotations

from deployfit.errors import InputError
from deployfit.hardware.mac import Mac
from deployfit.parameters import param
from deployfit.units import MIB
from deployfit.values import NamedTuple

KEYS = ("hw.memsize", "machdep.cpu.brand_string", "kern.osproductversion")
WIRED_LIMIT_KEY = "iogpu.wired_limit_mb"
WAY_OUT = f"say which Mac is meant with {param('mac')}, such as 32 or 'M4 Max 64'"


class ThisMac(NamedTuple):
    """What sysctl says: the Mac, its macOS version, and the raised GPU limit (0 if it was not raised)."""

    mac: Mac
    macos: str
    wired_limit_bytes: int


def this_mac() -> ThisMac:
    """Return this machine; raise InputError where it is not a Mac with Apple silicon."""
    answers = [_sysctl(key) for key in KEYS]
    brand, macos = answers[1:]
    memory = _number(answers[0])
    if not memory or not macos:
        raise InputError(f"this machine is not a Mac; {WAY_OUT}")
    if not brand.startswith("Apple ") or not brand.isprintable():
        raise InputError(f"this Mac has no Apple silicon; {WAY_OUT}")
    wired_limit_bytes = _number(_sysctl(WIRED_LIMIT_KEY)) * MIB
    if wired_limit_bytes > memory:
        raise InputError(
            f"sysctl says {WIRED_LIMIT_KEY} is above the memory; say the limit with {param('wired_limit')} 28g"
        )
    chip = brand.removeprefix("Apple ")
    return ThisMac(mac=Mac(chip=chip, memory_bytes=memory), macos=macos, wired_limit_bytes=wired_limit_bytes)


def _number(answer: str) -> int:
    """Return the whole number that sysctl answered, 0 if it is none."""
    return int(answer) if answer.isascii() and answer.isdigit() and len(answer) <= 18 else 0


def _sysctl(key: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
