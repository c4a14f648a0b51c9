"""A verdict as a row for programs, and what every screen says of it alike: its heading, its colour, its ways out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployfit.apps import USUAL
from deployfit.estimate import WORKING
from deployfit.hardware.machine import Machine
from deployfit.parameters import option
from deployfit.report.document import Heading, Tone
from deployfit.runtimes.runtime import MemoryPart
from deployfit.units import four_digits
from deployfit.verdict import Answer, Run, Verdict

if TYPE_CHECKING:
    from deployfit.answers import Fit
    from deployfit.speed import Speed

SCHEMA = "deployfit/fit/1"
USUAL_MACOS = 26
RATES = ("decode", "decode_full", "prefill")
TONES = {
    Verdict.FITS: Tone.GOOD,
    Verdict.TIGHT: Tone.WARNING,
    Verdict.NEEDS_RAISED_LIMIT: Tone.WARNING,
    Verdict.DOES_NOT_FIT: Tone.BAD,
    Verdict.UNKNOWN: Tone.WARNING,
}


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
        ["deployfit fit", in_shell(model), *(f"{option(name)} {in_shell(text)}" for name, text in asked.items())]
    )


def _context_asked(run: Run) -> int:
    """Return the context as it would be typed: with some applications it is that of each slot."""
    of_slot = run.app is not None and run.app.context_of_slot
    tokens = int(run.settings.context_tokens)
    return tokens // run.runtime.sequences(run.settings) if of_slot else tokens


def in_shell(text: str) -> str:
    """Return a word as a shell takes it."""
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


def is_path(recipe: str) -> bool:
    """Return whether a recipe is a file's path."""
    return recipe.casefold().endswith((".gguf", ".safetensors"))
