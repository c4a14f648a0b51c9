"""What drafting costs: a second context beside the model's, with the MTP layer or with a separate model in it.

Source: common_base_params_to_speculative and common_speculative_init in llama.cpp's common/speculative.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployfit.basis import Basis
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.runtimes.llamacpp.batch import F32_BYTES
from deployfit.runtimes.llamacpp.caches import cell_bytes, kv_cache_bytes, sequence_state_bytes, state_bytes
from deployfit.runtimes.llamacpp.compute import ComputeBuffers, ModelBuffers, buffers_of
from deployfit.runtimes.llamacpp.inputs import I32_BYTES
from deployfit.runtimes.llamacpp.kinds import NO_END
from deployfit.runtimes.llamacpp.placement import is_mapped, placed
from deployfit.runtimes.llamacpp.settings import ALL, EVERY_LAYER, LlamaCppSettings
from deployfit.runtimes.runtime import DEVICE, HOST, DraftModel, MemoryPart

DRAFTING = "MTP drafting"
DRAFT_CACHE_TYPE = "f16"  # whatever the type of the model's own cache


def draft_settings(settings: LlamaCppSettings) -> LlamaCppSettings:
    """Return the settings of the context that drafts: as long as the model's as it was padded, with an F16 cache."""
    return settings._replace(
        context_tokens=settings.cells * settings.streams,
        kv_type_k=DRAFT_CACHE_TYPE,
        kv_type_v=DRAFT_CACHE_TYPE,
        drafting=0,
        draft_model=None,
        gpu_layers=EVERY_LAYER,
        cpu_moe=False,
        n_cpu_moe=0,
    )


def draft_parts(blueprint: Blueprint, settings: LlamaCppSettings) -> list[MemoryPart]:
    """Return what drafting allocates beside the MTP layer's weights; a separate model's weights are among it.

    With the library's own settings, in which nothing drafts, it is what MTP would take: a cache, a state kept for each
    drafted token, and the logits of a whole micro-batch once more.
    """
    if settings.outputs == ALL and settings.draft_model is None:
        return list(_library_parts(blueprint, settings))
    return list(_server_parts(blueprint, settings))


def _library_parts(blueprint: Blueprint, settings: LlamaCppSettings) -> Iterator[MemoryPart]:
    own = settings._replace(kv_type_k=DRAFT_CACHE_TYPE, kv_type_v=DRAFT_CACHE_TYPE)
    mixers = [draft.layer.mixer for draft in blueprint.drafts]
    cells = [cell_bytes(mixer, own) for mixer in mixers if isinstance(mixer, Attention | LatentAttention)]
    yield _part("draft_kv_cache", own.cells * own.streams * sum(cells), "its KV cache")
    if kept := settings.draft_max * state_bytes(blueprint, settings):
        yield _part("draft_state", kept, "snapshots of the state")
    yield _part("draft_compute", buffers_of(blueprint).least_bytes(own), "its compute buffers")


def _server_parts(blueprint: Blueprint, settings: LlamaCppSettings) -> Iterator[MemoryPart]:
    own, model = draft_settings(settings), settings.draft_model
    label, drafter, buffers = drafter_of(blueprint, settings)
    if model:
        yield from _model_parts(model, own)
    yield _part("draft_kv_cache", kv_cache_bytes(drafter, own), "its KV cache", label=label, basis=Basis.EXACT)
    if model and (state := state_bytes(drafter, own)):
        yield _part("draft_state", state, "its recurrent state", label=label, basis=Basis.EXACT)
    yield from compute_parts(buffers.buffers(own), "draft_", label)
    start = F32_BYTES * own.parallel * drafter.vocab
    # Behind the logits: the chosen candidates' logits and probabilities, their numbers, and one hidden state.
    most = own.parallel * (3 * F32_BYTES * drafter.vocab + I32_BYTES * (1 + drafter.vocab) + F32_BYTES * drafter.hidden)
    output = _part("draft_output", start, "its logits", label=label, where=HOST)
    yield output._replace(upper_bytes=start if model else most)


def drafter_of(blueprint: Blueprint, settings: LlamaCppSettings) -> tuple[str, Blueprint, ModelBuffers]:
    """Return what the parts are called, the model that the context holds, and its compute buffers."""
    model = settings.draft_model
    if model:
        return f"drafting with {model.name}", model.blueprint, buffers_of(model.blueprint)
    from deployfit.runtimes.llamacpp.draft_graph import draft_buffers_of

    buffers = draft_buffers_of(blueprint)
    return DRAFTING, buffers.blueprint, buffers


def least_draft_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return a lower bound of drafting's parts that never falls as the context grows."""
    if settings.outputs == ALL and settings.draft_model is None:
        return sum(part.nbytes for part in _library_parts(blueprint, settings))
    own = draft_settings(settings)
    _, drafter, buffers = drafter_of(blueprint, settings)
    return kv_cache_bytes(drafter, own) + state_bytes(drafter, own) + buffers.least_bytes(own)


def straight_draft_cells(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return up to how many cells of a sequence's context drafting's parts grow in a straight line."""
    if settings.outputs == ALL and settings.draft_model is None:
        return NO_END
    return drafter_of(blueprint, settings)[2].straight_until(draft_settings(settings))


def _model_parts(model: DraftModel, settings: LlamaCppSettings) -> Iterator[MemoryPart]:
    label, weights = f"drafting with {model.name}", model.weights
    where = placed(model.blueprint, weights.classes, Part.TEXT, settings, mtp=False)
    copy = 0 if is_mapped(settings) else where.copy_bytes
    yield _part("draft_weights", where.device_bytes, f"{weights.recipe}", label=label, basis=weights.basis)
    host = _part("draft_weights", where.host_bytes + copy, "", label=label, basis=weights.basis, where=HOST)
    if where.host_bytes or where.copy_bytes:
        yield host._replace(upper_bytes=where.host_bytes + where.copy_bytes)


def compute_parts(compute: ComputeBuffers, prefix: str, label: str) -> Iterator[MemoryPart]:
    """Return compute buffers as parts: the device's, what Metal adds to it, and the host's."""
    words = "its compute buffers" if prefix else ""
    yield _part(f"{prefix}compute", compute.device_bytes, words, label=label)
    if compute.metal_bytes:
        words = "flash attention's, with F16 copies of one layer's keys and values"
        yield _part(f"{prefix}metal_scratch", compute.metal_bytes, words, label=label if prefix else "Metal's scratch")
    yield _part(f"{prefix}compute", compute.host_bytes, "", label=label, where=HOST)


def checkpoint_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> tuple[int, int]:
    """Return what a context checkpoint has of the context that drafts: bytes, and bytes for each token so far.

    The state of a draft model that has one; else its whole cache, of which no part can be left out.
    """
    own = draft_settings(settings)
    model = settings.draft_model
    drafter = model.blueprint if model else drafter_of(blueprint, settings)[1]
    if state := sequence_state_bytes(drafter):
        return state, 0
    whole = kv_cache_bytes(drafter, own)
    return 0, whole // (own.cells * own.streams)


def _part(
    name: str, nbytes: int, detail: str, *, label: str = DRAFTING, basis: Basis = Basis.DERIVED, where: str = DEVICE
) -> MemoryPart:
    return MemoryPart(name, label, nbytes, nbytes, basis, detail, where)
