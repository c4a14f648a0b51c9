"""`sweep`: every combination at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from deployfit import catalogue
from deployfit.errors import InputError
from deployfit.hardware.mac import MACS, names_several
from deployfit.lookup import by_runtime
from deployfit.parameters import param
from deployfit.quants.weights import Options
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Row, Text, texts
from deployfit.questions.resolve import (
    all_models,
    engine_asked,
    files_of,
    machine_of,
    macs_of,
    model_and_file,
    speeds_of,
    started_with,
)
from deployfit.questions.said import files_said
from deployfit.questions.several import EXO, EXO_RUNTIME
from deployfit.runtimes import registry
from deployfit.words import numbers

if TYPE_CHECKING:
    import pandas as pd

    from deployfit.grid import Result
    from deployfit.report.document import Document

MOST_POINTS = 50_000_000  # about a GB of memory, and 10 GB of CSV


class Sweeps(Answered):
    """Sweeps, one per runtime that was asked for."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results

    def document(self) -> Document:
        """Return a row per estimate, made on the way, and the first of them."""
        from deployfit.report.sweep import sweep_document

        return sweep_document(self.results)

    def each_row(self) -> Iterator[Row]:
        """Yield a mapping per estimate, as `rows` would list them."""
        from deployfit.grid import COLUMNS

        for result in self.results:
            for row in result.rows():
                yield dict(zip(COLUMNS, row, strict=True))

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per estimate: words as categories, whole numbers that may be missing."""
        from deployfit.report.sweep import frame

        return frame(self.results)


def sweep(
    model: str | Iterable[str] | None = None,
    quant: str | Iterable[str] | None = None,
    *,
    context: Text | Iterable[Text] = common.DEFAULT_CONTEXT,
    publisher: str | None = None,
    mac: Text | Iterable[Text] | None = None,
    macos: Text | Iterable[Text] = common.DEFAULT_MACOS,
    app: str | None = None,
    runtime: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog: str | None = None,
    **settings: Text | Iterable[Text] | None,
) -> Sweeps:
    """Return every combination; what is left out means all: models, a runtime's recipes, sizes of memory.

    Other keywords are the runtime's settings, one or several values each.

    >>> frame = sweep("Qwen3.5-27B", ["Q4_K_M", "Q8_0"], context=["32k", "128k"], mac=[32, 64]).frame()
    >>> frame.groupby("recipe", observed=True).headroom_bytes.min().tolist()
    [-954462336, -13002825856]
    """
    from deployfit import grid

    several, alone = _by_number(texts(mac))
    engine = _engine_of_several(runtime, several=bool(several), alone=bool(alone))
    runtime = EXO_RUNTIME if engine else runtime
    only = engine_asked(app, None if runtime is None else registry.find_runtime(runtime))
    found = [model_and_file(name, catalog) for name in _once(texts(model)) or all_models(catalog)]
    models = [each for each, _ in found]
    names = texts(quant)
    if not names and publisher is None:
        names, publisher = files_said(found)
    asked = by_runtime(files_of(names, publisher, only))
    typed = {name: texts(values) for name, values in settings.items() if values is not None and texts(values)}
    registry.check_given(list(typed), list(asked), [each.name for each in QUESTION.parameters])
    sizes = sorted({size for row in catalogue.rows(MACS) for size in row.memory_gib})
    macs = [each for text in alone for each in macs_of(text)]
    versions = _once(texts(macos)) or [common.DEFAULT_MACOS]
    named = _once(macs) or ([] if several else list(map(str, sizes)))
    machines = [machine_of(name, version) for name, version in product(named, versions)]
    contexts = [numbers.context(text) for text in _once(texts(context)) or [common.DEFAULT_CONTEXT]]
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    grids = []
    for name, chosen in asked.items() if machines else ():
        own = registry.runtime(name)
        combined = list(_combined(app, name, typed))
        grids.append(grid.Grid(models, chosen, own, combined, contexts, machines, options, speeds_of(machines)))
        if grids[-1].points > MOST_POINTS:
            raise InputError(
                f"{grids[-1].points:,} combinations are too many at once; name fewer models, recipes, settings,"
                f" contexts or Macs, for up to {MOST_POINTS:,}"
            )
    results: list[Result] = [grid.sweep(each) for each in grids]
    if several:
        from deployfit.questions.sweep_together import together_grids

        clusters = list(product(several, versions))
        results += together_grids(models, asked, (app, engine), typed, contexts, clusters, options)
    grid.require_answers(results)
    return Sweeps(results)


def _by_number(named: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of several Macs together, and those of one."""
    several = [text for text in _once(named) if names_several(text)]
    return several, [text for text in _once(named) if text not in several]


def _engine_of_several(runtime: str | None, *, several: bool, alone: bool) -> str:
    """Return "exo" if that was typed, else ""."""
    if runtime is None or runtime.strip().casefold() != EXO:
        return ""
    if alone or not several:
        raise InputError(f"{EXO} runs on several Macs; name them with {param('mac')}, such as '2x M3 Ultra 256'")
    return EXO


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _combined(app: str | None, runtime: str, typed: Mapping[str, Sequence[str]]) -> Iterator[Any]:
    """Yield every combination of the settings of a runtime."""
    known = {each.name for each in registry.parameters()[runtime]}
    own = {name: _once(values) for name, values in typed.items() if name in known}
    for values in product(*own.values()):
        yield started_with(app, runtime, dict(zip(own, values, strict=True)))


QUESTION = Question(
    name="sweep",
    summary="Answer every combination at once. Models, recipes, contexts, KV types and Macs, a row each.\n\nEverything"
    " but --runtime may be repeated. The columns have the names of deployfit fit --format json.",
    ask=sweep,
    parameters=(
        common.MODELS,
        common.QUANT,
        common.PUBLISHER,
        common.APP,
        common.RUNTIME,
        common.CONTEXTS,
        common.MACS,
        common.MACOS._replace(many=True, default=common.DEFAULT_MACOS),
        common.IMATRIX,
        common.MTP,
        common.VISION,
        common.CATALOG,
    ),
    arguments=("model",),
    runtimes=True,
    many=True,
)
