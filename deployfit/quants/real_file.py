"""Files as they are: weights out of the tensor table of a real file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.formats.file_roles import MATRICES, SCALES, UNKNOWN, Roles
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.printable import printable
from deployfit.quants.quantization import NOT_SAID, Quantization
from deployfit.quants.weights import EMBEDDINGS, Options, WeightClass, Weights
from deployfit.units import GB
from deployfit.values import NamedTuple

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
    described = sum(count for part, count in blueprint.params().items() if part in parts)
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
