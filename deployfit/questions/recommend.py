"""`recommend`: what to run on a Mac."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deployfit import catalogue
from deployfit.errors import InputError, quoted, unknown
from deployfit.estimate import Estimate
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.parameters import Parameter, param
from deployfit.quants import shelf
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text, text_of
from deployfit.questions.resolve import engines_of, judge_of, machine_of, speeds, start_of, started_with, whole_number
from deployfit.questions.several import Together, together_of
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import MemoryPart, Runtime
from deployfit.units import GIB
from deployfit.verdict import Run, Verdict, verdict_at
from deployfit.words import numbers

if TYPE_CHECKING:
    from deployfit.hardware.cluster import Cluster
    from deployfit.ranking import Candidate, Cited, Recommendation, Wanted
    from deployfit.report.document import Document

DEFAULT_USE = "coding"
DEFAULT_PLACES = 5
USABLE_SPEED = 10.0  # tokens per second: about as fast as people read
DEFAULT_HEADROOM = "1g"  # for a browser beside it
FASTEST = 10**9  # tokens per second, more than anybody asks for
VISION_AND_MTP_BYTES = 4 * 10**9  # no file holds more of both: what a file has beside the text


class Recommendations(Answered, Sequence["Recommendation"]):
    """Places, best first."""

    def __init__(
        self,
        places: Sequence[Recommendation],
        machine: Machine,
        wanted: Wanted,
        among: str,
        apps: Mapping[str, str],
        cluster: Cluster | None = None,
    ) -> None:
        self.places, self.machine, self.wanted, self.among, self.apps = places, machine, wanted, among, apps
        self.cluster = cluster  # the Macs, where they are several; `machine` is the first of them

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Recommendation:  # type: ignore[override]
        return self.places[index]

    def document(self) -> Document:
        """Return a row per place, and why it is there."""
        from deployfit.report.recommend import recommend_document

        return recommend_document(self.places, self.machine, self.wanted, self.among, self.apps, self.cluster)


def recommend(
    *,
    mac: Text | None = None,
    macos: Text | None = None,
    wired_limit: Text | None = None,
    other: Text | None = None,
    context: Text = common.DEFAULT_CONTEXT,
    use: str = DEFAULT_USE,
    min_speed: float | str | None = None,
    min_headroom: Text = DEFAULT_HEADROOM,
    app: str | None = None,
    runtime: str | None = None,
    own: bool = False,
    places: Text = DEFAULT_PLACES,
) -> Recommendations:
    """Return what to run on a Mac, best first: one file per model, each place with its reasons.

    Files are published ones; `own` adds the recipes of llama.cpp and MLX that one would have to make oneself.

    >>> best = recommend(mac="M2 Pro 32", context="64k", min_speed=10)[0]
    >>> best.candidate.model.name, best.candidate.headroom_bytes >= 0
    ('Qwen3.6-35B-A3B', True)
    """
    from deployfit import ranking

    most = whole_number("places", str(places))
    if most < 1:
        raise InputError(f"{param('places')}: expected a whole number from 1, got 0")
    place = text_of(macos), text_of(wired_limit), text_of(other)
    together = together_of(mac, runtime, None, None, macs_needed=False)
    if together is not None:
        if app is not None or min_speed is not None:
            raise InputError(f"several Macs: leave out {param('app')} and {param('min_speed')}")
        room = numbers.byte_size(str(min_headroom), "min_headroom", GIB)
        return _on_several(together, place, runtime, numbers.context(str(context)), use, room, most, own=own)
    machine = machine_of(text_of(mac), *place)
    least = _speed_of(min_speed, machine)
    wanted = _wanted(use, least, numbers.context(str(context)), machine)
    wanted = wanted._replace(min_headroom_bytes=numbers.byte_size(str(min_headroom), "min_headroom", GIB))
    engines = _engines(app, runtime)
    cited = _cited()
    scores = ranking.best_scores(cited.scores, wanted.use)
    models = catalogue.models()
    scored = [models[model] for model in models if model in scores]
    found: list[Recommendation] = []
    with suppress(InputError):  # perhaps a model without a score fits
        every = _candidates(scored, machine, wanted.context_tokens, app, engines, own=own)
        found = ranking.recommend(every, wanted, cited)
    if sum(not each.bits.is_lossy for each in found) < most:  # those without a score come after those with one
        longest = max(model.blueprint.trained_context for model in models.values())
        if wanted.context_tokens > longest:
            raise InputError(
                f"{param('context')}: {wanted.context_tokens:,} tokens; choose from 1 to the trained {longest:,}"
            )
        every = _candidates(list(models.values()), machine, wanted.context_tokens, app, engines, own=own)
        found = ranking.recommend(every, wanted, cited)
    apps = {engine: start_of(app, engine, None, {}).app.name for engine in engines}
    shown = [_with_context(each, machine, app, wanted.context_tokens) for each in found[:most]]
    return Recommendations(shown, machine, wanted, _among(cited, wanted), apps)


def _on_several(
    together: Together,
    place: tuple[str | None, str | None, str | None],
    runtime: str | None,
    context_tokens: int,
    use: str,
    min_headroom_bytes: int,
    most: int,
    *,
    own: bool,
) -> Recommendations:
    """Return what to run on several Macs together; how fast is not known, so speed decides nothing."""
    from deployfit import ranking
    from deployfit.questions.cluster import cluster_of
    from deployfit.questions.recommend_together import NO_SPEED, Found

    if len(together.macs) != 1:
        raise InputError(f"{param('mac')}: name one set of Macs, such as '4x M3 Ultra 512'")
    cluster = cluster_of(together.macs[0], *place)
    wanted = _wanted(use, 0.0, context_tokens, cluster.machines[0])
    wanted = wanted._replace(min_headroom_bytes=min_headroom_bytes, no_speed=NO_SPEED)
    engines = [together.engine] if together.engine else _engines(None, runtime)
    found = Found(cluster, context_tokens, engines, lambda *of: _files(*of, own=own))
    models = catalogue.models()
    scores = ranking.best_scores(_cited().scores, wanted.use)
    places: list[Recommendation] = []
    with suppress(InputError):  # perhaps a model without a score fits
        places = ranking.recommend(
            found.candidates([models[name] for name in models if name in scores]), wanted, _cited()
        )
    if sum(not each.bits.is_lossy for each in places) < most:
        places = ranking.recommend(found.candidates(list(models.values())), wanted, _cited())
    shown = [found.with_context(each) for each in places[:most]]
    apps = {engine: start_of(None, found.runtime(engine), None, {}).app.name for engine in engines}
    return Recommendations(shown, cluster.machines[0], wanted, _among(_cited(), wanted), apps, cluster)


def _cited() -> Cited:
    from deployfit import ranking

    return ranking.Cited(
        catalogue.rows(ranking.EVIDENCE),
        catalogue.rows(ranking.BITS),
        frozenset(catalogue.rows(ranking.TESTED)),
    )


def _engines(app: str | None, runtime: str | None) -> Sequence[str]:
    """Return the engines to choose among: the one that was named, or those that the application brings."""
    if runtime is not None:
        return [registry.find_runtime(runtime)]
    return registry.names() if app is None else engines_of(app)


def _speed_of(given: float | str | None, machine: Machine) -> float:
    """Return the least speed: as given, else what is usable where a speed can be said."""
    if given is None:
        return USABLE_SPEED if speeds().chip(machine.mac) else 0.0
    if isinstance(given, str):
        return numbers.speed(given) if given.strip(" 0.") else 0.0
    if not 0 <= given <= FASTEST:
        raise InputError(f"{param('min_speed')}: expected tokens per second such as 10 or 7.5, got {quoted(given)}")
    return given


def _wanted(use: str, min_speed: float, context_tokens: int, machine: Machine) -> Wanted:
    from deployfit.ranking import USES, Wanted

    uses = {each.name: each for each in catalogue.rows(USES)}
    if use not in uses:
        raise unknown("use", use, uses)
    if min_speed and speeds().chip(machine.mac) is None:
        raise InputError(f"{param('min_speed')}: {speeds().why_not(machine.mac)}")
    return Wanted(uses[use], min_speed, context_tokens, no_speed=speeds().why_not(machine.mac))


def _among(cited: Cited, wanted: Wanted) -> str:
    """Return what was chosen among."""
    known = catalogue.models().rows
    scored = {row.model for row in cited.scores if row.benchmark == wanted.use.benchmark and row.model in known}
    return f"chosen among the {len(known)} models that deployfit knows; {len(scored)} of them have a score for this use"


def _files(model: Model, runtime: str, most_bytes: int, *, own: bool) -> list[Quant]:
    """Return what there is of a model: files that were seen and are not too large, and what the tools can make."""
    format_name = registry.format_of(runtime)
    files: list[Quant] = [
        quant
        for publisher in shelf.publishers().values()
        if format_name in publisher.rows and not publisher.rows[format_name].joined
        for quant in publisher.quants()
        if quant.format == format_name and 0 < quant.published_bytes(model) <= most_bytes
    ]
    recipes = shelf.own_quants(format_name) if own else []
    return files + [quant for quant in recipes if quant.advisable(model, Options())]


def _candidates(
    models: Sequence[Model],
    machine: Machine,
    context_tokens: int,
    app: str | None,
    engines: Sequence[str],
    *,
    own: bool,
) -> Iterable[Candidate]:
    """Yield every file of these models that fits with this context; how far their contexts go is counted later."""
    from deployfit.ranking import Candidate

    options = Options()
    for model in models:
        if context_tokens > model.blueprint.trained_context:
            continue
        for name in engines:
            files = _files(model, name, machine.budget_bytes + VISION_AND_MTP_BYTES, own=own)
            engine = registry.runtime(name)
            settings = started_with(app, name, {}).with_context(context_tokens)
            running = _running(engine, model, settings, options) if files else None
            if running is None:
                continue
            for weights, loaded in _loaded(engine, model, files, settings, options):
                needed = Estimate((*loaded, *running))
                if verdict_at(machine, needed.total_bytes) is not Verdict.FITS:
                    continue
                yield Candidate(
                    model=model,
                    weights=weights,
                    runtime=name,
                    total_bytes=needed.total_bytes,
                    headroom_bytes=machine.budget_bytes - needed.total_bytes,
                    max_context_tokens=0,
                    speed=speeds().speed(
                        machine.mac,
                        model.blueprint,
                        weights,
                        needed,
                        runtime=name,
                        sequences=engine.sequences(settings),
                        context_tokens=context_tokens,
                    ),
                )


def _running(engine: Runtime, model: Model, settings: Any, options: Options) -> Sequence[MemoryPart] | None:
    """Return what is allocated beside any file of a model; None if it does not run."""
    try:
        engine.check(model.blueprint, settings)
        return engine.running(model.blueprint, settings, options)
    except InputError:
        return None


def _loaded(
    engine: Runtime, model: Model, files: Sequence[Quant], settings: Any, options: Options
) -> Iterable[tuple[Weights, Sequence[MemoryPart]]]:
    for quant in files:
        with suppress(InputError):
            weights = quant.weights(model, options)
            yield weights, engine.loaded(model.blueprint, weights, options, settings)


def _with_context(place: Recommendation, machine: Machine, app: str | None, context_tokens: int) -> Recommendation:
    """Return a place that says how far its context goes."""
    candidate = place.candidate
    engine = registry.runtime(candidate.runtime)
    settings = started_with(app, candidate.runtime, {}).with_context(context_tokens)
    judge = judge_of(Run(candidate.model, engine, settings, machine))
    largest = judge.max_context(candidate.weights)
    return place._replace(candidate=candidate._replace(max_context_tokens=largest))


QUESTION = Question(
    name="recommend",
    summary="Say what to run on this Mac, and why. A published file per model that fits, best first.\n\nThe order comes"
    " from one published benchmark per use; nothing is scored here.",
    ask=recommend,
    parameters=(
        *common.MACHINE,
        common.CONTEXT._replace(help="Context that must fit."),
        Parameter("use", "Whose benchmark decides: coding or chat.", "USE", DEFAULT_USE),
        Parameter("min_speed", "Nothing that decodes slower; 0 for any speed.", "TOKENS/S", f"{USABLE_SPEED:g}"),
        Parameter("min_headroom", "Nothing that leaves less beside the reserve; 0g for any.", "SIZE", DEFAULT_HEADROOM),
        common.APP,
        common.RUNTIME._replace(help="Only this engine.", default="all"),
        Parameter("own", "Recipes that you would have to make yourself, too."),
        Parameter("places", "How long the list may be.", "N", str(DEFAULT_PLACES)),
    ),
)
