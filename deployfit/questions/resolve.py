"""What people type, made into what is asked: models, quants, settings and machines by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from deployfit import catalogue
from deployfit.apps import APPS, DEFAULTS, RULE, App, app_of, check_typed, defaults_of, find_app
from deployfit.basis import Basis
from deployfit.errors import InputError, quoted
from deployfit.hardware.gpu_limit import LIMITS, default_limit, parse_macos, raised_limit
from deployfit.hardware.mac import MACS, Mac, names_several, plainly_named
from deployfit.hardware.machine import Machine
from deployfit.lookup import by_runtime, find_publisher, find_quant
from deployfit.models import Model
from deployfit.notes import NOTES
from deployfit.parameters import param
from deployfit.quants import shelf
from deployfit.quants.weights import GGUF, Options, Quant, Weights
from deployfit.questions.parameters import DEFAULT_CONTEXT, DEFAULT_MACOS
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import DraftModel, Runtime
from deployfit.values import NamedTuple
from deployfit.verdict import Judge, Run
from deployfit.words import numbers
from deployfit.words.named import Named, PublishedName

if TYPE_CHECKING:
    from deployfit.quants.publishers import PublisherRow
    from deployfit.speed import Speeds
    from deployfit.words.aliases import AliasRow

MAC_VARIABLE = "DEPLOYFIT_MAC"  # the Mac that is meant where none is named


def whole_number(name: str, text: str) -> int:
    """Return a whole number that was typed for a parameter.

    >>> whole_number("ubatch", "512")
    512
    """
    return numbers.whole_number(text, name)


def all_models(catalog: str | None = None, wanted: str = "") -> Mapping[str, Model]:
    """Return the catalogue, with the user's own models if there are any."""
    return catalogue.models() if catalog is None else {**catalogue.models(), **catalogue.load_models(catalog, wanted)}


def find_model(name: str, catalog: str | None = None) -> Model:
    """Return the model that a text names, as its maker, a publisher, Ollama or a file calls it.

    >>> find_model("qwen3.5:27b").row.total_params
    27781427952
    """
    return model_and_file(name, catalog)[0]


def model_and_file(text: str, catalog: str | None = None) -> tuple[Model, Named]:
    """Return the model that a text names, and what the text says of its file.

    >>> model_and_file("unsloth/Qwen3.5-27B-GGUF:Q4_K_M")[1].quant_text
    'unsloth:Q4_K_M'
    """
    if catalog is not None:
        own = catalogue.load_models(catalog, text)
        found = own.get(text) or next((own[name] for name in own if name.casefold() == text.strip().casefold()), None)
        if found is not None:
            return found, Named(found.name)
    known = catalogue.models()
    if text in known:
        return known[text], Named(text)
    from deployfit.words.models import model_named

    named = model_named(text, list(known.rows.values()), _publisher_rows, _aliases, _published_names)
    return known[named.model], named


def _publisher_rows() -> Sequence[PublisherRow]:
    from deployfit.quants.publishers import PUBLISHERS

    return catalogue.rows(PUBLISHERS)


def _published_names() -> Iterable[PublishedName]:
    for publisher in shelf.publishers().values():
        for quant in publisher.quants():
            yield PublishedName(publisher.name, quant.format, quant.name.rpartition(":")[2])


def _aliases() -> Sequence[AliasRow]:
    from deployfit.words.aliases import ALIASES

    return catalogue.rows(ALIASES)


def machine_of(
    mac: str | None, macos: str | None = None, wired_limit: str | None = None, other: str | None = None
) -> Machine:
    """Return the Mac that is meant, with its GPU limit; without a name it is this machine.

    >>> machine_of("32").limit.limit_bytes
    26800603136
    """
    raised = numbers.wired_limit(wired_limit) if wired_limit is not None else 0
    held = 0 if other is None else numbers.byte_size(other, "other")
    mac = os.environ.get(MAC_VARIABLE) if mac is None else mac
    if mac is not None:
        found = plainly_named(mac, catalogue.rows(MACS)) or _mac_named(mac)
        version = parse_macos(DEFAULT_MACOS if macos is None else macos)
    else:
        from deployfit.sources.this_mac import this_mac

        here = this_mac()
        found, version = here.mac, _macos_of_this_mac(here.macos) if macos is None else parse_macos(macos)
        raised = raised if wired_limit is not None else here.wired_limit_bytes
    if wired_limit is not None or raised > 0:
        return Machine(found, version, raised_limit(found, raised), raised=True, other_bytes=held)
    return Machine(found, version, default_limit(found, version, catalogue.rows(LIMITS)), other_bytes=held)


