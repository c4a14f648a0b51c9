"""What is allocated beside the weights, as a function of the context: exact pieces of straight lines.

A context is counted in steps, the runtime's own (`context_step`); the last step ends at the longest that is of use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.quants.weights import Options
from deployfit.runtimes.runtime import MemoryPart, Runtime
from deployfit.values import NamedTuple


class Kind(NamedTuple):
    """What a part is, whatever its size; `detail` is a sentence that holds for every context, "" if there is none."""

    name: str
    label: str
    basis: str
    where: str
    later: bool
    detail: str = ""


class Piece(NamedTuple):
    """A straight line from a step on: the bytes there, and how many more each further step takes."""

    first: int
    nbytes: int
    per_step: int


class Curves(NamedTuple):
    """The lines of every part, from the first step that the runtime does not refuse up to the longest context.

    `usual_bytes` grow in use when one request at a time is answered; `states` are those of all sequences.
    """

    first: int
    most_tokens: int
    parts: Mapping[Kind, Sequence[Piece]]
    usual_bytes: int
    states: int


def kind_of(part: MemoryPart) -> Kind:
    """Return what a part is."""
    return Kind(part.name, part.label, part.basis.value, part.where, part.later)


def sizes_of(parts: Sequence[MemoryPart]) -> dict[Kind, int]:
    """Return the bytes by kind of part: what is there at the start, or the most of what comes later."""
    sizes: dict[Kind, int] = {}
    for part in parts:
        kind = kind_of(part)
        sizes[kind] = sizes.get(kind, 0) + (part.upper_bytes if part.later else part.nbytes)
    return sizes


class Contexts:
    """Every context of a model under a runtime's settings."""

    def __init__(self, model: Model, runtime: Runtime, settings: Any, options: Options) -> None:
        self._blueprint, self._runtime, self._settings, self._options = model.blueprint, runtime, settings, options
        self._step = runtime.context_step(settings)
        self.most_tokens = runtime.most_context(model.blueprint, settings)
        self.count = -(-self.most_tokens // self._step)
        self._parts: dict[int, Sequence[MemoryPart]] = {}

    def at(self, steps: int) -> Any:
        """Return the settings with so many steps of context."""
        return self._settings.with_context(min(steps * self._step, self.most_tokens))

    def refuses(self, steps: int) -> bool:
        """Return whether the runtime refuses so many steps."""
        try:
            self._runtime.check(self._blueprint, self.at(steps))
        except InputError:
            return True
        return False

    def parts(self, steps: int) -> Sequence[MemoryPart]:
        """Return what is allocated beside the weights."""
        if steps not in self._parts:
            self._parts[steps] = self._runtime.running(self._blueprint, self.at(steps), self._options)
        return self._parts[steps]

    def sizes(self, steps: int) -> Mapping[Kind, int]:
        """Return the same by kind of part."""
        return sizes_of(self.parts(steps))

    @property
    def details(self) -> Mapping[Kind, str]:
        """What is said of the parts, where it is the same wherever they were looked at."""
        said: dict[Kind, set[str]] = {}
        for part in {part for parts in self._parts.values() for part in parts}:
            said.setdefault(kind_of(part), set()).add(part.detail)
        return {kind: details.pop() if len(details) == 1 else "" for kind, details in said.items()}

    def straight_until(self, steps: int) -> int:
        """Return up to which step all of it grows in a straight line."""
        tokens = self._runtime.straight_until(self._blueprint, self.at(steps), self._options)
        return min(max(steps, tokens // self._step), self.count)


def curves_of(model: Model, runtime: Runtime, settings: Any, options: Options) -> Curves:
    """Return what is allocated at every step; raise InputError if the runtime refuses the model or the settings.

    >>> from deployfit.questions.resolve import find_model
    >>> from deployfit.runtimes import registry
    >>> runtime = registry.runtime("mlx")
    >>> curves = curves_of(find_model("Qwen3.5-27B"), runtime, runtime.settings(1, {}), Options())
    >>> [lines[-1].per_step for kind, lines in curves.parts.items() if kind.name == "kv_cache"]
    [16777216]
    """
    contexts = Contexts(model, runtime, settings, options)
    runtime.check(model.blueprint, contexts.at(contexts.count))
    first = next(steps for steps in range(1, contexts.count + 1) if not contexts.refuses(steps))
    lines: dict[Kind, _Line] = {}
    steps = first
    while steps <= contexts.count:
        until = contexts.straight_until(steps)
        low, high = contexts.sizes(steps), contexts.sizes(until)
        for kind in dict.fromkeys((*lines, *low, *high)):
            if not kind.later:
                line = lines.setdefault(kind, _Line(first, steps))
                line.go_on((steps, low.get(kind, 0)), (until, high.get(kind, 0)))
        steps = until + 1
    for kind in contexts.sizes(first):
        if kind.later:
            lines[kind] = _Line(first, first)
            for begin, end in _halved(contexts, kind, first, contexts.count):
                lines[kind].go_on(begin, end)
    details = contexts.details
    return Curves(
        first,
        contexts.most_tokens,
        {kind._replace(detail=details[kind]): line.pieces for kind, line in lines.items()},
        sum(part.usual_bytes for part in contexts.parts(first) if part.later),
        runtime.states(model.blueprint, settings, options),
    )


Point = tuple[int, int]  # step, bytes


def _halved(contexts: Contexts, kind: Kind, first: int, last: int) -> Iterator[tuple[Point, Point]]:
    """Yield straight lines between two steps: an upper bound may bend where nothing else does.

    Where three steps between the ends lie on a line with them, all do.
    """

    def point(steps: int) -> Point:
        return steps, contexts.sizes(steps).get(kind, 0)

    begin, end = point(first), point(last)
    run, rise = last - first, end[1] - begin[1]
    between = [point(first + run * quarter // 4) for quarter in (1, 2, 3)]
    if run <= 1 or (not rise % run and all((y - begin[1]) * run == rise * (x - first) for x, y in between)):
        yield begin, end
        return
    middle = first + run // 2
    yield from _halved(contexts, kind, first, middle)
    yield from _halved(contexts, kind, middle + 1, last)


class _Line:
    """The pieces of one part, put together from stretches; what goes on straight is one piece."""

    def __init__(self, first: int, begin: int) -> None:
        """`first` is the first step of all; before it begins a part is nothing."""
        self.pieces: list[Piece] = []
        self._end: Point = (0, 0)
        self._is_point = False  # the last piece is a single step yet, so that its slope is open
        if begin > first:
            self.go_on((first, 0), (begin - 1, 0))

    def go_on(self, begin: Point, end: Point) -> None:
        """Append a stretch that begins at the next step."""
        run = end[0] - begin[0]
        per_step, rest = divmod(end[1] - begin[1], run or 1)
        assert not rest, "a part does not grow by whole bytes"
        if self.pieces:
            rise = begin[1] - self._end[1]
            goes_on = self._is_point or rise == self.pieces[-1].per_step
            if goes_on and (not run or rise == per_step):
                self.pieces[-1] = self.pieces[-1]._replace(per_step=rise)
                self._end, self._is_point = end, False
                return
        self.pieces.append(Piece(begin[0], begin[1], per_step))
        self._end, self._is_point = end, not run
