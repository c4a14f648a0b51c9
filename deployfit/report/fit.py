"""The document of `fit`: the verdict first, then what it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deployfit.apps import USUAL
from deployfit.basis import Basis
from deployfit.commands.next_step import OLLAMA, ON_THE_HUB, next_step
from deployfit.estimate import WORKING
from deployfit.hardware.machine import Machine
from deployfit.parameters import option
from deployfit.report.document import (
    Bar,
    Block,
    Bullets,
    Code,
    Column,
    Document,
    Facts,
    Heading,
    Shown,
    Statement,
    Table,
    Tone,
    Ways,
    of_rows,
)
from deployfit.runtimes.runtime import HOST, MemoryPart
from deployfit.units import MIB, four_digits, gb, gib, tps
from deployfit.verdict import RUNS, Answer, Run, Verdict

if TYPE_CHECKING:
    from deployfit.answers import Fit
    from deployfit.speed import Rate, Speed

SCHEMA = "deployfit/fit/1"
USUAL_MACOS = 26
RATES = ("decode", "decode_full", "prefill")
BEYOND_THE_LIMIT = "speeds are those within the GPU limit; beyond it the Mac swaps and is far slower, or refuses"

TONES = {
    Verdict.FITS: Tone.GOOD,
    Verdict.TIGHT: Tone.WARNING,
    Verdict.NEEDS_RAISED_LIMIT: Tone.WARNING,
    Verdict.DOES_NOT_FIT: Tone.BAD,
    Verdict.UNKNOWN: Tone.WARNING,
}

LEAST_DRAWN = 50 * MIB  # a part that the bar names: 0.0 GiB says nothing
MOST_LISTED = 8  # files of a list that a person is shown at once


def fit_document(fits: Sequence[Fit], *, listed: bool, shown: Shown = Shown.USUAL, said: str = "") -> Document:
    """Return the document of one answer in full, or of several in a line each.

    `listed`: nobody asked for these in particular, so that the sensible ones are enough. `said`: of the model's name.
    """
    if shown is Shown.BRIEF:
        blocks = list(_brief(fits, listed=listed))
    elif len(fits) == 1:
        blocks = list(_one(fits[0], explained=shown is Shown.EXPLAINED))
    else:
        blocks = list(_many(fits, listed=listed))
    if said and shown is not Shown.BRIEF:
        blocks.insert(0, Statement(said))
    if shown is Shown.EXPLAINED:
        blocks += _explained(fits)
    return of_rows(SCHEMA, (fit_row(each) for each in fits), blocks)


def fit_row(fit: Fit) -> dict[str, Any]:
    """Return one answer as a row; sizes in bytes, what is not known None."""
    answer = fit.answer
    run, weights, needed = answer.run, answer.weights, answer.estimate
    machine = run.machine
    return {
        "model": run.model.name,
        "recipe": weights.recipe,
        "runtime": run.runtime.name,
        "app": run.app.name if run.app else None,
        "app_version": run.app.version if run.app else None,
        "format": weights.format,
        "mac": machine.mac.name,
        "macos": machine.macos,
        "memory_bytes": machine.mac.memory_bytes,
        "context_tokens": run.settings.context_tokens,
        **all_columns(run.runtime.columns(run.settings)),
        "imatrix": run.options.imatrix,
        **image_columns(run),
        "tensor_bytes": weights.tensor_bytes,
        "file_bytes": weights.file_bytes,
        **needed.columns,
        "compute_buffer_upper_bytes": needed.upper_bytes_of(*WORKING),
        **all_extra_columns(run),
        "total_bytes": needed.total_bytes,
        "gpu_limit_bytes": machine.limit.limit_bytes,
        "reserve_bytes": machine.reserve_bytes,
        "headroom_bytes": answer.headroom_bytes,
        "verdict": answer.verdict.value,
        **speed_columns(answer.speed),
        "max_context_tokens": answer.max_context_tokens or None,
        "choice": bool(fit.chosen),
        "parts": [part_row(part) for part in needed.parts],
        "basis": {name: basis.value for name, basis in answer.basis.items()},
        "notes": list(answer.notes),
        "not_counted": list(answer.left_out),
        "advice": [f"{command}: {said}" for said, command in advice_lines(fit)],
    }


def advice_lines(fit: Fit) -> list[tuple[str, str]]:
    """Return the ways out: what comes of each, and its command, which can be copied."""
    return [(each.sentence, each.command or question_line(fit.answer, each.typed)) for each in fit.advice]


def question_line(answer: Answer, changed: Mapping[str, str] = {}) -> str:
    """Return the command that asks the question of an answer, with some parameters changed."""
    run, machine = answer.run, answer.run.machine
    asked = {
        "model": run.model.name,
        "quant": answer.quant.name,
        "mac": machine.mac.name.removesuffix(" GB"),
        "context": str(_context_asked(run)),
    }
    if run.app and run.app.name not in USUAL:
        asked["app"] = run.app.name
    if not machine.raised and machine.macos != USUAL_MACOS:
        asked["macos"] = str(machine.macos)
    asked |= {**run.typed, **changed}
    model = asked.pop("model")
    return " ".join(
        ["deployfit fit", _quoted(model), *(f"{option(name)} {_quoted(text)}" for name, text in asked.items())]
    )


def _context_asked(run: Run) -> int:
    """Return the context as it would be typed: with some applications it is that of each slot."""
    of_slot = run.app is not None and run.app.context_of_slot
    tokens = int(run.settings.context_tokens)
    return tokens // run.runtime.sequences(run.settings) if of_slot else tokens


def _quoted(text: str) -> str:
    return f"'{text}'" if set(text) & set(" ;&|<>()$*?!'") else text


def part_row(part: MemoryPart) -> dict[str, Any]:
    """Return a part of the estimate as an object of a row."""
    return {
        "name": part.name,
        "machine": part.machine,
        "where": part.where,
        "bytes": part.nbytes,
        "upper_bytes": part.upper_bytes,
        "basis": part.basis.value,
    }


def all_columns(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of every runtime's settings, None for those of another runtime."""
    from deployfit.runtimes import registry

    names = dict.fromkeys(name for each in registry.names() for name in registry.columns(each))
    return {**names, **known}