def _mac_named(text: str) -> Mac:
    from deployfit.words.macs import MAC_MODELS, mac_named  # most say it plainly

    _check_single(text)
    return mac_named(text, catalogue.rows(MACS), lambda: catalogue.rows(MAC_MODELS))


def _check_single(text: str) -> None:
    if names_several(text):
        raise InputError(f"{param('mac')} {quoted(text)}: several Macs; only fit, plan, recommend and sweep know them")


def macs_of(text: str) -> list[str]:
    """Return the names of the Macs that a text means: of a chip without its memory all that it was sold with.

    >>> macs_of("M4 Max")
    ['M4 Max 36', 'M4 Max 48', 'M4 Max 64', 'M4 Max 128']
    """
    from deployfit.words.macs import MAC_MODELS, macs_meant

    _check_single(text)
    found = macs_meant(text, catalogue.rows(MACS), lambda: catalogue.rows(MAC_MODELS))
    return [mac.name.removesuffix(" GB") for mac in found]


def _macos_of_this_mac(text: str) -> int:
    try:
        return parse_macos(text)
    except InputError as error:
        raise InputError(
            f"{error}; this Mac says {quoted(text)}: say which rule to use with {param('macos')} {DEFAULT_MACOS}"
        ) from None


def quants_of(quants: Sequence[str], runtime: str | None) -> Mapping[str, list[Quant]]:
    """Return what was asked for by runtime; nothing in particular is every recipe of the runtime."""
    engine = None if runtime is None else registry.find_runtime(runtime)
    found = [find_quant(quant, engine) for quant in quants]
    return by_runtime(found) or {engine or registry.names()[0]: []}


def files_of(names: Sequence[str], publisher: str | None, engine: str | None) -> list[Quant]:
    """Return the quants of some names or all of a publisher; of neither the recipes of an engine's own tool."""
    if publisher is not None:
        if names:
            raise InputError(f"{param('publisher')} means all its files; leave out {param('quant')}")
        name = find_publisher(publisher)
        files = shelf.publishers()[name].quants()
        loaded: list[Quant] = [quant for quant in files if engine is None or engine in by_runtime([quant])]
        if not loaded:
            raise InputError(f"{name} publishes nothing that {engine} loads; leave out {param('publisher')}")
        return loaded
    if names:
        return list(dict.fromkeys(find_quant(name, engine) for name in names))
    return list(shelf.own_quants(registry.format_of(engine or registry.names()[0])))


def known_or_alike(quant: Quant, model: Model) -> Quant:
    """Return a publisher's file, or where its size is not known the tool's own recipe of that name in its place."""
    if not quant.publisher or quant.published(model):
        return quant
    try:
        quant.weights(model, Options())
    except InputError:
        from deployfit.quants.stand_in import StandIn

        own = own_alike(quant.name.rpartition(":")[2], quant.format)
        return StandIn(own, quant) if own else quant
    return quant


def own_alike(recipe: str, format_name: str) -> Quant | None:
    """Return the tools' own recipe of a name in a format.

    MXFP4 files of mixtures are llama.cpp's MXFP4_MOE; weights that mlx-lm distils (DWQ) are stored as without it.
    """
    for name in (recipe, f"{recipe}_MOE", recipe.removesuffix("-DWQ")):
        try:
            found = find_quant(name)
        except InputError:
            continue
        if found.format == format_name and not found.publisher:
            return found
    return None


def context_of(text: str, model: Model) -> int:
    """Return a context that was typed; `max` is the trained length."""
    tokens = numbers.context(text)
    return model.blueprint.trained_context if tokens == numbers.TRAINED else tokens


