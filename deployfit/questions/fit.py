"""`fit`: whether a model fits a Mac, and how it will run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.answers import Fit
from deployfit.errors import InputError
from deployfit.exit_codes import ANSWERED, DOES_NOT_FIT
from deployfit.hardware.machine import Machine
from deployfit.layers.blueprint import Blueprint
from deployfit.lookup import by_runtime, find_publisher, not_loaded
from deployfit.models import Model, own_model
from deployfit.parameters import Parameter, param
from deployfit.printable import printable
from deployfit.quants import shelf
from deployfit.quants.weights import Options, Quant
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text, shown_as, shown_progress, text_of, texts
from deployfit.questions.resolve import (
    Start,
    app_named,
    as_started,
    engine_asked,
    judge_of,
    known_or_alike,
    machine_of,
    model_and_file,
    quants_of,
    run_of,
    start_of,
)
from deployfit.questions.several import EXO, EXO_RUNTIME, splitting_app, together_of
from deployfit.questions.several import PARAMETERS as OF_SEVERAL
from deployfit.report.document import Shown
from deployfit.runtimes import registry
from deployfit.verdict import RUNS, Answer, Judge, Run, Verdict

if TYPE_CHECKING:
    from deployfit.advice import Advice
    from deployfit.questions.cluster import ClusterFits
    from deployfit.report.document import Document
    from deployfit.sources.opened import Opened
    from deployfit.vision.image import Image
    from deployfit.words.named import Named

HUB = "hub:"


class Fits(Answered, Sequence[Answer]):
    """Verdicts, one per Mac and quant.

    `listed`: nothing in particular was asked for, and these are what there is. `said`: what is to be said of the name.
    """

    def __init__(
        self,
        fits: Sequence[Fit],
        *,
        listed: bool,
        shown: Shown = Shown.USUAL,
        said: str = "",
        use_exit_code: bool = False,
    ) -> None:
        self.fits, self.listed, self.shown, self.said = fits, listed, shown, said
        self._use_exit_code = use_exit_code

    def __len__(self) -> int:
        return len(self.fits)

    def __getitem__(self, index: int) -> Answer:  # type: ignore[override]
        return self.fits[index].answer

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """3 if nothing asked for runs within the GPU limit, and that was to be told."""
        runs = any(fit.answer.verdict in RUNS for fit in self.fits)
        return DOES_NOT_FIT if self._use_exit_code and not runs else ANSWERED

    def document(self) -> Document:
        """Return the rows, and the whole breakdown for one quant or a line each for several."""
        from deployfit.report.fit import fit_document

        return fit_document(self.fits, listed=self.listed, shown=self.shown, said=self.said)


def fit(
    model: str,
    quant: str | Iterable[str] | None = None,
    *,
    mac: Text | Iterable[Text] | None = None,
    macos: Text | None = None,
    wired_limit: Text | None = None,
    other: Text | None = None,
    context: Text | None = None,
    app: str | None = None,
    runtime: str | None = None,
    publisher: str | None = None,
    own: bool = False,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    image: str | Iterable[str] | None = None,
    catalog: str | None = None,
    file: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    brief: bool = False,
    explain: bool = False,
    exit_code: bool = False,
    split: str | None = None,
    tensor_split: str | Iterable[float] | None = None,
    macs_needed: bool = False,
    **settings: Text | bool | None,
) -> Fits | ClusterFits:
    """Return whether a model fits a Mac, an answer per quant; without one every file that can be downloaded.

    Macs that run it together are one `mac`: "2x M3 Ultra 256", "M3 Ultra 512 + M4 Max 128". Other keywords are the
    runtime's settings, as the command line has them.

    >>> (answer,) = fit("Qwen3.5-27B", "Q4_K_M", mac=32, context="32k")
    >>> answer.verdict.value, answer.estimate.total_bytes, answer.max_context_tokens
    ('fits', 19634794624, 117504)
    """
    images = images_asked(texts(image))
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision or bool(images), images=images)
    runtime = engine_asked(app, runtime)
    shown = shown_as(brief=brief, explain=explain)
    names = texts(quant)
    together = together_of(mac, runtime, split, tensor_split, macs_needed=macs_needed)
    runtime = EXO_RUNTIME if together and together.engine == EXO else runtime
    opened, packed, about = None, None, ""
    outside = place_of(model) if catalog is None and model not in catalogue.models() else ""
    if outside:
        from deployfit.sources.open import open_source

        if names:
            raise InputError(f"{param('quant')} is for models of the catalogue; choose a file with {param('file')}")
        opened = open_source(
            outside, revision=revision, pattern=file, offline=offline, vision=vision, progress=shown_progress()
        )
        found, asked = _of_source(opened, runtime)
    else:
        for name, value in (("file", file), ("revision", revision), ("offline", offline)):
            if value:
                raise InputError(f"{param(name)} is for hub:OWNER/NAME, a file or a folder; leave it out")
        found, said = model_and_file(model, catalog)
        if not names and any(said[1:]):
            from deployfit.questions.said import check_known, said_quant, with_files, without_file

            names = said_quant(found, said)
            check_known(found, names, model)
            said = without_file(said, names) if names else with_files(found, said)
        about = about_name(said)
        publisher = publisher or (said.publisher if not names else None)
        others = names or publisher or own or imatrix
        packed = None if catalog is None or others else _packed(catalog, found)
        if packed is None:
            asked = _asked(found, names, runtime, publisher, app, own=own, imatrix=imatrix)
        else:
            asked = _loaded(packed, runtime)
    listed = not names and packed is None and (opened is None or opened.quant is None)
    typed = {name: _typed(value) for name, value in settings.items() if value is not None}
    registry.check_given(list(typed), list(asked), [each.name for each in QUESTION.parameters])
    macs: Sequence[str | None] = (texts(mac) or [None]) if together is None else []
    machines = [machine_of(each, text_of(macos), text_of(wired_limit), text_of(other)) for each in macs]
    if together:
        app = splitting_app(app, together)
        context = common.DEFAULT_CONTEXT if context is None else context
    starts = {name: start_of(app, name, text_of(context), typed) for name in asked}
    if together:
        from deployfit.questions.cluster import fits_together

        if opened and opened.model is None:
            raise InputError("several Macs: name a model whose layers are known")
        return fits_together(
            *(found, asked, together._replace(app=app or "")),
            *((text_of(macos), text_of(wired_limit), text_of(other)), starts, options),
            listed=listed,
            use_exit_code=exit_code,
            shown=shown,
            said=about,
        )
    fits: list[Fit] = []
    for machine in machines:
        if opened and opened.model is None:
            (start,) = starts.values()
            fits.append(unknown_fit(machine, opened, start, options))
        else:
            fits += _on(machine, found, asked, starts, options, listed=listed)
    if not fits:
        raise InputError(
            f"nothing of {found.name} can be made as asked; leave out {param('imatrix')} or {param('mtp')}"
        )
    return Fits(fits, listed=listed, shown=shown, said=about, use_exit_code=exit_code)


def about_name(said: Named) -> str:
    """Return what is to be said where a name is not the catalogue's own, "" where it is."""
    lines = []
    if said.alias:
        lines.append(f"{said.alias} has the same numbers as {said.model}.")
    if said.mtp:
        lines.append(
            f"That file has the MTP layer too; {param('quant')} of the tool's own with {param('mtp')} counts it."
        )
    elif said.owner:
        lines.append(f"Files of {said.owner} are not known; these are answered in their place.")
    return " ".join(lines)


