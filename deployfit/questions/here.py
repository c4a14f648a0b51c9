"""`here`: every model that other programs have downloaded on this machine, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deployfit.answers import OnDisk
from deployfit.errors import DeployfitError
from deployfit.hardware.machine import Machine
from deployfit.lookup import by_runtime
from deployfit.parameters import python
from deployfit.quants.weights import Options
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text, shown_progress, text_of
from deployfit.questions.resolve import context_of, judge_of, machine_of, run_of, start_of
from deployfit.sources.stored import StoredModel, stored_models
from deployfit.verdict import Answer

if TYPE_CHECKING:
    from deployfit.report.document import Document


class Here(Answered, Sequence[OnDisk]):
    """The models of all stores."""

    def __init__(self, stored: Sequence[OnDisk], machine: Machine) -> None:
        self.stored, self.machine = stored, machine

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int) -> OnDisk:  # type: ignore[override]
        return self.stored[index]

    def document(self) -> Document:
        """Return a row per model."""
        from deployfit.report.here import here_document

        return here_document(self.stored, self.machine)


def here(
    *,
    mac: Text | None = None,
    macos: Text | None = None,
    wired_limit: Text | None = None,
    other: Text | None = None,
    context: Text = common.DEFAULT_CONTEXT,
) -> Here:
    """Return every model in the Hugging Face cache, LM Studio's, Ollama's and llama.cpp's stores, with its verdict.

    Only headers are read.
    """
    machine = machine_of(text_of(mac), text_of(macos), text_of(wired_limit), text_of(other))
    return Here(list(_judged(machine, str(context))), machine)


def _judged(machine: Machine, context: str) -> Iterator[OnDisk]:
    for found in stored_models(progress=shown_progress()):
        try:
            yield OnDisk(found, _answer(found, machine, context), found.fault)
        except DeployfitError as error:
            yield OnDisk(found, None, python(error.marked).partition("\n")[0])


def _answer(found: StoredModel, machine: Machine, context: str) -> Answer | None:
    from deployfit.questions.fit import unknown_fit

    opened = found.opened
    if opened is None or opened.quant is None:
        return None
    ((name, (quant,)),) = by_runtime([opened.quant]).items()
    if opened.model is None:
        return unknown_fit(machine, opened, start_of(None, name, context, {}), Options()).answer
    tokens = min(context_of(context, opened.model), opened.model.blueprint.trained_context)
    start = start_of(None, name, str(tokens), {})
    return judge_of(run_of(opened.model, start, machine, Options())).answer(quant)


QUESTION = Question(
    name="here",
    summary="List the models on this machine, and whether they fit. Those in Hugging Face's cache and in the"
    " stores of LM Studio, Ollama and llama.cpp, each with its largest context.\n\nOnly headers are read.",
    ask=here,
    parameters=(*common.MACHINE, common.CONTEXT),
)