class Start(NamedTuple):
    """How a runtime is started: the application, its settings with what was typed among them, and the context.

    `context` is a text, or the application's rule for one; `is_asked`: it was typed. `typed` is what was typed,
    `chosen` what the application chooses beside it.
    """

    app: App
    runtime: Runtime
    context: str
    typed: Mapping[str, str]
    chosen: Mapping[str, str]
    is_asked: bool = True


WITH_TOWER = "if the model has one"  # of vision: files of the application have the tower in them


def start_of(app: str | None, runtime: str, context: str | None, typed: Mapping[str, str]) -> Start:
    """Return how a runtime is started by an application; without one by the usual one, with deployfit's own context.

    >>> start_of("ollama", "llama.cpp", None, {}).context, start_of(None, "llama.cpp", None, {}).context
    ('rule:by_gpu_memory', '32k')
    """
    apps = catalogue.rows(APPS)
    known = {each.name for each in registry.parameters()[runtime]}
    own = {name: value for name, value in typed.items() if name in known}
    found = app_of(None if app is None else find_app(app, apps), runtime, apps, own)
    check_typed(found, list(own))
    chosen = defaults_of(found, catalogue.rows(DEFAULTS), own)
    usual = chosen.pop("context", DEFAULT_CONTEXT)
    meant = context if context is not None else DEFAULT_CONTEXT if app is None else usual
    return Start(found, registry.runtime(runtime), meant, own, chosen, is_asked=context is not None)


def app_named(text: str) -> str:
    """Return the name of the application that a text means."""
    return find_app(text, catalogue.rows(APPS))


def engines_of(app: str) -> list[str]:
    """Return the runtimes that an application brings.

    >>> engines_of("LM Studio"), engines_of("ollama")
    (['llama.cpp', 'mlx'], ['llama.cpp'])
    """
    apps = catalogue.rows(APPS)
    name = find_app(app, apps)
    return [each.runtime for each in apps if each.name == name]


def engine_asked(app: str | None, runtime: str | None) -> str | None:
    """Return the runtime that is meant: as named, or the only one that the application brings; None for any."""
    if runtime is not None or app is None:
        return runtime
    engines = engines_of(app)
    return engines[0] if len(engines) == 1 else None


def started_with(app: str | None, runtime: str, typed: Mapping[str, str]) -> Any:
    """Return the settings with which an application starts a runtime, whatever the context."""
    return settings_of(start_of(app, runtime, None, typed), 1)


def settings_of(start: Start, tokens: int) -> Any:
    """Return the settings for a context that all sequences share; the model that drafts is looked up."""
    typed = {**start.chosen, **start.typed}
    settings = start.runtime.settings(tokens, typed)
    if "draft_model" in typed:
        settings = settings._replace(draft_model=draft_model_of(typed["draft_model"], start.runtime.name))
    return settings


def draft_model_of(text: str, runtime: str) -> DraftModel:
    """Return the model that drafts, from its name and file; raise InputError if either is not known.

    >>> draft_model_of("Qwen3.5-0.8B:Q8_0", "llama.cpp").weights.text_bytes
    800881920
    """
    model, said = model_and_file(text)
    if not said.quant_text:
        raise InputError(f"{param('draft_model')} {quoted(text)}: which file? Say it as {model.name}:QUANT")
    try:
        quant = find_quant(said.quant_text, runtime)
    except InputError:
        quant = find_quant(said.quant or "", runtime)
    return DraftModel(f"{model.name}:{said.quant}", model.blueprint, quant.weights(model, Options()))


def run_of(model: Model, start: Start, machine: Machine, options: Options) -> Run:
    """Return what is asked; where a rule decides about the context it is the trained one."""
    asked = {"mtp": options.mtp, "vision": options.vision and not options.images, "image": options.images}
    some = {name for app in catalogue.rows(APPS) if app.runtime == start.runtime.name for name in app.options}
    check_typed(start.app, [name for name, wanted in asked.items() if wanted and name in some])
    ruled = start.context.startswith(RULE)
    tokens = model.blueprint.trained_context if ruled else context_of(start.context, model)
    settings = settings_of(start, tokens)
    if start.app.context_of_slot:
        settings = settings.with_context(tokens * start.runtime.sequences(settings))
    most = model.blueprint.trained_context * start.runtime.sequences(settings)
    if not start.is_asked and 0 < most < settings.context_tokens:
        settings = settings.with_context(most)
    _check_drafting(model, start, options)
    return Run(model, start.runtime, settings, machine, options, start.typed, start.app, start.chosen)


