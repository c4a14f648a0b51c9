"""A GGUF file as a whole: what stands in front of the tensors."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.formats.gguf import ALIGNMENT, GgufTensor, tensor_data_bytes, tensor_info_bytes
from deployfit.units import ceil_to

# Key-values, nearly all of them the tokenizer's 248,320 tokens and its merges: what eleven of unsloth's BF16
# and Q8_0 files of 2026 (0.8B to 397B) have beyond tensors and tensor records. The files differ from this by
# -241 to +2,576 bytes, in the names and settings that a publisher writes.
KEY_VALUE_BYTES = 10_943_100
KEY_VALUE_VOCABULARY = 248_320


def file_bytes(tensors: Sequence[GgufTensor], sizes: Sequence[int], vocab_size: int) -> int:
    """Return the size of the file: header, padding, tensors.

    For another vocabulary the key-values are scaled with the number of its tokens: an estimate.
    """
    key_values = KEY_VALUE_BYTES * vocab_size // KEY_VALUE_VOCABULARY
    return ceil_to(key_values + tensor_info_bytes(tensors), ALIGNMENT) + tensor_data_bytes(sizes)
