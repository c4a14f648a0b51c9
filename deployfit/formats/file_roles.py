"""What the tensors of a real file are for, by their names: GGUF's, MLX's and those of checkpoints.

Who writes a file may call a tensor what he likes. A name that nobody knows has the role UNKNOWN; its bytes count, and
that is said.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from deployfit.formats.checkpoint_names import ANY, LAYER, LAYERS, TOWER, NameRow
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.values import NamedTuple

UNKNOWN = "unknown"
VISION = "vision"  # the role of all that belongs to a tower

MOST_LAYER_DIGITS = 5


class Standing(NamedTuple):
    """Role, part and layer of a tensor."""

    role: str
    part: Part
    layer: int


class Roles(Protocol):
    """Finds what a tensor of a kind of files is for."""

    def standing(self, name: str) -> Standing:
        """Return where a tensor of this name stands."""


# How the names of llama.cpp's tensors begin (gguf-py's TENSOR_NAMES, 2026-10-01): in layers, outside them, in towers.
WORDS_IN_LAYERS = (
    "altup attn channel cross exp ffn hc indexer inp laurel layer nextn ple post pre proj shortconv ssm time vis"
)
WORDS_OUTSIDE = "altup cls conv1d convnext dense dec enc nextn output per position posnet rope token"
IN_LAYERS, OUTSIDE_LAYERS = frozenset(WORDS_IN_LAYERS.split()), frozenset(WORDS_OUTSIDE.split())
IN_TOWERS = ("v.", "mm.", "a.", "resampler.", "vision_tower.", "model.visual.", "visual.")
IN_DRAFTS = "mtp."  # as Ollama calls them

_BLOCK = re.compile(rf"((?:enc|dec)\.)?blk\.([0-9]{{1,{MOST_LAYER_DIGITS}}})\.(.+)", re.DOTALL)


class GgufRoles:
    """Those of GGUF files; layers from `trunk_layers` on are draft layers."""

    def __init__(self, trunk_layers: int) -> None:
        self._trunk_layers = trunk_layers

    def standing(self, name: str) -> Standing:
        """Return where a tensor of this name stands.

        >>> GgufRoles(64).standing("blk.64.ffn_down_exps.weight")
        Standing(role='ffn_down_exps', part=<Part.MTP: 'mtp'>, layer=64)
        >>> GgufRoles(64).standing("blk.3.mystery.weight").role
        'unknown'
        """
        if name.startswith(IN_TOWERS):
            return Standing(VISION, Part.VISION, OUTSIDE)
        if name.startswith(IN_DRAFTS):
            return Standing(name.removesuffix(".weight"), Part.MTP, OUTSIDE)
        match = _BLOCK.fullmatch(name)
        if match is None:
            return Standing(_gguf_role(name, OUTSIDE_LAYERS), Part.TEXT, OUTSIDE)
        layer = int(match[2])
        part = Part.MTP if layer >= self._trunk_layers else Part.TEXT
        role = _gguf_role(match[3], IN_LAYERS)
        return Standing(role if role == UNKNOWN else (match[1] or "") + role, part, layer)


def _gguf_role(name: str, known: Collection[str]) -> str:
    role = name.removesuffix(".weight")
    return role if re.split(r"[._]", role, maxsplit=1)[0] in known else UNKNOWN


# Parts of the names of checkpoints and of MLX's files. What stands before a layer's number says little.
WORDS_OF_TOWERS = (
    "visual vision_tower vision_model vision_encoder vision_embedder vision_language_adapter vision_adapter"
    " vision_projection multi_modal_projector mm_projector patch_merger embed_vision audio_tower audio_model"
    " audio_encoder embed_audio"
)
TOWERS = frozenset(WORDS_OF_TOWERS.split())
WRAPPERS = frozenset(["base_model", "model", "language_model", "transformer", "backbone", "text_model"])
DRAFTS = frozenset(("mtp", "mtp_block"))
# What a tool stores beside, or in place of, a matrix that it quantizes, under the module's name.
MATRICES = ("weight", "qweight", "weight_packed")
SCALES = (
    *("scales", "biases", "qzeros", "g_idx", "weight_scale", "weight_scale_inv", "weight_scale_2"),
    *("input_scale", "weight_shape", "weight_zero_point", "weight_global_scale", "input_global_scale"),
)
STACK_ENDINGS = ("_blocks", "_scales")  # of a stack of experts in MXFP4 (gpt-oss)

_LAYER = re.compile(rf"(?:.*?\.)?(?:layers|h|blocks)\.([0-9]{{1,{MOST_LAYER_DIGITS}}})\.(.+)", re.DOTALL)
_EXPERT = re.compile(r"\bexperts\.[0-9]+\.")


class CheckpointRoles:
    """Those of safetensors files: of checkpoints as published, and of MLX's.

    `rows` are the names that are known: those of a model type are looked at first, then those of all others. `roles`
    are the ones that the model has, if that is known: they decide where a name can stand for several. Layers from
    `trunk_layers` on are draft layers.
    """

    def __init__(self, rows: Iterable[NameRow], model_type: str, roles: Collection[str], trunk_layers: int) -> None:
        self._trunk_layers = trunk_layers
        self._roles = roles
        self._own: dict[_Name, dict[str, list[str]]] = {}  # roles by what of: those that share a name are stacked in it
        self._others: dict[_Name, str] = {}
        named = [row for row in rows if row.role not in (LAYERS, TOWER)]
        own = {(row.of, row.role): row for own in (ANY, model_type) for row in named if own in row.model_types}
        for row in own.values():
            for name in _names(row):
                self._own.setdefault(name, {}).setdefault(row.of, []).append(row.role)
        for row in named:
            for name in _names(row):
                self._others.setdefault(name, row.role)

    def standing(self, name: str) -> Standing:
        """Return where a tensor of this name stands."""
        words = name.split(".")
        if not TOWERS.isdisjoint(words):
            return Standing(VISION, Part.VISION, OUTSIDE)
        layer, inner = _bare(name)
        role = self._role(inner, in_layer=layer != OUTSIDE)
        if not DRAFTS.isdisjoint(words):  # a list of its own, counted from 0
            return Standing(role, Part.MTP, layer if layer == OUTSIDE else self._trunk_layers + layer)
        return Standing(role, Part.MTP if layer >= self._trunk_layers else Part.TEXT, layer)

    def _role(self, inner: str, *, in_layer: bool) -> str:
        module, _, kind = inner.rpartition(".")
        if kind in MATRICES or kind in SCALES:
            names = [f"{module}.weight", module]
        elif kind == "bias":
            of_what = self._one(_Name(in_layer, f"{module}.weight"))
            return self._one(_Name(in_layer, inner)) or (f"{of_what}.bias" if of_what else UNKNOWN)
        else:
            stack = next((inner.removesuffix(end) for end in STACK_ENDINGS if inner.endswith(end)), inner)
            names = [inner, stack, f"{stack}.weight", stack.removesuffix("_bias") + ".bias"]
        return next(filter(None, (self._one(_Name(in_layer, name)) for name in names)), UNKNOWN)

    def _one(self, name: _Name) -> str:
        """Return the role of that name which the model has, else the first that any has, else ""."""
        for roles in self._own.get(name, {}).values():
            had = [role for role in roles if role in self._roles]
            if had:
                return "+".join(dict.fromkeys(had))
        return self._others.get(name, "")


class _Name(NamedTuple):
    """A name within a layer, or outside all, without what stands before it."""

    in_layer: bool
    text: str


def _names(row: NameRow) -> Iterator[_Name]:
    for name in (row.checkpoint, row.mlx):
        layer, inner = _bare(name.replace(LAYER, "0", 1))
        yield _Name(layer != OUTSIDE or row.of not in ("model", "draft"), inner)


def _bare(name: str) -> tuple[int, str]:
    """Return the layer's number and a name without what stands before it; experts' numbers become `#`.

    >>> _bare("language_model.model.layers.7.mlp.experts.31.up_proj.weight")
    (7, 'mlp.experts.#.up_proj.weight')
    >>> _bare("model.language_model.embed_tokens.weight")
    (-1, 'embed_tokens.weight')
    """
    match = _LAYER.fullmatch(name)
    layer, inner = (int(match[1]), match[2]) if match else (OUTSIDE, name)
    words = inner.split(".")
    while match is None and len(words) > 1 and words[0] in WRAPPERS:
        del words[0]
    return layer, _EXPERT.sub("experts.#.", ".".join(words))
