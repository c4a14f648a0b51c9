"""The files of a model: what is loaded of each, what decoding reads of it, and how it is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from deployfit.commands.next_step import next_step, repository_of
from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.page.chips import work_of_file
from deployfit.page.curves import Kind, sizes_of
from deployfit.page.starts import Offered, Starts
from deployfit.parameters import command_line
from deployfit.quants import shelf
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.questions.choices import published_files, rank_of
from deployfit.questions.resolve import as_started, judge_of, machine_of, run_of, speeds
from deployfit.runtimes import registry
from deployfit.values import NamedTuple
from deployfit.verdict import Answer, Judge

OPTIONS = (Options(), Options(mtp=True), Options(vision=True), Options(mtp=True, vision=True))
MTP, VISION = 1, 2  # bits of a position in OPTIONS
ANY_MAC = "512"  # a question has one; nothing that is taken from the answers depends on it
STAND_IN = 1_234_567_891  # tokens, in whose place in a command the context goes


class Variant(NamedTuple):
    """A file under some options: all of it in bytes, the parts that are loaded, and what a token costs."""

    file_bytes: int
    bits_per_weight: float
    loaded: Mapping[Kind, int]
    work: Sequence[int]  # in the order of chips.OF_FILES


class File(NamedTuple):
    """Something that can be chosen; `variants` by position in OPTIONS, or why there is none.

    `forced` are the bits of OPTIONS that an application sets by itself, by its position. `commands` are what starts
    it where nothing else is asked for, by the application's position, with blanks to fill in: `{repo}`, `{recipe}`,
    `{model}`, `{context}`; a line before the last starts a server.
    """

    quant: Quant
    weights: Weights
    is_published: bool
    variants: Mapping[int, Variant | str]
    forced: Mapping[int, int]
    commands: Mapping[int, str]
    repo: str

    @property
    def recipe(self) -> str:
        """Its name without the publisher."""
        return self.quant.name.rpartition(":")[2]


def options_of(model: Model) -> list[int]:
    """Return which positions of OPTIONS a model has; files of one without a vision tower may hold one.

    >>> from deployfit.questions.resolve import find_model
    >>> options_of(find_model("Qwen3.5-27B")), options_of(find_model("Llama-3.1-8B"))
    ([0, 1, 2, 3], [0, 2])
    """
    return [index for index in range(len(OPTIONS)) if model.blueprint.drafts or not index & MTP]


class Started(NamedTuple):
    """An application that can run a model: who answers, and what it says is not counted, by position in OPTIONS."""

    offered: Offered
    judge: Judge
    example: Answer
    left_out: Mapping[int, Sequence[str]]


def applications(model: Model, runtime: str, starts: Starts, quants: Sequence[Quant]) -> dict[int, Started]:
    """Return the applications that run a model, by position; one that is refused is missing."""
    found: dict[int, Started] = {}
    for each in starts.offered:
        if starts.apps[each.app].runtime == runtime and each.app not in found:
            for index in options_of(model):
                try:
                    judge = judge_of(run_of(model, each.start, machine_of(ANY_MAC), OPTIONS[index]))
                except InputError:
                    continue
                answer = _first_answer(judge, quants)
                if answer is None:
                    continue
                known = found.setdefault(each.app, Started(each, judge, answer, {}))
                left_out = {**known.left_out, index: [command_line(line) for line in answer.left_out]}
                found[each.app] = known._replace(left_out=left_out)
    return found


def _first_answer(judge: Judge, quants: Sequence[Quant]) -> Answer | None:
    for quant in quants:
        try:
            return judge.answer(quant)
        except InputError:
            continue
    return None


def files_of(model: Model, runtime: str, starts: Starts) -> tuple[list[File], dict[int, Started]]:
    """Return the files of a model that a runtime loads, and the applications that run them.

    The files are those of publishers, and what the runtime's own tools make.
    """
    format_name = registry.format_of(runtime)
    published = published_files(model, format_name)
    offered = (*published, *shelf.own_quants(format_name))
    weighed = {quant: weights for quant in offered if (weights := _weighed(quant, model))}
    quants = list(weighed)
    apps = applications(model, runtime, starts, quants) if quants else {}
    settings = next((settings for name, settings in starts.settings if name == runtime), None)
    files = []
    for number, quant in enumerate(quants if apps else ()):
        weights = weighed[quant]
        variants = {index: _variant(model, quant, runtime, settings, index) for index in options_of(model)}
        answers = {app: _as_started(each, quant, weights) for app, each in apps.items()}
        repo = next((repo for answer in answers.values() if (repo := repository_of(answer, _recipe(quant)))), "")
        files.append(
            File(
                quant=quant,
                weights=weights,
                is_published=number < len(published) and quant in published,
                variants=variants,
                forced={app: OPTIONS.index(answer.run.options) for app, answer in answers.items()},
                commands=dict(_commands(answers, repo, _recipe(quant), model.name)),
                repo=repo,
            )
        )
    return files, apps


def preferred(model: Model, files: Sequence[File]) -> list[int]:
    """Return which files to try, best first, as deployfit chooses among those that fit: evidence, then size.

    They are those of publishers, or where there is none those that may be advised of what the tools make.
    """
    known = [index for index, file in enumerate(files) if file.is_published]
    known = known or [index for index, file in enumerate(files) if file.quant.advisable(model, Options())]
    return sorted(known, key=lambda index: (rank_of(files[index].weights)[0], -files[index].weights.text_bytes))


def _weighed(quant: Quant, model: Model) -> Weights | None:
    """Return the weights under the first options with which there are any: some files hold a tower or nothing."""
    for index in options_of(model):
        try:
            return quant.weights(model, OPTIONS[index])
        except InputError:
            continue
    return None


def _recipe(quant: Quant) -> str:
    return quant.name.rpartition(":")[2]


def _variant(model: Model, quant: Quant, runtime: str, settings: object, index: int) -> Variant | str:
    engine = registry.runtime(runtime)
    try:
        weights = quant.weights(model, OPTIONS[index])
        parts = engine.loaded(model.blueprint, weights, OPTIONS[index], settings)
    except InputError as error:
        return command_line(error.marked)
    work = work_of_file(model, runtime, speeds(), weights)
    return Variant(weights.file_bytes, weights.bits_per_weight, sizes_of(parts), work)


def _as_started(started: Started, quant: Quant, weights: Weights) -> Answer:
    """Return an answer about a file that is good for its question only: what is asked, and of which file."""
    run = started.judge.run
    if not {"mtp", "vision"}.isdisjoint(started.offered.start.chosen):  # the application chooses by the file
        with suppress(InputError):
            run = as_started(started.judge, quant, started.offered.start).run
    run = run._replace(settings=run.settings.with_context(STAND_IN))
    return started.example._replace(run=run, quant=quant, weights=weights)


def _commands(answers: Mapping[int, Answer], repo: str, recipe: str, model: str) -> Iterator[tuple[int, str]]:
    for app, answer in answers.items():
        step = next_step(answer)
        if step is not None:
            command = "\n".join(filter(None, (step.server, step.command))).replace(str(STAND_IN), "{context}")
            for blank, text in (("{repo}", repo), ("{recipe}", recipe), ("{model}", model)):
                command = command.replace(text, blank) if text else command
            yield app, command
