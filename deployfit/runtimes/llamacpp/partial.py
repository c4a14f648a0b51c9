"""Compute buffers where layers, or experts, are kept from the GPU: a part of the graph on either side.

The CPU computes what its weights are needed for, in a buffer of its own that the inputs lie in as well. Of 46 contexts
that the engine planned so 23 are met to the byte on the CPU's side; both sides together are between 13 % below and 18 %
above, mostly equal. Metal has products of many tokens computed on the GPU all the same, if the CPU has the weights in
the file's own form: copies of them are then in the GPU's buffer, two at a time. The upper bound has room for them; of
144 plans with either rule none is above it. Source: ggml_backend_sched_split_graph in ggml-backend.cpp (2026-10-01).
"""

from __future__ import annotations

from deployfit.kept import keep
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.feed import Experts
from deployfit.runtimes.llamacpp.batch import F32_BYTES, Batch, batch_of
from deployfit.runtimes.llamacpp.caches import cell_bytes, slides, sliding_limit
from deployfit.runtimes.llamacpp.compute import ComputeBuffers, ModelBuffers, buffers_of, least_device_bytes
from deployfit.runtimes.llamacpp.inputs import I32_BYTES
from deployfit.runtimes.llamacpp.settings import NO_METAL, SLOTS, LlamaCppSettings
from deployfit.runtimes.llamacpp.tensors import ALIGNMENT
from deployfit.units import ceil_to


class PartialBuffers:
    """The compute buffers of a model of which the GPU has the layers from `first` on, or not all experts."""

    def __init__(self, blueprint: Blueprint, first: int) -> None:
        self.blueprint = blueprint
        self._first = first
        layers = blueprint.layers
        # Layers that read another's cache cannot be without it: then each side is as large as for all layers.
        shared = any(isinstance(layer.mixer, Attention) and layer.mixer.shared_cache for layer in layers)
        self._cpu = blueprint if shared else blueprint._replace(layers=layers[:first])
        self._gpu = blueprint if shared else blueprint._replace(layers=layers[first:])

    def buffers(self, settings: LlamaCppSettings) -> ComputeBuffers:
        """Return the buffers of both sides."""
        whole, batch = self._whole.buffers(settings), batch_of(self.blueprint, settings)
        # Beside what the layers read: the tokens, and the states of an image in place of them.
        unread = F32_BYTES * self.blueprint.hidden * batch.tokens + ceil_to(I32_BYTES * batch.tokens, ALIGNMENT)
        if self._first:
            device, metal = self._on_gpu(batch, settings)
            host = max(whole.host_bytes, self._on_cpu(settings) + unread)
        else:
            device, metal = whole.device_bytes, whole.metal_bytes
            host = whole.host_bytes + self._experts_bytes(batch, settings)
        experts = 0 if self._first else self._experts_bytes(batch, settings)
        shared = self._shared_copies(settings) if settings.gpu_layers else 0
        copies = whole.host_bytes + unread + experts + shared + self._cache_copy(settings)
        return ComputeBuffers(
            device + shared,
            max(whole.device_upper_bytes + copies, device + metal + shared),
            host,
            metal,
            max(host, whole.host_bytes + whole.device_bytes + unread),
        )

    def least_bytes(self, settings: LlamaCppSettings) -> int:
        """Return a lower bound of the compute buffers that grows with the context."""
        return self._whole.least_bytes(settings._replace(metal=NO_METAL))

    def straight_until(self, settings: LlamaCppSettings) -> int:
        """Return up to how many cells of a sequence's context the buffers grow in a straight line."""
        cells = self._whole.straight_until(settings)
        if self._first and self._gpu.layers:
            cells = min(cells, buffers_of(self._gpu).straight_until(settings))
        return min(cells, buffers_of(self._cpu).straight_until(_of_cpu(settings))) if self._first else cells

    @property
    def _whole(self) -> ModelBuffers:
        return buffers_of(self.blueprint)

    def _on_gpu(self, batch: Batch, settings: LlamaCppSettings) -> tuple[int, int]:
        """Return what the GPU's layers need, and Metal's scratch beside; without a layer the head alone, or nothing."""
        if settings.gpu_layers == 0:
            return 0, 0
        if not self._gpu.layers:
            return least_device_bytes(self.blueprint, batch), 0
        found = buffers_of(self._gpu).buffers(settings)
        return found.device_bytes, found.metal_bytes

    def _on_cpu(self, settings: LlamaCppSettings) -> int:
        """Return what the CPU's layers need."""
        return buffers_of(self._cpu).buffers(_of_cpu(settings)).device_bytes

    def _experts_bytes(self, batch: Batch, settings: LlamaCppSettings) -> int:
        """Return what the experts on the CPU compute: both products, the outputs, and their input."""
        kept = self.blueprint.layers[: None if settings.cpu_moe else settings.n_cpu_moe]
        widths = [
            feed.used * (2 * feed.width + (feed.latent or self.blueprint.hidden))
            for layer in kept
            if isinstance(feed := layer.feed, Experts)
        ]
        return F32_BYTES * batch.tokens * (max(widths) + self.blueprint.hidden) if widths else 0

    def _shared_copies(self, settings: LlamaCppSettings) -> int:
        """Return the copies of the CPU's caches that layers on the GPU share: all are made together."""
        layers, copies = self.blueprint.layers, 0
        for layer in layers[self._first :]:
            mixer = layer.mixer
            if isinstance(mixer, Attention) and mixer.shared_cache:
                own = [each for each in layers[self._first :] if _has_cache_like(each.mixer, mixer)]
                copies += 0 if own else self._cache_bytes(mixer, settings)
        return copies

    def _cache_copy(self, settings: LlamaCppSettings) -> int:
        """Return the copy of one layer's cache on the CPU, for attention that the GPU computes all the same."""
        mixers = {layer.mixer for layer in self.blueprint.layers[: self._first]}
        caches = [mixer for mixer in mixers if isinstance(mixer, Attention | LatentAttention)]
        return max((self._cache_bytes(mixer, settings) for mixer in caches), default=0)

    def _cache_bytes(self, mixer: Attention | LatentAttention, settings: LlamaCppSettings) -> int:
        cells = min(settings.cells, sliding_limit(self.blueprint, settings)) if slides(mixer) else settings.cells
        return settings.streams * cells * cell_bytes(mixer, settings)


def _has_cache_like(mixer: object, other: Attention) -> bool:
    """Return whether a layer has a cache of its own that another could share."""
    return isinstance(mixer, Attention) and not mixer.shared_cache and slides(mixer) == slides(other)


def _of_cpu(settings: LlamaCppSettings) -> LlamaCppSettings:
    """Return the settings for the layers of the CPU; the head is behind them only if no layer is on the GPU."""
    outputs = settings.outputs if settings.gpu_layers == 0 else SLOTS
    return settings._replace(outputs=outputs, metal=NO_METAL)


MOST_KEPT = 16
_kept: dict[tuple[int, int], PartialBuffers] = {}


def partial_buffers_of(blueprint: Blueprint, first: int) -> PartialBuffers:
    """Return the buffers of a model of which not everything is on the GPU, made once."""
    key = id(blueprint), first
    return _kept.get(key) or keep(_kept, key, PartialBuffers(blueprint, first), MOST_KEPT)
