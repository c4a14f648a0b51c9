"""Weights: what the files of a model hold under a recipe, and what can be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from deployfit.basis import Basis
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.vision.image import Image

GGUF = "GGUF"
MLX = "MLX"
SAFETENSORS = "safetensors"
FORMATS = (GGUF, MLX, SAFETENSORS)

EMBEDDINGS = ("token_embd", "per_layer_token_embd")  # a token reads one row of them


class WeightClass(NamedTuple):
    """Tensors that are equal but for their layer: `nbytes` are those of one of them.

    `type` is how they are stored: a ggml type (`Q4_K`), an MLX scheme (`affine4g64`) or a safetensors type (`BF16`).
    `layers` are those that have one, in their order; (OUTSIDE,) for what is in no layer.
    """

    role: str
    type: str
    part: Part
    layers: tuple[int, ...]
    nbytes: int

    @property
    def total_bytes(self) -> int:
        """All of them together."""
        return self.nbytes * len(self.layers)

    @property
    def is_experts(self) -> bool:
        """Whether they are stacks of routed experts, of which a token reads few."""
        return "_exps" in self.role


class Weights(NamedTuple):
    """The weights of one model under one recipe: classes of equal tensors, in bytes.

    `file_bytes` are the files as a whole, `params` the numbers in the parts that are there. `publisher` is "" for a
    recipe that a tool makes, and for what is nobody's.
    """

    recipe: str
    format: str
    classes: tuple[WeightClass, ...]
    file_bytes: int
    params: int
    basis: Basis
    notes: tuple[str, ...] = ()
    publisher: str = ""

    def bytes_of(self, part: Part) -> int:
        """Return the bytes of one of the three parts."""
        return sum(each.nbytes * len(each.layers) for each in self.classes if each.part is part)

    @property
    def text_bytes(self) -> int:
        """The text model's tensors."""
        return self.bytes_of(Part.TEXT)

    @property
    def mtp_bytes(self) -> int:
        """The draft layers' tensors."""
        return self.bytes_of(Part.MTP)

    @property
    def vision_bytes(self) -> int:
        """The vision tower's tensors."""
        return self.bytes_of(Part.VISION)

    @property
    def expert_bytes(self) -> int:
        """The text model's routed experts."""
        return sum(each.total_bytes for each in self.classes if each.part is Part.TEXT and each.is_experts)

    @property
    def tensor_bytes(self) -> int:
        """All tensors of the files."""
        return sum(each.nbytes * len(each.layers) for each in self.classes)

    @property
    def bits_per_weight(self) -> float:
        """For display only."""
        return 8 * self.tensor_bytes / self.params


def type_bits(tensor_type: str) -> int:
    """Return the bits that a type's name promises; 0 where it promises none.

    >>> type_bits("Q4_K"), type_bits("IQ3_XXS"), type_bits("affine6g64"), type_bits("F8_E4M3")
    (4, 3, 6, 8)
    """
    digits = ""
    for char in tensor_type:
        if char.isdigit():
            digits += char
        elif digits:
            break
    return int(digits) if digits else 0


def nominal_bits(weights: Weights) -> int:
    """Return the bits that most of a text model's numbers have, embeddings and vectors left aside.

    Where types are not known it is what a number takes on average, less what is around the numbers.
    """
    numbers: dict[int, int] = {}
    for each in weights.classes:
        bits = type_bits(each.type)
        if each.part is Part.TEXT and each.role not in EMBEDDINGS and bits:
            numbers[bits] = numbers.get(bits, 0) + each.total_bytes // bits
    return max(numbers, key=lambda bits: numbers[bits], default=int(weights.bits_per_weight))


ALIKE_PERCENT = 20  # a file that is farther from another in size is no file of the same types


def scaled(classes: Iterable[WeightClass], part: Part, nbytes: int) -> tuple[WeightClass, ...]:
    """Return the classes of a part as they would be if all of it took so many bytes: shares kept, the rest in one.

    For sizes that are known while the tensors are not; far from the classes' own size their types are not known either.
    """
    kept = [each for each in classes if each.part is part]
    total = sum(each.total_bytes for each in kept)
    is_alike = 100 * abs(nbytes - total) <= ALIKE_PERCENT * total
    shares = [each._replace(nbytes=each.nbytes * nbytes // total, type=each.type if is_alike else "") for each in kept]
    rest = nbytes - sum(each.total_bytes for each in shares)
    return (*shares, WeightClass("rest", "", part, (-1,), rest)) if rest else tuple(shares)


class Options(NamedTuple):
    """What is asked beside a recipe: how it is made, and what of it is loaded; `images` are looked at."""

    imatrix: bool = False
    mtp: bool = False
    vision: bool = False
    images: tuple[Image, ...] = ()


class Quant(Protocol):
    """Something that the parameter `quant` can name."""

    @property
    def name(self) -> str:
        """As a user types it, with the publisher if there is one."""

    @property
    def format(self) -> str:
        """GGUF, MLX or safetensors."""

    @property
    def publisher(self) -> str:
        """Whose file it is, "" if it is nobody's."""

    def advisable(self, model: Model, options: Options) -> bool:
        """Return whether it may be advised to somebody who did not name it."""

    def published(self, model: Model) -> str:
        """Return when such a file of the model was seen: a date, "" if it was not (or is nobody's file)."""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the weights; raise InputError if they cannot be made or are not known."""
