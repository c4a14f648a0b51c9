"""llama.cpp's graph over several devices: which of them computes what, and what each hands to the next.

With more than one device llama.cpp keeps four batches under way (pipeline parallelism), so every input of a device is
there four times and never freed: the graph's inputs, and what another device computed. An operation with weights runs
where they lie; any other one runs where the one before it did. Source: ggml's scheduler (ggml-backend.cpp of ggml
0.25.3, 2026-10-01), as llama.cpp plans with it before anything is loaded.

The plan lets the first norm of a device's layers run on the device before, so that both its result and the stream are
handed over. A context that is really made puts the norm on its own device, and needs four hidden states less there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.allocator import CELL, CELL_BLOCK, TAKE, Curve, Program, Recorder, Step
from deployfit.runtimes.llamacpp.batch import CELLS, Batch, batch_of
from deployfit.runtimes.llamacpp.caches import kv_tensor_type, slides
from deployfit.runtimes.llamacpp.context import ModelGraph
from deployfit.runtimes.llamacpp.graph import add_layers
from deployfit.runtimes.llamacpp.inputs import host_inputs
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.metal import flash_scratch
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.llamacpp.tensors import ALIGNMENT, NO_SLOT, Shape, Tensor
from deployfit.units import ceil_to

COPIES = 4  # GGML_SCHED_MAX_COPIES: batches under way
HOST = -1  # the device of what is computed in ordinary memory
LOOKED_UP = ("embedding", "per_layer")  # rows of tables in ordinary memory: computed there, so not there four times
WEIGHTED = ("MUL_MAT", "MUL_MAT_ID", "ADD_ID", "SSM_CONV", "SSM_SCAN")


class DevicesGraph(ModelGraph):
    """The graph of one micro-batch, whose layers lie on several devices: `devices` by layer, the head's after all."""

    def __init__(self, blueprint: Blueprint, settings: LlamaCppSettings, devices: Sequence[int]) -> None:
        super().__init__(blueprint, batch_of(blueprint, settings))
        self.devices = devices
        self._settings = settings
        self.made: dict[Tensor, int] = {}  # the device of the layer that a tensor was made for
        self.fixed: set[Tensor] = set()  # what runs on that device, whatever ran before
        self.latent: dict[
            Tensor, LatentAttention
        ] = {}  # results of flash attention whose values are a part of the keys
        self.caches: dict[Tensor, int] = {}  # caches that layers on other devices read, and where they are

    def _note(self, tensor: Tensor) -> Tensor:
        self.made.setdefault(tensor, self.devices[self.layer])
        return tensor

    def compute(self, op: str, shape: Shape, *sources: Tensor, **more: int) -> Tensor:
        """Return an operation; those with weights have a device, and the reading of states follows their clearing."""
        if op in ("FLASH_ATTN_EXT", "SOFT_MAX"):
            sources = (*sources, *self._foreign_caches())
        tensor = self._note(super().compute(op, shape, *sources, **more))
        mixer = self.blueprint.layers[self.layer].mixer if op == "FLASH_ATTN_EXT" else None
        if isinstance(mixer, LatentAttention):
            self.latent[tensor] = mixer
        has_weights = op in WEIGHTED and not any(source.is_input for source in sources)  # a rotation has none
        if has_weights or (op == "GET_ROWS" and self.has_input("state_rows") and _reads_states(self, sources)):
            self.fixed.add(tensor)
        return tensor

    def _foreign_caches(self) -> Iterator[Tensor]:
        """Yield keys and values of another layer that the layer attends to, if they lie on another device."""
        owner = owner_of_cache(self.blueprint, self.layer)
        if self.devices[owner] == self.devices[self.layer]:
            return
        mixer = self.blueprint.layers[owner].mixer
        assert isinstance(mixer, Attention)
        cells = self.batch.sliding_cells if slides(mixer) else CELLS
        streams, row = self.batch.streams, mixer.kv_dim
        # Without flash attention values are as wide as the widest of all layers, but for the last sequence's.
        values = streams * row if self.batch.flash else (streams - 1) * kinds_of(self.blueprint).widest_values + row
        for name, numbers in ((self._settings.kv_type_k, streams * row), (self._settings.kv_type_v, values)):
            cache = Tensor("NONE", (cells,), width=kv_tensor_type(name).nbytes(numbers))
            cache.placed = True
            self.caches[cache] = self.devices[owner]
            yield cache

    def norm(self, tensor: Tensor) -> Tensor:
        """Return a norm, and the product with its weight as an operation of its own."""
        normed = super().norm(tensor)
        weighted = self.compute("MUL", normed.shape, normed)
        self.fixed.add(weighted)
        return weighted

    def written(self, op: str, target: Tensor, *sources: Tensor) -> Tensor:
        """Return an operation that writes into a result."""
        return self._note(super().written(op, target, *sources))

    def expand(self, tensor: Tensor) -> None:
        """Place an operation; what writes into a cache runs where the cache lies."""
        self._note(tensor)
        if tensor.external:
            self.fixed.add(tensor)
        super().expand(tensor)


