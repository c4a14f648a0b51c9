"""mmproj: the vision tower as llama.cpp keeps it, in a GGUF file of its own beside the text model.

Source: llama.cpp's conversion (2026-10-01), F16 output: matrices F16, vectors and position embeddings F32,
and the patch convolution cut in one tensor per frame of a pair.
"""

from __future__ import annotations

from deployfit.architectures.qwen35 import Vision, vision_shapes
from deployfit.formats.gguf import ALIGNMENT
from deployfit.units import ceil_to

F16_BYTES = 2
F32_BYTES = 4
KEPT_F32 = ("pos_embed.weight",)


def mmproj_tensor_bytes(vision: Vision) -> int:
    """Return the tensor bytes of the F16 mmproj file, which is what the GPU holds of it.

    >>> from deployfit.catalog import models
    >>> mmproj_tensor_bytes(models()["Qwen3.5-2B"].config.vision)
    668209152
    """
    total = 0
    for name, shape in vision_shapes(vision):
        params = 1
        for size in shape:
            params *= size
        width = F32_BYTES if len(shape) == 1 or name.endswith(KEPT_F32) else F16_BYTES
        total += ceil_to(params * width, ALIGNMENT)
    return total
