"""llama.cpp as a runtime: what it loads, what it allocates beside, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.parameters import param
from deployfit.runtimes.llamacpp.batch import F32_BYTES
from deployfit.runtimes.llamacpp.caches import kv_cache_bytes, slides, sliding_limit, snapshots, state_bytes
from deployfit.runtimes.llamacpp.compute import ModelBuffers, buffers_of
from deployfit.runtimes.llamacpp.kinds import kinds_of
from deployfit.runtimes.llamacpp.placement import Placed, first_on_gpu, is_mapped, is_partial, largest_kept, placed
from deployfit.runtimes.llamacpp.refusals import check
from deployfit.runtimes.llamacpp.settings import (
    ALL,
    COLUMNS,
    CONTEXT_STEP,
    EVERY_LAYER,
    FORMATS,
    NAME,
    NO_METAL,
    SLOTS,
    LlamaCppSettings,
    settings_of,
)
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart, Runtime
from deployfit.units import gb, gib

if TYPE_CHECKING:
    from deployfit.quants.weights import Options, Weights
    from deployfit.runtimes.llamacpp.partial import PartialBuffers
    from deployfit.vision.largest import LargestImage

NOT_IN_METAL_FLASH_ATTENTION = ("iq4_nl",)
DRAFTING = "MTP drafting"
COPIED_AT_ONCE = 2  # matrices of the CPU: the next is copied before the last is given up


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
        text = placed(blueprint, weights.classes, Part.TEXT, settings, mtp=options.mtp)
        parts = list(_weights("weights", "weights", text, settings, weights.basis, detail))
        if is_partial(blueprint, settings, mtp=options.mtp):
            copied = COPIED_AT_ONCE * largest_kept(blueprint, weights.classes, settings, mtp=options.mtp)
            copy = _part(
                "weight_copy", "copies of weights", 0, Basis.ASSUMED, "of the CPU's, where the GPU reads prompts"
            )
            parts.append(copy._replace(upper_bytes=copied))
        if options.vision and blueprint.vision:
            from deployfit.runtimes.llamacpp.image import llamacpp_image_parts

            parts += llamacpp_image_parts(
                blueprint.vision,
                options.images,
                flash_attention=settings.flash_attn,
                mmproj_bytes=weights.vision_bytes,
            )
        elif options.vision and weights.vision_bytes:  # a tower of a kind that nobody described
            tower = _part("vision", "vision tower", weights.vision_bytes, Basis.DERIVED, "as in the file")
            parts.append(tower)
        if options.mtp:
            drafts = placed(blueprint, weights.classes, Part.MTP, settings, mtp=True)
            parts += _weights("draft_weights", DRAFTING, drafts, settings, Basis.DERIVED, "its weights")
        return parts

    def running(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Sequence[MemoryPart]:
        """Return caches, states, compute and output buffers, those of drafting, and what grows in use."""
        settings = started(settings, options)
        parts = [*self.kept(blueprint, settings, options), *_compute_parts(blueprint, settings, options)]
        if settings.outputs == SLOTS:
            parts.append(_output_part(blueprint, settings))
        if _drafts(settings, options):
            from deployfit.runtimes.llamacpp.drafting import draft_parts

            parts += draft_parts(blueprint, settings)
        if settings.ctx_checkpoints or settings.cache_ram:
            from deployfit.runtimes.llamacpp.later import later_parts

            parts += later_parts(blueprint, settings)
        return parts

    def kept(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Sequence[MemoryPart]:
        """Return caches and states; those of layers that are kept from the GPU lie in ordinary memory."""
        return list(_cache_parts(blueprint, started(settings, options), options))

    def least_bytes(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> int:
        """Return a lower bound of all that is running which never falls as the context grows."""
        settings = started(settings, options)
        least = kv_cache_bytes(blueprint, settings) + state_bytes(blueprint, settings)
        least += _buffers(blueprint, settings, options).least_bytes(settings)
        if _drafts(settings, options):
            from deployfit.runtimes.llamacpp.drafting import least_draft_bytes

            least += least_draft_bytes(blueprint, settings)
        return least

    def straight_until(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> int:
        """Return the context up to which what is running grows in a straight line, in whole steps from this one."""
        settings, step = started(settings, options), self.context_step(settings)
        if settings.context_tokens < settings.ubatch or settings.context_tokens % step:
            return settings.context_tokens
        cells = _buffers(blueprint, settings, options).straight_until(settings)
        if _drafts(settings, options):
            from deployfit.runtimes.llamacpp.drafting import straight_draft_cells

            cells = min(cells, straight_draft_cells(blueprint, settings))
        return min(cells // CONTEXT_STEP, self.most_context(blueprint, settings) // step) * step

    def most_context(self, blueprint: Blueprint, settings: LlamaCppSettings) -> int:
        """Return the longest context that is of use: the trained one, for each slot with a cache of its own."""
        return blueprint.trained_context * (settings.streams if settings.outputs == SLOTS else 1)

    def context_step(self, settings: LlamaCppSettings) -> int:
        """Return in which steps the context grows: the cells of each cache are padded."""
        return CONTEXT_STEP * settings.streams

    def sequences(self, settings: LlamaCppSettings) -> int:
        """Return how many sequences share the context."""
        return settings.parallel

    def states(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> int:
        """Return how many states of a sequence there are: one each, and with drafting one more for each token."""
        return settings.parallel * snapshots(blueprint, started(settings, options))

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
        columns = {name: getattr(settings, name) for name in COLUMNS}
        return columns | {
            "batch": settings.batch or None,
            "draft_model": settings.draft_model.name if settings.draft_model else None,
            "gpu_layers": None if settings.gpu_layers < 0 else settings.gpu_layers,
        }

    def extra_columns(
        self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options
    ) -> Mapping[str, int | None]:
        """Return the size of one context checkpoint, and what it has for each token so far."""
        from deployfit.runtimes.llamacpp.later import checkpoint_bytes

        size, per_token = checkpoint_bytes(blueprint, started(settings, options))
        return {"checkpoint_bytes": size, "checkpoint_bytes_per_token": per_token}

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
        notes = []
        if settings.kv_type_k != settings.kv_type_v or settings.kv_type_k in NOT_IN_METAL_FLASH_ATTENTION:
            notes.append(
                f"KV {settings.kv_type_k}/{settings.kv_type_v}: Metal's flash attention wants equal"
                " types and has no iq4_nl; attention falls to the CPU, slow and with memory not counted here"
            )
        if is_partial(blueprint, settings):
            notes.append(
                "what is kept from the GPU takes the same memory of a Mac; it only helps where the GPU limit is lower"
                " than what is free, and the CPU's part is several times slower; its compute buffers are an estimate,"
                " with room for copies of its weights on the GPU in the upper bound"
            )
        return notes

    def upper_note(self, upper: str) -> str:
        """Return what a user should know when the compute buffers' upper bound, in GiB, is much higher."""
        return (
            f"compute buffers can reach {upper} GiB on Metal"
            " (attention scratch, fragmentation); the reserve is for that"
        )

    def left_out(self, blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Sequence[str]:
        """Return what may be allocated that is not counted."""
        left_out = []
        if blueprint.drafts and not _drafts(settings, options):
            left_out.append(f"{DRAFTING} ({param('mtp')})")
        if settings.outputs == ALL:
            left_out.append("llama-server's prompt cache (up to 8 GiB of ordinary memory unless --cache-ram 0)")
        return left_out


def started(settings: LlamaCppSettings, options: Options) -> LlamaCppSettings:
    """Return the settings as they are started: with as many tokens drafted at once as something drafts."""
    drafts = _drafts(settings, options) and settings.outputs == SLOTS
    return settings._replace(drafting=settings.draft_max) if drafts else settings


def _drafts(settings: LlamaCppSettings, options: Options) -> bool:
    return options.mtp or settings.draft_model is not None


def _part(name: str, label: str, nbytes: int, basis: Basis, detail: str = "", where: str = DEVICE) -> MemoryPart:
    return MemoryPart(name, label, nbytes, nbytes, basis, detail, where)


def _weights(
    name: str, label: str, where: Placed, settings: LlamaCppSettings, basis: Basis, detail: str
) -> Iterable[MemoryPart]:
    """Yield weights in the GPU's buffers and in ordinary memory; where the file is mapped, a copy takes nothing."""
    yield _part(name, label, where.device_bytes, basis, detail)
    host, copy = where.host_bytes, where.copy_bytes
    if host or copy:
        kept = settings.gpu_layers != EVERY_LAYER or settings.cpu_moe or settings.n_cpu_moe
        words = "kept from the GPU" if kept else "looked up by the CPU" if host else "the same pages of the file"
        part = _part(name, label, host + (0 if is_mapped(settings) else copy), basis, words, HOST)
        yield part._replace(upper_bytes=host + copy)


def _cache_parts(blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Iterable[MemoryPart]:
    """Yield caches and states; those of layers that are kept from the GPU lie in ordinary memory."""
    shares = [(blueprint, DEVICE)]
    if first := min(first_on_gpu(blueprint, settings, mtp=options.mtp), len(blueprint.layers)):
        layers = blueprint.layers
        shares = [
            (blueprint._replace(layers=layers[first:]), DEVICE),
            (blueprint._replace(layers=layers[:first]), HOST),
        ]
    for own, where in shares:
        cache = kv_cache_bytes(own, settings)
        if cache or where == DEVICE:
            yield _part("kv_cache", "KV cache", cache, Basis.EXACT, _cache_detail(own, settings), where)
    for own, where in shares:
        if state := state_bytes(own, settings):
            yield _part("recurrent_state", "recurrent state", state, Basis.EXACT, _state_detail(own, settings), where)


def _buffers(blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> ModelBuffers | PartialBuffers:
    """Return the compute buffers, on both sides where something is kept from the GPU."""
    if not is_partial(blueprint, settings, mtp=options.mtp):
        return buffers_of(blueprint)
    from deployfit.runtimes.llamacpp.partial import partial_buffers_of

    first = min(first_on_gpu(blueprint, settings, mtp=options.mtp), len(blueprint.layers))
    return partial_buffers_of(blueprint, first)


def _compute_parts(blueprint: Blueprint, settings: LlamaCppSettings, options: Options) -> Iterable[MemoryPart]:
    compute, label = _buffers(blueprint, settings, options).buffers(settings), "compute buffers"
    basis = Basis.ASSUMED if is_partial(blueprint, settings, mtp=options.mtp) else Basis.DERIVED
    device = _part("compute", label, compute.device_bytes, basis)
    if settings.metal == NO_METAL:
        device = device._replace(detail=f"at most {gib(compute.upper_bytes)} on Metal")
        device = device._replace(upper_bytes=compute.device_upper_bytes)
    elif basis is Basis.ASSUMED and not compute.metal_bytes:
        device = device._replace(upper_bytes=compute.device_upper_bytes)
    yield device
    if compute.metal_bytes:
        words = "behind the results of flash attention"
        scratch = _part("metal_scratch", "Metal's scratch", compute.metal_bytes, basis, words)
        yield scratch._replace(upper_bytes=compute.device_upper_bytes - compute.device_bytes)
    host = _part("compute", label, compute.host_bytes, basis, where=HOST)
    yield host._replace(upper_bytes=max(compute.host_bytes, compute.host_upper_bytes))


def _output_part(blueprint: Blueprint, settings: LlamaCppSettings) -> MemoryPart:
    """Return the buffer of logits: a row for each slot, more as drafts are verified, and hidden states then."""
    logits = F32_BYTES * blueprint.vocab
    start, most = settings.parallel * logits, settings.output_rows * logits
    if settings.drafting and settings.draft_model is None:
        most += F32_BYTES * blueprint.hidden * settings.largest_batch
    part = _part("output", "output buffer", start, Basis.EXACT, "logits of each slot", HOST)
    return part._replace(upper_bytes=max(start, most))


def _share(blueprint: Blueprint, layers: int) -> str:
    return f"{layers} of {len(blueprint.layers)} layers"


def _cache_detail(blueprint: Blueprint, settings: LlamaCppSettings) -> str:
    kinds, window = kinds_of(blueprint), sliding_limit(blueprint, settings)
    share = _share(blueprint, kinds.cached_layers)
    if window >= settings.cells:
        return f"{share} have one"
    return f"{share}, {sum(count for mixer, count in kinds.caches if slides(mixer))} for {window:,} tokens"


def _state_detail(blueprint: Blueprint, settings: LlamaCppSettings) -> str:
    kept = snapshots(blueprint, settings)
    more = f", and {kept - 1} more of each for drafts" if kept > 1 else ""
    return f"{_share(blueprint, kinds_of(blueprint).recurrent_layers)}, fixed per sequence{more}"


RUNTIME: Runtime = LlamaCpp()
