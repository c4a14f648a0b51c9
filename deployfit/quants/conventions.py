"""What an architecture's tensors are called in checkpoints, and what MLX makes of them."""

from __future__ import annotations

from functools import lru_cache

from deployfit.architectures.registry import ArchitectureRow
from deployfit.catalogue import architectures, rows
from deployfit.formats.checkpoint_names import CHECKPOINT_NAMES, Names, names_of
from deployfit.formats.mlx import SUPPORT
from deployfit.values import NamedTuple


class Conventions(NamedTuple):
    """Those of one architecture."""

    architecture: ArchitectureRow
    checkpoint_names: Names
    mlx_names: Names


def mlx_tools(model_type: str) -> tuple[str, ...]:
    """Return which of mlx-lm and mlx-vlm load an architecture; mlx-lm 0.32.2 and mlx-vlm 0.7.10.

    >>> mlx_tools("qwen3_5"), mlx_tools("glm5_next"), mlx_tools("made_up")
    (('mlx-lm', 'mlx-vlm'), ('mlx-vlm',), ())
    """
    return dict(rows(SUPPORT)).get(model_type, ())


@lru_cache(maxsize=256)
def conventions(model_type: str) -> Conventions:
    """Return the conventions of an architecture by its `model_type`; one without a row has those of all."""
    known = architectures().get(model_type)
    if known is None:
        known = ArchitectureRow(model_type, model_type, "", mlx_tools(model_type), (), (), ())
    return Conventions(known, *names_of(rows(CHECKPOINT_NAMES), model_type))
