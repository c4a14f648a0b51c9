"""Does this model fit my Mac, and how will it run? Memory and speed of Qwen3.5 models under llama.cpp and MLX.

The names below are the library; each is imported when it is used, so that `import deployfit` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployfit.api.fits import fit, plan
    from deployfit.api.lists import list_macs, list_models, list_quants
    from deployfit.api.proofs import check, validate
    from deployfit.api.recommendations import recommend
    from deployfit.api.sweeps import sweep
    from deployfit.errors import DeployfitError

__version__ = "0.1.0"
__all__ = [
    "DeployfitError",
    "check",
    "fit",
    "list_macs",
    "list_models",
    "list_quants",
    "plan",
    "recommend",
    "sweep",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Return one of the names when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'deployfit' has no attribute {name!r}")
    from importlib import import_module

    from deployfit.api import NAMES

    return getattr(import_module(f"deployfit.api.{NAMES[name]}" if name in NAMES else "deployfit.errors"), name)


def __dir__() -> list[str]:
    """Return the names, for completion."""
    return [*__all__, "__version__"]
