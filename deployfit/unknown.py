"""What can be said of a model whose architecture nobody wrote: its weights, to the byte, and a verdict with a bound."""

from __future__ import annotations

from deployfit.basis import Basis
from deployfit.errors import DeployfitError
from deployfit.estimate import Estimate
from deployfit.quants.weights import Quant
from deployfit.runtimes.runtime import MemoryPart
from deployfit.units import gib
from deployfit.verdict import Answer, Run, Verdict, verdict_at

CACHES = ("kv_cache", "recurrent_state")


def unknown_answer(run: Run, quant: Quant, architecture: str, *, has_caches: bool) -> Answer:
    """Return the verdict on a file of an unknown architecture: `unknown` while a lower bound of it would fit.

    `has_caches`: the run's blueprint is made of the layers that the file's own numbers name, so that caches can be
    counted, and nothing else.
    """
    weights = quant.weights(run.model, run.options)
    parts = list(run.runtime.loaded(run.model.blueprint, weights, run.options, run.settings))
    caches = _caches(run) if has_caches else []
    needed = Estimate((*parts, *caches))
    least = verdict_at(run.machine, needed.total_bytes)
    fits = least in (Verdict.FITS, Verdict.TIGHT)
    what = "weights and caches" if caches else "weights"
    limit = gib(run.machine.limit.limit_bytes)
    bound = f"{what} alone take {gib(needed.total_bytes)} of {limit} GiB; "
    bound += f"{'working memory' if caches else 'the caches'} of architecture {architecture} are not known"
    return Answer(
        run=run,
        quant=quant,
        weights=weights,
        estimate=needed,
        verdict=Verdict.UNKNOWN if fits else least,
        max_context_tokens=0,
        speed=None,
        no_speed=f"that of architecture {architecture} is not known",
        notes=(bound, *weights.notes),
        left_out=("everything but " + what,),
    )


def _caches(run: Run) -> list[MemoryPart]:
    try:
        run.runtime.check(run.model.blueprint, run.settings)
        running = run.runtime.running(run.model.blueprint, run.settings, run.options)
    except DeployfitError:
        return []
    return [part._replace(basis=Basis.ASSUMED) for part in running if part.name in CACHES]
