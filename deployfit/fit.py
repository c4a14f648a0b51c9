"""The verdict: what a model needs, set against what a Mac lends to its GPU, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.estimate import PART_BASIS, Estimate, Quantizer, Weights, estimate, least_bytes
from deployfit.formats.gguf_recipes import NEED_IMATRIX, Recipe
from deployfit.hardware import (
    GENERATION_NAMES,
    GENERATIONS,
    GPU_RESERVE,
    GpuLimit,
    LimitRow,
    Mac,
    budget_bytes,
    default_limit,
    generation_of,
    highest_raised_limit,
)
from deployfit.models import Model
from deployfit.runtimes.llamacpp import CONTEXT_STEP, Settings, check_settings
from deployfit.units import MIB, ceil_to, gib


class Verdict(Enum):
    """Whether it runs, from best to worst."""

    FITS = "fits"
    """Within the GPU limit, with the reserve to spare."""
    TIGHT = "tight"
    """Within the GPU limit, but not with the reserve."""
    NEEDS_RAISED_LIMIT = "needs_raised_limit"
    """Beyond the GPU limit, but within what it can be raised to."""
    DOES_NOT_FIT = "does_not_fit"
    """Beyond what this Mac can give."""

    @property
    def words(self) -> str:
        """The verdict as people read it."""
        return self.value.replace("_", " ")


RUNS = (Verdict.FITS, Verdict.TIGHT)


class Question(NamedTuple):
    """What is asked: a model, how it is run, and on which Mac.

    `macos` is a major version. `wired_limit_bytes` is 0 unless the user has raised the limit.
    """

    model: Model
    settings: Settings
    mac: Mac
    macos: int
    limit: GpuLimit
    raised: bool
    imatrix: bool = False
    mtp: bool = False
    vision: bool = False


class Answer(NamedTuple):
    """The verdict on one recipe, with the numbers behind it."""

    question: Question
    weights: Weights
    estimate: Estimate
    reserve_bytes: int
    verdict: Verdict
    max_context_tokens: int
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def headroom_bytes(self) -> int:
        """What is left of the GPU limit after the reserve and the estimate; negative if too little."""
        return self.question.limit.limit_bytes - self.reserve_bytes - self.estimate.total_bytes

    @property
    def basis(self) -> Mapping[str, Basis]:
        """How each figure is known."""
        known = {name + "_bytes": basis for name, basis in PART_BASIS.items()}
        return known | {"gpu_limit_bytes": self.question.limit.basis}


class Fit:
    """Answers one question for any recipe."""

    def __init__(self, question: Question, recipes: Mapping[str, Recipe], limits: Sequence[LimitRow]) -> None:
        if question.mtp and not question.model.config.mtp_num_hidden_layers:
            raise InputError(f"{question.model.name} has no MTP layer; leave out --mtp")
        check_settings(question.settings, question.model.config)
        self.question = question
        self._limits = limits
        self._recipes = recipes
        quantizer = Quantizer(question.model, imatrix=question.imatrix, mtp=question.mtp)
        self._weights: Callable[[str], Weights] = lru_cache(maxsize=None)(lambda name: quantizer.weights(recipes[name]))

    def makeable(self) -> list[str]:
        """Return the recipes that llama.cpp can make of this model, smallest first."""
        sizes = {}
        for name in self._recipes:
            try:
                sizes[name] = self._weights(name).tensor_bytes
            except InputError:
                continue
        return sorted(sizes, key=lambda name: sizes[name])

    def answer(self, recipe: str) -> Answer:
        """Return the verdict on one recipe."""
        question = self.question
        weights = self._weights(recipe)
        needed = self._estimate(weights, question.settings)
        verdict = self._verdict(needed.total_bytes, question.limit)
        largest = self._max_context(weights, question.settings)
        return Answer(
            question=question,
            weights=weights,
            estimate=needed,
            reserve_bytes=question.limit.limit_bytes - budget_bytes(question.mac, question.limit),
            verdict=verdict,
            max_context_tokens=largest,
            notes=tuple(self._notes(recipe, needed, verdict)),
            left_out=tuple(self._left_out(needed)),
            advice=tuple(self._advice(weights, needed, verdict, largest)),
        )

    def _estimate(self, weights: Weights, settings: Settings) -> Estimate:
        question = self.question
        return estimate(question.model, weights, settings, mtp=question.mtp, vision=question.vision)

    def _verdict(self, total_bytes: int, limit: GpuLimit) -> Verdict:
        mac = self.question.mac
        if total_bytes <= budget_bytes(mac, limit):
            return Verdict.FITS
        if total_bytes <= limit.limit_bytes:
            return Verdict.TIGHT
        if total_bytes + GPU_RESERVE <= highest_raised_limit(mac):
            return Verdict.NEEDS_RAISED_LIMIT
        return Verdict.DOES_NOT_FIT

    def _max_context(self, weights: Weights, settings: Settings) -> int:
        """Return the largest context whose verdict is `fits`, 0 if there is none.

        A lower bound that grows with the context narrows it down; from there the exact figure decides, since
        the engine's allocator can need more for less.
        """
        question = self.question
        budget = budget_bytes(question.mac, question.limit)
        step = CONTEXT_STEP * settings.parallel

        def at(steps: int) -> Settings:
            return settings._replace(context_tokens=min(steps * step, trained))

        trained = question.model.config.max_position_embeddings
        low, high = 0, -(-trained // step)
        while low < high:
            middle = (low + high + 1) // 2
            needed = least_bytes(question.model, weights, at(middle), mtp=question.mtp, vision=question.vision)
            low, high = (middle, high) if needed <= budget else (low, middle - 1)
        while low and self._estimate(weights, at(low)).total_bytes > budget:
            low -= 1
        return at(low).context_tokens

    def _notes(self, recipe: str, needed: Estimate, verdict: Verdict) -> list[str]:
        question = self.question
        notes = []
        other = next(item for item in GENERATIONS if item != generation_of(question.macos))
        if not question.raised:
            limit = default_limit(question.mac, other, self._limits)
            disagrees = self._verdict(needed.total_bytes, limit)
            if disagrees is not verdict:
                notes.append(
                    f"{GENERATION_NAMES[other]} lends {gib(limit.limit_bytes)} GiB:"
                    f" there the verdict is {disagrees.words}"
                )
        if question.limit.basis is Basis.ASSUMED:
            notes.append(f"GPU limit on this Mac: {question.limit.note}")
        if needed.compute_buffer_upper_bytes - needed.compute_buffer_bytes > 64 * MIB:
            notes.append(
                f"compute buffers can reach {gib(needed.compute_buffer_upper_bytes)} GiB on Metal"
                " (attention scratch, fragmentation); the reserve is for that"
            )
        if question.settings.falls_off_metal:
            notes.append(
                f"KV {question.settings.kv_type_k}/{question.settings.kv_type_v}: Metal's flash attention wants equal"
                " types and has no iq4_nl; attention falls to the CPU, slow and with memory not counted here"
            )
        if recipe in NEED_IMATRIX and not question.imatrix:
            notes.append("llama.cpp makes this recipe only with an importance matrix: see --imatrix")
        return notes

    def _left_out(self, needed: Estimate) -> list[str]:
        question = self.question
        left_out = []
        if not question.vision:
            left_out.append("vision tower (--vision)")
        else:
            left_out.append("the vision tower's own compute buffers, which depend on the image")
        if not question.mtp and question.model.config.mtp_num_hidden_layers:
            left_out.append("MTP drafting (--mtp)")
        left_out.append("llama-server's prompt cache (up to 8 GiB of ordinary memory unless --cache-ram 0)")
        return left_out

    def _advice(self, weights: Weights, needed: Estimate, verdict: Verdict, largest: int) -> list[str]:
        if verdict is Verdict.FITS:
            return []
        question = self.question
        budget = budget_bytes(question.mac, question.limit)
        advice = []
        if largest:
            advice.append(f"--context {largest}: the largest that fits")
        for kv_type in ("q8_0", "q4_0"):
            settings = question.settings._replace(kv_type_k=kv_type, kv_type_v=kv_type)
            if question.settings.kv_type_k in ("f32", "f16", "bf16") and (
                self._estimate(weights, settings).total_bytes <= budget
            ):
                advice.append(f"--kv-type {kv_type}: fits with the whole context")
                break
        smaller = self._next_smaller(weights, budget)
        if smaller:
            advice.append(
                f"--quant {smaller.recipe}: the next smaller recipe that fits ({gib(smaller.tensor_bytes)} GiB)"
            )
        raise_to = ceil_to(needed.total_bytes + GPU_RESERVE, MIB)
        if question.limit.limit_bytes < raise_to <= highest_raised_limit(question.mac):
            advice.append(
                f"sudo sysctl iogpu.wired_limit_mb={raise_to // MIB}: lends the GPU {gib(raise_to)} of the"
                f" {gib(question.mac.memory_bytes)} GiB until the next restart; what is left must do for macOS and"
                " all else, and too little of it has ended in swapping and kernel panics"
            )
        return advice

    def _next_smaller(self, weights: Weights, budget: int) -> Weights | None:
        spare = budget - self._estimate(weights, self.question.settings).total_bytes
        most = weights.tensor_bytes + spare
        fitting = [
            other
            for other in map(self._weights, reversed(self.makeable()))  # of equals the plainer name stands later
            if (self.question.imatrix or other.recipe not in NEED_IMATRIX)
            and other.tensor_bytes <= most
            and other.tensor_bytes < weights.tensor_bytes
        ]
        return max(fitting, key=lambda other: other.tensor_bytes, default=None)
