"""llama.cpp over RPC: whole layers on each Mac; the last one named runs llama-server, the others ggml-rpc-server.

llama.cpp lists devices over RPC before its own, so that the layers go to the Macs as they are named, and the output
stays where the answers are read. What the server keeps in ordinary memory lies there too: the embedding table, and
the inputs of the graph. Source: llama.cpp of 2026-10-01.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployfit.basis import Basis
from deployfit.clusters.commands import llamacpp_commands
from deployfit.clusters.engine import PIPELINE, Asked, Command, Division
from deployfit.clusters.rpc_graph import DeviceBuffers, host_bytes
from deployfit.clusters.rpc_weights import context_bytes, has_cache, has_state, placed_weights
from deployfit.kept import keep
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.models import Model
from deployfit.quants.weights import Quant, Weights
from deployfit.runtimes.llamacpp.allocator import CELL_BLOCK
from deployfit.runtimes.llamacpp.batch import F32_BYTES, Batch, batch_of
from deployfit.runtimes.llamacpp.engine import RUNTIME
from deployfit.runtimes.llamacpp.metal import flash_scratch, metal_attention_bytes
from deployfit.runtimes.llamacpp.settings import NAME, LlamaCppSettings
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart

MOST_MACS = 14  # GGML_SCHED_MAX_BACKENDS: 16, of which the processor and Accelerate are one each
MOST_GRAPHS = 64  # kept
_graphs: dict[tuple[object, ...], tuple[Blueprint, DeviceBuffers]] = {}


class LlamaCppRpc:
    """The engine."""

    name = NAME
    runtime = NAME
    splits = (PIPELINE,)

    def why_not(self, model: Model, split: str, count: int) -> str:
        """Return why the model cannot be split so."""
        layers = len(model.blueprint.layers)
        if split != PIPELINE:
            return (
                "llama.cpp over RPC has no tensor split that can be counted, each Mac gets whole layers (its"
                " --split-mode tensor is experimental)"
            )
        if count > layers:
            return f"{count} Macs are more than its {layers} layers"
        if count > MOST_MACS:
            return f"{count} Macs are more than the {MOST_MACS} that llama.cpp computes on together"
        return ""

    def why_not_weights(self, asked: Asked, weights: Weights) -> str:
        """Return "": layers of any type can lie anywhere."""
        return ""

    def division(self, asked: Asked, weights: Weights) -> Division:
        """Return the layers and weights of each Mac."""
        placed = placed_weights(asked, weights)
        server = asked.size - 1
        loaded: list[list[MemoryPart]] = []
        for machine, layers in enumerate(placed.layers):
            output = " and the output" if placed.output == machine else ""
            detail = f"{len(layers)} of {len(asked.model.blueprint.layers)} layers{output}"
            loaded.append([_part("weights", "weights", placed.on_device[machine], weights.basis, machine, detail)])
        table = _part("weights", "embedding table", placed.on_host, weights.basis, server, where=HOST)
        loaded[server] += [table, *self._vision(asked, weights, server)]
        peaks = tuple(sum(part.nbytes for part in parts) for parts in loaded)
        return Division(placed.layers, tuple(loaded), peaks, placed.output)

    def _vision(self, asked: Asked, weights: Weights, server: int) -> list[MemoryPart]:
        """Return the vision tower, which llama-server loads where it runs."""
        parts = RUNTIME.loaded(asked.model.blueprint, weights, asked.options, asked.settings)
        return [part._replace(machine=server) for part in parts if part.name == "vision"]

    def running(self, asked: Asked, division: Division, settings: LlamaCppSettings) -> Sequence[Sequence[MemoryPart]]:
        """Return caches, state and compute buffers of each Mac."""
        blueprint, cells = asked.model.blueprint, settings.cells
        batch, graph = batch_of(blueprint, settings), _graph(blueprint, settings, division)
        compute, inputs, scratch = graph.device_bytes(cells), graph.input_bytes(cells), graph.metal_bytes(cells)
        found = []
        for machine, layers in enumerate(division.layers):
            kv, state = context_bytes(blueprint, settings, layers)
            cached = sum(has_cache(blueprint.layers[index]) for index in layers)
            recurrent = sum(has_state(blueprint.layers[index]) for index in layers)
            parts = [
                _part("kv_cache", "KV cache", kv, Basis.EXACT, machine, f"{cached} of {len(layers)} layers have one")
            ]
            if state:
                detail = f"{recurrent} of {len(layers)} layers have one"
                parts.append(_part("recurrent_state", "recurrent state", state, Basis.EXACT, machine, detail))
            most = inputs[machine] + _metal_bytes(blueprint, batch, cells, compute[machine] - inputs[machine])
            parts += _compute_parts(compute[machine], scratch[machine], most if layers else 0, machine)
            if machine == asked.size - 1:
                host = host_bytes(blueprint, batch, cells)
                parts.append(_part("compute", "compute buffers", host, Basis.DERIVED, machine, where=HOST))
                parts += self._of_server(asked, settings, machine)
            found.append(parts)
        return found

    def _of_server(self, asked: Asked, settings: LlamaCppSettings, machine: int) -> list[MemoryPart]:
        """Return what the server keeps beside what is split: the buffer of its outputs, and the like."""
        parts = RUNTIME.running(asked.model.blueprint, settings, asked.options)
        return [part._replace(machine=machine) for part in parts if part.name not in SPLIT_PARTS]

    def least_bytes(self, asked: Asked, division: Division, settings: LlamaCppSettings) -> Sequence[int]:
        """Return caches, state and inputs, with Metal's scratch for a layer, or the logits where they are more."""
        blueprint, cells = asked.model.blueprint, settings.cells
        batch = batch_of(blueprint, settings)
        inputs = _graph(blueprint, settings, division).input_bytes(cells)
        least = []
        for machine, layers in enumerate(division.layers):
            logits = F32_BYTES * blueprint.vocab * batch.outputs if machine == division.output else 0
            working = max(logits, _least_scratch(blueprint, batch, cells, layers))
            least.append(sum(context_bytes(blueprint, settings, layers)) + inputs[machine] + working)
        least[-1] += host_bytes(blueprint, batch, cells)
        return least

    def notes(self, asked: Asked) -> Sequence[str]:
        """Return none beside those that are data."""
        return []

    def commands(self, asked: Asked, division: Division, quant: Quant, weights: Weights) -> Sequence[Command]:
        """Return the commands that start it."""
        return llamacpp_commands(asked, quant, weights)


