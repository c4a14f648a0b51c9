"""What an architecture's tensors are called in checkpoints, and what MLX makes of them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from deployfit.architectures.registry import ArchitectureRow
from deployfit.catalogue import architectures, rows
from deployfit.formats.checkpoint_names import CHECKPOINT_NAMES, Names, names_of
from deployfit.formats.mlx import TOOLS


class Conventions(NamedTuple):
    """Those of one architecture."""

    architecture: ArchitectureRow
    checkpoint_names: Names
    mlx_names: Names


@cache
def conventions(model_type: str) -> Conventions:
    """Return the conventions of an architecture by its `model_type`; one without a row has those of all."""
    known = architectures().get(model_type) or ArchitectureRow(model_type, model_type, "", TOOLS, (), (), ())
    return Conventions(known, *names_of(rows(CHECKPOINT_NAMES), model_type))