def place_of(text: str) -> str:
    """Return where a model outside the catalogue is: a path, or the Hub with its prefix; "" for what is none.

    What only looks like a page of the Hub, or is the bare name of a file or folder here, is a model of the catalogue if
    it can be.
    """
    from deployfit.sources.kinds import path

    if text.startswith(HUB) or path.takes(text):
        return text
    if not os.path.lexists(text):
        return ""
    try:
        model_and_file(text)
    except InputError:
        return os.path.join(os.curdir, text)
    return ""


def _of_source(opened: Opened, runtime: str | None) -> tuple[Model, Mapping[str, list[Quant]]]:
    """Return the model of a source and its file by the runtime that loads it; of a configuration every recipe."""
    model = opened.model or own_model(opened.place, opened.assumed or _bare(opened.architecture), opened.place)
    if opened.quant is None:
        engines = registry.names() if runtime is None else [registry.find_runtime(runtime)]
        return model, {name: _recipes(model, name) for name in engines}
    return model, _loaded(opened.quant, runtime)


def _loaded(quant: Quant, runtime: str | None) -> Mapping[str, list[Quant]]:
    """Return a file by the runtime that loads it; raise InputError if another was asked for."""
    asked = by_runtime([quant])
    if runtime is not None and registry.find_runtime(runtime) not in asked:
        raise InputError(not_loaded(quant, registry.find_runtime(runtime)))
    return asked