EXTRA_COLUMNS = ("checkpoint_bytes", "checkpoint_bytes_per_token")  # of runtimes that have such things


def all_extra_columns(run: Run) -> dict[str, int | None]:
    """Return sizes of which the parts say only how much they are together; None where a runtime has no such thing."""
    known = run.runtime.extra_columns(run.model.blueprint, run.settings, run.options)
    return {**dict.fromkeys(EXTRA_COLUMNS), **known}


def image_columns(run: Run) -> dict[str, int | None]:
    """Return the tokens of all images together, and the size that the largest is seen at; None without images."""
    tower, images = run.model.blueprint.vision, run.options.images
    if not images or tower is None:
        return {"image_tokens": None, "image_width": None, "image_height": None}
    from deployfit.vision.resize import image_tokens

    seen = image_tokens(run.runtime.name, tower, images)
    largest = max(seen, key=lambda each: each.tokens)
    tokens = sum(each.tokens for each in seen)
    return {"image_tokens": tokens, "image_width": largest.width, "image_height": largest.height}


def speed_columns(speed: Speed | None) -> dict[str, Any]:
    """Return the speeds in tokens per second to four digits, with their intervals; None where they are not known."""
    columns: dict[str, Any] = {}
    for name in RATES:
        for field in ("tps", "low_tps", "high_tps"):
            column = f"{name}_{field}"
            columns[column] = None if speed is None else four_digits(getattr(getattr(speed, name), field))
    drafting = None if speed is None else speed.drafting
    columns["mtp_speedup_low"] = None if drafting is None else round(drafting.low, 2)
    columns["mtp_speedup_high"] = None if drafting is None else round(drafting.high, 2)
    return columns


