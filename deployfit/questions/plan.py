"""`plan`: how far the context of a model reaches, by recipe and KV cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from deployfit.errors import InputError
from deployfit.lookup import find_publisher
from deployfit.parameters import param
from deployfit.quants import shelf
from deployfit.quants.weights import Options
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text, text_of, texts
from deployfit.questions.resolve import (
    engine_asked,
    known_or_alike,
    machine_of,
    model_and_file,
    quants_of,
    speeds,
    start_of,
    started_with,
)
from deployfit.questions.said import files_said
from deployfit.questions.several import EXO, EXO_RUNTIME, together_of
from deployfit.runtimes import registry

if TYPE_CHECKING:
    from deployfit.apps import App
    from deployfit.context_plan import Plan
    from deployfit.report.document import Document


class Contexts(Answered):
    """A plan: `plan.rows` has a row per recipe."""

    def __init__(self, plan: Plan, app: App) -> None:
        self.plan, self.app = plan, app

    def document(self) -> Document:
        """Return a row per recipe and KV cache, and the grid of them."""
        from deployfit.report.plan import plan_document

        return plan_document(self.plan, self.app)


def plan(
    model: str,
    quant: str | Iterable[str] | None = None,
    *,
    mac: Text | None = None,
    macos: Text | None = None,
    wired_limit: Text | None = None,
    other: Text | None = None,
    app: str | None = None,
    runtime: str | None = None,
    publisher: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog: str | None = None,
) -> Contexts:
    """Return the largest contexts of a model's recipes by KV cache; `publisher` means all its files of the model.

    >>> plan("Qwen3.5-35B-A3B", "Q4_K_M", mac=32).plan.rows[0].max_context_tokens
    (172032, 262144, 262144)
    """
    from deployfit.context_plan import make_plan

    found, said = model_and_file(model, catalog)
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    together = together_of(mac, runtime, None, None, macs_needed=False)
    runtime = EXO_RUNTIME if together and together.engine == EXO else runtime
    runtime = engine_asked(app, runtime)
    names = texts(quant)
    if not names and publisher is None:
        names, publisher = files_said([(found, said)])
    asked = quants_of(names, runtime)
    if len(asked) > 1:
        raise InputError("a plan compares the settings of one runtime; ask for quants of one at a time")
    ((name, chosen),) = asked.items()
    if publisher is not None:
        if chosen:
            raise InputError(f"{param('publisher')} means all its files; leave out {param('quant')}")
        known = shelf.publishers()[find_publisher(publisher)]
        usual = next(iter(known.rows))
        wanted = usual if runtime is None else registry.format_of(registry.find_runtime(runtime))
        name = registry.loader_of(wanted if wanted in known.rows else usual)
        if wanted not in known.rows:
            raise InputError(f"{known.name} publishes {usual}, which {name} loads; leave out {param('runtime')}")
        chosen = [each for each in known.quants() if each.format == wanted and each.published(found)]
        if not chosen:
            raise InputError(f"no file of {known.name} is known for {found.name}; name recipes with {param('quant')}")
    elif chosen:
        chosen = [known_or_alike(each, found) for each in chosen]
    else:
        chosen = [each for each in shelf.own_quants(registry.format_of(name)) if each.advisable(found, options)]
    place = text_of(macos), text_of(wired_limit), text_of(other)
    if together is not None:
        from deployfit.questions.plan_together import plan_together

        if app is not None:
            raise InputError(f"several Macs: leave out {param('app')}")
        made = plan_together(found, chosen, name, together, place, options)
        return Contexts(made, start_of(None, name, None, {}).app)
    engine = registry.runtime(name)
    columns = [started_with(app, name, typed) for typed in engine.planned]
    machine = machine_of(text_of(mac), *place)
    made = make_plan(found, chosen, engine, columns, machine, options, speeds())
    if not made.rows or not made.columns:
        raise InputError(made.refusals[0])
    return Contexts(made, start_of(app, name, None, {}).app)


QUESTION = Question(
    name="plan",
    summary="Show how far the context of MODEL reaches. Each recipe by KV caches, on one Mac.",
    ask=plan,
    parameters=(
        common.MODEL,
        common.QUANT,
        common.PUBLISHER,
        common.RUNTIME,
        *common.MACHINE,
        common.APP,
        common.VISION,
        common.IMATRIX,
        common.MTP,
        common.CATALOG,
    ),
    arguments=("model",),
)
