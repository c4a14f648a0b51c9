"""The graph that llama.cpp computes for one image: the vision tower of Qwen3-VL and Qwen3.5, node by node.

Source: llama.cpp of 2026-10-01, tools/mtmd (clip.cpp, models/qwen2vl.cpp, models/qwen3vl.cpp).
"""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.layers.vision import VisionTower
from deployfit.runtimes.llamacpp.batch import F16_BYTES, F32_BYTES
from deployfit.runtimes.llamacpp.tensors import Graph, Shape, Tensor
from deployfit.values import NamedTuple

POSITIONS = 4  # of each patch, 32-bit numbers: time, height, width and a spare one

# Metal's flash attention keeps its scratch behind its result: the last keys and values padded to a block, partial
# results of 32 work groups for up to 32 queries, and F16 copies of keys and values whether it needs them or not.
KEYS_PADDED = 64
WORK_GROUPS = 32
QUERIES = 32


class Grid(NamedTuple):
    """An image in patches."""

    columns: int
    rows: int

    @property
    def patches(self) -> int:
        """How many there are."""
        return self.columns * self.rows


class TowerGraph(Graph):
    """The graph of one image.

    `feature_layers`: the layers whose results are merged too. `metal`: with Metal's scratch of flash attention.
    """

    def __init__(
        self,
        tower: VisionTower,
        grid: Grid,
        depth: int,
        feature_layers: Sequence[int] = (),
        *,
        flash_attention: bool,
        metal: bool,
    ) -> None:
        super().__init__()
        self.tower, self.grid = tower, grid
        self._flash_attention, self._metal = flash_attention, metal
        self._pixels, self._positions = (self.copied_input(shape) for shape in input_shapes(tower, grid))
        state = self._embedded()
        features = []
        for layer in range(depth):
            state = self._layer(state)
            if layer in feature_layers:
                features.append(state)
        self._merge(state, features)

    def _embedded(self) -> Tensor:
        """Return the patches' embeddings and those of their positions, the patches of a token side by side."""
        first, second = self._convolved(), self._convolved()  # one for each frame; of an image both are the same
        patches = self._biased(self._side_by_side(self.compute("ADD", first.shape, first, second)))
        return self.compute("ADD", patches.shape, patches, self._side_by_side(self._resized_positions(), turned=True))

    def _convolved(self) -> Tensor:
        tower, (columns, rows), patches = self.tower, self.grid, self.grid.patches
        width = tower.in_channels * tower.patch_size**2
        unfolded = self.compute("IM2COL", (width, columns, rows), _weight(), self._pixels, width=F16_BYTES)
        kernel = self.view(_weight(), width, tower.hidden_size)
        product = self.compute("MUL_MAT", (patches, tower.hidden_size), self.view(unfolded, width, patches), kernel)
        turned = self.view(self.view(product, *product.shape), columns, rows, tower.hidden_size)
        return self.compute("CONT", turned.shape, turned)

    def _resized_positions(self) -> Tensor:
        """Return the position embeddings for this grid; for the one of the training they are taken as they are."""
        tower, (columns, rows) = self.tower, self.grid
        hidden, trained = tower.hidden_size, int(tower.num_position_embeddings**0.5)
        if columns == rows == trained:
            return _weight()
        weights = self.view(self.view(_weight(), hidden, trained, trained), trained, trained, hidden)
        resized = self.compute("UPSCALE", (columns, rows, hidden), weights)
        return self.compute("CONT", (hidden, self.grid.patches), self.view(resized, hidden, columns, rows))

    def _side_by_side(self, grid: Tensor, *, turned: bool = False) -> Tensor:
        """Return two copies, one after the other, that bring the patches of a token together."""
        hidden, (columns, rows) = self.tower.hidden_size, self.grid
        source = grid if turned else self.view(grid, hidden, columns, rows)
        pairs = self.compute("CONT", (2 * hidden, columns // 2, rows), source)
        twice = self.view(self.view(pairs, *pairs.shape), *pairs.shape)
        return self.compute("CONT", (hidden, self.grid.patches), twice)

    def _layer(self, state: Tensor) -> Tensor:
        attended = self._attention(self._norm(state))
        state = self.compute("ADD", state.shape, attended, state)
        wide = self._activated(self._projected(self.tower.intermediate_size, self._norm(state)))
        return self.compute("ADD", state.shape, state, self._projected(self.tower.hidden_size, wide))

    def _attention(self, normed: Tensor) -> Tensor:
        hidden, heads = self.tower.hidden_size, self.tower.num_heads
        shape = (hidden // heads, heads, self.grid.patches)
        fused = self._projected(3 * hidden, normed)
        query, key, value = (self.view(fused, *shape) for _kind in range(3))
        query, key = (self.compute("ROPE", shape, each, self._positions) for each in (query, key))
        for each in (query, key, value):
            self.expand(each)
        attend = self._flash if self._flash_attention else self._scored
        return self._projected(hidden, attend(self._by_head(query), self._by_head(key), self._by_head(value)))

    def _by_head(self, tensor: Tensor) -> Tensor:
        size, heads, patches = tensor.shape
        return self.view(tensor, size, patches, heads)

    def _flash(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        hidden, patches = self.tower.hidden_size, self.grid.patches
        halves = (self.compute("CPY", each.shape, each, width=F16_BYTES) for each in (key, value))
        result = self.compute(
            "FLASH_ATTN_EXT", (hidden // self.tower.num_heads, self.tower.num_heads, patches), query, *halves
        )
        if self._metal:
            result.size += metal_scratch_bytes(self.tower, patches)
        return self.view(result, hidden, patches)

    def _scored(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        size, patches, heads = query.shape
        turned = self.compute("CONT", (patches, size, heads), value)
        scores = self.compute("MUL_MAT", (patches, patches, heads), key, query)
        scores = self.compute("SOFT_MAX", scores.shape, scores)
        result = self.compute("MUL_MAT", (size, patches, heads), turned, scores)
        return self.compute("CONT", (size * heads, patches), self.view(result, size, heads, patches))

    def _merge(self, state: Tensor, features: list[Tensor]) -> None:
        """Append the merger, then those of the features, which the engine computes last."""
        merged = self._merged(self.view(self._norm(state), *self._tokens))
        joined: Tensor | None = None
        for each in features:
            own = self._merged(self._norm(self.view(each, *self._tokens)))
            joined = own if joined is None else self._joined(joined, own)
        self.expand(merged if joined is None else self._joined(merged, joined))

    def _merged(self, tokens: Tensor) -> Tensor:
        return self._projected(self.tower.out_hidden_size, self._activated(self._projected(tokens.shape[0], tokens)))

    @property
    def _tokens(self) -> Shape:
        """A row per token."""
        merge = self.tower.spatial_merge_size**2
        return self.tower.hidden_size * merge, self.grid.patches // merge

    def _joined(self, first: Tensor, second: Tensor) -> Tensor:
        return self.compute("CONCAT", (first.shape[0] + second.shape[0], first.shape[1]), first, second)

    def _norm(self, tensor: Tensor) -> Tensor:
        normed = self.compute("NORM", tensor.shape, tensor)
        return self._biased(self.compute("MUL", tensor.shape, normed, _weight()))

    def _projected(self, rows: int, tensor: Tensor) -> Tensor:
        return self._biased(self.compute("MUL_MAT", (rows, *tensor.shape[1:]), _weight(), tensor))

    def _activated(self, tensor: Tensor) -> Tensor:
        return self.compute("UNARY", tensor.shape, tensor)

    def _biased(self, tensor: Tensor) -> Tensor:
        return self.compute("ADD", tensor.shape, tensor, _weight())


def _weight() -> Tensor:
    """Return a tensor of the file: it has a place already."""
    tensor = Tensor("NONE", (), external=True)
    tensor.placed = True
    return tensor


def input_shapes(tower: VisionTower, grid: Grid) -> tuple[Shape, Shape]:
    """Return the shapes of the inputs, all of 32-bit numbers: the pixels, and the patches' positions."""
    side = tower.patch_size
    return (grid.columns * side, grid.rows * side, tower.in_channels), (POSITIONS * grid.patches,)


def metal_scratch_bytes(tower: VisionTower, patches: int) -> int:
    """Return what Metal's flash attention reserves behind its result.

    >>> from deployfit.layers.vision import VisionTower
    >>> metal_scratch_bytes(VisionTower(27, 1152, 16, 4304, 5120, 16, 2, 2, 3, 2304), 196)
    6047744
    """
    hidden, heads = tower.hidden_size, tower.num_heads
    padded = KEYS_PADDED * 2 * F16_BYTES * hidden
    partial = F32_BYTES * WORK_GROUPS * min(patches, QUERIES) * heads * (hidden // heads + 2)
    copies = 2 * F16_BYTES * hidden * patches
    return padded + partial + copies
