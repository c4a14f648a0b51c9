"""ggml's tensor types: how many bytes one block of numbers takes.

Source: the size assertions of ggml-common.h (ggml 0.25.3, 2026-10-01). A row is stored in whole blocks, so
bits per weight are for display only.
"""

from __future__ import annotations

from deployfit.values import NamedTuple


class TensorType(NamedTuple):
    """One block layout: `block_bytes` hold `block_size` consecutive numbers of a row."""

    name: str
    block_size: int
    block_bytes: int

    def nbytes(self, params: int) -> int:
        """Return the bytes of a tensor whose rows divide into whole blocks.

        >>> TENSOR_TYPES["Q4_K"].nbytes(5120 * 17408)
        50135040
        """
        return params // self.block_size * self.block_bytes


HALF = 2  # an f16 scale or minimum
SUPER = 256  # the block of the K- and I-quants
K_SCALES = 12  # 8 scales and 8 minima of 6 bits

TENSOR_TYPES = {
    tensor_type.name: tensor_type
    for tensor_type in (
        TensorType("F32", 1, 4),
        TensorType("F16", 1, 2),
        TensorType("BF16", 1, 2),
        TensorType("Q1_0", 128, HALF + 128 // 8),
        TensorType("Q2_0", 64, HALF + 64 // 4),
        TensorType("Q4_0", 32, HALF + 32 // 2),
        TensorType("Q4_1", 32, HALF + HALF + 32 // 2),
        TensorType("Q5_0", 32, HALF + 4 + 32 // 2),
        TensorType("Q5_1", 32, HALF + HALF + 4 + 32 // 2),
        TensorType("Q8_0", 32, HALF + 32),
        TensorType("MXFP4", 32, 1 + 32 // 2),
        TensorType("NVFP4", 64, 64 // 16 + 64 // 2),
        TensorType("TQ1_0", SUPER, HALF + SUPER // 64 + (SUPER - 4 * SUPER // 64) // 5),
        TensorType("TQ2_0", SUPER, HALF + SUPER // 4),
        TensorType("Q2_K", SUPER, HALF + HALF + SUPER // 16 + SUPER // 4),
        TensorType("Q3_K", SUPER, HALF + SUPER // 4 + SUPER // 8 + 12),
        TensorType("Q4_K", SUPER, HALF + HALF + K_SCALES + SUPER // 2),
        TensorType("Q5_K", SUPER, HALF + HALF + K_SCALES + SUPER // 2 + SUPER // 8),
        TensorType("Q6_K", SUPER, HALF + SUPER // 16 + 3 * SUPER // 4),
        TensorType("IQ1_S", SUPER, HALF + SUPER // 8 + SUPER // 16),
        TensorType("IQ1_M", SUPER, SUPER // 8 + SUPER // 16 + SUPER // 32),
        TensorType("IQ2_XXS", SUPER, HALF + 2 * SUPER // 8),
        TensorType("IQ2_XS", SUPER, HALF + 2 * SUPER // 8 + SUPER // 32),
        TensorType("IQ2_S", SUPER, HALF + SUPER // 4 + SUPER // 16),
        TensorType("IQ3_XXS", SUPER, HALF + 3 * SUPER // 8),
        TensorType("IQ3_S", SUPER, HALF + 13 * SUPER // 32 + SUPER // 64),
        TensorType("IQ4_NL", 32, HALF + 32 // 2),
        TensorType("IQ4_XS", SUPER, HALF + 2 + SUPER // 64 + SUPER // 2),
    )
}
