"""Does this model fit my Mac, and how will it run? Memory and speed under llama.cpp and MLX, to the byte.

The names below are the library; each is imported when it is used, so that `import deployfit` costs nothing, not even
`typing`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deployfit.errors import DeployfitError
    from deployfit.questions.check import check
    from deployfit.questions.fit import fit
    from deployfit.questions.here import here
    from deployfit.questions.macs import list_macs
    from deployfit.questions.models import list_models
    from deployfit.questions.plan import plan
    from deployfit.questions.quants import list_quants
    from deployfit.questions.recommend import recommend
    from deployfit.questions.sweep import sweep
    from deployfit.questions.table import table
    from deployfit.questions.validate import validate

    __version__: str

__all__ = [
    "DeployfitError",
    "check",
    "fit",
    "here",
    "list_macs",
    "list_models",
    "list_quants",
    "plan",
    "recommend",
    "sweep",
    "table",
    "validate",
]


def __getattr__(name: str) -> "Any":
    """Return one of the names when it is asked for.

    None of them may be that of a module in here: as soon as that is imported, it takes the name's place.
    """
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module 'deployfit' has no attribute {name!r}")
    from importlib import import_module

    home = "deployfit.errors" if name == "DeployfitError" else f"deployfit.questions.{name.removeprefix('list_')}"
    return getattr(import_module(home), name)


def _version() -> str:
    """Return the version of what is installed: reading it takes longer than `import deployfit`."""
    from importlib import metadata

    try:
        return metadata.version("deployfit")
    except metadata.PackageNotFoundError:  # a checkout that was not installed
        return "0"


def __dir__() -> list[str]:
    """Return the names, for completion."""
    return [*__all__, "__version__"]
