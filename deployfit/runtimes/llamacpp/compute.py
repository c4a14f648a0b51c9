"""Compute buffers: the working memory of one forward pass.

They equal the engine's own to the byte for a device that needs no scratch of its own; Metal needs more for long
contexts, see `metal`.
"""

from __future__ import annotations

from typing import NamedTuple

from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.runtimes.llamacpp.allocator import Curve, Piece, compiled
from deployfit.runtimes.llamacpp.batch import F32_BYTES, Batch, batch_of, last_cells
from deployfit.runtimes.llamacpp.graph import IN_LAST_LAYER, build_graph
from deployfit.runtimes.llamacpp.inputs import host_bytes
from deployfit.runtimes.llamacpp.metal import metal_attention_bytes
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.units import MIB


class ComputeBuffers(NamedTuple):
    """The working memory of one forward pass.

    `device_bytes` and `host_bytes` are the engine's own figures for a GPU-like device; `device_upper_bytes`
    also covers Metal, whose flash attention wants scratch that grows with the context.
    """

    device_bytes: int
    device_upper_bytes: int
    host_bytes: int

    @property
    def total_bytes(self) -> int:
        """Device and host part together."""
        return self.device_bytes + self.host_bytes

    @property
    def upper_bytes(self) -> int:
        """The same at its upper bound."""
        return self.device_upper_bytes + self.host_bytes


class ModelBuffers:
    """The compute buffers of one model, replayed as they are asked for."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self._layers = replayed_layers(blueprint.layers)
        self._curves: dict[tuple[Batch, int], Curve] = {}

    def buffers(self, settings: LlamaCppSettings) -> ComputeBuffers:
        """Return the compute buffers: the logits of one micro-batch, its activations, and the attention masks.

        The engine's allocator is replayed, so that its fragmentation is in the figure too: a little more context
        can need a little less memory.
        """
        batch, cells = batch_of(self.blueprint, settings), settings.cells
        device = self.device_part(batch, cells).peak_bytes(cells)
        return ComputeBuffers(
            device_bytes=device,
            device_upper_bytes=max(
                device,
                fragmented_bytes(self.blueprint, batch, cells),
                metal_attention_bytes(self.blueprint, batch, cells, device),
            ),
            host_bytes=host_bytes(self.blueprint, batch, cells),
        )

    def straight_until(self, settings: LlamaCppSettings) -> int:
        """Return up to how many cells of a sequence's context the buffers grow in a straight line."""
        piece = self.device_part(batch_of(self.blueprint, settings), settings.cells)
        return min(piece.last_cells, last_cells(self.blueprint, settings))

    def device_part(self, batch: Batch, cells: int) -> Piece:
        """Return the device part from so many cells of a sequence's context on: a straight line."""
        piece = self._curve(batch, self._layers).piece(cells)
        room = fragmented_bytes(self.blueprint, batch, cells) - piece.peak_bytes(cells)
        growth = batch.mask_bytes_per_cell - piece.bytes_per_cell
        last = piece.last_cells
        if room < 0:  # a rare hole that grows with every layer
            room, growth = -room - 1, -growth
            piece = self._curve(batch, self.blueprint.layers).piece(cells)
        if growth < 0:
            last = min(last, cells + room // -growth)
        return piece._replace(first_cells=cells, last_cells=min(last, piece.last_cells))

    def _curve(self, batch: Batch, layers: tuple[Layer, ...]) -> Curve:
        key = (batch, len(layers))
        if key not in self._curves:
            if len(self._curves) >= MOST_CURVES:
                del self._curves[next(iter(self._curves))]
            self._curves[key] = Curve(compiled(build_graph(self.blueprint, batch, layers).nodes))
        return self._curves[key]


MOST_CURVES = 32  # kept of a model, and
MOST_MODELS = 64  # models kept
_models: dict[int, ModelBuffers] = {}


def buffers_of(blueprint: Blueprint) -> ModelBuffers:
    """Return the buffers of a model; the blueprint itself is the key, for a hash of all its layers takes long."""
    found = _models.get(id(blueprint))
    if found is None:
        if len(_models) >= MOST_MODELS:
            del _models[next(iter(_models))]
        found = _models[id(blueprint)] = ModelBuffers(blueprint)
    return found


REPLAYED_PERIODS = 6  # layers repeat: more periods reach no higher address (tested on all models)


def replayed_layers(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers with most of their longest repetition left out.

    An even number of periods is left out: an odd number ends in another phase.
    """
    first, period, count = _repetition(layers)
    dropped = (count - REPLAYED_PERIODS) // 2 * 2 * period
    return layers if dropped <= 0 else layers[: first + period] + layers[first + period + dropped :]


def _repetition(layers: tuple[Layer, ...]) -> tuple[int, int, int]:
    """Return the first layer, the period and the number of periods of the repetition that covers most layers.

    >>> from deployfit.catalogue import models
    >>> _repetition(models()["Qwen3.5-27B"].blueprint.layers)
    (0, 4, 16)
    """
    kinds: dict[Layer, int] = {}
    numbers = [kinds.setdefault(layer, len(kinds)) for layer in layers]
    best = (0, 1, 1)
    for period in range(1, len(numbers) // 2 + 1):
        length = 0
        for end in range(period, len(numbers)):
            length = length + 1 if numbers[end] == numbers[end - period] else 0
            count = length // period + 1
            if (count - 1) * period > (best[2] - 1) * best[1]:
                best = (end + 1 - count * period, period, count)
        if best[2] > len(numbers) // (period + 1):
            break  # longer periods cannot cover more
    return best


def fragmented_bytes(blueprint: Blueprint, batch: Batch, cells: int) -> int:
    """Return an upper bound of the fragmented buffer: the mask and one hidden state left as holes.

    It covers all 224 device figures and 208 replays of Metal's rules that it was held against.
    """
    hole = F32_BYTES * blueprint.hidden * batch.tokens
    return least_device_bytes(blueprint, batch) + batch.mask_bytes_per_cell * cells + hole + 2 * MIB


def least_device_bytes(blueprint: Blueprint, batch: Batch) -> int:
    """Return the device part if nothing fragmented: logits and hidden states, alive together at the head."""
    states = batch.outputs if blueprint.outputs_chosen == IN_LAST_LAYER else batch.tokens + batch.outputs
    return F32_BYTES * (blueprint.vocab * batch.outputs + blueprint.hidden * states)


def least_compute_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return a lower bound of the compute buffers that grows with the context."""
    batch = batch_of(blueprint, settings)
    return least_device_bytes(blueprint, batch) + host_bytes(blueprint, batch, settings.cells)
