"""How far the context of a model reaches on several Macs together."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.clusters import registry as clusters
from deployfit.context_plan import Plan, PlanRow
from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.weights import Options, Quant
from deployfit.questions.cluster import Wanted, check_wanted, cluster_of, judge_together
from deployfit.questions.resolve import start_of
from deployfit.questions.several import Together
from deployfit.runtimes import registry

NO_SPEED = "how fast several Macs are is told by measurements only: see deployfit fit"


def plan_together(
    model: Model,
    quants: Sequence[Quant],
    runtime: str,
    together: Together,
    place: tuple[str | None, str | None, str | None],
    options: Options,
) -> Plan:
    """Return the largest contexts with which every Mac fits, by recipe and by the settings that a plan compares."""
    if len(together.macs) != 1:
        raise InputError(f"{param('mac')}: name one set of Macs, such as '2x M3 Ultra 256'")
    cluster = cluster_of(together.macs[0], *place)
    if len(cluster.machines) < 2:
        raise InputError(f"{param('mac')}: one Mac needs no count; say '{cluster.machines[0].mac.name}'")
    engine = clusters.engine(together.engine or runtime)
    judges, refusals = [], []
    for typed in registry.runtime(runtime).planned:
        wanted = Wanted({runtime: start_of(None, runtime, None, typed)}, options)
        check_wanted(wanted, cluster)
        try:
            judges.append(judge_together(model, cluster, engine, wanted))
        except InputError as error:
            refusals.append(error.marked)
    if not judges:
        raise InputError(refusals[0])
    rows = []
    for quant in quants:
        try:
            weights = judges[0].weights(quant)
        except InputError as error:
            refusals.append(error.marked)
            continue
        contexts = tuple(judge.max_context(judge.engine.division(judge.asked, weights)) for judge in judges)
        rows.append(PlanRow(weights, contexts, None))
    if not rows:
        raise InputError(refusals[0])
    rows.sort(key=lambda row: row.weights.tensor_bytes)
    columns = tuple(judge.asked.settings for judge in judges)
    owner = registry.runtime(runtime)
    return Plan(
        model, cluster.machines[0], owner, columns, tuple(rows), tuple(dict.fromkeys(refusals)), NO_SPEED, cluster
    )
