"""A tensor of a model, named by its role.

Roles are the words of GGUF's tensor names without layer and ending (`attn_q`, `ffn_down_exps`); a bias has `.bias`
behind it. Every format maps roles to names of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from math import prod

from deployfit.values import NamedTuple


class Part(Enum):
    """The three things a checkpoint holds; engines load them separately."""

    TEXT = "text"
    VISION = "vision"
    MTP = "mtp"

    __hash__ = object.__hash__  # by identity: Enum's own is a function of Python, and parts are in many keys


OUTSIDE = -1  # the layer of what is in none


class Tensor(NamedTuple):
    """A tensor; its shape is (rows, columns) as PyTorch stores it, (experts, rows, columns) for a stack of experts.

    `layer` counts from 0, draft layers after all others; it is OUTSIDE for what is in no layer. `of` says which kind
    of layer holds it ("attention", "experts", "model", ...): the checkpoint's name of a role can depend on it.
    """

    role: str
    shape: tuple[int, ...]
    layer: int
    part: Part
    of: str

    @property
    def params(self) -> int:
        """How many numbers the tensor holds."""
        return prod(self.shape)


Roles = Iterator[tuple[str, tuple[int, ...]]]  # role and shape, without the layer