def _packed(catalog: str, model: Model) -> Quant | None:
    """Return how the config.json of a user's own model says that its weights are packed, None where it does not."""
    if catalogue.models().get(model.name) is model:
        return None
    from deployfit.quants.configured import ConfiguredQuant
    from deployfit.quants.quantization import NOT_SAID, read_quantization

    said = read_quantization(catalogue.own_config(catalog, model.name))
    return None if said == NOT_SAID else ConfiguredQuant(printable(catalog), said)


def _bare(architecture: str) -> Blueprint:
    """Return the blueprint of a model of which only the weights are known."""
    return Blueprint(
        model_type=architecture,
        gguf_architecture=architecture,
        hidden=0,
        vocab=0,
        tied=False,
        trained_context=MOST_CONTEXT,
        layers=(),
    )


MOST_CONTEXT = 2**24  # tokens, of a model whose trained length is not known


def unknown_fit(machine: Machine, opened: Opened, start: Start, options: Options) -> Fit:
    """Return what can be said of a file whose architecture nobody wrote."""
    from deployfit.unknown import unknown_answer

    if opened.quant is None:
        raise InputError(f"{opened.place}: no weights in it, and architecture {opened.architecture} is not known")
    model = own_model(opened.place, opened.assumed or _bare(opened.architecture), opened.place)
    run = run_of(model, start, machine, options)
    architecture = opened.architecture or "(not named)"
    return Fit(unknown_answer(run, opened.quant, architecture, has_caches=opened.assumed is not None), ())


def images_asked(typed: Sequence[str]) -> tuple[Image, ...]:
    """Return the images that were typed."""
    if not typed:
        return ()
    from deployfit.vision.image import images_of

    return images_of(typed)


