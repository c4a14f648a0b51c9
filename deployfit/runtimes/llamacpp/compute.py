"""Compute buffers: the working memory of one forward pass.

They equal the engine's own to the byte for a device that needs no scratch of its own; Metal needs more for long
contexts, see `metal`.
"""

from __future__ import annotations

from typing import NamedTuple

from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.runtimes.llamacpp.allocator import Curve, compiled
from deployfit.runtimes.llamacpp.batch import F32_BYTES, Batch, batch_of, last_cells
from deployfit.runtimes.llamacpp.graph import IN_LAST_LAYER, build_graph
from deployfit.runtimes.llamacpp.inputs import host_bytes
from deployfit.runtimes.llamacpp.kinds import NO_END, kinds_of
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
        self._layers = replayed_layers(blueprint)
        self._curves: dict[Batch, Curve] = {}
        self._host: dict[Batch, tuple[int, int]] = {}

    def buffers(self, settings: LlamaCppSettings) -> ComputeBuffers:
        """Return the compute buffers: the logits of one micro-batch, its activations, and the attention masks.

        The engine's allocator is replayed, so that its fragmentation is in the figure too: a little more context
        can need a little less memory.
        """
        batch, cells = batch_of(self.blueprint, settings), settings.cells
        device = self._curve(batch).peak_bytes(cells)
        upper = fragmented_bytes(self.blueprint, batch, cells, device)
        if batch.flash:
            upper = max(upper, metal_attention_bytes(self.blueprint, batch, cells, device))
        return ComputeBuffers(device, upper, self._host_bytes(batch, cells))

    def least_bytes(self, settings: LlamaCppSettings) -> int:
        """Return a lower bound of the compute buffers that grows with the context."""
        batch = batch_of(self.blueprint, settings)
        return least_device_bytes(self.blueprint, batch) + self._host_bytes(batch, settings.cells)

    def straight_until(self, settings: LlamaCppSettings) -> int:
        """Return up to how many cells of a sequence's context the buffers grow in a straight line."""
        piece = self._curve(batch_of(self.blueprint, settings)).piece(settings.cells)
        return min(piece.last_cells, last_cells(self.blueprint, settings))

    def _host_bytes(self, batch: Batch, cells: int) -> int:
        if batch not in self._host:
            self._host[batch] = host_bytes(self.blueprint, batch)
        fixed, per_cell = self._host[batch]
        return fixed + per_cell * cells

    def _curve(self, batch: Batch) -> Curve:
        if batch not in self._curves:
            if len(self._curves) >= MOST_CURVES:
                del self._curves[next(iter(self._curves))]
            self._curves[batch] = Curve(compiled(build_graph(self.blueprint, batch, self._layers).nodes))
        return self._curves[batch]


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


CYCLE = 6  # addresses recur after one, two or three periods of the layers
REPLAYED_PERIODS = 6  # more of them reach no higher address (tested on all models)


def replayed_layers(blueprint: Blueprint) -> tuple[Layer, ...]:
    """Return the layers with most of their longest repetition left out; whole cycles of periods are.

    An indexer needs something of every layer from the start, so none is left out.

    >>> from deployfit.catalogue import models
    >>> len(replayed_layers(models()["Qwen3.5-27B"].blueprint))  # of 64, in periods of 4
    40
    """
    layers = blueprint.layers
    kinds: dict[Layer, int] = {}
    numbers = [kinds.setdefault(layer, len(kinds)) for layer in layers]
    dropped = end = 0
    for period in range(1, len(layers) // (REPLAYED_PERIODS + CYCLE) + 1):
        alike = 0
        for index in range(period, len(layers)):
            alike = alike + 1 if numbers[index] == numbers[index - period] else 0
            spare = (alike // period + 1 - REPLAYED_PERIODS) // CYCLE * CYCLE * period
            if spare > dropped:
                dropped, end = spare, index + 1
    has_indexer = kinds_of(blueprint).indexed_cells < NO_END
    return layers if has_indexer else layers[: end - dropped] + layers[end:]


def fragmented_bytes(blueprint: Blueprint, batch: Batch, cells: int, device_bytes: int) -> int:
    """Return an upper bound of the fragmented buffer: the mask and one hidden state left as holes.

    It covers all 224 device figures and 208 replays of Metal's rules that it was held against. Where more is fragmented
    already, or layers need more than the head, another hidden state is added to that.
    """
    hole = F32_BYTES * blueprint.hidden * batch.tokens + 2 * MIB
    bound = least_device_bytes(blueprint, batch) + batch.mask_bytes_per_cell * cells + hole
    return bound if device_bytes <= bound else device_bytes + hole


def least_device_bytes(blueprint: Blueprint, batch: Batch) -> int:
    """Return the device part if nothing fragmented: logits and hidden states, alive together at the head."""
    states = batch.outputs if blueprint.outputs_chosen == IN_LAST_LAYER else batch.tokens + batch.outputs
    return F32_BYTES * (blueprint.vocab * batch.outputs + blueprint.hidden * states)
