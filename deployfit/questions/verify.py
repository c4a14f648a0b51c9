"""`verify`: a log of an engine beside what deployfit says of the same question."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.answers import Compared
from deployfit.errors import DeployfitError, InputError, quoted
from deployfit.estimate import estimate
from deployfit.exit_codes import ANSWERED, OUTSIDE
from deployfit.hardware.gpu_limit import LIMITS
from deployfit.hardware.mac import MACS
from deployfit.layers.attention import Attention
from deployfit.lookup import find_quant
from deployfit.measured.logs.causes import CAUSES
from deployfit.measured.logs.compare import (
    NOTHING,
    SPLIT,
    Beside,
    Row,
    SpeedRow,
    compare,
    compare_speeds,
    disagreements,
    explained,
)
from deployfit.measured.logs.header import parts_from_header
from deployfit.measured.logs.log import EngineLog
from deployfit.measured.logs.placement import Stored, mixture, padding_bytes
from deployfit.measured.logs.question import question_of
from deployfit.measured.logs.reading import read_log
from deployfit.measured.logs.text import lines_of
from deployfit.measured.metal_builds import METAL_GENERATIONS, generation_of
from deployfit.models import Model
from deployfit.parameters import Parameter, python
from deployfit.quants import shelf
from deployfit.quants.weights import Options, Weights
from deployfit.questions.question import Answered, Question
from deployfit.questions.resolve import Start, find_model, machine_of, run_of, speeds_of, start_of
from deployfit.runtimes.llamacpp.settings import ALL, DEFAULT_UBATCH, NO_METAL, SLOTS, LlamaCppSettings
from deployfit.runtimes.runtime import MemoryPart
from deployfit.speed import Speed
from deployfit.values import NamedTuple
from deployfit.verdict import Run

if TYPE_CHECKING:
    from deployfit.report.document import Document

STANDARD_INPUT = "-"
NO_MAC = "512"  # what stands for a Mac that the log does not name: no part depends on it

LOGITS = {
    ALL: "it reserves logits for a whole micro-batch, as servers did before June 2026",
    SLOTS: "it reserves logits for its slots only, as today's servers do",
}
SILENT = "it says nothing of memory; llama.cpp's programs do with --log-verbosity 4"
WHOLE_WINDOWS = "its layers with a window have room for a whole batch, as those of early builds with windows"
NO_WINDOWS = "it keeps the whole context in layers with a window, as builds before late May 2025 do"


class Predicted(NamedTuple):
    """What deployfit says of a log's question: parts, what is known beside them, and the speed.

    `run`: what was asked, None where the parts are from the log's own header.
    """

    parts: Sequence[MemoryPart]
    beside: Beside = NOTHING
    speed: Speed | None = None
    run: Run | None = None


class Verified(Answered):
    """A log, the question that it answers, and the two side by side."""

    def __init__(self, log: EngineLog, asked: Mapping[str, str], notes: Sequence[str], predicted: Predicted) -> None:
        self.log, self.asked, self.notes = log, asked, notes
        rows = compare(log, predicted.parts, catalogue.rows(CAUSES), predicted.beside)
        for reason, names, parts in _otherwise(predicted.run):
            if any(row.agrees is False and row.name in names for row in rows):
                rows = explained(rows, log, parts(), names, reason)
        self.rows_by_part: list[Row] = rows
        speed = predicted.speed
        self.speeds: list[SpeedRow] = (
            compare_speeds(log, speed.decode, speed.prefill) if speed else compare_speeds(log, None, None)
        )

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """1 if a part that is called exact differs and no cause is known."""
        return OUTSIDE if disagreements(self.rows_by_part) else ANSWERED

    def document(self) -> Document:
        """Return a row per model, with its parts, and the table."""
        from deployfit.report.verify import verify_document

        return verify_document(Compared(self.log, self.asked, self.notes, self.rows_by_part, self.speeds))


def verify(log: str) -> Verified:
    """Return a log (a file, or - for standard input) beside what deployfit predicts for the same question."""
    found = read_log_file(log)
    asked, notes = question_from(found)
    if not found.parts and found.runtime == "llama.cpp" and found.program != "llama-bench":
        notes = [*notes, SILENT]
    return Verified(found, asked, *_predicted(found, asked, list(notes)))


def read_log_file(path: str) -> EngineLog:
    """Return what a file, or standard input, says; it may hold anything."""
    if path == STANDARD_INPUT:
        pasted = getattr(sys.stdin, "buffer", None)
        return read_log(lines_of(pasted) if pasted else sys.stdin)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"log {quoted(path)}: not a file; give one, or - for a pasted text")
        with open(path, "rb") as file:
            return read_log(lines_of(file))
    except OSError as error:
        raise InputError(f"log {quoted(path)}: {error.strerror}; give a file, or - for a text") from None


def question_from(log: EngineLog) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return the question that a log answers, by parameter, and what had to be taken for granted."""
    return question_of(
        log,
        catalogue.models(),
        find_quant,
        list(shelf.publishers()),
        catalogue.rows(MACS),
        catalogue.rows(LIMITS),
    )