def _check_drafting(model: Model, start: Start, options: Options) -> None:
    """Raise InputError for drafting that is asked for twice, or of which only the number of tokens is said."""
    if "draft_model" in start.typed:
        if options.mtp:
            raise InputError(f"{param('mtp')} and {param('draft_model')} both draft; choose one")
    elif "draft_max" in start.typed and not model.blueprint.drafts:
        raise InputError(
            f"{param('draft_max')}: {model.name} has no MTP layer; leave it out, or name a {param('draft_model')}"
        )
    elif "draft_max" in start.typed and not options.mtp and "mtp" not in start.chosen:
        raise InputError(f"{param('draft_max')}: nothing drafts; say {param('mtp')} too, or {param('draft_model')}")


def as_started(judge: Judge, quant: Quant, start: Start) -> Judge:
    """Return who answers for one quant: with the context, drafting and vision that the application chooses for it."""
    run = judge.run
    options = run.options
    weights = judge.weights(quant)
    if "mtp" in start.chosen and run.model.blueprint.drafts and weights.mtp_bytes:
        options = options._replace(mtp=True)
    has_tower = weights.vision_bytes or (start.chosen.get("vision") == WITH_TOWER and run.model.blueprint.vision)
    if "vision" in start.chosen and has_tower:
        options = options._replace(vision=True)
    if options == run.options and not start.context.startswith(RULE):
        return judge
    run = run._replace(options=options)
    if start.context.startswith(RULE):
        from deployfit.app_context import context_by

        judge = judge_of(run)
        tokens = context_by(start.context.removeprefix(RULE), judge, judge.weights(quant))
        run = run._replace(settings=run.settings.with_context(tokens))
    return judge_of(run)


def judge_of(run: Run) -> Judge:
    """Return who answers a run."""
    known = speeds() if run.machine.mac.chip else None
    return Judge(run, catalogue.rows(LIMITS), known, catalogue.rows(NOTES))


@cache
def speeds() -> Speeds:
    """Return what is known of speed.

    >>> sorted(speeds().coefficients)
    ['llama.cpp', 'mlx']
    """
    from deployfit.speed import COEFFICIENTS, DRAFTING, Speeds, by_runtime, drafting_of

    coefficients, drafting = by_runtime(catalogue.rows(COEFFICIENTS)), drafting_of(catalogue.rows(DRAFTING))
    return Speeds(coefficients, drafting, catalogue.rows(MACS))


def speeds_of(machines: Sequence[Machine]) -> Speeds:
    """Return what is known of speed; nothing where no chip is named, so that the file is not read for nothing."""
    from deployfit.speed import NO_SPEEDS

    return speeds() if any(machine.mac.chip for machine in machines) else NO_SPEEDS


def known_quants(
    model: Model, formats: Sequence[str], publisher: str | None, options: Options
) -> list[tuple[Quant, Weights]]:
    """Return what exists for a model, smallest first: the tools' recipes and all publishers' files, or one's.

    Files whose size is only assumed are among them if their publisher was asked for.
    """
    named = shelf.publishers().values() if publisher is None else [shelf.publishers()[publisher]]
    offered = [quant for each in formats for quant in shelf.own_quants(each)] if publisher is None else []
    offered += [quant for each in named for quant in each.quants() if quant.format in formats]
    known = []
    for quant in offered:
        try:
            imatrix = options.imatrix and quant.format == GGUF and not quant.publisher
            weights = quant.weights(model, options._replace(imatrix=imatrix))
        except InputError:
            continue
        if weights.basis is not Basis.ASSUMED or publisher is not None:
            known.append((quant, weights))
    if not known:
        raise InputError(
            f"nothing is known for {model.name}; leave out {param('runtime')} and {param('publisher')} to see all"
        )
    return sorted(known, key=lambda pair: pair[1].file_bytes)
