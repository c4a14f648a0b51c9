"""The verdict on a model that is split over several Macs: each is judged, and the worst counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployfit.basis import Basis
from deployfit.clusters.engine import Asked, ClusterEngine, Division
from deployfit.errors import InputError
from deployfit.estimate import COLUMNS, Estimate, file_basis
from deployfit.hardware.machine import Machine
from deployfit.quants.weights import Quant, Weights
from deployfit.runtimes.registry import runtime
from deployfit.runtimes.runtime import MemoryPart, Runtime
from deployfit.values import NamedTuple
from deployfit.verdict import Verdict, verdict_at

ORDER = list(Verdict)


class Member(NamedTuple):
    """What one Mac holds, and the verdict on it: on the larger of what loading and running takes."""

    machine: Machine
    layers: int
    parts: tuple[MemoryPart, ...]
    load_peak_bytes: int
    verdict: Verdict

    @property
    def estimate(self) -> Estimate:
        """Its parts."""
        return Estimate(self.parts)

    @property
    def needed_bytes(self) -> int:
        """The most that it holds at once."""
        return max(self.estimate.total_bytes, self.load_peak_bytes)

    @property
    def headroom_bytes(self) -> int:
        """What is left of its GPU limit after the reserve; negative if too little."""
        return self.machine.budget_bytes - self.needed_bytes


class ClusterAnswer(NamedTuple):
    """The verdict on one quant over several Macs, with the numbers behind it."""

    asked: Asked
    engine: ClusterEngine
    quant: Quant
    weights: Weights
    division: Division
    members: tuple[Member, ...]
    verdict: Verdict
    max_context_tokens: int  # 0: none fits

    @property
    def estimate(self) -> Estimate:
        """The parts of all Macs."""
        return Estimate(tuple(part for member in self.members for part in member.parts))

    @property
    def worst(self) -> Member:
        """The Mac that decides: the one with the least headroom among those of the worst verdict."""
        worst = [member for member in self.members if member.verdict is self._worst_verdict]
        return min(worst, key=lambda member: member.headroom_bytes)

    @property
    def _worst_verdict(self) -> Verdict:
        return max((member.verdict for member in self.members), key=ORDER.index)

    @property
    def loading_decides(self) -> bool:
        """Whether a Mac needs more while the model is loaded than afterwards."""
        return any(member.load_peak_bytes > member.estimate.total_bytes for member in self.members)

    @property
    def basis(self) -> dict[str, Basis]:
        """How each column is known."""
        known = {column: self.estimate.basis_of(*parts) for column, parts in COLUMNS.items()}
        known["file_bytes"] = file_basis(self.weights)
        limits = [member.machine.limit.basis for member in self.members]
        known["gpu_limit_bytes"] = max(limits, key=list(Basis).index)
        return {column: basis for column, basis in known.items() if basis}


class ClusterJudge:
    """Answers one question for any quant."""

    def __init__(self, asked: Asked, engine: ClusterEngine) -> None:
        reason = engine.why_not(asked.model, asked.split, asked.size)
        if reason:
            raise InputError(f"{asked.model.name}: {reason}")
        self.asked, self.engine = asked, engine
        self.runtime: Runtime = runtime(engine.runtime)
        self.runtime.check(asked.model.blueprint, asked.settings)
        self._weighed: dict[Quant, Weights] = {}

    def weights(self, quant: Quant) -> Weights:
        """Return a quant's weights; raise InputError if they cannot be made, or cannot be split."""
        if quant not in self._weighed:
            found = quant.weights(self.asked.model, self.asked.options)
            reason = self.engine.why_not_weights(self.asked, found)
            if reason:
                raise InputError(f"{self.asked.model.name} {found.recipe}: {reason}")
            self._weighed[quant] = found
        return self._weighed[quant]

    def answer(self, quant: Quant) -> ClusterAnswer:
        """Return the verdict on one quant."""
        weights = self.weights(quant)
        division = self.engine.division(self.asked, weights)
        members = self.members(division, self.asked.settings)
        worst = max((member.verdict for member in members), key=ORDER.index)
        if division.refusal:
            worst = Verdict.DOES_NOT_FIT
        return ClusterAnswer(
            asked=self.asked,
            engine=self.engine,
            quant=quant,
            weights=weights,
            division=division,
            members=members,
            verdict=worst,
            max_context_tokens=self.max_context(division),
        )

    def members(self, division: Division, settings: Any) -> tuple[Member, ...]:
        """Return what each Mac holds with these settings."""
        running = self.engine.running(self.asked, division, settings)
        found = []
        for number, machine in enumerate(self.asked.cluster.machines):
            parts = (*division.loaded[number], *running[number])
            peak = division.load_peaks[number]
            needed = max(Estimate(parts).total_bytes, peak)
            layers = len(division.layers[number])
            found.append(Member(machine, layers, parts, peak, verdict_at(machine, needed)))
        return tuple(found)

    def verdict(self, quant: Quant) -> Verdict:
        """Return the verdict alone, without the largest context."""
        division = self.engine.division(self.asked, self.weights(quant))
        if division.refusal:
            return Verdict.DOES_NOT_FIT
        return max((each.verdict for each in self.members(division, self.asked.settings)), key=ORDER.index)

    def max_context(self, division: Division) -> int:
        """Return the largest context with which every Mac fits, 0 if there is none.

        As for one Mac: a lower bound that grows with the context narrows it down, then the exact figures decide.
        """
        asked = self.asked
        start = asked.settings
        step, most = self.runtime.context_step(start), self.runtime.most_context(asked.model.blueprint, start)
        room = [
            machine.budget_bytes - sum(part.nbytes for part in loaded if not part.later)
            for machine, loaded in zip(asked.cluster.machines, division.loaded, strict=True)
        ]
        peaks = zip(asked.cluster.machines, division.load_peaks, strict=True)
        if division.refusal or any(peak > machine.budget_bytes for machine, peak in peaks):
            return 0

        def at(steps: int) -> Any:
            return start.with_context(min(steps * step, most))

        def fits(needed: Sequence[int]) -> bool:
            return all(size <= own for size, own in zip(needed, room, strict=True))

        low, high = 0, -(-most // step)
        while low < high:
            middle = (low + high + 1) // 2
            enough = fits(self.engine.least_bytes(asked, division, at(middle)))
            low, high = (middle, high) if enough else (low, middle - 1)
        while low and not fits(self._running_bytes(division, at(low))):
            low -= 1
        return int(at(low).context_tokens)

    def _running_bytes(self, division: Division, settings: Any) -> list[int]:
        running = self.engine.running(self.asked, division, settings)
        return [sum(part.nbytes for part in parts if not part.later) for parts in running]