APPS = {
    "Ollama": "ollama",
    "LM Studio": "lmstudio",
    "mlx_lm": "mlx_lm.generate",
    "oMLX": "omlx",
}  # by the log's program


def _predicted(log: EngineLog, asked: Mapping[str, str], notes: list[str]) -> tuple[list[str], Predicted]:
    """Return the notes, and what deployfit says; of a model that is not known what the log's own header says."""
    if "model" not in asked or "quant" not in asked:
        return notes, Predicted(parts_from_header(log))
    machine = machine_of(asked.get("mac", NO_MAC), asked.get("macos"), asked.get("wired_limit"))
    own = {"model", "quant", "context", "runtime", "mac", "macos", "wired_limit", "mtp", "vision"}
    settings = {name: value for name, value in asked.items() if name not in own}
    options = Options(mtp="mtp" in asked, vision="vision" in asked)
    try:
        start = _start(log, asked["runtime"], asked.get("context") or "32k", settings)
        model = find_model(asked["model"])
        weights = find_quant(asked["quant"], asked["runtime"]).weights(model, options)
        run = _as_logged(log, run_of(model, start, machine, options))
        needed = estimate(model, weights, run.runtime, run.settings, options)
    except DeployfitError as error:
        return [*notes, python(error.marked).partition("\n")[0]], Predicted(parts_from_header(log))
    file = _whole_file(log, asked, model, weights)
    file = _whole_file(log, asked, model, weights)
    known = {"file_tensors": file.text_bytes + file.mtp_bytes}
    if checkpoint := _checkpoint_bytes(log, run):
        known["checkpoint"] = checkpoint
    if "mac" in asked:
        known["gpu_limit"] = machine.limit.limit_bytes
    unused = file.mtp_bytes if "mtp" not in asked else 0
    beside = Beside(known, Stored(mixture(log.model, file), padding_bytes(weights), unused))
    if isinstance(run.settings, LlamaCppSettings) and (drafter := run.settings.draft_model):
        its_file = Stored(mixture(log.drafter, drafter.weights), padding_bytes(drafter.weights))
        beside = beside._replace(drafter=its_file)
    parts: Sequence[MemoryPart] = needed.parts
    if "context" not in asked and isinstance(run.settings, LlamaCppSettings):
        parts = run.runtime.loaded(model.blueprint, weights, options, run.settings)  # the rest depends on it
    return notes, Predicted(parts, beside, _speed(run, weights) if "mac" in asked else None, run)


def _as_logged(log: EngineLog, run: Run) -> Run:
    """Return what ran with the context that was logged; more than a model was trained for cannot be asked for."""
    tokens, settings = log.settings.context_tokens, run.settings
    if isinstance(settings, LlamaCppSettings) and tokens is not None and tokens > settings.context_tokens:
        return run._replace(settings=settings.with_context(tokens))
    return run


def _otherwise(run: Run | None) -> Iterator[tuple[str, Sequence[str], Callable[[], Sequence[MemoryPart]]]]:
    """Yield what other builds do: the words for it, which parts differ then, and a function that returns all parts."""
    if run is None or not isinstance(run.settings, LlamaCppSettings):
        return
    other = ALL if run.settings.outputs == SLOTS else SLOTS
    for name in SPLIT:
        yield LOGITS[other], (name,), partial(_running, run, run.settings._replace(outputs=other))
    batch = run.settings.largest_batch
    if batch > run.settings.ubatch:
        yield WHOLE_WINDOWS, ("kv_cache", "context"), partial(_running, run, run.settings._replace(ubatch=batch))
    if not run.settings.swa_full:
        yield NO_WINDOWS, ("kv_cache", "context"), partial(_running, run, run.settings._replace(swa_full=True))


