"""`table`: sizes of files, models by recipes; with a Mac, what running them takes there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.errors import InputError
from deployfit.lookup import by_runtime
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text, text_of, texts
from deployfit.questions.resolve import (
    all_models,
    context_of,
    engine_asked,
    files_of,
    machine_of,
    model_and_file,
    speeds_of,
    started_with,
)
from deployfit.questions.said import files_said
from deployfit.runtimes import registry

if TYPE_CHECKING:
    from deployfit.grid import GridResult
    from deployfit.report.document import Document


class Sizes(Answered):
    """File sizes by recipe, then by model; a recipe that cannot be made is missing."""

    def __init__(self, sizes: Mapping[str, Mapping[str, Weights]], models: Sequence[str]) -> None:
        self.sizes, self.models = sizes, models

    def document(self) -> Document:
        """Return a row per recipe and model, and the table."""
        from deployfit.report.table import sizes_document

        return sizes_document(self.sizes, self.models)


class Needs(Answered):
    """What running takes, a grid per runtime."""

    def __init__(self, results: Sequence[GridResult]) -> None:
        self.results = results

    def document(self) -> Document:
        """Return the rows of a sweep, and a table of models by recipes."""
        from deployfit.report.table import needs_document

        return needs_document(self.results)


def table(
    model: str | Iterable[str] | None = None,
    quant: str | Iterable[str] | None = None,
    *,
    app: str | None = None,
    runtime: str | None = None,
    publisher: str | None = None,
    mac: Text | None = None,
    macos: Text | None = None,
    wired_limit: Text | None = None,
    other: Text | None = None,
    context: Text | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog: str | None = None,
) -> Sizes | Needs:
    """Return the sizes of files, models by recipes; with a Mac or a context what running them takes there.

    >>> table("Qwen3.5-9B", "Q8_0").rows()[0]["file_bytes"]
    9527502048
    """
    engine = engine_asked(app, None if runtime is None else registry.find_runtime(runtime))
    found = [model_and_file(name, catalog) for name in dict.fromkeys(texts(model)) or all_models(catalog)]
    models = [each for each, _ in found]
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    names = texts(quant)
    if not names and publisher is None:
        names, publisher = files_said(found)
    quants = files_of(names, publisher, engine)
    if all(given is None for given in (mac, macos, wired_limit, other, context)):
        return _sizes(models, quants, options, named=bool(names))
    machine = machine_of(text_of(mac), text_of(macos), text_of(wired_limit), text_of(other))
    from deployfit.grid import Grid, require_answers, sweep

    results = []
    for name, chosen in by_runtime(quants).items():
        loader = registry.runtime(name)
        tokens = context_of(str(context or common.DEFAULT_CONTEXT), models[0])
        grid = Grid(
            models, chosen, loader, [started_with(app, name, {}).with_context(tokens)], [tokens], [machine], options
        )
        results.append(sweep(grid._replace(speeds=speeds_of([machine]))))
    require_answers(results)
    return Needs(results)


def _sizes(models: Sequence[Model], quants: Sequence[Quant], options: Options, *, named: bool) -> Sizes:
    sizes: dict[str, dict[str, Weights]] = {}
    for quant in quants:
        for model in models:
            try:
                sizes.setdefault(quant.name, {})[model.name] = quant.weights(model, options)
            except InputError:
                if named and len(models) == 1:
                    raise
    return Sizes(sizes, [model.name for model in models])


QUESTION = Question(
    name="table",
    summary="Show what files take, models by recipes. With --mac what running them takes there, and whether that fits.",
    ask=table,
    parameters=(
        common.MODELS,
        common.QUANT,
        common.PUBLISHER,
        common.RUNTIME._replace(help="Whose recipes.", default=registry.names()[0]),
        common.MAC._replace(help="Say what running takes on this Mac, not how large files are.", default=""),
        *common.MACHINE[1:],
        common.APP,
        common.CONTEXT,
        common.VISION,
        common.IMATRIX,
        common.MTP,
        common.CATALOG,
    ),
    arguments=("model",),
)
