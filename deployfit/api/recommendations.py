"""Recommend: what to run on a Mac."""

from __future__ import annotations

from collections.abc import Iterable

from deployfit import catalog, ranking
from deployfit.api.answers import Answers, Row, Text, text_of
from deployfit.ask import DEFAULT_CONTEXT, SHELF, find_place, settings_of, speed_of
from deployfit.errors import InputError, quoted, unknown
from deployfit.grid import Grid, sweep
from deployfit.hardware import Place
from deployfit.models import Model
from deployfit.quants.find import FORMAT_OF, RUNTIMES, find_runtime, own_quants
from deployfit.quants.weights import Options, Quant
from deployfit.ranking import Candidate, Recommendation
from deployfit.ranking import Question as UseQuestion
from deployfit.units import parse_tokens
from deployfit.verdict import Verdict, verdict_at

DEFAULT_USE = "coding"
FASTEST = 10**9  # tokens per second, more than anybody asks for


class Recommendations(Answers[Recommendation]):
    """Places, a row each."""

    @staticmethod
    def to_row(each: Recommendation) -> Row:
        """Return the row of `deployfit recommend --format json`."""
        from deployfit.report.recommend_report import recommend_row

        return recommend_row(each)


def recommend(
    mac: Text | None = None,
    *,
    macos: Text | None = None,
    wired_limit: str | None = None,
    context: Text = DEFAULT_CONTEXT,
    use: str = DEFAULT_USE,
    min_speed: float | str = 0.0,
    runtime: str | None = None,
    own: bool = False,
) -> Recommendations:
    """Return what to run on a Mac, best first: one file per model, each place with its reasons.

    Files are published ones; `own` adds the recipes of llama.cpp and MLX that one would have to make oneself.

    >>> best = recommend("M2 Pro 32", context="64k", min_speed=10)[0]
    >>> best.candidate.model.name, best.candidate.headroom_bytes >= 0
    ('Qwen3.6-35B-A3B', True)
    """
    place = find_place(text_of(mac), text_of(macos), wired_limit)
    speed = speed_of(min_speed) if isinstance(min_speed, str) else min_speed
    question = recommend_question(use, speed, parse_tokens(str(context)), place)
    engine = None if runtime is None else find_runtime(runtime)
    return Recommendations(recommended(question, place, engine, own=own))


def recommend_question(use: str, min_speed: float, context_tokens: int, place: Place) -> UseQuestion:
    """Return what decides; raise InputError for a use that is not known, or a speed where none can be said."""
    if not 0 <= min_speed <= FASTEST:
        raise InputError(f"min-speed: expected tokens per second such as 10 or 7.5, got {quoted(min_speed)}")
    uses = catalog.quality_uses()
    if use not in uses:
        raise unknown("use", use, uses)
    if min_speed and catalog.speeds().chip(place.mac) is None:
        raise InputError(f"min-speed: {catalog.speeds().why_not(place.mac)}")
    trained = max(model.config.max_position_embeddings for model in catalog.models().values())
    if not 1 <= context_tokens <= trained:
        raise InputError(f"context: {context_tokens:,} tokens; choose from 1 to the trained {trained:,}")
    return UseQuestion(uses[use], min_speed, context_tokens, catalog.speeds().why_not(place.mac))


def recommended(question: UseQuestion, place: Place, runtime: str | None, *, own: bool) -> list[Recommendation]:
    """Return the places, best first."""
    candidates = _candidates(place, question.context_tokens, runtime, own=own)
    return ranking.recommend(candidates, question, catalog.quality())


VISION_AND_MTP_BYTES = 4 * 10**9  # no file holds more of both: what a file has beside the text


def _files(model: Model, runtime: str, most_bytes: int, *, own: bool) -> list[Quant]:
    """Return what there is of a model: files that were seen and are not too large, and what the tools can make."""
    files: list[Quant] = [
        quant
        for publisher in catalog.publishers().values()
        if publisher.row.format == FORMAT_OF[runtime] and not publisher.row.joined
        for quant in publisher.quants()
        if 0 < quant.published_bytes(model) <= most_bytes
    ]
    recipes = own_quants(SHELF, FORMAT_OF[runtime]) if own else []
    return files + [quant for quant in recipes if quant.advisable(model, Options())]


def _candidates(place: Place, context_tokens: int, runtime: str | None, *, own: bool) -> Iterable[Candidate]:
    """Yield every file of the catalogue's models that fits with this context."""
    speeds = catalog.speeds()
    for model in catalog.models().values():
        if context_tokens > model.config.max_position_embeddings:
            continue
        for engine in RUNTIMES if runtime is None else (runtime,):
            settings = settings_of(engine, context_tokens, {})
            files = _files(model, engine, place.budget_bytes + VISION_AND_MTP_BYTES, own=own)
            swept = sweep(Grid([model], files, [settings], [context_tokens], [place]))
            for weights, total, largest in zip(
                swept.weights[0],
                swept.total_bytes[0, :, 0, 0].tolist(),
                swept.max_context_tokens[0, :, 0, 0].tolist(),
                strict=True,
            ):
                if weights is not None and verdict_at(place, total) is Verdict.FITS:
                    yield Candidate(
                        model=model,
                        weights=weights,
                        runtime=engine,
                        total_bytes=total,
                        headroom_bytes=place.budget_bytes - total,
                        max_context_tokens=largest,
                        speed=speeds.speed(place.mac, model.config, weights, settings),
                    )
