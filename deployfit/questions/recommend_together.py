"""What several Macs can run together: the candidates among which `recommend` chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from deployfit.clusters import registry as clusters
from deployfit.clusters.verdict import ClusterJudge
from deployfit.errors import DeployfitError, InputError
from deployfit.hardware.cluster import Cluster
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.weights import Options, Quant
from deployfit.questions.cluster import Wanted, judge_together
from deployfit.questions.resolve import start_of
from deployfit.ranking import Candidate, Recommendation
from deployfit.verdict import Verdict

NO_SPEED = "how fast several Macs are is told by measurements only: see deployfit fit"

Files = Callable[[Model, str, int], Sequence[Quant]]  # of a model and runtime, not larger than so many bytes


class Found:
    """Finds what fits a cluster with a context, and how far the context of what was chosen goes."""

    def __init__(self, cluster: Cluster, context_tokens: int, engines: Sequence[str], files: Files) -> None:
        if len(cluster.machines) < 2:
            raise InputError(f"{param('mac')}: one Mac needs no count; say '{cluster.machines[0].mac.name}'")
        self.cluster = cluster
        self._engines = [clusters.engine(name) for name in engines]
        self._files = files
        self._context_tokens = context_tokens
        runtimes = {engine.runtime for engine in self._engines}
        starts = {name: start_of(None, name, str(context_tokens), {}) for name in runtimes}
        self._wanted = Wanted(starts, Options())
        self._found: dict[int, tuple[ClusterJudge, Quant]] = {}

    def runtime(self, engine: str) -> str:
        """Return the runtime of an engine."""
        return clusters.engine(engine).runtime

    def candidates(self, models: Sequence[Model]) -> Iterator[Candidate]:
        """Yield every file of these models that fits on every Mac."""
        most_bytes = self.cluster.memory_bytes
        for model in models:
            if self._context_tokens > model.blueprint.trained_context:
                continue
            for engine in self._engines:
                try:
                    judge = judge_together(model, self.cluster, engine, self._wanted)
                except InputError:
                    continue
                for quant in self._files(model, engine.runtime, most_bytes):
                    candidate = self._candidate(judge, quant)
                    if candidate is not None:
                        self._found[id(candidate.weights)] = judge, quant
                        yield candidate

    def _candidate(self, judge: ClusterJudge, quant: Quant) -> Candidate | None:
        asked = judge.asked
        try:
            weights = judge.weights(quant)
            division = judge.engine.division(asked, weights)
        except DeployfitError:
            return None
        if division.refusal:
            return None
        members = judge.members(division, asked.settings)
        if any(member.verdict is not Verdict.FITS for member in members):
            return None
        return Candidate(
            model=asked.model,
            weights=weights,
            runtime=judge.engine.name,
            total_bytes=sum(member.estimate.total_bytes for member in members),
            headroom_bytes=min(member.headroom_bytes for member in members),
            max_context_tokens=0,  # found for those that are chosen
            speed=None,
        )

    def with_context(self, place: Recommendation) -> Recommendation:
        """Return a place with the largest context that fits, and whether one of the Macs would do."""
        judge, quant = self._found[id(place.candidate.weights)]
        largest = judge.max_context(judge.engine.division(judge.asked, judge.weights(quant)))
        reasons = place.reasons
        if place.candidate.total_bytes <= max(machine.budget_bytes for machine in self.cluster.machines):
            reasons = (*reasons, "it would fit one of these Macs by itself")
        return place._replace(candidate=place.candidate._replace(max_context_tokens=largest), reasons=reasons)