def heading_of(answer: Answer) -> Heading:
    """Return what was asked, as a heading."""
    run = answer.run
    name = f"{run.app.title} ({run.app.version})" if run.app else run.runtime.name
    return Heading(f"{run.model.name} on {machine_name(run.machine)}", f"{name}: {run.runtime.headline(run.settings)}")


def machine_name(machine: Machine) -> str:
    """Return the machine as it is said in a sentence."""
    limit = "raised limit" if machine.raised else f"macOS {machine.macos}"
    return f"{machine.mac.with_article}, {limit}"


def _brief(fits: Sequence[Fit], *, listed: bool) -> Iterable[Block]:
    """Yield a line for each answer, of a list one for the choice."""
    chosen = [fit for fit in fits if fit.chosen] if listed else []
    answers = [fit.answer for fit in chosen or (fits[:1] if listed else fits)]
    several = len({answer.run.machine for answer in answers}) > 1
    has_speed = any(answer.speed for answer in answers)
    columns = [
        Column("", left=True),
        Column(""),
        Column("", left=True, shrinks=True, late=True),
        *([Column("", left=True)] if several else []),
        Column("", rank=1),
        *([Column("", rank=2)] if has_speed else []),
    ]
    rows = [
        [
            answer.verdict.headline,
            f"{gib(answer.headroom_bytes, 1)} GiB left",
            _name_of(answer),
            *([answer.run.machine.mac.name] if several else []),
            f"{answer.max_context_tokens:,} tokens",
            *([f"{tps(answer.speed.decode.tps)} tokens/s" if answer.speed else ""] if has_speed else []),
        ]
        for answer in answers
    ]
    yield Table(columns, rows, 0, [TONES[answer.verdict] for answer in answers])


def _name_of(answer: Answer) -> str:
    """Return model and recipe; of a file its name alone, or its folder's, as the model is called after it."""
    recipe = answer.weights.recipe
    if not _is_path(recipe):
        return f"{answer.run.model.name} {recipe}"
    return recipe.rpartition("/")[2] if recipe.casefold().endswith(".gguf") else answer.run.model.name


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
        f" {weights.recipe}, {_size_of_file(answer)}",
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
    yield Bullets("Note", [*_about_ollama(answer), *answer.notes])
    yield Bullets("Not counted", answer.left_out)


def _size_of_file(answer: Answer) -> str:
    """Return how large the file is, and whether it is to be downloaded, made, or here."""
    size, name = f"{gb(answer.weights.file_bytes, 1)} GB", answer.quant.name
    if answer.quant.publisher or name.startswith(ON_THE_HUB):
        return f"{size} to download"
    return f"{size} on disk" if _is_path(name) else f"a file of {size}"


def _is_path(recipe: str) -> bool:
    return recipe.casefold().endswith((".gguf", ".safetensors"))


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
        mac = _quoted(fit.answer.run.machine.mac.name.removesuffix(" GB"))
        yield Statement("Nothing that deployfit knows would make it run on this Mac.")
        yield Code("What does", f"deployfit recommend {option('mac')} {mac}")


def _many(fits: Sequence[Fit], *, listed: bool) -> Iterable[Block]:
    grouped: dict[tuple[Any, ...], list[Fit]] = {}
    for fit in fits:
        run = fit.answer.run
        grouped.setdefault((run.machine, run.runtime.name), []).append(fit)
    for group in grouped.values():
        yield heading_of(group[0].answer)
        yield summary_of([fit.answer for fit in group])
        shown = _sensible(group) if listed else group
        yield _table(shown)
        if len(shown) < len(group):
            yield Statement(f"{len(group) - len(shown)} more: deployfit quants {group[0].answer.run.model.name}")
        for fit in shown:
            if fit.chosen:
                yield Statement(f" is our choice: {fit.chosen}.", fit.answer.weights.recipe)
        for fit in group:
            if fit.advice:
                yield Ways(f"{fit.answer.weights.recipe}: what would help", advice_lines(fit))
        yield from _common(shown)