def _reads_states(graph: ModelGraph, sources: Sequence[Tensor]) -> bool:
    return graph.input("state_rows") in sources or graph.input("spare_rows") in sources


class _Share:
    """What a device computes in one go: its nodes, and the results of others that are handed over before."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.nodes: list[Tensor] = []
        self.read_first: list[Tensor] = []


class _Scheduled:
    """A graph after its operations have found their devices."""

    def __init__(self, graph: DevicesGraph, count: int) -> None:
        self._graph = graph
        self._where: dict[Tensor, int] = {}
        self._copies: dict[tuple[Tensor, int], Tensor] = {}
        self._inputs: list[list[Tensor]] = [[] for _ in range(count)]
        self.shares: list[_Share] = []
        self._server = count - 1
        self._where |= dict.fromkeys(graph.copies, HOST) | graph.caches
        for node in graph.placed:
            self._schedule(node)

    def _schedule(self, node: Tensor) -> None:
        if node.root is not None and node.op == "VIEW":
            self._where[node] = self._where[node.root]
            if self.shares:
                self.shares[-1].nodes.append(node)
            return
        device = self._graph.made[node]
        if self.shares and node not in self._graph.fixed:
            device = self.shares[-1].device
        elif not self.shares:
            device = self._first_device()
        self._where[node] = device
        if node in self._graph.latent and device != self._server:
            node.scratch = flash_scratch(self._graph.batch, self._graph.latent[node], sees_views=False)
        if not self.shares or self.shares[-1].device != device:
            self.shares.append(_Share(device))
        node.sources = tuple(self._here(source, device) for source in node.sources)
        self.shares[-1].nodes.append(node)

    def _first_device(self) -> int:
        """Return where the first operation with weights runs, and all before it."""
        return next(self._graph.made[node] for node in self._graph.placed if node in self._graph.fixed)

    def _here(self, source: Tensor, device: int) -> Tensor:
        """Return a source as an operation on this device reads it: itself, or its copy here."""
        at = self._where.setdefault(source, device)  # a leaf lies where it is read first
        if at == device:
            return source
        key = source, device
        if key not in self._copies:
            copy = Tensor("NONE", _extent(source), width=source.width)
            copy.is_input = copy.is_output = True
            self._copies[key] = copy
            self._inputs[device].append(copy)
            if at != HOST:
                handed = Tensor("HANDED", (), (source,), external=True)
                source.readers += 1
                self.shares[-1].read_first.append(handed)
        source.readers -= 1
        return self._copies[key]

    def programs(self) -> list[Program]:
        """Return each device's program: inputs four times, then leaves, then the results in their order."""
        recorder = _Recorder(self._where, len(self._inputs))
        for device, inputs in enumerate(self._inputs):
            for copy in inputs:
                recorder.take_copies(device, copy)
        for leaf in self._graph.leaves:
            recorder.place(leaf)
        for share in self.shares:
            for node in (*share.read_first, *share.nodes):
                recorder.place(node)
        return [Program(tuple(steps), recorder.scratch) for steps in recorder.by_device]

    def input_bytes(self, cells: int) -> list[int]:
        """Return the bytes of each device's inputs, four times each."""
        return [
            sum(COPIES * (ceil_to(copy.size, ALIGNMENT) + copy.per_cell * cells) for copy in inputs)
            for inputs in self._inputs
        ]