def _typed(value: Text | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _asked(
    model: Model,
    names: Sequence[str],
    runtime: str | None,
    publisher: str | None,
    app: str | None,
    *,
    own: bool,
    imatrix: bool,
) -> Mapping[str, list[Quant]]:
    """Return what to answer by runtime: what was named, else what can be downloaded, with `own` what can be made."""
    if names:
        if publisher is not None:
            raise InputError(f"{param('publisher')} means all its files; leave out {param('quant')}")
        named = quants_of(names, runtime)
        return {engine: [known_or_alike(each, model) for each in chosen] for engine, chosen in named.items()}
    from deployfit.questions.choices import files_for, published_files

    engines = registry.names() if runtime is None else [registry.find_runtime(runtime)]
    whose = None if publisher is None else find_publisher(publisher)
    starter = None if app is None else app_named(app)
    asked: dict[str, list[Quant]] = {}
    for engine in engines:
        format_name = registry.format_of(engine)
        if own or imatrix:
            chosen = [*shelf.own_quants(format_name)]
        elif whose is None:
            chosen = files_for(starter, model, format_name)
        else:
            chosen = [each for each in published_files(model, format_name) if each.publisher == whose]
        if chosen:
            asked[engine] = chosen
    if asked:
        return asked
    if whose is not None:
        raise InputError(f"no file of {whose} is known for {model.name}; leave out {param('publisher')}")
    return {engine: _recipes(model, engine) for engine in engines}


def _recipes(model: Model, engine: str) -> list[Quant]:
    """Return the recipes that an engine's own tools make of a model, all of them if they make none as they are."""
    recipes = list(shelf.own_quants(registry.format_of(engine)))
    return [recipe for recipe in recipes if recipe.advisable(model, Options())] or recipes


def _on(
    machine: Machine,
    model: Model,
    asked: Mapping[str, list[Quant]],
    starts: Mapping[str, Start],
    options: Options,
    *,
    listed: bool,
) -> list[Fit]:
    """Return the verdicts on one Mac."""
    fits: list[Fit] = []
    for name, chosen in asked.items():
        try:
            judge = judge_of(run_of(model, starts[name], machine, options))
        except InputError:
            if listed and len(asked) > 1:
                continue
            raise
        quants = list(dict.fromkeys(chosen))
        if listed:
            from deployfit.advice import makeable

            quants = makeable(judge, quants)
        judges = [as_started(judge, each, starts[name]) for each in quants]
        answers = [started.answer(each) for each, started in zip(quants, judges, strict=True)]
        best, reason, wanted = _best(answers, judge.run) if listed else (None, "", None)
        for each, started, answer in zip(quants, judges, answers, strict=True):
            is_asked = not listed or each == wanted
            advice = _advice(answer, started, chosen) if is_asked and answer.verdict is not Verdict.FITS else ()
            fits.append(Fit(answer, advice, reason if best == each else ""))
    return fits


def _best(answers: Sequence[Answer], run: Run) -> tuple[Quant | None, str, Quant | None]:
    """Return the choice among the quants, smallest first, and why it is; where none is, that for which to seek a way.

    What lost much in the cited tests is neither, unless there is nothing else.
    """
    from deployfit.questions.choices import best_of, evidence_about, is_last_resort

    sound = [each for each in answers if not is_last_resort(each.weights)] or answers
    best = best_of(((each.quant, each.weights) for each in sound if each.verdict is Verdict.FITS), run)
    if best is None:
        return None, "", sound[0].quant if sound else None
    return best[0], f"{evidence_about(best[1])}; the largest such file that fits", None


def _advice(answer: Answer, judge: Judge, chosen: Sequence[Quant]) -> Sequence[Advice]:
    from deployfit.advice import advice_on
    from deployfit.questions.choices import choices_for, menu_of

    return advice_on(answer, judge, choices_for(judge.run, menu_of(chosen, judge.run)))


QUESTION = Question(
    name="fit",
    summary="Say whether MODEL fits this Mac. One file in detail, or a line for every file that can be downloaded.",
    ask=fit,
    parameters=(
        common.MODEL,
        common.QUANT,
        common.PUBLISHER,
        common.RUNTIME,
        common.MAC._replace(many=True),
        *common.MACHINE[1:],
        common.APP,
        common.CONTEXT._replace(default="32k; with --app what the application chooses"),
        common.FILE,
        common.REVISION,
        common.OFFLINE,
        Parameter("own", "List recipes that you would have to make yourself, not files to download."),
        common.VISION,
        common.IMAGE,
        common.IMATRIX,
        common.MTP,
        common.CATALOG,
        *OF_SEVERAL,
        Parameter("brief", "One line for each answer."),
        Parameter("explain", "Say where each figure comes from, and what the words mean."),
        Parameter("exit_code", f"Exit with {DOES_NOT_FIT} if nothing asked for runs within the GPU limit."),
    ),
    arguments=("model",),
    runtimes=True,
)
