"""The engines that split a model over machines, found by name: each is a file here with an `ENGINE`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from deployfit.clusters.engine import ClusterEngine

# By the name that people type; the runtimes' own engines first, which are taken where none is named.
FILES: Mapping[str, str] = {"llama.cpp": "llamacpp_rpc", "mlx": "mlx_distributed", "exo": "exo"}


@cache
def engine(name: str) -> ClusterEngine:
    """Return the engine of a name.

    >>> engine("exo").runtime
    'mlx'
    """
    found: ClusterEngine = import_module(f"{__package__}.{FILES[name]}").ENGINE
    return found


def engines() -> list[ClusterEngine]:
    """Return all engines."""
    return [engine(name) for name in FILES]
