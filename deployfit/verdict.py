"""The verdict: what a model needs, set against what a Mac lends to its GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from deployfit.apps import App
from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.estimate import COLUMNS, WORKING, Estimate, file_basis
from deployfit.hardware.gpu_limit import GENERATION_NAMES, GENERATIONS, LimitRow, default_limit, generation_of
from deployfit.hardware.mac import CHIP_DECIDES
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.notes import Note, notes_on
from deployfit.parameters import param
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes.runtime import HOST, MemoryPart, Runtime
from deployfit.units import GIB, MIB, gib
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.speed import Speed, Speeds


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
    UNKNOWN = "unknown"
    """What is known of it would fit, but not everything is known."""

    @property
    def headline(self) -> str:
        """The verdict as people read it."""
        return self.value.replace("_", " ")


RUNS = (Verdict.FITS, Verdict.TIGHT)
JUDGED = tuple(verdict for verdict in Verdict if verdict is not Verdict.UNKNOWN)


def verdict_at(machine: Machine, total_bytes: int) -> Verdict:
    """Return the verdict on something that takes so many bytes at the start."""
    if total_bytes <= machine.budget_bytes:
        return Verdict.FITS
    if total_bytes <= machine.limit.limit_bytes:
        return Verdict.TIGHT
    if total_bytes <= machine.highest_total_bytes:
        return Verdict.NEEDS_RAISED_LIMIT
    return Verdict.DOES_NOT_FIT


class Run(NamedTuple):
    """What is asked: a model, how it is started, and on which machine.

    `typed` is what of the settings was typed, `app` what starts it, `chosen` what that chooses beside it.
    """

    model: Model
    runtime: Runtime
    settings: Any  # the runtime's own
    machine: Machine
    options: Options = Options()
    typed: Mapping[str, str] = {}
    app: App | None = None
    chosen: Mapping[str, str] = {}


class Answer(NamedTuple):
    """The verdict on one quant, with the numbers behind it."""

    run: Run
    quant: Quant
    weights: Weights
    estimate: Estimate
    verdict: Verdict
    max_context_tokens: int  # 0: none fits
    speed: Speed | None
    no_speed: str  # why there is none
    notes: tuple[str, ...]
    left_out: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the answer in short; every field of it has a name of its own."""
        run = self.run
        needs = f"{gib(self.estimate.total_bytes)} of {gib(run.machine.limit.limit_bytes)} GiB"
        asked = f"{run.model.name} {self.weights.recipe} on {run.machine.mac.name}"
        return f"<Answer: {asked}: {self.verdict.headline}, {needs}>"

    @property
    def headroom_bytes(self) -> int:
        """What is left of the GPU limit after the reserve and the estimate; negative if too little."""
        return self.run.machine.budget_bytes - self.estimate.total_bytes

    @property
    def basis(self) -> Mapping[str, Basis]:
        """How each column is known; of what was not asked for there is nothing, and that is exact."""
        known = {column: self.estimate.basis_of(*parts) or Basis.EXACT for column, parts in COLUMNS.items()}
        known["file_bytes"] = file_basis(self.weights)
        known["gpu_limit_bytes"] = self.run.machine.limit.basis
        return known | ({"speed": self.speed.basis} if self.speed else {})


