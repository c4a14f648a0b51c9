"""What llama-server comes to hold in use, beside what it has at the start: context checkpoints and a prompt cache.

Checkpoints are made where the memory of a sequence cannot be rolled back: layers with a state, or with a window. Each
is in ordinary memory and freed with its prompt. Source: tools/server/server-context.cpp and server-task.cpp of
llama.cpp (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Iterator

from deployfit.basis import Basis
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.caches import cell_bytes, kv_cache_bytes, sequence_state_bytes, slides
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.settings import NO_LIMIT, LlamaCppSettings
from deployfit.runtimes.runtime import HOST, MemoryPart
from deployfit.units import GIB, MIB, gib


def checkpoint_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> tuple[int, int]:
    """Return the size of one context checkpoint: bytes, and bytes for each token so far; 0 where none is made.

    >>> from deployfit.catalogue import models
    >>> checkpoint_bytes(models()["Qwen3.5-27B"].blueprint, LlamaCppSettings(32768))
    (156893184, 0)
    """
    own = sequence_state_bytes(blueprint) or _window_bytes(blueprint, settings)
    if not own:
        return 0, 0
    if not settings.drafting:
        return own, 0
    from deployfit.runtimes.llamacpp import drafting

    draft, per_token = drafting.checkpoint_bytes(blueprint, settings)
    return own + draft, per_token


def _window_bytes(blueprint: Blueprint, settings: LlamaCppSettings) -> int:
    """Return what layers with a window have of one sequence: the tokens that can still be seen."""
    if settings.swa_full:
        return 0
    return sum(
        count * cell_bytes(mixer, settings) * (getattr(mixer, "window", 0) or getattr(mixer, "chunk", 0))
        for mixer, count in kinds_of(blueprint).caches
        if slides(mixer)
    )


def later_parts(blueprint: Blueprint, settings: LlamaCppSettings) -> Iterator[MemoryPart]:
    """Yield what grows in use.

    One request at a time fills the checkpoints of one slot, if idle slots are cleared: as they are with one cache for
    all and a prompt cache to save them in.
    """
    own, per_token = checkpoint_bytes(blueprint, settings)
    if own and settings.ctx_checkpoints:
        most = settings.parallel * settings.ctx_checkpoints * (own + per_token * settings.cells)
        cleared = settings.kv_unified and settings.cache_ram != 0
        usual = settings.ctx_checkpoints * own * (1 if cleared else settings.parallel)
        detail = f"up to {settings.ctx_checkpoints} of {gib(own)} GiB for each slot that is busy"
        yield _later("checkpoints", "context checkpoints", "ctx_checkpoints", usual, most, Basis.DERIVED, detail)
    if settings.cache_ram == NO_LIMIT:
        usual = settings.parallel * own
        most = kv_cache_bytes(blueprint, settings) + usual
        detail = "states of earlier prompts, without a limit; this is one context of them"
        yield _later("prompt_cache", "prompt cache", "cache_ram", usual, most, Basis.ASSUMED, detail)
    elif settings.cache_ram:
        most = settings.cache_ram * MIB
        detail = f"states of earlier prompts, up to {most / GIB:g} GiB"
        yield _later("prompt_cache", "prompt cache", "cache_ram", most, most, Basis.DERIVED, detail)


def _later(name: str, label: str, setting: str, usual: int, most: int, basis: Basis, detail: str) -> MemoryPart:
    return MemoryPart(name, label, 0, most, basis, detail, HOST, later=True, usual_bytes=usual, setting=setting)