def _sensible(fits: Sequence[Fit]) -> list[Fit]:
    """Return the files around the choice, or where nothing fits the smallest: as many as a person reads."""
    by_size = sorted(fits, key=lambda fit: fit.answer.weights.text_bytes)
    middle = next((index for index, fit in enumerate(by_size) if fit.chosen), 0)
    first = max(0, min(middle - MOST_LISTED // 2, len(by_size) - MOST_LISTED))
    return by_size[first : first + MOST_LISTED]


def summary_of(answers: Sequence[Answer]) -> Statement:
    """Return how many fit, and which is the largest of them."""
    fitting = [answer for answer in answers if answer.verdict is Verdict.FITS]
    if len(answers) == 1:
        (only,) = answers
        return Statement(f": {only.weights.recipe}.", only.verdict.headline.capitalize(), TONES[only.verdict])
    if not fitting:
        return Statement(f" of {len(answers)} fits.", "None", Tone.BAD)
    largest = max(fitting, key=lambda answer: answer.weights.text_bytes)
    return Statement(f" of {len(answers)} fit; the largest is {largest.weights.recipe}.", f"{len(fitting)}", Tone.GOOD)


def _table(fits: Sequence[Fit]) -> Table:
    answers = [fit.answer for fit in fits]
    has_speed = answers[0].speed is not None
    columns = [
        Column("", left=True, shrinks=True),
        Column("verdict", left=True),
        Column("GiB"),
        Column("to spare"),
        Column("context", rank=1),
        *([Column("tokens/s", rank=2)] if has_speed else []),
        Column("file GB", rank=3),
        Column("bits", rank=4),
    ]
    rows = [
        [
            f"{'* ' if fit.chosen else ''}{answer.weights.recipe}",
            answer.verdict.headline,
            gib(answer.estimate.total_bytes),
            gib(answer.headroom_bytes),
            f"{answer.max_context_tokens:,}" if answer.max_context_tokens else "-",
            *([tps(answer.speed.decode.tps)] if answer.speed else []),
            gb(answer.weights.file_bytes),
            f"{answer.weights.bits_per_weight:.2f}",
        ]
        for fit, answer in zip(fits, answers, strict=True)
    ]
    return Table(columns, rows, 1, [TONES[answer.verdict] for answer in answers])


def _common(fits: Sequence[Fit]) -> Iterable[Block]:
    """Yield what holds for every row, and what holds for some of them."""
    answers = [fit.answer for fit in fits]
    first = answers[0]
    machine = first.run.machine
    lines = [
        f"GiB: all that it needs, of {gib(machine.limit.limit_bytes)} for the GPU ({machine.limit.basis.value});"
        f" to spare: beside a reserve of {gib(machine.reserve_bytes)} GiB; context: the largest that fits"
    ]
    if first.speed is not None:
        low, high = (getattr(first.speed.decode, name) / first.speed.decode.tps for name in ("low_tps", "high_tps"))
        lines.append(
            f"tokens/s: decoding at the start of the context; four measurements in five lie within {low:.2f} to"
            f" {high:.2f} times of it"
        )
        if first.speed.basis is Basis.ASSUMED:
            lines.append(f"speed is assumed: {first.speed.note}")
    elif machine.mac.chip:
        lines.append(f"speed is not known: {first.no_speed}")
    shared = [note for note in first.notes if all(note in answer.notes for answer in answers)]
    lines += shared
    others: dict[str, dict[str, str]] = {}  # by what they say but for their figures: the recipes, the choice first
    for fit in sorted(fits, key=lambda each: not each.chosen):
        for note in fit.answer.notes:
            if note not in shared:
                others.setdefault(re.sub(r"[0-9][0-9.,]*", "#", note), {})[fit.answer.weights.recipe] = note
    for noted in others.values():
        recipes, (note, *different) = list(noted), dict.fromkeys(noted.values())
        more = "" if len(recipes) == 2 else "s"
        said = f"{recipes[0]}, and likewise {len(recipes) - 1} other{more}" if different else ", ".join(recipes)
        lines.append(f"{said}: {note}")
    yield Bullets("Note", lines)
    yield Bullets("Not counted", first.left_out)