class Judge:
    """Answers one run for any quant; without speeds, which need a chip, that of no Mac is known."""

    def __init__(self, run: Run, limits: Sequence[LimitRow], speeds: Speeds | None, notes: Sequence[Note] = ()) -> None:
        if run.options.mtp and not run.model.blueprint.drafts:
            raise InputError(f"{run.model.name} has no MTP layer; leave out {param('mtp')}")
        run.runtime.check(run.model.blueprint, run.settings)
        _check_images(run)
        self.run = run
        self._limits = limits
        self._speeds = speeds
        self._met = notes
        self._weighed: dict[Quant, Weights] = {}
        # What is allocated beside the weights is the same for every quant: by settings, and the least of it.
        self._running: dict[Any, Sequence[MemoryPart]] = {}
        self._least: dict[Any, int] = {}

    def weights(self, quant: Quant) -> Weights:
        """Return a quant's weights; raise InputError if they cannot be made or are not known."""
        if quant not in self._weighed:
            self._weighed[quant] = quant.weights(self.run.model, self.run.options)
        return self._weighed[quant]

    def estimate(self, weights: Weights, settings: Any = None) -> Estimate:
        """Return what these weights need, with the run's settings or others."""
        run = self.run
        asked = run.settings if settings is None else settings
        loaded = run.runtime.loaded(run.model.blueprint, weights, run.options, asked)
        return Estimate((*loaded, *self._running_parts(asked)))

    def _running_parts(self, settings: Any) -> Sequence[MemoryPart]:
        """Return what is allocated beside the weights."""
        if settings not in self._running:
            run = self.run
            self._running[settings] = run.runtime.running(run.model.blueprint, settings, run.options)
        return self._running[settings]

    def _running_bytes(self, settings: Any) -> int:
        """Return what of it is there at the start; the weights are the same with every context."""
        return sum(part.nbytes for part in self._running_parts(settings) if not part.later)

    def _least_running(self, settings: Any) -> int:
        """Return a lower bound of what is allocated beside the weights, which never falls as the context grows."""
        if settings not in self._least:
            run = self.run
            self._least[settings] = run.runtime.least_bytes(run.model.blueprint, settings, run.options)
        return self._least[settings]

    def answer(self, quant: Quant) -> Answer:
        """Return the verdict on one quant."""
        run = self.run
        weights = self.weights(quant)
        needed = self.estimate(weights)
        verdict = verdict_at(run.machine, needed.total_bytes)
        return Answer(
            run=run,
            quant=quant,
            weights=weights,
            estimate=needed,
            verdict=verdict,
            max_context_tokens=self.max_context(weights),
            speed=self._speed(weights, needed),
            no_speed=self._speeds.why_not(run.machine.mac) if self._speeds else CHIP_DECIDES,
            notes=tuple(self._notes(weights, needed, verdict)),
            left_out=tuple(self._left_out(needed)),
        )

    def _speed(self, weights: Weights, needed: Estimate) -> Speed | None:
        run = self.run
        return self._speeds and self._speeds.speed(
            run.machine.mac,
            run.model.blueprint,
            weights,
            needed,
            runtime=run.runtime.name,
            sequences=run.runtime.sequences(run.settings),
            states=run.runtime.states(run.model.blueprint, run.settings, run.options),
            context_tokens=run.settings.context_tokens,
            mtp=run.options.mtp,
        )

    def max_context(self, weights: Weights, settings: Any = None) -> int:
        """Return the largest context whose verdict is `fits`, 0 if there is none.

        A lower bound that grows with the context narrows it down; from there the exact figure decides, since
        the engine's allocator can need more for less.
        """
        run = self.run
        runtime, model, budget = run.runtime, run.model, run.machine.budget_bytes
        start = run.settings if settings is None else settings
        step, most = runtime.context_step(start), runtime.most_context(model.blueprint, start)

        def at(steps: int) -> Any:
            return start.with_context(min(steps * step, most))

        loaded = runtime.loaded(model.blueprint, weights, run.options, start)
        spare = budget - sum(part.nbytes for part in loaded if not part.later)
        low, high = 0, -(-most // step)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._least_running(at(middle)) <= spare else (low, middle - 1)
        while low and self._running_bytes(at(low)) > spare:
            low -= 1
        return int(at(low).context_tokens)

    def _notes(self, weights: Weights, needed: Estimate, verdict: Verdict) -> list[str]:
        run = self.run
        notes = list(weights.notes)
        machine = run.machine
        other = next(item for item in GENERATIONS if item != generation_of(machine.macos))
        if not machine.raised:
            limit = default_limit(machine.mac, other, self._limits)
            disagrees = verdict_at(machine._replace(macos=other, limit=limit), needed.total_bytes)
            if disagrees is not verdict:
                notes.append(
                    f"{GENERATION_NAMES[other]} lends {gib(limit.limit_bytes)} GiB:"
                    f" there the verdict is {disagrees.headline}"
                )
        if machine.limit.basis is Basis.ASSUMED:
            notes.append(f"GPU limit on this Mac: {machine.limit.note}")
        upper = needed.upper_bytes_of(*WORKING)
        if upper - needed.bytes_of(*WORKING) > 64 * MIB:
            notes.append(run.runtime.upper_note(gib(upper)))
        on_gpu = sum(part.nbytes for part in needed.at_start if part.where != HOST)
        if verdict is not Verdict.FITS and on_gpu <= machine.budget_bytes and needed.total_bytes - on_gpu > GIB:
            notes.append(
                f"{gib(on_gpu)} GiB of it are the GPU's, within its limit; the rest counts here too, as a Mac has one"
                f" memory; all of it runs if {gib(needed.total_bytes)} GiB are free"
            )
        if verdict in RUNS and outgrows(machine, needed):
            notes.append(_growth_note(needed, machine, run.app))
        notes += run.runtime.notes(
            run.model.blueprint,
            run.settings,
            needed.bytes_of("weights"),
            needed.total_bytes,
            machine.limit.limit_bytes,
        )
        if verdict in RUNS:
            app = run.app.name if run.app else ""
            grows = outgrows(machine, needed)
            notes += notes_on(self._met, run.runtime.name, app, run.settings.context_tokens, outgrows=grows)
        return notes

    def _left_out(self, needed: Estimate) -> list[str]:
        run = self.run
        left_out = []
        if run.options.vision and not needed.bytes_of("vision"):
            left_out.append(f"vision tower: none that is known of {run.model.name}")
        if run.model.blueprint.vision and not run.options.vision:
            looks = ", ".join(param(name) for name in ("vision", "image") if run.app is None or name in run.app.options)
            left_out.append("vision tower" + (looks and f" ({looks})"))
        return [*left_out, *run.runtime.left_out(run.model.blueprint, run.settings, run.options)]


def outgrows(machine: Machine, needed: Estimate) -> bool:
    """Return whether something can come to more in use than the Mac has; the verdict is of the start."""
    return needed.total_bytes + needed.later_bytes > machine.mac.memory_bytes - machine.other_bytes


def _growth_note(needed: Estimate, machine: Machine, app: App | None) -> str:
    """Return what a user should know of parts that can grow beyond the Mac's memory: how far, and what limits them."""
    later = [part for part in needed.parts if part.later]
    grown = " and ".join(part.label for part in later)
    limits = " and ".join(param(part.setting) for part in later if app is None or part.setting in app.options)
    usual, most = (gib(needed.total_bytes + grows) for grows in (needed.usual_bytes, needed.later_bytes))
    grow, them = ("grow", "them") if len(later) > 1 or grown.endswith("s") else ("grows", "it")
    return (
        f"in use {grown} {grow}: to {usual} GiB in all with one request at a time, {most} GiB at most, of"
        f" {gib(machine.mac.memory_bytes)}" + (limits and f"; limit {them} with {limits}")
    )


def _check_images(run: Run) -> None:
    """Raise InputError for images that the model cannot see, or that the context cannot hold."""
    if not run.options.images:
        return
    tower = run.model.blueprint.vision
    if tower is None:
        raise InputError(f"{run.model.name} has no vision tower that is known; leave out {param('image')}")
    from deployfit.vision.resize import image_tokens

    cells = sum(seen.cells for seen in image_tokens(run.runtime.name, tower, run.options.images))
    if cells > run.settings.context_tokens:
        raise InputError(
            f"{param('image')}: {cells:,} tokens of images are more than the context of"
            f" {run.settings.context_tokens:,}; ask for more with {param('context')}"
        )
