"""Files as they are: weights out of the tensor table of a real file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.formats.file_roles import MATRICES, SCALES, UNKNOWN, Roles
from deployfit.formats.mlx import GROUP_BYTES, Scheme
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.printable import printable
from deployfit.quants.weights import EMBEDDINGS, Options, WeightClass, Weights, scaled
from deployfit.units import GB

MLX_BITS = (1, 2, 3, 4, 5, 6, 8)
MLX_GROUPS = (16, 32, 64, 128)
PACKED = "U32"  # what MLX packs its numbers into
PACKED_BITS = 32
MOST_NAMED = 3  # names in a note
ODD_SHARE = 100  # one in so many parameters may be one that nobody described, such as tables of rotations


class RealTensor(NamedTuple):
    """A tensor of a real file."""

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


class Quantization(NamedTuple):
    """How a config.json says that MLX's matrices are packed: all alike but for some modules; None is as they are."""

    default: Scheme | None
    modules: Mapping[str, Scheme | None]

    def scheme(self, module: str) -> Scheme | None:
        """Return how a module is packed."""
        return self.modules.get(module, self.default)


NOT_SAID = Quantization(None, {})


def read_quantization(config: Mapping[str, Any]) -> Quantization:
    """Return what the `quantization` block of a config.json says; what it does not say, it does not say.

    >>> block = {"bits": 4, "group_size": 64, "lm_head": {"bits": 6, "group_size": 64}, "model.embed_tokens": False}
    >>> found = read_quantization({"quantization": block})
    >>> found.scheme("lm_head").name, found.scheme("model.embed_tokens"), found.scheme("a").name
    ('affine6g64', None, 'affine4g64')
    """
    block = config.get("quantization")
    if not isinstance(block, Mapping):
        block = config.get("quantization_config")
    if not isinstance(block, Mapping) or "quant_method" in block:
        return NOT_SAID
    default = _scheme(block, {})
    modules = {
        name: _scheme(said, block) if isinstance(said, Mapping) else None
        for name, said in block.items()
        if isinstance(said, Mapping) or said is False
    }
    return Quantization(default, modules)


def _scheme(said: Mapping[str, Any], otherwise: Mapping[str, Any]) -> Scheme | None:
    bits, group = (said.get(name, otherwise.get(name)) for name in ("bits", "group_size"))
    mode = said.get("mode", otherwise.get("mode", "affine"))
    if type(bits) is not int or bits not in MLX_BITS or type(group) is not int or group not in MLX_GROUPS:
        return None
    return Scheme(mode, bits, group) if isinstance(mode, str) and mode in GROUP_BYTES else None


def quantized_by(config: Mapping[str, Any]) -> str:
    """Return which method of another tool a config.json names (gptq, fp8, ...), "" for none."""
    block = config.get("quantization_config")
    method = block.get("quant_method") if isinstance(block, Mapping) else None
    return method if isinstance(method, str) and method.isprintable() else ""


class _Module(NamedTuple):
    """A tensor with what belongs to it: its scales."""

    name: str
    tensor: RealTensor
    nbytes: int
    is_packed: bool


def _modules(tensors: Sequence[RealTensor]) -> Iterable[_Module]:
    """Yield the tensors, those that only store how another is packed together with it."""
    by_name = {tensor.name: tensor for tensor in tensors}
    for tensor in tensors:
        module, _, kind = tensor.name.rpartition(".")
        if kind in SCALES and any(f"{module}.{matrix}" in by_name for matrix in MATRICES):
            continue
        scales = [by_name[name] for end in SCALES if kind in MATRICES and (name := f"{module}.{end}") in by_name]
        nbytes = tensor.nbytes + sum(scale.nbytes for scale in scales)
        is_packed = tensor.type == PACKED and any(scale.name.endswith(".scales") for scale in scales)
        yield _Module(module, tensor, nbytes, is_packed)


def weigh(
    name: str,
    format_name: str,
    tensors: Sequence[RealTensor],
    file_bytes: int,
    roles: Roles,
    quantization: Quantization = NOT_SAID,
) -> Weights:
    """Return the weights that a file's tensor table lists, by role and type.

    MLX packs parameters into U32, with scales (and biases) beside them that are none; how many are in one only
    config.json says.

    >>> from deployfit.formats.file_roles import GgufRoles
    >>> table = [RealTensor("output.weight", (5120, 248320), "Q6_K", 1042944000)]
    >>> weigh("a.gguf", "GGUF", table, 1042993280, GgufRoles(64)).classes
    (WeightClass(role='output', type='Q6_K', part=<Part.TEXT: 'text'>, layers=(-1,), nbytes=1042944000),)
    """
    by_layer: dict[tuple[str, str, Part, int], int] = {}
    unknown: list[_Module] = []
    params = 0
    for module in _modules(tensors):
        standing = roles.standing(module.tensor.name)
        scheme = quantization.scheme(module.name) if module.is_packed else None
        key = standing.role, scheme.name if scheme else module.tensor.type, standing.part, standing.layer
        by_layer[key] = by_layer.get(key, 0) + module.nbytes
        words = prod(module.tensor.shape)
        params += words * PACKED_BITS // scheme.bits if scheme else words
        if standing.role == UNKNOWN:
            unknown.append(module)
    return Weights(
        recipe=name,
        format=format_name,
        classes=_classes(by_layer),
        file_bytes=file_bytes,
        params=max(1, params),
        basis=Basis.MEASURED,
        notes=_unknown_note(unknown),
    )


