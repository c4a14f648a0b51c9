"""Which weights and caches lie in the GPU's buffers, and which in ordinary memory.

Tables that are looked up stay in ordinary memory; of the layers the last ones go to the GPU, the head first of all.
Source: llama_model_base::load_tensors in llama.cpp's src/llama-model.cpp, llm_ffn_exps_cpu_override in common/common.h.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.quants.weights import EMBEDDINGS
from deployfit.runtimes.llamacpp.settings import EVERY_LAYER, MAPPED, LlamaCppSettings
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.quants.weights import WeightClass

TIED = EMBEDDINGS[0]  # serves as the head too
OF_FIRST_LAYER = ("per_layer_model_proj", "per_layer_proj_norm")  # outside of layers, and where the first one lies
BOTH_SIDES = ("rope_freqs",)  # where layers lie on both sides, each has them


class Placed(NamedTuple):
    """Bytes of weights in the GPU's buffers and in ordinary memory.

    `copy_bytes`: what ordinary memory has of them once more, for a tied embedding is on the GPU as the head; unless the
    file's pages are read into buffers, both are the same pages.
    """

    device_bytes: int
    host_bytes: int
    copy_bytes: int


def first_on_gpu(blueprint: Blueprint, settings: LlamaCppSettings, *, mtp: bool) -> int:
    """Return the first layer that goes to the GPU; the head counts as one layer more than there are."""
    if settings.gpu_layers == EVERY_LAYER:
        return 0
    layers = len(blueprint.layers) + (len(blueprint.drafts) if mtp else 0)
    return max(0, layers + 1 - settings.gpu_layers)


def is_partial(blueprint: Blueprint, settings: LlamaCppSettings, *, mtp: bool = False) -> bool:
    """Return whether something is kept from the GPU that could go there."""
    experts = (settings.cpu_moe or settings.n_cpu_moe) and blueprint.experts is not None
    return bool(experts) or first_on_gpu(blueprint, settings, mtp=mtp) > 0


def placed(
    blueprint: Blueprint, classes: Iterable[WeightClass], part: Part, settings: LlamaCppSettings, *, mtp: bool
) -> Placed:
    """Return where a part of the weights lies."""
    first = first_on_gpu(blueprint, settings, mtp=mtp)
    head_on_gpu = settings.gpu_layers != 0
    whole = first == 0 and head_on_gpu and not settings.cpu_moe and not settings.n_cpu_moe
    device = host = copy = 0
    for each in classes:
        if each.part is not part:
            continue
        if each.role in EMBEDDINGS and part is Part.TEXT:
            if each.role == TIED and blueprint.tied and head_on_gpu:
                device += each.total_bytes
                copy += each.total_bytes
            else:
                host += each.total_bytes
            continue
        if whole:
            device += each.total_bytes
            continue
        if first and each.role in BOTH_SIDES:
            host += each.total_bytes
        for layer in each.layers:
            on_gpu = head_on_gpu if layer == OUTSIDE and each.role not in OF_FIRST_LAYER else layer >= first
            if each.is_experts and (settings.cpu_moe or layer < settings.n_cpu_moe):
                on_gpu = False
            device += each.nbytes * on_gpu
            host += each.nbytes * (not on_gpu)
    return Placed(device, host, copy)


def largest_kept(blueprint: Blueprint, classes: Iterable[WeightClass], settings: LlamaCppSettings, *, mtp: bool) -> int:
    """Return the bytes of the largest matrix that is kept from the GPU and multiplied with."""
    most = 0
    for each in classes:
        if each.part is Part.TEXT and ((each.role == TIED and blueprint.tied) or each.role not in EMBEDDINGS):
            alone = each._replace(layers=(min(each.layers),))
            if placed(blueprint, [alone], Part.TEXT, settings, mtp=mtp).host_bytes:
                most = max(most, each.nbytes)
    return most


def is_mapped(settings: LlamaCppSettings) -> bool:
    """Return whether the file's own pages serve as memory."""
    return settings.load_mode in MAPPED
