"""`sweep` with several Macs: every combination is answered as `fit` answers it, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from deployfit.answers import ClusterFit
from deployfit.errors import InputError
from deployfit.grid import COLUMNS
from deployfit.hardware.cluster import Cluster
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant
from deployfit.questions.cluster import Wanted, check_wanted, cluster_of, fit_cluster
from deployfit.questions.resolve import Start, start_of, started_with
from deployfit.questions.several import Together, splitting_app
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import Runtime
from deployfit.values import NamedTuple
from deployfit.verdict import Verdict
from deployfit.words.numbers import TRAINED

MOST_POINTS = 5_000  # each takes some hundredths of a second


class TogetherGrid(NamedTuple):
    """What is asked: every combination. `starts` are the settings with each of the contexts; `engine` is "" or exo."""

    models: Sequence[Model]
    quants: Sequence[Quant]
    runtime: Runtime
    settings: Sequence[Any]
    starts: Sequence[Sequence[Start]]
    clusters: Sequence[Cluster]
    engine: str
    app: str
    options: Options

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """How many there are along each axis."""
        contexts = len(self.starts[0])
        return len(self.models), len(self.quants), len(self.starts), contexts, len(self.clusters)

    @property
    def points(self) -> int:
        """How many there are in all."""
        return prod(self.shape)


class TogetherResult:
    """The answers. `refusals` says why there are not more, each reason once."""

    def __init__(self, grid: TogetherGrid) -> None:
        self.grid = grid
        found, refusals = [], dict[str, None]()
        for model, quant, starts in product(grid.models, grid.quants, grid.starts):
            for start, cluster in product(starts, grid.clusters):
                name = grid.runtime.name
                wanted = Wanted({name: start}, grid.options, grid.engine, app=grid.app)
                try:
                    check_wanted(wanted, cluster)
                    found.append(fit_cluster(model, quant, cluster, wanted, name, listed=True))
                except InputError as error:
                    refusals[error.marked] = None
        self._fits: Sequence[ClusterFit] = found
        self.refusals: Sequence[str] = list(refusals)

    @property
    def answered(self) -> int:
        """How many combinations have an answer."""
        return len(self._fits)

    def count(self, verdict: Verdict) -> int:
        """Return how many have a verdict."""
        return sum(fit.answer.verdict is verdict for fit in self._fits)

    def rows(self) -> Iterator[tuple[int | str | bool | None, ...]]:
        """Yield the answers as rows: sums over the Macs, as the rows of `fit`."""
        from deployfit.report.cluster import cluster_row

        for fit in self._fits:
            row = {**cluster_row(fit), "weights_basis": fit.answer.weights.basis.value}
            yield tuple(row[name] for name in COLUMNS)

    def blocks(self) -> Iterator[Mapping[str, Sequence[Any]]]:
        """Yield the same as columns."""
        columns = list(zip(*self.rows(), strict=True))
        if columns:
            yield dict(zip(COLUMNS, columns, strict=True))


def together_grids(
    models: Sequence[Model],
    asked: Mapping[str, Sequence[Quant]],
    started: tuple[str | None, str],
    typed: Mapping[str, Sequence[str]],
    contexts: Sequence[int],
    clusters: Sequence[tuple[str, str]],
    options: Options,
) -> list[TogetherResult]:
    """Return the answers by runtime; `started` are the application and the engine, `clusters` the Macs and macOS."""
    app, engine = started
    named = [cluster_of(text, macos, None, None) for text, macos in clusters]
    app = splitting_app(app, Together([], engine, "", "", macs_needed=False))
    grids = []
    for name, quants in asked.items():
        known = {each.name for each in registry.parameters()[name]}
        own = {each: list(dict.fromkeys(values)) for each, values in typed.items() if each in known}
        combined = [dict(zip(own, values, strict=True)) for values in product(*own.values())]
        starts = [[start_of(app, name, _context(tokens), each) for tokens in contexts] for each in combined]
        settings = [started_with(app, name, each) for each in combined]
        runtime = registry.runtime(name)
        grids.append(TogetherGrid(models, quants, runtime, settings, starts, named, engine, app or "", options))
    points = sum(each.points for each in grids)
    if points > MOST_POINTS:
        raise InputError(
            f"{points:,} combinations on several Macs are too many at once; name fewer models, recipes, settings,"
            f" contexts or Macs, for up to {MOST_POINTS:,}"
        )
    return [TogetherResult(each) for each in grids]


def _context(tokens: int) -> str:
    return "max" if tokens == TRAINED else str(tokens)