def _classes(by_layer: Mapping[tuple[str, str, Part, int], int]) -> tuple[WeightClass, ...]:
    layers: dict[tuple[str, str, Part, int], list[int]] = {}
    for (role, type_name, part, layer), nbytes in by_layer.items():
        layers.setdefault((role, type_name, part, nbytes), []).append(layer)
    return tuple(
        WeightClass(role, type_name, part, tuple(sorted(found)), nbytes)
        for (role, type_name, part, nbytes), found in layers.items()
    )


def _unknown_note(modules: Sequence[_Module]) -> tuple[str, ...]:
    if not modules:
        return ()
    names = ", ".join(printable(module.tensor.name) for module in modules[:MOST_NAMED])
    names += ", ..." * (len(modules) > MOST_NAMED)
    total = sum(module.nbytes for module in modules)
    return (
        f"{len(modules)} tensors of unknown purpose ({names}; {total / GB:.2f} GB) are counted as read for every token",
    )


def check_whole(weights: Weights, layers: int, place: str) -> None:
    """Raise InputError for what holds no whole model, such as an adapter or a repository that is still uploaded."""
    text = [each for each in weights.classes if each.part is Part.TEXT]
    missing = len(set(range(layers)).difference(*(each.layers for each in text)))
    if missing or not any(each.role in EMBEDDINGS for each in text):
        what = f"the tensors of {missing} of {layers} layers are" if missing else "the embedding table is"
        raise InputError(f"{place}: {what} missing, so it is no whole model (deployfit hub shows what is there)")


def params_note(weights: Weights, blueprint: Blueprint) -> tuple[str, ...]:
    """Return a note if a file holds far more or fewer parameters than its numbers describe, which its caches follow."""
    parts = {each.part for each in weights.classes}
    described = sum(tensor.params for tensor in blueprint.tensors() if tensor.part in parts)
    if abs(weights.params - described) * ODD_SHARE <= described:
        return ()
    return (
        f"its tensors hold {weights.params:,} parameters, its numbers describe {described:,}: one of them is wrong",
    )


class RealFile(NamedTuple):
    """A real file, weighed; `tower` is the vision tower of a file beside it, empty if there is none."""

    found: Weights
    tower: tuple[WeightClass, ...] = ()
    tower_note: str = ""

    @property
    def name(self) -> str:
        """Place and file."""
        return self.found.recipe

    @property
    def format(self) -> str:
        """The file's format."""
        return self.found.format

    @property
    def publisher(self) -> str:
        """Return "": whose it is does not matter, it was looked at."""
        return ""

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: it is what was asked for, not what could be had instead."""
        return False

    def published(self, model: Model) -> str:
        """Return "": it was looked at, not read about."""
        return ""

    def weights(self, model: Model | None, options: Options) -> Weights:
        """Return the weights; raise InputError for a part that the file does not have."""
        if options.imatrix:
            raise InputError(f"{self.name}: the file is made; leave out {param('imatrix')}")
        if options.mtp and not self.found.mtp_bytes:
            raise InputError(f"{self.name}: the file has no MTP layer; leave out {param('mtp')}")
        if options.vision and not self.found.vision_bytes:
            if not self.tower:
                raise InputError(
                    f"{self.name}: no vision tower in the file, and no mmproj beside it; leave out {param('vision')}"
                )
            notes = (*self.found.notes, self.tower_note)
            return self.found._replace(classes=(*self.found.classes, *self.tower), notes=notes)
        return self.found


class SizedFile(NamedTuple):
    """A file beside one that was looked into: of the same model, its tensors known by their sum only."""

    name: str
    nbytes: int
    looked_into: RealFile
    header_bytes: int

    @property
    def format(self) -> str:
        """The file's format."""
        return self.looked_into.format

    @property
    def publisher(self) -> str:
        """Return "": whose it is does not matter."""
        return ""

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: it is what was asked for, not what could be had instead."""
        return False

    def published(self, model: Model) -> str:
        """Return "": it is there, whenever it was made."""
        return ""

    def weights(self, model: Model | None, options: Options) -> Weights:
        """Return weights of this size: all but the header, which is that of the other file; shares as there."""
        like = self.looked_into.weights(model, options)
        own = [each for each in like.classes if each not in self.looked_into.tower]
        beside = [each for each in like.classes if each in self.looked_into.tower]
        total = sum(each.total_bytes for each in own)
        kept = [part for part in Part if any(each.part is part for each in own)]
        data = max(0, self.nbytes - self.header_bytes)
        classes = list(beside)
        for part in kept[1:]:
            share = sum(each.total_bytes for each in own if each.part is part)
            classes += scaled(own, part, data * share // total)
        classes += scaled(own, kept[0], data - sum(each.total_bytes for each in classes if each not in beside))
        note = f"weights: by its size, its tensors as in {self.looked_into.name}; {param('file')} looks into it"
        return like._replace(
            recipe=self.name, classes=tuple(classes), file_bytes=self.nbytes, basis=Basis.DERIVED, notes=(note,)
        )