def _running(run: Run, settings: LlamaCppSettings) -> Sequence[MemoryPart]:
    return run.runtime.running(run.model.blueprint, settings, run.options)


def _checkpoint_bytes(log: EngineLog, run: Run) -> int:
    """Return the size of the log's smallest context checkpoint; 0 where none is made."""
    columns = run.runtime.extra_columns(run.model.blueprint, run.settings, run.options)
    part, own = log.part("checkpoint"), columns.get("checkpoint_bytes") or 0
    if part is None or not part.tokens or not own:
        return own
    blueprint = run.model.blueprint
    mixers = [mixer for mixer in blueprint.attentions if isinstance(mixer, Attention)]
    window = 0 if blueprint.recurrents else max((mixer.window or mixer.chunk for mixer in mixers), default=0)
    if window > part.tokens:
        own = own * part.tokens // window  # the tokens so far do not fill it
    return own + (columns.get("checkpoint_bytes_per_token") or 0) * part.tokens


def _whole_file(log: EngineLog, asked: Mapping[str, str], model: Model, weights: Weights) -> Weights:
    """Return the weights of the log's file, with its MTP layers if the log counts those although nothing drafts."""
    if "mtp" in asked or not model.blueprint.drafts or sum(log.model.types.values()) == _count(weights):
        return weights
    try:
        whole = find_quant(asked["quant"], asked["runtime"]).weights(model, Options(mtp=True))
    except DeployfitError:
        return weights
    size = log.part("file_tensors")
    counted = sum(log.model.types.values()) == _count(whole)
    return whole if counted or (size and size.figure.holds(whole.text_bytes + whole.mtp_bytes)) else weights


def _count(weights: Weights) -> int:
    return sum(len(each.layers) for each in weights.classes)


def _start(log: EngineLog, runtime: str, context: str, settings: Mapping[str, str]) -> Start:
    """Return how the log's program started: what it logs beside its own defaults, options of a user's or not."""
    app = _app(log, runtime)
    options = start_of(app, runtime, context, {}).app.options
    own = {name: value for name, value in settings.items() if name in options}
    start = start_of(app, runtime, context, own)
    if "metal" in start.chosen:
        is_metal = log.mac.device in ("Metal", "")
        metal = generation_of(log.build, catalogue.rows(METAL_GENERATIONS)) if is_metal else NO_METAL
        start = start._replace(chosen={**start.chosen, "metal": metal})
    outputs, micro = log.settings.outputs_max, log.settings.ubatch or DEFAULT_UBATCH
    if outputs and "outputs" in start.chosen:
        start = start._replace(chosen={**start.chosen, "outputs": SLOTS if outputs < micro else ALL})
    return start._replace(typed=settings)


def _app(log: EngineLog, runtime: str) -> str:
    """Return the application that printed a log."""
    if runtime == "mlx":
        return APPS.get(log.program, "mlx_lm.generate")
    return APPS.get(log.program, log.program if log.program in ("llama-server", "llama-bench") else "llama-bench")


def _speed(run: Run, weights: Weights) -> Speed | None:
    return speeds_of([run.machine]).speed(
        run.machine.mac,
        run.model.blueprint,
        weights,
        estimate(run.model, weights, run.runtime, run.settings, run.options),
        runtime=run.runtime.name,
        sequences=run.runtime.sequences(run.settings),
        states=run.runtime.states(run.model.blueprint, run.settings, run.options),
        context_tokens=run.settings.context_tokens,
    )


LOG = Parameter("log", "What an engine printed: a file, or - for standard input.", "LOG")

QUESTION = Question(
    name="verify",
    summary="Hold the prediction against a LOG. One of llama-server, llama-bench, Ollama, LM Studio, mlx_lm, ...\n\nThe"
    " model, its quant, settings and Mac are found in the log. Exit code 1 if a part that is called exact differs.",
    ask=verify,
    parameters=(LOG,),
    arguments=("log",),
)
