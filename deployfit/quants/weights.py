"""Weights: what the files of a model hold under a recipe, and what can be asked for."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from deployfit.basis import Basis
from deployfit.models import Model

GGUF = "GGUF"
MLX = "MLX"
SAFETENSORS = "safetensors"
FORMATS = (GGUF, MLX, SAFETENSORS)


class Weights(NamedTuple):
    """The weights of one model under one recipe, in bytes of tensors; the three parts are what the files hold.

    `file_bytes` are the files as a whole, `params` the numbers in the parts that are there. Of the text,
    `embedding_bytes` are the embedding table's and `expert_bytes` the routed experts': a token reads few of them.
    """

    recipe: str
    format: str
    text_bytes: int
    mtp_bytes: int
    vision_bytes: int
    file_bytes: int
    params: int
    basis: Basis
    embedding_bytes: int
    expert_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def tensor_bytes(self) -> int:
        """All tensors of the files."""
        return self.text_bytes + self.mtp_bytes + self.vision_bytes

    @property
    def bits_per_weight(self) -> float:
        """For display only."""
        return 8 * self.tensor_bytes / self.params


def is_embedding(name: str) -> bool:
    """Return whether a tensor is the embedding table or belongs to it, by the names of GGUF, MLX and checkpoints.

    >>> is_embedding("language_model.model.embed_tokens.scales")
    True
    """
    return name.startswith("token_embd.") or ".embed_tokens." in name


def is_expert(name: str) -> bool:
    """Return whether a tensor holds routed experts, by the same names.

    >>> is_expert("blk.0.ffn_up_exps.weight"), is_expert("blk.0.ffn_up_shexp.weight")
    (True, False)
    """
    return "_exps." in name or ".switch_mlp." in name or ".mlp.experts." in name


class Options(NamedTuple):
    """What is asked of a conversion beside its recipe."""

    imatrix: bool = False
    mtp: bool = False
    vision: bool = False


class Quant(Protocol):
    """Something that `--quant` can name."""

    @property
    def name(self) -> str:
        """As a user types it, with the publisher if there is one."""

    @property
    def format(self) -> str:
        """GGUF, MLX or safetensors."""

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether it may be advised to somebody who did not name it."""

    def published(self, model: Model) -> str:
        """Return when such a file of the model was seen: a date, "" if it was not (or is nobody's file)."""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the weights; raise InputError if they cannot be made or are not known."""
