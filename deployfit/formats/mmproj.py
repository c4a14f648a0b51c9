"""mmproj: the vision tower as llama.cpp keeps it, in a GGUF file of its own beside the text model.

Source: llama.cpp's conversion (2026-10-01): vectors and position embeddings are F32 whatever the type of the file, and
the patch convolution, cut in one tensor per frame of a pair, is F32 unless the file is F16.
"""

from __future__ import annotations

from math import prod

from deployfit.errors import unknown
from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.formats.gguf import ALIGNMENT
from deployfit.layers.vision import VisionTower
from deployfit.units import ceil_to

DEFAULT_TYPE = "F16"
MMPROJ_TYPES = (DEFAULT_TYPE, "BF16", "F32", "Q8_0")  # what files of this kind are published in
KEPT_F32 = ("pos_embed.weight",)
PATCHES = "patch_embed.proj.weight"


def mmproj_tensor_bytes(vision: VisionTower, mmproj_type: str = DEFAULT_TYPE) -> int:
    """Return the tensor bytes of an mmproj file of this type, which is what the GPU holds of it.

    >>> from deployfit.layers.vision import VisionTower
    >>> tower = VisionTower(24, 1024, 16, 4096, 2048, 16, 2, 2, 3, 2304)
    >>> mmproj_tensor_bytes(tower)  # that of Qwen3.5-2B
    668209152
    >>> mmproj_tensor_bytes(tower, "BF16") - mmproj_tensor_bytes(tower)  # the patch convolution stays F32
    3145728
    """
    if mmproj_type not in MMPROJ_TYPES:
        raise unknown("mmproj type", mmproj_type, MMPROJ_TYPES)
    total = 0
    for name, shape in vision.tensors():
        kept = len(shape) == 1 or name in KEPT_F32 or (name == PATCHES and mmproj_type != DEFAULT_TYPE)
        tensor_type = TENSOR_TYPES["F32"] if kept else matrix_type(shape[-1], mmproj_type)
        total += ceil_to(tensor_type.nbytes(prod(shape)), ALIGNMENT)
    return total


def matrix_type(row: int, mmproj_type: str) -> TensorType:
    """Return the type of a matrix with rows of this length: those that do not divide into blocks are F16.

    >>> matrix_type(4304, "Q8_0").name
    'F16'
    """
    wanted = TENSOR_TYPES[mmproj_type]
    return TENSOR_TYPES["F16"] if row % wanted.block_size else wanted