SPLIT_PARTS = ("kv_cache", "recurrent_state", "compute", "metal_scratch")
UNDER_WAY = "with four batches under way: each input is there four times"


def _compute_parts(device: int, scratch: int, most: int, machine: int) -> Iterator[MemoryPart]:
    """Yield a Mac's compute buffers, and what Metal adds to them; the last of them has the upper bound."""
    most = max(most, device + scratch)
    buffers = _part("compute", "compute buffers", device, Basis.DERIVED, machine, UNDER_WAY)
    if not scratch:
        yield buffers._replace(upper_bytes=most)
        return
    yield buffers
    words = "behind the results of flash attention"
    added = _part("metal_scratch", "Metal's scratch", scratch, Basis.DERIVED, machine, words)
    yield added._replace(upper_bytes=most - device)


def _least_scratch(blueprint: Blueprint, batch: Batch, cells: int, layers: Sequence[int]) -> int:
    """Return what Metal wants for the most demanding flash attention among some layers."""
    mixers = {blueprint.layers[index].mixer for index in layers}
    wanted = (flash_scratch(batch, each) for each in mixers if isinstance(each, Attention | LatentAttention))
    return max((fixed + per_block * cells // CELL_BLOCK for fixed, per_block in wanted), default=0)


def _metal_bytes(blueprint: Blueprint, batch: Batch, cells: int, device_bytes: int) -> int:
    return metal_attention_bytes(blueprint, batch, cells, device_bytes) if batch.flash else 0


def _graph(blueprint: Blueprint, settings: LlamaCppSettings, division: Division) -> DeviceBuffers:
    """Return the graph over the Macs; how long the context is does not change it."""
    devices = [0] * len(blueprint.layers)
    for machine, layers in enumerate(division.layers):
        for index in layers:
            devices[index] = machine
    batch = batch_of(blueprint, settings)
    key = (
        id(blueprint),
        batch,
        settings.kv_type_k,
        settings.kv_type_v,
        (*devices, division.output, len(division.layers)),
    )
    found = _graphs.get(key)
    if found is None:
        buffers = DeviceBuffers(blueprint, settings, [*devices, division.output], len(division.layers))
        found = keep(_graphs, key, (blueprint, buffers), MOST_GRAPHS)
    return found[1]


def _part(
    name: str, label: str, nbytes: int, basis: Basis, machine: int, detail: str = "", where: str = DEVICE
) -> MemoryPart:
    return MemoryPart(name, label, nbytes, nbytes, basis, detail, where, machine)


ENGINE = LlamaCppRpc()
