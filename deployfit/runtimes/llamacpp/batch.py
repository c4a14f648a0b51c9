"""What decides a graph beside the model: the largest micro-batch that a context computes."""

from __future__ import annotations

from deployfit.formats.ggml import TENSOR_TYPES, TensorType
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.caches import kv_tensor_type, sliding_limit, snapshots
from deployfit.runtimes.llamacpp.kinds import NO_END, kinds_of
from deployfit.runtimes.llamacpp.settings import NO_METAL, LlamaCppSettings
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

CELLS = -1  # stands for the cells of one sequence's cache: a graph does not depend on how many there are

F32_BYTES = 4
F16_BYTES = 2


class Batch(NamedTuple):
    """The largest micro-batch that a context computes; how long that context is does not change its graph.

    `outputs`: how many tokens get logits: all, less the padding to whole sequences. `key_type` and `value_type` stand
    for all types of a cache that make the same graph. `sliding_cells`: those of a layer with a window, CELLS where it
    caches all. `indexed_cells`: how many an indexer picks, CELLS where there are no more. `flash`: flash attention.
    `snapshots`: how many states a delta net writes of each sequence. `metal`: whose scratch is noted beside the sizes.
    """

    tokens: int
    outputs: int
    sequences: int
    streams: int
    key_type: TensorType
    value_type: TensorType
    sliding_cells: int = CELLS
    indexed_cells: int = CELLS
    flash: bool = True
    snapshots: int = 1
    metal: str = NO_METAL

    @property
    def sequence_tokens(self) -> int:
        """Tokens of each sequence."""
        return self.tokens // self.sequences

    @property
    def mask_width(self) -> int:
        """Bytes of a number in the attention mask."""
        return F16_BYTES if self.flash else F32_BYTES

    @property
    def mask_bytes_per_cell(self) -> int:
        """The attention mask has a row per token, as wide as one sequence's context."""
        return self.mask_width * self.tokens


def is_quantized(tensor_type: TensorType) -> bool:
    """Return whether a type stores numbers in blocks."""
    return tensor_type.block_size > 1


def batch_of(blueprint: Blueprint, settings: LlamaCppSettings) -> Batch:
    """Return the largest micro-batch of a context."""
    cells, top = settings.cells, kinds_of(blueprint).indexed_cells
    window = sliding_limit(blueprint, settings)
    return Batch(
        tokens=ceil_to(settings.micro_batch, settings.parallel),
        outputs=settings.outputs_at_once,
        sequences=settings.parallel,
        streams=settings.streams,
        key_type=_kind_in_graph(settings.kv_type_k),
        value_type=_kind_in_graph(settings.kv_type_v),
        sliding_cells=window if window < cells else CELLS,
        indexed_cells=top if top < cells else CELLS,
        flash=settings.flash_attn,
        snapshots=snapshots(blueprint, settings),
        metal=settings.metal if settings.flash_attn else NO_METAL,
    )


def last_cells(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return up to how many cells the micro-batch is the same, more tokens in the context or not."""
    ends = (sliding_limit(blueprint, settings), kinds_of(blueprint).indexed_cells)
    return min((end for end in ends if settings.cells <= end), default=NO_END)


def _kind_in_graph(kv_type: str) -> TensorType:
    """Return a KV type that makes the same graph: all that count in blocks make one, and all of 16 bits."""
    tensor_type = kv_tensor_type(kv_type)
    return TENSOR_TYPES["F32" if kv_type == "f32" else "Q8_0" if is_quantized(tensor_type) else "F16"]
