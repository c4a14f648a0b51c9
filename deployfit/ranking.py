"""What should I run: of all files that fit a Mac, one per model, in an order that only cited evidence makes.

Models are ordered by one published benchmark per use; scores closer than a re-measurement moved them are a tie, which
the faster one wins. A model's file is the largest in the best class of evidence about its bits. Nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.weights import FORMATS, Weights, nominal_bits
from deployfit.speed import Speed
from deployfit.tables import Row, Table
from deployfit.units import gib, tps
from deployfit.values import NamedTuple

WORTH_A_LINE = 1.1  # times as fast: less is within what measurements differ by


class Evidence(NamedTuple):
    """A row of `data/quality_models.csv`: a published benchmark score."""

    model: str
    benchmark: str
    score: float
    publisher: str
    source: str
    note: str


def _evidence(row: Row) -> Evidence:
    return Evidence(
        model=row.text("model"),
        benchmark=row.text("benchmark"),
        score=row.decimal("score"),
        publisher=row.text("publisher"),
        source=row.text("source"),
        note=row.text("note", blank=True),
    )


EVIDENCE = Table("quality_models.csv", ["model", "benchmark", "score", "publisher", "source", "note"], _evidence)


class Use(NamedTuple):
    """A row of `data/quality_uses.csv`: which benchmark orders models for a use; nearer than `tie_points` is a tie."""

    name: str
    benchmark: str
    publisher: str
    tie_points: float
    note: str


def _use(row: Row) -> Use:
    return Use(
        name=row.text("use"),
        benchmark=row.text("benchmark"),
        publisher=row.text("publisher"),
        tie_points=row.decimal("tie_points"),
        note=row.text("note"),
    )


USES = Table("quality_uses.csv", ["use", "benchmark", "publisher", "tie_points", "note"], _use)


class Bits(NamedTuple):
    """A row of `data/quality_bits.csv`: what is known of files of so many bits; rank 1 is best."""

    format: str
    least: int
    most: int
    rank: int
    is_lossy: bool  # evidence of a real loss: such files come after all others
    evidence: str
    source: str


def _bits(row: Row) -> Bits:
    return Bits(
        format=row.one_of("format", FORMATS),
        least=row.number("least_bits"),
        most=row.number("most_bits"),
        rank=row.number("rank"),
        is_lossy=row.flag("loss"),
        evidence=row.text("evidence"),
        source=row.text("source"),
    )


BITS = Table("quality_bits.csv", ["format", "least_bits", "most_bits", "rank", "loss", "evidence", "source"], _bits)
TESTED = Table("quality_quants.csv", ["model"], lambda row: row.text("model"))


class Cited(NamedTuple):
    """All evidence: scores of models, what is known of bits, and of which models quantized files were tested."""

    scores: Sequence[Evidence]
    bits: Sequence[Bits]
    tested: frozenset[str]


class Candidate(NamedTuple):
    """A file of a model that fits: what it takes, and how far its context goes."""

    model: Model
    weights: Weights
    runtime: str
    total_bytes: int
    headroom_bytes: int
    max_context_tokens: int
    speed: Speed | None

    @property
    def decode_tps(self) -> float:
        """Tokens per second at the start of the context, 0 where that is not known."""
        return self.speed.decode.tps if self.speed else 0.0


class Recommendation(NamedTuple):
    """A place on the list: the file, the evidence, and why it stands there."""

    candidate: Candidate
    score: Evidence | None
    bits: Bits
    reasons: tuple[str, ...]


class Wanted(NamedTuple):
    """What decides: the use, the least speed and headroom that are wanted, and the context that was asked for."""

    use: Use
    min_tps: float
    context_tokens: int
    min_headroom_bytes: int = 0
    no_speed: str = ""  # why no speed can be said of the Mac


def recommend(candidates: Iterable[Candidate], wanted: Wanted, cited: Cited) -> list[Recommendation]:
    """Return one place per model, best first; raise InputError where nothing is left, with the nearest miss."""
    known = list(candidates)
    if not known:
        raise InputError(
            f"no file of any model fits with {wanted.context_tokens:,} tokens; ask for less with {param('context')},"
            " or see deployfit fit MODEL for what would"
        )
    roomy = [each for each in known if each.headroom_bytes >= wanted.min_headroom_bytes]
    if not roomy:
        raise InputError(
            f"{param('min_headroom')}: nothing that fits leaves {gib(wanted.min_headroom_bytes, 1)} GiB beside the"
            f" reserve; ask for less of it, such as {param('min_headroom')} 0g"
        )
    fast = [each for each in roomy if not wanted.min_tps or each.decode_tps >= wanted.min_tps]
    if not fast:
        fastest = max(roomy, key=lambda each: each.decode_tps)
        raise InputError(
            f"{param('min_speed')}: nothing that fits reaches {wanted.min_tps:g} tokens/s; the fastest is"
            f" {fastest.model.name} {fastest.weights.recipe} with {fastest.decode_tps:.1f}"
        )
    scores = best_scores(cited.scores, wanted.use)
    by_model: dict[str, list[Candidate]] = {}
    for each in fast:
        by_model.setdefault(each.model.name, []).append(each)
    chosen = [_choose(files, scores, cited, wanted) for files in by_model.values()]
    return _with_places(_in_order(chosen, wanted.use), wanted)


def best_scores(evidence: Iterable[Evidence], use: Use) -> dict[str, Evidence]:
    """Return each model's score for a use: the benchmark's, from its publisher before others, the latest row last."""
    found: dict[str, Evidence] = {}
    for row in evidence:
        if row.benchmark == use.benchmark:
            before = found.get(row.model)
            if before is None or row.publisher == use.publisher or before.publisher != use.publisher:
                found[row.model] = row
    return found


def _choose(files: Sequence[Candidate], scores: Mapping[str, Evidence], cited: Cited, wanted: Wanted) -> Recommendation:
    """Return a model's file: the best rank of evidence, in it the largest, of equals the faster."""
    ranked = [(evidence_of(each.weights, cited.bits), each) for each in files]
    least = min(row.rank for row, _ in ranked)
    best = [(row, each) for row, each in ranked if row.rank == least]
    row, chosen = max(best, key=lambda pair: (pair[1].weights.text_bytes, pair[1].decode_tps, pair[1].weights.recipe))
    what = f"{nominal_bits(chosen.weights)}-bit {chosen.weights.format}: {row.evidence}"
    if chosen.model.name not in cited.tested:
        what += " (of other models; none of this one is known)"
    limit = f" at {wanted.min_tps:g} tokens/s or more" if wanted.min_tps else ""
    reasons = [f"{what}; the largest such file that fits with {wanted.context_tokens:,} tokens{limit}"]
    shown = chosen.decode_tps
    for rank in sorted({row.rank for row, _ in ranked if not row.is_lossy}):
        evidence, fastest = max(
            (pair for pair in ranked if pair[0].rank == rank),
            key=lambda pair: (pair[1].decode_tps, -pair[1].weights.text_bytes, pair[1].weights.recipe),
        )
        if fastest.decode_tps > WORTH_A_LINE * shown > 0:
            shown = fastest.decode_tps
            what = "with the same evidence" if rank == least else f"but {evidence.evidence}"
            reasons.append(
                f"faster, {what}: {fastest.weights.recipe} on {fastest.runtime}, {tps(fastest.decode_tps)} tokens/s"
            )
    return Recommendation(chosen, scores.get(chosen.model.name), row, tuple(reasons))


