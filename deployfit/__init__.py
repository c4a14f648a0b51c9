"""Does this model fit my Mac, and how will it run? Memory and speed under llama.cpp and MLX, to the byte.

The names below are the library; each is imported when it is used, so that `import deployfit` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployfit.errors import DeployfitError
    from deployfit.questions.check import check
    from deployfit.questions.fit import fit
    from deployfit.questions.here import here
    from deployfit.questions.macs import macs
    from deployfit.questions.models import models
    from deployfit.questions.plan import plan
    from deployfit.questions.quants import quants
    from deployfit.questions.recommend import recommend
    from deployfit.questions.sweep import sweep
    from deployfit.questions.table import table
    from deployfit.questions.validate import validate

__version__ = "0.1.0"
__all__ = [
    "DeployfitError",
    "check",
    "fit",
    "here",
    "macs",
    "models",
    "plan",
    "quants",
    "recommend",
    "sweep",
    "table",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Return one of the names when it is asked for."""
    if name == "DeployfitError":
        from deployfit.errors import DeployfitError

        return DeployfitError
    if name not in __all__:
        raise AttributeError(f"module 'deployfit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"deployfit.questions.{name}"), name)


def __dir__() -> list[str]:
    """Return the names, for completion."""
    return [*__all__, "__version__"]