class _Recorder(Recorder):
    """Records what happens on each device by itself."""

    def __init__(self, where: Mapping[Tensor, int], count: int) -> None:
        super().__init__()
        self.by_device: list[list[Step]] = [[] for _ in range(count)]
        self._where = where
        self._copies = 0

    def note(self, action: int, tensor: Tensor, old: int = NO_SLOT) -> None:
        """Append a step to those of the tensor's device."""
        super().note(action, tensor, old)
        self.by_device[self._where[tensor]].append(self.steps.pop())

    def take_copies(self, device: int, tensor: Tensor) -> None:
        """Take places for all copies of an input; they are never given back."""
        size = ceil_to(tensor.size, ALIGNMENT) + CELL * tensor.per_cell
        for _ in range(COPIES):
            self._copies += 1
            self.by_device[device].append((TAKE, -1 - self._copies, size, NO_SLOT))


class DeviceBuffers:
    """The compute buffers of a model whose layers lie on several devices."""

    def __init__(self, blueprint: Blueprint, settings: LlamaCppSettings, devices: Sequence[int], count: int) -> None:
        graph = DevicesGraph(blueprint, settings, devices)
        add_layers(graph, blueprint.layers)
        self._scheduled = _Scheduled(graph, count)
        programs = self._scheduled.programs()
        self._curves = [Curve(program) for program in programs]
        self._metal_curves = [Curve(program.with_scratch()) for program in programs] if programs[0].scratch else []

    def device_bytes(self, cells: int) -> list[int]:
        """Return the compute buffer of each device, to the byte for devices without scratch of their own."""
        return [curve.peak_bytes(cells) for curve in self._curves]

    def metal_bytes(self, cells: int) -> list[int]:
        """Return how much larger the buffers are with the scratch that Metal wants for flash attention, if it does."""
        if not self._metal_curves:
            return [0] * len(self._curves)
        pairs = zip(self._metal_curves, self.device_bytes(cells), strict=True)
        return [max(0, curve.peak_bytes(cells // CELL_BLOCK) - plain) for curve, plain in pairs]

    def input_bytes(self, cells: int) -> list[int]:
        """Return what of it are inputs, which grow with the context."""
        return self._scheduled.input_bytes(cells)


def host_bytes(blueprint: Blueprint, batch: Batch, cells: int) -> int:
    """Return the host part of the compute buffers: all inputs, four times but for what is computed there."""
    total = 0
    for name, (shape, width) in host_inputs(blueprint, batch).items():
        nbytes = width * prod(shape)
        nbytes = ceil_to(nbytes if nbytes >= 0 else nbytes // CELLS * cells, ALIGNMENT)
        total += nbytes if name in LOOKED_UP else COPIES * nbytes
    return total


def _extent(tensor: Tensor) -> Shape:
    """Return what a copy of a tensor takes: of a view of part of each row, the rows but the end of the last."""
    root, (length, *rows) = tensor.root, tensor.shape
    if root is not None and root.shape[0] > length and prod(root.shape[1:]) == prod(rows):
        return ((prod(rows) - 1) * root.shape[0] + length,)
    return tensor.shape


def owner_of_cache(blueprint: Blueprint, index: int) -> int:
    """Return the layer whose cache a layer reads: its own, or that of the last one of its kind that has one."""
    mixer = blueprint.layers[index].mixer
    if not (isinstance(mixer, Attention) and mixer.shared_cache):
        return index
    return max(
        other
        for other in range(index)
        if isinstance(own := blueprint.layers[other].mixer, Attention)
        and not own.shared_cache
        and slides(own) == slides(mixer)
    )
