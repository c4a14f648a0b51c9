"""The document of `fit`: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from deployfit.basis import Basis
from deployfit.commands.flags import OLLAMA
from deployfit.commands.next_step import ON_THE_HUB, next_step
from deployfit.parameters import option
from deployfit.report.document import (
    Bar,
    Block,
    Bullets,
    Code,
    Column,
    Document,
    Facts,
    Shown,
    Statement,
    Table,
    Ways,
    of_rows,
)
from deployfit.report.fit_rows import SCHEMA, TONES, advice_lines, fit_row, heading_of, image_columns, in_shell, is_path
from deployfit.runtimes.runtime import HOST
from deployfit.units import MIB, gb, gib, tps
from deployfit.verdict import RUNS, Answer, Run, Verdict

if TYPE_CHECKING:
    from deployfit.answers import Fit
    from deployfit.quants.weights import Quant, Weights
    from deployfit.speed import Rate

BEYOND_THE_LIMIT = "speeds are those within the GPU limit; beyond it the Mac swaps and is far slower, or refuses"
LEAST_DRAWN = 50 * MIB  # a part that the bar names: 0.0 GiB says nothing


def fit_document(fits: Sequence[Fit], *, listed: bool, shown: Shown = Shown.USUAL, said: str = "") -> Document:
    """Return the document of one answer in full, or of several in a line each.

    `listed`: nobody asked for these in particular, so that the sensible ones are enough. `said`: of the model's name.
    """
    if len(fits) == 1 and shown is not Shown.BRIEF:
        blocks = list(_one(fits[0], explained=shown is Shown.EXPLAINED))
    else:
        from deployfit.report.fit_list import brief, many

        blocks = list(brief(fits, listed=listed) if shown is Shown.BRIEF else many(fits, listed=listed))
    if said and shown is not Shown.BRIEF:
        blocks.insert(0, Statement(said))
    if shown is Shown.EXPLAINED:
        blocks += _explained(fits)
    return of_rows(SCHEMA, (fit_row(each) for each in fits), blocks)


def _explained(fits: Sequence[Fit]) -> Iterable[Block]:
    """Yield what the words of the answers mean, as the glossary has it."""
    from deployfit.report.glossary import explanations

    parts = [part for fit in fits for part in fit.answer.estimate.at_start]
    words = [*(part.label for part in parts), "GPU limit", "reserve", *(part.basis.value for part in parts)]
    known = explanations()
    yield Facts([(word, known[word]) for word in dict.fromkeys(words) if word in known])


def _one(fit: Fit, *, explained: bool) -> Iterable[Block]:
    answer = fit.answer
    weights = answer.weights
    yield heading_of(answer)
    yield Statement(
        f" {weights.recipe}, {size_of_file(answer.quant, answer.weights)}",
        verdict_sentence(answer),
        TONES[answer.verdict],
    )
    yield _bar(answer)
    yield Facts([*_facts(answer), *_defaults(answer.run)])
    yield _parts(answer, explained=explained)
    yield from _ways(fit)
    if answer.verdict in RUNS and (step := next_step(answer)):
        if step.server:
            yield Code("Serve it", step.server)
        yield Code("Run it", step.command, step.address)
        yield Bullets("Set in it", step.settings)
    limit = answer.run.machine.limit.note  # it stands beside the limit already
    yield Bullets("Note", [*_about_ollama(answer), *(note for note in answer.notes if not (limit and limit in note))])
    yield Bullets("Not counted", answer.left_out)


def size_of_file(quant: Quant, weights: Weights) -> str:
    """Return how large the file is, and whether it is to be downloaded, made, or here."""
    size, name = f"{gb(weights.file_bytes, 1)} GB", quant.name
    if quant.publisher or name.startswith(ON_THE_HUB):
        return f"{size} to download"
    return f"{size} on disk" if is_path(name) else f"a file of {size}"


def _about_ollama(answer: Answer) -> Iterable[str]:
    """Yield whose figures those of a file of Ollama's are, where they are another program's."""
    app = answer.run.app
    if answer.quant.publisher == OLLAMA and app is not None and app.name != OLLAMA:
        yield f"these are the figures of {app.title}; Ollama starts its file otherwise, see {option('app')} {OLLAMA}"


def _parts(answer: Answer, *, explained: bool) -> Table:
    """Return the parts and what they are held against; how each is known where that is asked for or is a guess."""
    machine, needed = answer.run.machine, answer.estimate
    on_device = {part.name for part in needed.at_start if part.where != HOST}
    rows: list[tuple[str, int, Basis | None, str]] = [
        (
            part.label + (" (host)" if part.where == HOST and part.name in on_device else ""),
            part.nbytes,
            part.basis,
            part.detail,
        )
        for part in needed.at_start
        if explained or gib(part.nbytes) != gib(0)
    ]
    rows += [
        ("total", needed.total_bytes, None, ""),
        ("GPU limit", machine.limit.limit_bytes, machine.limit.basis, machine.limit.note),
        ("reserve", machine.reserve_bytes, None, "for Metal, macOS and other programs"),
    ]
    columns = [Column("", left=True), Column("GiB"), Column("", left=True, rank=1, folds=True)]
    if explained:
        columns.insert(2, Column("known", left=True))
    shown = []
    for label, nbytes, basis, detail in rows:
        cells = [label, gib(nbytes), detail]
        if explained:
            cells.insert(2, basis.value if basis else "")
        elif basis is Basis.ASSUMED:
            cells[2] = f"assumed: {detail}" if detail else "assumed"
        shown.append(cells)
    return Table(columns, shown)


def verdict_sentence(answer: Answer) -> str:
    """Return the verdict with what is left or missing, as the beginning of a sentence."""
    spare = answer.headroom_bytes
    over = answer.estimate.total_bytes - answer.run.machine.limit.limit_bytes
    return {
        Verdict.FITS: f"Fits, {gib(spare, 1)} GiB to spare:",
        Verdict.TIGHT: f"Tight, {gib(-spare, 1)} GiB into the reserve:",
        Verdict.NEEDS_RAISED_LIMIT: f"Needs a raised limit, {gib(over, 1)} GiB over it:",
        Verdict.DOES_NOT_FIT: f"Does not fit, {gib(over, 1)} GiB over the limit:",
        Verdict.UNKNOWN: "Not known:",
    }[answer.verdict]


def _bar(answer: Answer) -> Bar:
    machine, needed = answer.run.machine, answer.estimate
    grouped: dict[str, int] = {}
    for part in needed.at_start:
        grouped[part.label] = grouped.get(part.label, 0) + part.nbytes
    return Bar(
        [(label, nbytes) for label, nbytes in grouped.items() if nbytes >= LEAST_DRAWN],
        [("usable", machine.budget_bytes), ("limit", machine.limit.limit_bytes)],
        f"{gib(needed.total_bytes, 1)} of {gib(machine.limit.limit_bytes, 1)} GiB",
        TONES[answer.verdict],
    )


def _facts(answer: Answer) -> Iterable[tuple[str, str]]:
    run = answer.run
    trained = run.model.blueprint.trained_context
    if answer.max_context_tokens >= trained:
        yield "context", f"up to the trained {trained:,} tokens"
    elif answer.max_context_tokens:
        yield "context", f"up to {answer.max_context_tokens:,} tokens (trained: {trained:,})"
    else:
        yield "context", "none fits"
    seen = image_columns(run)
    if tokens := seen["image_tokens"]:
        largest = "it is" if len(run.options.images) == 1 else "the largest is"
        size = f"{seen['image_width']:,} x {seen['image_height']:,} pixels"
        yield "image", f"{tokens:,} tokens of the context; {largest} seen at {size}"
    elif run.options.vision and answer.verdict in RUNS:
        yield "image", _largest_image(answer)
    speed = answer.speed
    if answer.verdict is Verdict.DOES_NOT_FIT:
        return
    if speed is None:
        yield "speed", f"not known; {answer.no_speed}"
        return
    tokens = run.settings.context_tokens
    yield "speed", f"{_rate(speed.decode)}; with {tokens:,} tokens before it {_rate(speed.decode_full)}"
    yield "prompt", f"{tokens:,} tokens take {_duration(tokens / speed.prefill.tps)} ({_rate(speed.prefill)})"
    known = "four measurements in five lie in the intervals" if speed.basis is not Basis.ASSUMED else "assumed"
    yield "", f"{known}; {speed.note}"
    if speed.drafting:
        low, high, pairs = speed.drafting
        yield "drafting", f"makes it {low:.1f} to {high:.1f} times as fast (measured, {pairs} pairs)"
    if answer.verdict not in RUNS:
        yield "", BEYOND_THE_LIMIT


def _defaults(run: Run) -> Iterable[tuple[str, str]]:
    """Yield what the application chose, as it would be typed."""
    if run.app is None:
        return
    named = [f"{option(name)} {value}" for name, value in run.chosen.items() if name in run.app.options]
    if named:
        yield "defaults", f"of {run.app.title}: {', '.join(named)}"


def _largest_image(answer: Answer) -> str:
    run, needed = answer.run, answer.estimate
    if run.model.blueprint.vision is None:  # of some only the tower's bytes are known
        return "what one takes is not known"
    free = run.machine.budget_bytes - needed.total_bytes
    largest = run.runtime.largest_image(run.model.blueprint, run.settings, needed.at_start, max(free, 0))
    if largest is None:
        return "none fits beside the rest"
    size = f"{largest.width:,} x {largest.height:,} pixels, {largest.tokens:,} tokens"
    return f"any; larger ones are scaled to {size}" if largest.all_fit else f"up to about {size}"


def _rate(rate: Rate) -> str:
    return f"{tps(rate.tps)} tokens/s ({tps(rate.low_tps)} to {tps(rate.high_tps)})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _ways(fit: Fit) -> Iterable[Block]:
    if fit.advice:
        yield Ways("What would help", advice_lines(fit))
    elif fit.answer.verdict not in (Verdict.FITS, Verdict.UNKNOWN):
        mac = in_shell(fit.answer.run.machine.mac.name.removesuffix(" GB"))
        yield Statement("Nothing that deployfit knows would make it run on this Mac.")
        yield Code("What does", f"deployfit recommend {option('mac')} {mac}")
