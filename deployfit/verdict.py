"""The verdict: what a model needs, set against what a Mac lends to its GPU, and what would make it fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.estimate import Estimate, estimate, least_bytes, part_basis
from deployfit.formats.gguf_recipes import NEED_IMATRIX
from deployfit.hardware import (
    GENERATION_NAMES,
    GENERATIONS,
    GPU_RESERVE,
    LimitRow,
    Place,
    default_limit,
    generation_of,
    highest_raised_limit,
)
from deployfit.models import Model
from deployfit.quants.weights import GGUF, Options, Quant, Weights
from deployfit.runtimes.running import Settings
from deployfit.speed import Speed, Speeds
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


def verdict_at(place: Place, total_bytes: int) -> Verdict:
    """Return the verdict on something that takes so many bytes."""
    if total_bytes <= place.budget_bytes:
        return Verdict.FITS
    if total_bytes <= place.limit.limit_bytes:
        return Verdict.TIGHT
    if total_bytes <= place.highest_total_bytes:
        return Verdict.NEEDS_RAISED_LIMIT
    return Verdict.DOES_NOT_FIT


class Question(NamedTuple):
    """What is asked: a model, how it is run, and on which Mac."""

    model: Model
    settings: Settings
    place: Place
    options: Options = Options()


class Answer(NamedTuple):
    """The verdict on one recipe, with the numbers behind it."""

    question: Question
    quant: Quant
    weights: Weights
    estimate: Estimate
    verdict: Verdict
    max_context_tokens: int
    speed: Speed | None
    no_speed: str  # why there is none
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def headroom_bytes(self) -> int:
        """What is left of the GPU limit after the reserve and the estimate; negative if too little."""
        return self.question.place.budget_bytes - self.estimate.total_bytes

    @property
    def basis(self) -> Mapping[str, Basis]:
        """How each figure is known."""
        known = {name + "_bytes": basis for name, basis in part_basis(self.weights).items()}
        known["gpu_limit_bytes"] = self.question.place.limit.basis
        return known | ({"speed": self.speed.basis} if self.speed else {})


class Fit:
    """Answers one question for any quant; `menu` is what may be advised instead."""

    def __init__(self, question: Question, menu: Sequence[Quant], limits: Sequence[LimitRow], speeds: Speeds) -> None:
        if question.options.mtp and not question.model.config.mtp_num_hidden_layers:
            raise InputError(f"{question.model.name} has no MTP layer; leave out --mtp")
        question.settings.check(question.model.config)
        self.question = question
        self._limits = limits
        self._speeds = speeds
        self._menu = menu
        self._weighed: dict[Quant, Weights] = {}

    def makeable(self) -> list[Quant]:
        """Return what on the menu can be made of this model, smallest first."""
        sizes = {}
        for quant in self._menu:
            try:
                sizes[quant] = self._weights(quant).tensor_bytes
            except InputError:
                continue
        return sorted(sizes, key=lambda quant: sizes[quant])

    def answer(self, quant: Quant) -> Answer:
        """Return the verdict on one quant."""
        question = self.question
        weights = self._weights(quant)
        needed = self._estimate(weights, question.settings)
        verdict = verdict_at(question.place, needed.total_bytes)
        largest = self._max_context(weights, question.settings)
        return Answer(
            question=question,
            quant=quant,
            weights=weights,
            estimate=needed,
            verdict=verdict,
            max_context_tokens=largest,
            speed=self._speeds.speed(
                question.place.mac, question.model.config, weights, question.settings, mtp=question.options.mtp
            ),
            no_speed=self._speeds.why_not(question.place.mac),
            notes=tuple(self._notes(weights, needed, verdict)),
            left_out=tuple(self._left_out(weights)),
            advice=tuple(self._advice(weights, needed, verdict, largest)),
        )

    def _weights(self, quant: Quant) -> Weights:
        if quant not in self._weighed:
            self._weighed[quant] = quant.weights(self.question.model, self.question.options)
        return self._weighed[quant]

    def _estimate(self, weights: Weights, settings: Settings) -> Estimate:
        question = self.question
        return estimate(question.model, weights, settings, question.options)

    def _max_context(self, weights: Weights, settings: Settings) -> int:
        """Return the largest context whose verdict is `fits`, 0 if there is none.

        A lower bound that grows with the context narrows it down; from there the exact figure decides, since
        the engine's allocator can need more for less.
        """
        question = self.question
        budget = question.place.budget_bytes
        step = settings.context_step

        def at(steps: int) -> Settings:
            return settings.with_context(min(steps * step, trained))

        trained = question.model.config.max_position_embeddings
        low, high = 0, -(-trained // step)
        while low < high:
            middle = (low + high + 1) // 2
            needed = least_bytes(question.model, weights, at(middle), question.options)
            low, high = (middle, high) if needed <= budget else (low, middle - 1)
        while low and self._estimate(weights, at(low)).total_bytes > budget:
            low -= 1
        return at(low).context_tokens

    def _notes(self, weights: Weights, needed: Estimate, verdict: Verdict) -> list[str]:
        question = self.question
        notes = list(weights.notes)
        place = question.place
        other = next(item for item in GENERATIONS if item != generation_of(place.macos))
        if not place.raised:
            limit = default_limit(place.mac, other, self._limits)
            disagrees = verdict_at(Place(place.mac, other, limit), needed.total_bytes)
            if disagrees is not verdict:
                notes.append(
                    f"{GENERATION_NAMES[other]} lends {gib(limit.limit_bytes)} GiB:"
                    f" there the verdict is {disagrees.words}"
                )
        if place.limit.basis is Basis.ASSUMED:
            notes.append(f"GPU limit on this Mac: {place.limit.note}")
        if needed.compute_buffer_upper_bytes - needed.compute_buffer_bytes > 64 * MIB:
            notes.append(question.settings.upper_note(gib(needed.compute_buffer_upper_bytes)))
        notes += question.settings.notes(needed.weights_bytes, needed.total_bytes, place.limit.limit_bytes)
        if weights.recipe in NEED_IMATRIX and not question.options.imatrix:
            notes.append("llama.cpp makes this recipe only with an importance matrix: see --imatrix")
        return notes

    def _left_out(self, weights: Weights) -> list[str]:
        question = self.question
        left_out = []
        if question.options.vision:
            left_out.append("the vision tower's own working memory, which depends on the image")
        else:
            left_out.append("vision tower (--vision)")
        if not question.options.mtp and question.model.config.mtp_num_hidden_layers and weights.format == GGUF:
            left_out.append("MTP drafting (--mtp)")
        return [*left_out, *question.settings.left_out]

    def _advice(self, weights: Weights, needed: Estimate, verdict: Verdict, largest: int) -> list[str]:
        if verdict is Verdict.FITS:
            return []
        question = self.question
        budget = question.place.budget_bytes
        advice = []
        if largest:
            advice.append(f"--context {largest}: the largest that fits")
        for words, settings in question.settings.thriftier():
            if self._estimate(weights, settings).total_bytes <= budget:
                advice.append(f"{words}: fits with the whole context")
                break
        smaller = self._next_smaller(weights, budget)
        if smaller:
            advice.append(
                f"--quant {smaller.recipe}: the next smaller recipe that fits ({gib(smaller.tensor_bytes)} GiB)"
            )
        place = question.place
        raise_to = ceil_to(needed.total_bytes + GPU_RESERVE, MIB)
        if place.limit.limit_bytes < raise_to <= highest_raised_limit(place.mac):
            advice.append(
                f"sudo sysctl iogpu.wired_limit_mb={raise_to // MIB}: lends the GPU {gib(raise_to)} of the"
                f" {gib(place.mac.memory_bytes)} GiB until the next restart; what is left must do for macOS and"
                " all else, and too little of it has ended in swapping and kernel panics"
            )
        return advice

    def _next_smaller(self, weights: Weights, budget: int) -> Weights | None:
        spare = budget - self._estimate(weights, self.question.settings).total_bytes
        most = weights.text_bytes + spare
        options = self.question.options
        smaller = [quant for quant in reversed(self.makeable()) if quant.advisable(self.question.model, options)]
        fitting = [
            other
            for other in map(self._weights, smaller)  # of equals the plainer name stands later on the menu
            if other.text_bytes <= most and other.text_bytes < weights.text_bytes
        ]
        return max(fitting, key=lambda other: other.text_bytes, default=None)
