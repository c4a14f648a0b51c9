"""What an answer consists of: verdicts, each with all that is said of it. Questions make them, reports show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.runtimes import registry
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    from deployfit.advice import Advice
    from deployfit.clusters.engine import Command
    from deployfit.clusters.speedups import Speedup
    from deployfit.clusters.verdict import ClusterAnswer
    from deployfit.hardware.cluster import Cluster
    from deployfit.measured.logs.compare import Row, SpeedRow
    from deployfit.measured.logs.log import EngineLog
    from deployfit.sources.stored import StoredModel
    from deployfit.verdict import Answer


class Fit(NamedTuple):
    """A verdict with the ways out of it, and why it is the choice among several ("" if it is not)."""

    answer: Answer
    advice: Sequence[Advice]
    chosen: str = ""


class OnDisk(NamedTuple):
    """A model on this machine, and the verdict on it; without one, `fault` says why."""

    model: StoredModel
    answer: Answer | None
    fault: str


class Compared(NamedTuple):
    """A log beside what is predicted for the question that it answers."""

    log: EngineLog
    asked: Mapping[str, str]
    notes: Sequence[str]
    rows_by_part: Sequence[Row]
    speeds: Sequence[SpeedRow]


class ClusterFit(NamedTuple):
    """An answer with all that is said of it; `needed` are the smallest sets of Macs that run it, if asked for."""

    answer: ClusterAnswer
    speedups: Sequence[Speedup]
    notes: Sequence[str]
    left_out: Sequence[str]
    advice: Sequence[str]
    needed: Sequence[Needed] = ()

    @property
    def commands(self) -> Sequence[Command]:
        """What starts it."""
        answer = self.answer
        return answer.engine.commands(answer.asked, answer.division, answer.quant, answer.weights)

    @property
    def headline(self) -> str:
        """The settings in words."""
        return registry.runtime(self.answer.engine.runtime).headline(self.answer.asked.settings)

    @property
    def columns(self) -> Mapping[str, int | str | bool | None]:
        """The settings as columns of a row."""
        return registry.runtime(self.answer.engine.runtime).columns(self.answer.asked.settings)


class Needed(NamedTuple):
    """So many Macs of this size run it, and no smaller size does; `split` is "" for one Mac."""

    cluster: Cluster
    chips: Sequence[str]
    split: str

    @property
    def name(self) -> str:
        """As people say it."""
        return self.cluster.name
