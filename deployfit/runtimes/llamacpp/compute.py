"""Compute buffers: the working memory of one forward pass.

They equal the engine's own to the byte for a device that needs no scratch of its own; Metal needs more for long
contexts, see `metal`.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.kept import keep
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.runtimes.llamacpp.allocator import CELL_BLOCK, Curve, Program, compiled
from deployfit.runtimes.llamacpp.batch import F32_BYTES, Batch, batch_of, last_cells
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.graph import IN_LAST_LAYER, build_graph
from deployfit.runtimes.llamacpp.inputs import Input, host_bytes, host_inputs
from deployfit.runtimes.llamacpp.kinds import NO_END, kinds_of
from deployfit.runtimes.llamacpp.metal import least_metal_bytes, metal_attention_bytes, metal_bytes
from deployfit.runtimes.llamacpp.settings import NO_METAL, LlamaCppSettings
from deployfit.units import MIB
from deployfit.values import NamedTuple


class ComputeBuffers(NamedTuple):
    """The working memory of one forward pass.

    `device_bytes` and `host_bytes` are the engine's own figures for a GPU-like device; `device_upper_bytes`
    also covers Metal, whose flash attention wants scratch that grows with the context. `metal_bytes` is how much larger
    the device's buffer is with that scratch in it, if it is asked for. `host_upper_bytes`: 0 where that of the host is
    exact.
    """

    device_bytes: int
    device_upper_bytes: int
    host_bytes: int
    metal_bytes: int = 0
    host_upper_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Device and host part together."""
        return self.device_bytes + self.host_bytes

    @property
    def upper_bytes(self) -> int:
        """The same at its upper bound."""
        return self.device_upper_bytes + max(self.host_bytes, self.host_upper_bytes)


class ModelBuffers:
    """The compute buffers of one model, replayed as they are asked for."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self._rounds = rounds_of(blueprint)
        self._curves: dict[Batch, tuple[Curve, Curve]] = {}
        self._host: dict[Batch, tuple[int, int]] = {}

    def inputs(self, batch: Batch) -> Mapping[str, Input]:
        """Return the tensors in ordinary memory that the graph reads."""
        return host_inputs(self.blueprint, batch)

    def graph(self, batch: Batch) -> ModelGraph:
        """Return the graph of a micro-batch."""
        return build_graph(self.blueprint, batch, self._rounds.layers)

    def program(self, batch: Batch) -> Program:
        """Return the steps of the graph's allocation."""
        graph, rounds = self.graph(batch), self._rounds
        if rounds.times == 1:
            return compiled(graph.nodes)
        return compiled(graph.nodes, graph.first_node(rounds.first), graph.first_node(rounds.last), rounds.times)

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
        metal = 0
        if _is_metal(batch):
            replayed = self._metal_curve(batch).peak_bytes(cells // CELL_BLOCK)
            metal = metal_bytes(self.blueprint, batch, cells, device, replayed) - device
        return ComputeBuffers(device, max(upper, device + metal), self._host_bytes(batch, cells), metal)

    def least_bytes(self, settings: LlamaCppSettings) -> int:
        """Return a lower bound of the compute buffers that grows with the context."""
        batch, cells = batch_of(self.blueprint, settings), settings.cells
        least = least_device_bytes(self.blueprint, batch)
        if _is_metal(batch):
            least = max(least, least_metal_bytes(self.blueprint, batch, cells))
        return least + self._host_bytes(batch, cells)

    def straight_until(self, settings: LlamaCppSettings) -> int:
        """Return up to how many cells of a sequence's context the buffers grow in a straight line."""
        batch, cells = batch_of(self.blueprint, settings), settings.cells
        last = self._curve(batch).piece(cells).last_cells
        if _is_metal(batch):
            last = min(last, self._metal_curve(batch).piece(cells // CELL_BLOCK).last_cells * CELL_BLOCK)
        return min(last, last_cells(self.blueprint, settings))

    def _host_bytes(self, batch: Batch, cells: int) -> int:
        if batch not in self._host:
            self._host[batch] = host_bytes(self.inputs(batch))
        fixed, per_cell = self._host[batch]
        return fixed + per_cell * cells

    def _curve(self, batch: Batch) -> Curve:
        return self._curves_of(batch)[0]

    def _metal_curve(self, batch: Batch) -> Curve:
        return self._curves_of(batch)[1]

    def _curves_of(self, batch: Batch) -> tuple[Curve, Curve]:
        """Return the buffer as a line over cells, and over blocks of cells with the scratch in it."""
        found = self._curves.get(batch)
        if found is None:
            program = self.program(batch)
            found = Curve(program), Curve(program.with_scratch() if program.scratch else program)
            keep(self._curves, batch, found, MOST_CURVES)
        return found


def _is_metal(batch: Batch) -> bool:
    return batch.metal != NO_METAL


MOST_CURVES = 32  # kept of a model, and
MOST_MODELS = 64  # models kept
_models: dict[int, ModelBuffers] = {}


def buffers_of(blueprint: Blueprint) -> ModelBuffers:
    """Return the buffers of a model, made once."""
    return _models.get(id(blueprint)) or keep(_models, id(blueprint), ModelBuffers(blueprint), MOST_MODELS)


LEADING = 2  # equal layers before the first round: a layer's last operations are placed when the next one needs them


class Rounds(NamedTuple):
    """A model's layers without most of their longest repetition: those from `first` to before `last` stand for all.

    They are one period of the repetition, and happen `times` times; one more period comes after them.
    """

    layers: tuple[Layer, ...]
    first: int = 0
    last: int = 0
    times: int = 1


def rounds_of(blueprint: Blueprint) -> Rounds:
    """Return the layers with their longest repetition named.

    The first layers of a model that sees add an image's features, and an indexer needs something of every layer from
    the start: those are not equal, even where the blueprint says the same of them.

    >>> from deployfit.catalogue import models
    >>> rounds = rounds_of(models()["Qwen3.5-27B"].blueprint)  # of 64, in periods of 4
    >>> len(rounds.layers), rounds[1:]
    (12, (2, 6, 14))
    """
    layers = blueprint.layers
    if kinds_of(blueprint).indexed_cells < NO_END:
        return Rounds(layers)
    kinds: dict[Layer, int] = {}
    numbers = [kinds.setdefault(layer, len(kinds)) for layer in layers]
    end, period, times = 0, 0, 1
    for each in range(1, len(layers) // 3 + 1):
        alike = 0
        for index in range(blueprint.deepstack + each, len(layers)):
            alike = alike + 1 if numbers[index] == numbers[index - each] else 0
            found = (alike - LEADING) // each
            if (found - 1) * each > (times - 1) * period:
                end, period, times = index + 1, each, found
    if times == 1:
        return Rounds(layers)
    first = end - (times + 1) * period
    last = first + period
    return Rounds(layers[: last + period] + layers[end:], first, last, times)


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
