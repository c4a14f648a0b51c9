"""MLX as a runtime: what mlx-lm allocates for a model, and what its users should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.layers.blueprint import Blueprint
from deployfit.parameters import param
from deployfit.quants.weights import Options, Weights
from deployfit.runtimes.mlx.caches import (
    CACHE_STEP,
    kv_cache_bytes,
    rotating,
    seen_tokens,
    state_bytes,
    stays_unquantized,
    why_not_quantized,
)
from deployfit.runtimes.mlx.prefill import peak_bytes, prefill_upper_bytes, scores_bytes
from deployfit.runtimes.mlx.settings import COLUMNS, DEFAULT_PREFILL_STEP, FORMATS, NAME, MlxSettings, settings_of
from deployfit.runtimes.runtime import DraftModel, MemoryPart
from deployfit.units import gb, gib

if TYPE_CHECKING:
    from deployfit.vision.largest import LargestImage

THRIFTY_PREFILL_STEP = 512
QUANTIZED_KV_START = 5000  # mlx-lm's default: a shorter cache stays as it is
MEMORY_LIMIT_SHARE = 95  # percent of the memory: mlx's own limit on every Mac whose GPU limit was not lowered
WARNED_SHARE = 90  # percent of the GPU limit from which mlx-lm warns


class Mlx:
    """mlx-lm, and mlx-vlm where images are read."""

    name = NAME
    formats = FORMATS

    def settings(self, context_tokens: int, typed: Mapping[str, str]) -> MlxSettings:
        """Return settings from what was typed."""
        return settings_of(context_tokens, typed)

    def check(self, blueprint: Blueprint, settings: MlxSettings) -> None:
        """Raise InputError for what mlx-lm would refuse, or what the model was not trained for."""
        trained = blueprint.trained_context
        if not 1 <= settings.context_tokens <= trained:
            raise InputError(
                f"{param('context')}: {settings.context_tokens:,} tokens; choose from 1 to the trained {trained:,}"
            )
        if settings.prompt > settings.context_tokens:
            raise InputError(
                f"{param('prompt')}: {settings.prompt:,} tokens are more than the context of"
                f" {settings.context_tokens:,}; ask for more with {param('context')}"
            )
        reason = why_not_quantized(blueprint) if settings.quantized else ""
        if settings.quantized and rotating(blueprint, settings).max_kv_size:
            reason = f"mlx-lm cannot quantize caches that rotate; leave out {param('max_kv_size')}"
        if reason:
            raise InputError(f"{param('kv_bits')}: {reason}; choose 16")
        if settings.draft_model:
            self._check_draft_model(blueprint, settings.draft_model)

    def _check_draft_model(self, blueprint: Blueprint, model: DraftModel) -> None:
        for each in (blueprint, model.blueprint):
            if each.recurrents:
                raise InputError(
                    f"{param('draft_model')}: mlx-lm drafts only with caches that can be cut back, and states cannot"
                    " (Speculative decoding requires a trimmable prompt cache); leave it out"
                )

    def loaded(
        self, blueprint: Blueprint, weights: Weights, options: Options, settings: MlxSettings
    ) -> Sequence[MemoryPart]:
        """Return the text model, and the vision tower if images are to be read."""
        if options.mtp:
            raise InputError(f"mlx-lm and mlx-vlm drop the MTP layer; leave out {param('mtp')}")
        text = weights.text_bytes
        detail = f"{weights.bits_per_weight:.2f} bits per weight; file {gb(weights.file_bytes)} GB"
        parts = [MemoryPart("weights", "weights", text, text, weights.basis, detail)]
        if options.vision:
            vision = weights.vision_bytes
            parts.append(MemoryPart("vision", "vision tower", vision, vision, Basis.DERIVED, "as in the file"))
        return parts

    def running(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> Sequence[MemoryPart]:
        """Return caches, states and the memory of a prefill."""
        parts, sequences = [*self.kept(blueprint, settings, options)], settings.at_once
        settings = rotating(blueprint, settings)
        work, upper = peak_bytes(blueprint, settings), prefill_upper_bytes(blueprint, settings)
        read = f"a prompt of {settings.prompt:,} tokens" if settings.prompt else "a full context"
        peak = f"peak while {read} is read in; {gib(upper)} GiB with Metal's buffer cache"
        basis = Basis.DERIVED if sequences == 1 else Basis.ASSUMED
        parts.append(MemoryPart("compute", "prefill memory", work, upper, basis, peak))
        if settings.draft_model:
            parts += _draft_parts(settings, settings.draft_model)
        if options.images and blueprint.vision:
            from deployfit.runtimes.mlx.image import mlx_image_parts

            parts += mlx_image_parts(blueprint.vision, options.images, prefill_bytes=work)
        if settings.prompt_cache_size:
            parts.append(_prompt_caches(blueprint, settings))
        return parts

    def kept(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> Sequence[MemoryPart]:
        """Return caches and states."""
        settings, sequences = rotating(blueprint, settings), settings.at_once
        kv, state = (sequences * each for each in (kv_cache_bytes(blueprint, settings), state_bytes(blueprint)))
        parts = [MemoryPart("kv_cache", "KV cache", kv, kv, Basis.EXACT, _cached_layers(blueprint))]
        if state:
            told = _state_layers(blueprint)
            parts.append(MemoryPart("recurrent_state", "recurrent state", state, state, Basis.EXACT, told))
        return parts

    def least_bytes(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> int:
        """Return all of it: nothing falls as the context grows."""
        settings = rotating(blueprint, settings)
        caches = settings.at_once * (kv_cache_bytes(blueprint, settings) + state_bytes(blueprint))
        drafts = _draft_parts(settings, settings.draft_model) if settings.draft_model else []
        return caches + peak_bytes(blueprint, settings) + sum(part.nbytes for part in drafts)

    def straight_until(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> int:
        """Return the trained context once a chunk and all windows are full, and whole layers need the most scores."""
        if settings.prompt or settings.draft_model or rotating(blueprint, settings).max_kv_size:
            return settings.context_tokens
        mixers = set(blueprint.attentions)
        narrow = {mixer for mixer in mixers if seen_tokens(mixer)}
        widest = max(map(seen_tokens, narrow), default=0)
        least = widest + 2 * settings.prefill_step_size if widest else settings.prefill_step_size
        if settings.context_tokens < least or settings.context_tokens % CACHE_STEP:
            return settings.context_tokens
        most = [
            max((scores_bytes(mixer, blueprint.model_type, settings) for mixer in some), default=0)
            for some in (narrow, mixers - narrow)
        ]
        if 0 < most[1] < most[0]:
            return settings.context_tokens
        return blueprint.trained_context // CACHE_STEP * CACHE_STEP

    def context_step(self, settings: MlxSettings) -> int:
        """Return in which steps the caches grow."""
        return CACHE_STEP

    def most_context(self, blueprint: Blueprint, settings: MlxSettings) -> int:
        """Return the trained context."""
        return blueprint.trained_context

    def sequences(self, settings: MlxSettings) -> int:
        """Return how many are computed at once."""
        return settings.at_once

    def states(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> int:
        """Return as many as there are sequences."""
        return self.sequences(settings)

    @property
    def planned(self) -> Sequence[Mapping[str, str]]:
        """The settings that a plan compares: KV caches of fewer and fewer bits."""
        return ({}, {"kv_bits": "8"}, {"kv_bits": "4"})

    def brief(self, settings: MlxSettings) -> str:
        """Return the KV cache in a word or two, and a prefill step that is not the usual one.

        >>> RUNTIME.brief(MlxSettings(1, 8, 512))
        'KV 8 bits, step 512'
        """
        kv = f"KV {settings.kv_bits} bits"
        step = settings.prefill_step_size
        return kv if step == DEFAULT_PREFILL_STEP else f"{kv}, step {step}"

    def headline(self, settings: MlxSettings) -> str:
        """Return the settings in words."""
        kv = f"{settings.kv_bits}-bit" if settings.quantized else "bf16"
        prompt = f", {settings.prompt:,} of them the prompt" if settings.prompt else ""
        each = f" for each of {settings.at_once} sequences" if settings.at_once > 1 else ""
        most = f" of at most {settings.max_kv_size:,} tokens" if settings.max_kv_size else ""
        return (
            f"context {settings.context_tokens:,} tokens{prompt}{each}, KV {kv}{most},"
            f" prefill step {settings.prefill_step_size:,}"
        )

    def columns(self, settings: MlxSettings) -> Mapping[str, int | str | bool | None]:
        """Return the settings by parameter."""
        columns = {name: getattr(settings, name) for name in COLUMNS}
        return columns | {
            **{name: columns[name] or None for name in ("prompt", "max_kv_size", "prompt_cache_bytes")},
            "draft_model": settings.draft_model.name if settings.draft_model else None,
        }

    def extra_columns(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> Mapping[str, int | None]:
        """Return none: mlx-lm keeps nothing of which the parts say only how much it is together."""
        return {}

    def thriftier(self, blueprint: Blueprint, settings: MlxSettings) -> Iterator[tuple[Mapping[str, str], MlxSettings]]:
        """Yield what needs less: a smaller prefill step costs speed, a quantized cache precision."""
        if settings.prefill_step_size > THRIFTY_PREFILL_STEP:
            step = settings._replace(prefill_step_size=THRIFTY_PREFILL_STEP)
            yield {"prefill_step_size": str(THRIFTY_PREFILL_STEP)}, step
        if not settings.quantized and not why_not_quantized(blueprint):
            for bits in (8, 4):
                yield {"kv_bits": str(bits)}, settings._replace(kv_bits=bits)

    def largest_image(
        self, blueprint: Blueprint, settings: MlxSettings, parts: Sequence[MemoryPart], free_bytes: int
    ) -> LargestImage | None:
        """Return the largest image that still fits beside the parts; None if none does, or the model sees none."""
        from deployfit.runtimes.mlx.image import largest_image

        work = sum(part.nbytes for part in parts if part.name == "compute")
        tower, cells = blueprint.vision, settings.context_tokens
        return largest_image(tower, free_bytes, cells, prefill_bytes=work) if tower else None

    def notes(
        self, blueprint: Blueprint, settings: MlxSettings, weights_bytes: int, total_bytes: int, limit_bytes: int
    ) -> Sequence[str]:
        """Return mlx-lm's own warning, and what happens beyond the limit."""
        notes = []
        if weights_bytes > limit_bytes * WARNED_SHARE // 100:
            notes.append(
                f"mlx-lm warns of weights of {gib(weights_bytes)} GiB where Metal recommends at most"
                f" {gib(limit_bytes)} GiB: it can be slow"
            )
        if total_bytes > limit_bytes:
            notes.append(
                f"beyond the GPU limit MLX does not fail but goes on, up to {MEMORY_LIMIT_SHARE} % of the memory;"
                " macOS then swaps, and it gets slow"
            )
        if settings.parallel > settings.at_once:
            notes.append("quantized caches and draft models switch batching off: requests are answered one by one")
        if settings.max_kv_size and not rotating(blueprint, settings).max_kv_size:
            notes.append(
                f"{param('max_kv_size')} does nothing here: caches of this model, and of drafting, grow all the same"
            )
        if settings.quantized and stays_unquantized(blueprint):
            notes.append("caches of layers with a chunk, or with an indexer, stay in BF16 whatever is asked for")
        if settings.quantized:
            notes.append(
                f"KV of {settings.kv_bits} bits is counted from the first token: --quantized-kv-start 0;"
                f" by default mlx-lm quantizes from {QUANTIZED_KV_START:,} tokens on"
            )
        return notes

    def upper_note(self, upper: str) -> str:
        """Return what is known of Metal's buffer cache."""
        return (
            f"with Metal's buffer cache up to {upper} GiB of prefill memory were seen to stay with the process;"
            " MLX gives the cache back when memory is short"
        )

    def left_out(self, blueprint: Blueprint, settings: MlxSettings, options: Options) -> Sequence[str]:
        """Return what a server keeps, unless it is counted."""
        return [] if settings.prompt_cache_size else ["prompt caches that mlx_lm.server keeps (up to 10)"]


