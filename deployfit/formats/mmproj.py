"""mmproj: the vision tower as llama.cpp keeps it, in a GGUF file of its own beside the text model.

Source: llama.cpp's conversion (2026-10-01), F16 output: matrices F16, vectors and position embeddings F32,
and the patch convolution cut in one tensor per frame of a pair.
"""

from __future__ import annotations

from math import prod

from deployfit.formats.gguf import ALIGNMENT
from deployfit.layers.vision import VisionTower
from deployfit.units import ceil_to

F16_BYTES = 2
F32_BYTES = 4
KEPT_F32 = ("pos_embed.weight",)


def mmproj_tensor_bytes(vision: VisionTower) -> int:
    """Return the tensor bytes of the F16 mmproj file, which is what the GPU holds of it.

    >>> from deployfit.layers.vision import VisionTower
    >>> tower = VisionTower(24, 1024, 16, 4096, 2048, 16, 2, 2, 3, 2304)
    >>> mmproj_tensor_bytes(tower)  # that of Qwen3.5-2B
    668209152
    """
    total = 0
    for name, shape in vision.tensors():
        width = F32_BYTES if len(shape) == 1 or name in KEPT_F32 else F16_BYTES
        total += ceil_to(prod(shape) * width, ALIGNMENT)
    return total
