"""llama.cpp as a runtime: what it loads, what it allocates beside, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Draft
from deployfit.parameters import param
from deployfit.runtimes.llamacpp.caches import cell_bytes, kv_cache_bytes, slides, sliding_limit, state_bytes
from deployfit.runtimes.llamacpp.compute import buffers_of
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.refusals import check
from deployfit.runtimes.llamacpp.settings import CONTEXT_STEP, FORMATS, NAME, LlamaCppSettings, settings_of
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart, Runtime
from deployfit.units import gb, gib

if TYPE_CHECKING:
    from deployfit.quants.weights import Options, Weights
    from deployfit.vision.largest import LargestImage

NOT_IN_METAL_FLASH_ATTENTION = ("iq4_nl",)
DRAFT_TOKENS = 3  # llama.cpp's default --spec-draft-n-max; the state is kept once more for each
DRAFTING = "MTP drafting"


class LlamaCpp:
    """The engine."""

    name = NAME
    formats = FORMATS

    def settings(self, context_tokens: int, typed: Mapping[str, str]) -> LlamaCppSettings:
        """Return settings from what was typed."""
        return settings_of(context_tokens, typed)

    def check(self, blueprint: Blueprint, settings: LlamaCppSettings) -> None:
        """Raise InputError for what the engine would refuse."""
        check(blueprint, settings)

    def loaded(
        self, blueprint: Blueprint, weights: Weights, options: Options, settings: LlamaCppSettings
    ) -> Sequence[MemoryPart]:
        """Return the weights, the MTP layer's if it drafts, and the vision tower's: mmproj if it is in no file."""
        detail = f"{weights.bits_per_weight:.2f} bits per weight; file {gb(weights.file_bytes)} GB"
        parts = [_part("weights", "weights", weights.text_bytes, weights.basis, detail)]
        if options.vision and blueprint.vision:
            from deployfit.runtimes.llamacpp.image import llamacpp_image_parts

            parts += llamacpp_image_parts(
                blueprint.vision,
                options.images,
                flash_attention=settings.flash_attn,
                mmproj_bytes=weights.vision_bytes,
            )
        if options.mtp:
            parts.append(_part("draft_weights", DRAFTING, weights.mtp_bytes, Basis.DERIVED, "its weights"))
        return parts

    def running(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Sequence[MemoryPart]:
        """Return caches, state and compute buffers, and those of drafting."""
        cache, state = kv_cache_bytes(blueprint, settings), state_bytes(blueprint, settings)
        parts = [_part("kv_cache", "KV cache", cache, Basis.EXACT, _cache_detail(blueprint, settings))]
        if state:
            detail = f"{_share(blueprint, kinds_of(blueprint).recurrent_layers)}, fixed per sequence"
            parts.append(_part("recurrent_state", "recurrent state", state, Basis.EXACT, detail))
        compute = buffers_of(blueprint).buffers(settings)
        label = "compute buffers"
        device = _part(
            "compute", label, compute.device_bytes, Basis.DERIVED, f"at most {gib(compute.upper_bytes)} on Metal"
        )
        parts.append(device._replace(upper_bytes=compute.device_upper_bytes))
        parts.append(_part("compute", label, compute.host_bytes, Basis.DERIVED, where=HOST))
        if options.mtp:
            parts += _draft_parts(blueprint, settings)
        return parts

    def least_bytes(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> int:
        """Return a lower bound of all that is running which never falls as the context grows."""
        caches = kv_cache_bytes(blueprint, settings) + state_bytes(blueprint, settings)
        drafting = sum(part.nbytes for part in _draft_parts(blueprint, settings)) if options.mtp else 0
        return caches + buffers_of(blueprint).least_bytes(settings) + drafting

    def straight_until(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> int:
        """Return the context up to which what is running grows in a straight line, in whole steps from this one."""
        step = self.context_step(settings)
        if settings.context_tokens < settings.ubatch or settings.context_tokens % step:
            return settings.context_tokens
        cells = buffers_of(blueprint).straight_until(settings)
        return min(cells // CONTEXT_STEP, blueprint.trained_context // step) * step

    def context_step(self, settings: LlamaCppSettings) -> int:
        """Return in which steps the context grows: the cells of each cache are padded."""
        return CONTEXT_STEP * settings.streams

    def sequences(self, settings: LlamaCppSettings) -> int:
        """Return how many sequences share the context."""
        return settings.parallel

    @property
    def planned(self) -> Sequence[Mapping[str, str]]:
        """The settings that a plan compares: KV caches of fewer and fewer bits."""
        return ({}, {"kv_type": "q8_0"}, {"kv_type": "q4_0"})

    def brief(self, settings: LlamaCppSettings) -> str:
        """Return the KV cache in a word or two.

        >>> RUNTIME.brief(LlamaCppSettings(1, "q8_0", "q8_0"))
        'KV q8_0'
        """
        keys, values = settings.kv_type_k, settings.kv_type_v
        return f"KV {keys}" if keys == values else f"KV {keys}/{values}"

    def headline(self, settings: LlamaCppSettings) -> str:
        """Return the settings in words.

        >>> RUNTIME.headline(LlamaCppSettings(32768))
        'context 32,768 tokens, KV f16/f16, micro-batch 512'
        """
        shared = " in one cache" if settings.kv_unified and settings.parallel > 1 else ""
        sequences = f" for {settings.parallel} sequences{shared}" if settings.parallel > 1 else ""
        full = ", whole context in every layer" if settings.swa_full else ""
        plain = "" if settings.flash_attn else ", no flash attention"
        return (
            f"context {settings.context_tokens:,} tokens{sequences},"
            f" KV {settings.kv_type_k}/{settings.kv_type_v}, micro-batch {settings.ubatch}{full}{plain}"
        )

    def columns(self, settings: LlamaCppSettings) -> Mapping[str, int | str | bool | None]:
        """Return the settings by parameter."""
        return {
            "kv_type_k": settings.kv_type_k,
            "kv_type_v": settings.kv_type_v,
            "parallel": settings.parallel,
            "ubatch": settings.ubatch,
            "kv_unified": settings.kv_unified,
            "swa_full": settings.swa_full,
            "flash_attn": settings.flash_attn,
        }

    def thriftier(
        self, blueprint: Blueprint, settings: LlamaCppSettings
    ) -> Iterable[tuple[Mapping[str, str], LlamaCppSettings]]:
        """Yield smaller KV caches that the engine does not refuse."""
        if settings.kv_type_k not in ("f32", "f16", "bf16"):
            return
        for kv_type in ("q8_0", "q4_0"):
            smaller = settings._replace(kv_type_k=kv_type, kv_type_v=kv_type)
            try:
                check(blueprint, smaller)
            except InputError:
                continue
            yield {"kv_type": kv_type}, smaller

    def largest_image(
        self, blueprint: Blueprint, settings: LlamaCppSettings, parts: Sequence[MemoryPart], free_bytes: int
    ) -> LargestImage | None:
        """Return the largest image that still fits beside the parts; None if none does, or the model sees none."""
        from deployfit.runtimes.llamacpp.image import largest_image

        tower, cells = blueprint.vision, settings.context_tokens
        return largest_image(tower, free_bytes, cells, flash_attention=settings.flash_attn) if tower else None

    def notes(
        self, blueprint: Blueprint, settings: LlamaCppSettings, weights_bytes: int, total_bytes: int, limit_bytes: int
    ) -> Sequence[str]:
        """Return what a user should know of these settings."""
        if settings.kv_type_k == settings.kv_type_v and settings.kv_type_k not in NOT_IN_METAL_FLASH_ATTENTION:
            return []
        return [
            f"KV {settings.kv_type_k}/{settings.kv_type_v}: Metal's flash attention wants equal"
            " types and has no iq4_nl; attention falls to the CPU, slow and with memory not counted here"
        ]

    def upper_note(self, upper: str) -> str:
        """Return what a user should know when the compute buffers' upper bound, in GiB, is much higher."""
        return (
            f"compute buffers can reach {upper} GiB on Metal"
            " (attention scratch, fragmentation); the reserve is for that"
        )

    def left_out(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Sequence[str]:
        """Return what may be allocated that is not counted."""
        drafting = [f"{DRAFTING} ({param('mtp')})"] if blueprint.drafts and not options.mtp else []
        return [*drafting, "llama-server's prompt cache (up to 8 GiB of ordinary memory unless --cache-ram 0)"]


def _part(name: str, label: str, nbytes: int, basis: Basis, detail: str = "", where: str = DEVICE) -> MemoryPart:
    return MemoryPart(name, label, nbytes, nbytes, basis, detail, where)


def _share(blueprint: Blueprint, layers: int) -> str:
    return f"{layers} of {len(blueprint.layers)} layers"


def _cache_detail(blueprint: Blueprint, settings: LlamaCppSettings) -> str:
    kinds, window = kinds_of(blueprint), sliding_limit(blueprint, settings)
    share = _share(blueprint, kinds.cached_layers)
    if window >= settings.cells:
        return f"{share} have one"
    return f"{share}, {sum(count for mixer, count in kinds.caches if slides(mixer))} for {window:,} tokens"


def _draft_parts(blueprint: Blueprint, settings: LlamaCppSettings) -> list[MemoryPart]:
    """Return what drafting with the MTP layers allocates beside their weights.

    A KV cache of their own (F16 whatever the main one is), a snapshot of the recurrent state per drafted token, and
    the compute buffers of a second context: a single layer needs what the head needs.
    """
    draft = settings._replace(kv_type_k="f16", kv_type_v="f16")
    cache = sum(_draft_cache_bytes(each, draft) for each in blueprint.drafts)
    state = DRAFT_TOKENS * state_bytes(blueprint, settings)
    compute = buffers_of(blueprint).least_bytes(draft)
    parts = [_part("draft_kv_cache", DRAFTING, cache, Basis.DERIVED, "its KV cache")]
    if state:
        parts.append(_part("draft_state", DRAFTING, state, Basis.DERIVED, "snapshots of the state"))
    parts.append(_part("draft_compute", DRAFTING, compute, Basis.DERIVED, "its compute buffers"))
    return parts


def _draft_cache_bytes(draft: Draft, settings: LlamaCppSettings) -> int:
    mixer = draft.layer.mixer
    if not isinstance(mixer, Attention | LatentAttention):
        return 0
    return settings.cells * settings.streams * cell_bytes(mixer, settings)


RUNTIME: Runtime = LlamaCpp()
