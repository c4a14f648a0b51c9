"""What of a GGUF file and of its caches llama.cpp puts on each device."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.clusters.engine import Asked
from deployfit.clusters.rpc_layers import devices_of_layers
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer, Recurrent
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.quants.weights import EMBEDDINGS, WeightClass, Weights
from deployfit.runtimes.llamacpp.caches import STATE_BYTES, cell_bytes, slides, sliding_limit
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.llamacpp.tensors import ALIGNMENT
from deployfit.units import ceil_to
from deployfit.values import NamedTuple

WITH_FIRST_LAYER = ("per_layer_model_proj", "per_layer_proj_norm")
ROTATIONS = ("rope_freqs", "rope_factors_long", "rope_factors_short")  # each device has its own


class PlacedWeights(NamedTuple):
    """The layers and bytes of each device, the device with the output, and the bytes in the server's own memory."""

    layers: tuple[Sequence[int], ...]
    on_device: tuple[int, ...]
    output: int
    on_host: int


def devices_of(asked: Asked, weights: Weights) -> list[int]:
    """Return the device of each layer and of the output: by default in proportion to what each Mac lends its GPU.

    Draft layers count as layers when shares are made, and are not loaded.
    """
    drafts = {layer for each in weights.classes if each.part is Part.MTP for layer in each.layers} - {OUTSIDE}
    shares = asked.shares or [machine.limit.limit_bytes for machine in asked.cluster.machines]
    return devices_of_layers(len(asked.model.blueprint.layers) + len(drafts), shares)


def layer_shares(asked: Asked, weights: Weights) -> list[int]:
    """Return the shares that split as was counted: layers of each device, draft layers and the output among them."""
    devices = devices_of(asked, weights)
    return [devices.count(number) for number in range(asked.size)]


def placed_weights(asked: Asked, weights: Weights) -> PlacedWeights:
    """Return where the file's tensors go."""
    blueprint, text = asked.model.blueprint, [each for each in weights.classes if each.part is Part.TEXT]
    devices = devices_of(asked, weights)
    output = devices[-1]
    held = [0] * asked.size
    on_host = 0
    for each in text:
        if each.role in EMBEDDINGS:
            on_host += each.total_bytes
            if blueprint.tied and each.role == EMBEDDINGS[0]:
                held[output] += each.total_bytes
            continue
        for device, count in _counts(each, blueprint, devices).items():
            held[device] += count * ceil_to(each.nbytes, ALIGNMENT)
    layers = tuple(
        tuple(index for index in range(len(blueprint.layers)) if devices[index] == device)
        for device in range(asked.size)
    )
    return PlacedWeights(layers, tuple(held), output, on_host)


def _counts(each: WeightClass, blueprint: Blueprint, devices: Sequence[int]) -> dict[int, int]:
    """Return how many of a class's tensors each device holds."""
    if each.role in ROTATIONS:
        rotated = {devices[index] for index, layer in enumerate(blueprint.layers) if _is_rotated_by_table(layer)}
        return dict.fromkeys(rotated, 1)
    counts: dict[int, int] = {}
    outside = devices[0 if each.role in WITH_FIRST_LAYER else -1]
    for layer in each.layers:
        device = outside if layer == OUTSIDE else devices[layer]
        counts[device] = counts.get(device, 0) + 1
    return counts


def _is_rotated_by_table(layer: Layer) -> bool:
    """Return whether a layer's rotation has factors of its own: where some layers have a window, only the others."""
    return isinstance(layer.mixer, Attention) and bool(layer.mixer.rotary) and not layer.mixer.window


def has_cache(layer: Layer) -> bool:
    """Return whether a layer has a KV cache of its own."""
    mixer = layer.mixer
    return isinstance(mixer, LatentAttention) or (isinstance(mixer, Attention) and not mixer.shared_cache)


def has_state(layer: Layer) -> bool:
    """Return whether a layer keeps a recurrent state."""
    return isinstance(layer.mixer, Recurrent)


def context_bytes(blueprint: Blueprint, settings: LlamaCppSettings, layers: Sequence[int]) -> tuple[int, int]:
    """Return the bytes of KV cache and state of some of a model's layers."""
    cells = settings.cells
    window = min(cells, sliding_limit(blueprint, settings))
    padded = 0 if settings.flash_attn else kinds_of(blueprint).widest_values
    kv = state = 0
    for index in layers:
        mixer = blueprint.layers[index].mixer
        if isinstance(mixer, Recurrent):
            state += mixer.state_elements + mixer.conv_elements
        elif isinstance(mixer, Attention | LatentAttention) and has_cache(blueprint.layers[index]):
            kv += (window if slides(mixer) else cells) * cell_bytes(mixer, settings, padded)
    return settings.streams * kv, settings.parallel * STATE_BYTES * state
