"""What could be run instead: a model's published files, other models, other Macs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deployfit import catalogue
from deployfit.advice import Choices
from deployfit.errors import DeployfitError, InputError
from deployfit.hardware.gpu_limit import LIMITS, default_limit
from deployfit.hardware.mac import MACS, Mac
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.quants import shelf
from deployfit.quants.weights import Options, Quant, Weights, nominal_bits
from deployfit.questions.resolve import judge_of
from deployfit.ranking import BITS, evidence_of
from deployfit.units import GIB
from deployfit.verdict import Judge, Run, Verdict, verdict_at

MOST_MODELS = 8  # other models that are tried


def published_files(model: Model, format_name: str) -> list[Quant]:
    """Return the files of a model that publishers were seen to ship in a format."""
    return [
        quant
        for publisher in shelf.publishers().values()
        for quant in publisher.quants()
        if quant.format == format_name and quant.published(model)
    ]


def files_for(app: str | None, model: Model, format_name: str) -> list[Quant]:
    """Return the published files that an application can fetch: those in Ollama's library are for Ollama alone.

    Of a publisher whose files join text and tower only the application of that name takes them.
    """
    known = shelf.publishers()
    joined = {name for name, each in known.items() if format_name in each.rows and each.rows[format_name].joined}
    return [each for each in published_files(model, format_name) if each.publisher not in joined - {app}]


def rank_of(weights: Weights) -> tuple[int, bool]:
    """Return the rank of the evidence about files of so many bits (1 is best), and whether it is of a loss."""
    row = evidence_of(weights, catalogue.rows(BITS))
    return row.rank, row.is_lossy


def is_last_resort(weights: Weights) -> bool:
    """Return whether files of so many bits are of the last rank of the evidence: they lost much, below 3 bits."""
    return rank_of(weights)[0] >= max(row.rank for row in catalogue.rows(BITS))


def evidence_about(weights: Weights) -> str:
    """Return what the cited tests say of files of so many bits."""
    return f"{nominal_bits(weights)}-bit {weights.format}: {evidence_of(weights, catalogue.rows(BITS)).evidence}"


def best_fitting(judge: Judge, quants: Sequence[Quant]) -> tuple[Quant, Weights] | None:
    """Return of the quants that fit the one with the best evidence, in that the largest; None where none fits.

    Only what may be advised counts.
    """
    run = judge.run
    fitting = []
    for quant in quants:
        try:
            weights = judge.weights(quant)
            total = judge.estimate(weights).total_bytes
        except DeployfitError:
            continue
        if verdict_at(run.machine, total) is Verdict.FITS:
            fitting.append((quant, weights))
    return best_of(fitting, run)


def best_of(fitting: Iterable[tuple[Quant, Weights]], run: Run) -> tuple[Quant, Weights] | None:
    """Return of quants that fit the one with the best evidence, in that the largest, of what may be advised."""
    ordered = sorted(fitting, key=lambda pair: (rank_of(pair[1])[0], -pair[1].text_bytes))
    return next((pair for pair in ordered if pair[0].advisable(run.model, run.options)), None)


def menu_of(chosen: Sequence[Quant], run: Run) -> Sequence[Quant]:
    """Return what may be advised instead of the chosen: its publisher's other files, or all that are known."""
    publishers = {quant.publisher for quant in chosen}
    if len(publishers) == 1 and (name := publishers.pop()):
        return shelf.publishers()[name].quants() if name in shelf.publishers() else []
    format_name = run.runtime.formats[0]
    return [*shelf.own_quants(format_name), *files_for(run.app and run.app.name, run.model, format_name)]


def choices_for(run: Run, menu: Sequence[Quant]) -> Choices:
    """Return what may be advised in place of a run."""
    return Choices(
        files=[quant for quant in menu if quant.advisable(run.model, run.options)],
        is_lossy=lambda weights: rank_of(weights)[1],
        smaller=lambda: _smaller_models(run),
        machines=lambda: _machines(run.machine),
    )


def _smaller_models(run: Run) -> Iterator[tuple[str, str, str]]:
    """Yield smaller models of the family, the largest first, each with its best file that fits without a loss."""
    known = catalogue.models()
    if run.model.name not in known:
        return
    format_name = run.runtime.formats[0]
    family = [known[row.name] for row in known.rows.values() if row.family == run.model.row.family]
    sizes = {model.name: _params(model) for model in family}
    smaller = [model for model in family if sizes[model.name] < sizes[run.model.name]]
    for model in sorted(smaller, key=lambda each: -sizes[each.name])[:MOST_MODELS]:
        if run.settings.context_tokens > model.blueprint.trained_context:
            continue
        judge = _judge(run, model)
        files = files_for(run.app and run.app.name, model, format_name) or shelf.own_quants(format_name)
        found = judge and best_fitting(judge, files)
        if found and not rank_of(found[1])[1]:
            yield model.name, found[0].name, "a smaller model that fits as asked"
            return


def _params(model: Model) -> int:
    return model.row.total_params or sum(model.blueprint.params().values())


def _judge(run: Run, model: Model) -> Judge | None:
    try:
        return judge_of(run._replace(model=model, options=Options()))
    except InputError:
        return None


def _machines(machine: Machine) -> Iterator[Machine]:
    """Yield the sizes of memory that Macs are sold with, above a machine's own, under the same macOS."""
    sizes = sorted({size for row in catalogue.rows(MACS) for size in row.memory_gib})
    for size in sizes:
        if size * GIB > machine.mac.memory_bytes:
            mac = Mac(chip="", memory_bytes=size * GIB)
            yield Machine(mac, machine.macos, default_limit(mac, machine.macos, catalogue.rows(LIMITS)))
