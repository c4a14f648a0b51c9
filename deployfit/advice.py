"""What would make it fit, as somebody who knows would advise: every way is tried before it is offered.

Less context or a smaller KV cache of the same file first, then a smaller file that is no worse by the cited evidence,
one that is published before one to be made, a smaller model, the smallest Mac that runs it as asked, and a raised limit
last. A context far shorter than asked for, and files with evidence of a loss, are offered only where nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from deployfit.errors import InputError
from deployfit.hardware.gpu_limit import highest_raised_limit
from deployfit.hardware.machine import GPU_RESERVE, Machine
from deployfit.quants.weights import Quant, Weights
from deployfit.units import MIB, ceil_to, gib
from deployfit.values import NamedTuple
from deployfit.verdict import Answer, Judge, Verdict, verdict_at

MOST = 3
LEAST_SHARE = 4  # a context shorter than a quarter of what was asked for is no way out
LEAST_CONTEXT = 4096


class Advice(NamedTuple):
    """A way out: what to ask for instead, by parameter, or a command of the system; and what comes of it."""

    typed: Mapping[str, str]
    sentence: str
    command: str = ""


class Choices(NamedTuple):
    """What may be advised instead.

    `files` are other quants of the model, smallest first, of which `is_lossy` says whether there is evidence of a
    loss. `smaller` yields other models' files that fit, best first, as (model, quant, what is to be said of them).
    `machines` are Macs, the smallest first.
    """

    files: Sequence[Quant]
    is_lossy: Callable[[Weights], bool]
    smaller: Callable[[], Iterable[tuple[str, str, str]]]
    machines: Callable[[], Iterable[Machine]]


def advice_on(answer: Answer, judge: Judge, choices: Choices) -> list[Advice]:
    """Return at most three ways out of a verdict that is not `fits`, best first."""
    if answer.verdict in (Verdict.FITS, Verdict.UNKNOWN):
        return []
    ways: list[Advice] = []
    raised = list(_raised(answer, judge, choices)) if answer.verdict is Verdict.NEEDS_RAISED_LIMIT else []
    for offered in (_same_file, _other_file, _other_model, _other_machine):
        if len(ways) + len(raised) < MOST:
            ways += list(offered(answer, judge, choices))[:1]
    ways += raised
    for last in (_short_context, _lossy_file):
        ways = ways or list(last(answer, judge, choices))[:1]
    return ways


def _same_file(answer: Answer, judge: Judge, choices: Choices) -> Iterator[Advice]:
    """Yield smaller caches that hold the whole context, else a shorter context."""
    run, weights = answer.run, answer.weights
    found = _thrifty(answer, judge, weights)
    if found is not None:
        yield Advice(found, "fits with the whole context")
    least = max(LEAST_CONTEXT, run.settings.context_tokens // LEAST_SHARE)
    longest, typed = _longest(answer, judge, least)
    if longest >= least:
        yield Advice({"context": str(longest), **typed}, "the largest context that fits")


def _short_context(answer: Answer, judge: Judge, choices: Choices) -> Iterator[Advice]:
    longest, typed = _longest(answer, judge, LEAST_CONTEXT)
    if longest:
        yield Advice({"context": str(longest), **typed}, "the largest context that fits, far shorter than asked for")


def _longest(answer: Answer, judge: Judge, least: int) -> tuple[int, Mapping[str, str]]:
    """Return the longest context, and what to type for it: for a smaller cache where it were below the least."""
    run = answer.run
    best: tuple[int, Mapping[str, str]] = (answer.max_context_tokens, {})
    if best[0] < least:
        for typed, settings in run.runtime.thriftier(run.model.blueprint, run.settings):
            best = max(best, (judge.max_context(answer.weights, settings), typed), key=lambda pair: pair[0])
    return best


def _thrifty(answer: Answer, judge: Judge, weights: Weights) -> Mapping[str, str] | None:
    """Return what to type for a cache that makes these weights fit with the whole context."""
    run = answer.run
    for typed, settings in run.runtime.thriftier(run.model.blueprint, run.settings):
        if judge.estimate(weights, settings).total_bytes <= run.machine.budget_bytes:
            return typed
    return None


def _smaller(answer: Answer, judge: Judge, choices: Choices, *, lossy: bool) -> Iterator[tuple[Quant, Weights]]:
    """Yield the model's smaller files, the largest first."""
    files = [(quant, judge.weights(quant)) for quant in makeable(judge, choices.files)]
    for quant, weights in reversed(files):  # of equals the plainer name comes later on the menu
        if weights.text_bytes < answer.weights.text_bytes and choices.is_lossy(weights) == lossy:
            yield quant, weights


def _other_file(answer: Answer, judge: Judge, choices: Choices, *, lossy: bool = False) -> Iterator[Advice]:
    """Yield the largest smaller file that fits, if need be with a smaller cache; first of those that are published."""
    budget = answer.run.machine.budget_bytes
    files = list(_smaller(answer, judge, choices, lossy=lossy))
    for is_published in (True, False):
        with_cache: Advice | None = None
        for quant, weights in files:
            if bool(quant.publisher) != is_published:
                continue
            what = f"{gib(weights.tensor_bytes, 1)} GiB in place of {gib(answer.weights.tensor_bytes, 1)}"
            if judge.estimate(weights).total_bytes <= budget:
                yield Advice({"quant": quant.name}, f"the next smaller file that fits, {what}")
                return
            if with_cache is None and (typed := _thrifty(answer, judge, weights)) is not None:
                with_cache = Advice({"quant": quant.name, **typed}, f"a smaller file and cache that fit, {what}")
        if with_cache:
            yield with_cache
            return


def _lossy_file(answer: Answer, judge: Judge, choices: Choices) -> Iterator[Advice]:
    for way in _other_file(answer, judge, choices, lossy=True):
        yield way._replace(sentence=f"{way.sentence}; nothing better fits, and such files lose much")


def _other_model(answer: Answer, judge: Judge, choices: Choices) -> Iterator[Advice]:
    for model, quant, sentence in choices.smaller():
        yield Advice({"model": model, "quant": quant}, sentence)


def _other_machine(answer: Answer, judge: Judge, choices: Choices) -> Iterator[Advice]:
    for machine in choices.machines():
        if verdict_at(machine, answer.estimate.total_bytes) is Verdict.FITS:
            yield Advice({"mac": f"{machine.mac.memory_bytes // 2**30}"}, "the smallest Mac that runs it as asked")
            return


def _raised(answer: Answer, judge: Judge, choices: Choices) -> Iterator[Advice]:
    run = answer.run
    memory = run.machine.mac.memory_bytes
    raise_to = ceil_to(answer.estimate.total_bytes + GPU_RESERVE, MIB)
    if run.machine.limit.limit_bytes < raise_to <= highest_raised_limit(run.machine.mac):
        yield Advice(
            {},
            f"lends the GPU {gib(raise_to)} of the {gib(memory)} GiB until the next restart; what is left must do for"
            " macOS and all else, and too little of it has ended in swapping and kernel panics",
            f"sudo sysctl iogpu.wired_limit_mb={raise_to // MIB}",
        )


def makeable(judge: Judge, menu: Sequence[Quant]) -> list[Quant]:
    """Return what on the menu there is of the run's model, smallest first."""
    sizes = {}
    for quant in menu:
        try:
            sizes[quant] = judge.weights(quant).tensor_bytes
        except InputError:
            continue
    return sorted(sizes, key=lambda quant: sizes[quant])