def evidence_of(weights: Weights, bits: Sequence[Bits]) -> Bits:
    """Return what is known of files of so many bits."""
    number = nominal_bits(weights)
    last = max(row.rank for row in bits)
    return next(
        (row for row in bits if row.format == weights.format and row.least <= number <= row.most),
        Bits(weights.format, number, number, last + 1, True, "nothing is known of such files", ""),
    )


class _Place(NamedTuple):
    """A place on the list, and the models with clearly higher scores or none that it was preferred to."""

    recommendation: Recommendation
    ties: tuple[str, ...]  # no clear difference to these, which are slower


def _in_order(chosen: Sequence[Recommendation], use: Use) -> list[_Place]:
    """Return the places in order: of those within a tie of the best that is left, the fastest comes next.

    Files with evidence of loss come after all others, models without a score after those with one.
    """
    left = sorted(
        chosen,
        key=lambda each: (each.bits.is_lossy, -(each.score.score if each.score else 0.0), each.candidate.model.name),
    )
    places: list[_Place] = []
    while left:
        best = left[0]
        near = [each for each in left if _is_near(best, each, use)]
        following = max(near, key=lambda each: each.candidate.decode_tps)
        ties = tuple(each.candidate.model.name for each in near if each is not following)
        places.append(_Place(following, ties))
        left.remove(following)
    return places


def _is_near(best: Recommendation, other: Recommendation, use: Use) -> bool:
    if other is best:
        return True
    return (
        best.score is not None
        and other.score is not None
        and best.bits.is_lossy == other.bits.is_lossy
        and best.score.score - other.score.score < use.tie_points
    )


def _with_places(places: Sequence[_Place], wanted: Wanted) -> list[Recommendation]:
    use = wanted.use
    listed = []
    for number, (each, ties) in enumerate(places, start=1):
        if each.score is None:
            reason = f"no {use.benchmark} score of this model is known: after those that have one"
        else:
            reason = f"{use.benchmark} {each.score.score:g} ({each.score.publisher})"
            if ties:
                order = "the order is no judgement" if wanted.no_speed else "the faster one first"
                reason += f": no clear difference to {', '.join(ties)} (under {use.tie_points:g} points); {order}"
            elif number == 1:
                reason += ": the highest of all that fit"
        if each.bits.is_lossy:
            reason += " of the original; such files lose, so it comes after all files without evidence of loss"
        listed.append(each._replace(reasons=(reason, *each.reasons)))
    return listed