def _draft_parts(settings: MlxSettings, model: DraftModel) -> list[MemoryPart]:
    """Return a draft model's weights and caches; it reads the prompt before the model itself does."""
    label, weights = f"drafting with {model.name}", model.weights
    text, cache = weights.text_bytes, kv_cache_bytes(model.blueprint, rotating(model.blueprint, settings))
    return [
        MemoryPart("draft_weights", label, text, text, weights.basis, weights.recipe),
        MemoryPart("draft_kv_cache", label, cache, cache, Basis.EXACT, "its KV cache"),
    ]


def _prompt_caches(blueprint: Blueprint, settings: MlxSettings) -> MemoryPart:
    """Return the caches that a server keeps of earlier prompts, as if each were of a whole context."""
    one = kv_cache_bytes(blueprint, settings) + state_bytes(blueprint)
    most = settings.prompt_cache_size * one
    limit = settings.prompt_cache_bytes
    detail = f"of up to {settings.prompt_cache_size} earlier prompts"
    return MemoryPart(
        "prompt_cache",
        "prompt caches",
        0,
        min(most, limit) if limit else most,
        Basis.DERIVED,
        detail + (f", and {gib(limit)} GiB" if limit else ""),
        later=True,
        usual_bytes=min(most, limit) if limit else most,
        setting="prompt_cache_size",
    )


def _cached_layers(blueprint: Blueprint) -> str:
    count = len(blueprint.attentions)
    windows = sorted(set(map(seen_tokens, blueprint.attentions)) - {0})
    told = f"{count} of {len(blueprint.layers)} layers have one"
    if not windows:
        return told
    narrow = sum(seen_tokens(mixer) > 0 for mixer in blueprint.attentions)
    return f"{told}, {narrow} of them of {' or '.join(f'{window:,}' for window in windows)} tokens"


STATE_NAMES = {
    "delta_net": "linear-attention",
    "kimi_delta": "linear-attention",
    "mamba2": "Mamba-2",
    "short_convolution": "short-convolution",
}


def _state_layers(blueprint: Blueprint) -> str:
    kind = STATE_NAMES[blueprint.recurrents[0].kind]
    return f"{len(blueprint.recurrents)} {kind} layers, fixed per sequence"


RUNTIME = Mlx()
