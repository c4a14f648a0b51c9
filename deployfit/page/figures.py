"""Everything that the page knows, as lists and numbers: weights by part, lines over the context, terms of the speed.

Texts and parts are written once and named by their position.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from deployfit import __version__, catalogue
from deployfit.basis import Basis
from deployfit.hardware.gpu_limit import GENERATION_NAMES, GENERATIONS
from deployfit.hardware.mac import MACS, Mac, MacRow
from deployfit.hardware.machine import Machine
from deployfit.models import Model
from deployfit.page.chips import Interval, interval_of, seconds_of, work_of_model
from deployfit.page.counting import Run, Task, counted, tasks_of
from deployfit.page.curves import Kind, Piece
from deployfit.page.files import MTP, STAND_IN, VISION, File, Started, Variant, files_of, options_of, preferred
from deployfit.page.starts import SLOTS, all_starts
from deployfit.parameters import command_line
from deployfit.questions.resolve import machine_of, speeds
from deployfit.runtimes import registry
from deployfit.verdict import JUDGED, Verdict

SCHEMA = "deployfit/figures/1"

T = TypeVar("T", bound=Hashable)


class Written(Generic[T]):
    """What is written once, in the order in which it was first met."""

    def __init__(self) -> None:
        self._places: dict[T, int] = {}

    def place(self, value: T) -> int:
        """Return the position of a value."""
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[T]:
        """All of them."""
        return list(self._places)


class Figures:
    """Collects the figures of one model after the other."""

    def __init__(self) -> None:
        self._starts = all_starts()
        self._texts: Written[str] = Written()
        self._kinds: Written[Kind] = Written()
        self._intervals: Written[Interval] = Written()
        self._chips = [_mac_of(row, row.memory_gib[0]) for row in catalogue.rows(MACS)]
        self._models: list[dict[str, Any]] = []

    def tasks(self, model: Model) -> list[Task]:
        """Return what has to be counted of a model before it is added."""
        return tasks_of(model, self._starts.settings)

    def add(self, model: Model, found: Sequence[Sequence[Run]]) -> None:
        """Write down what can be asked about a model; `found` are its runs by settings and options."""
        curves: Written[tuple[Piece, ...]] = Written()
        runs: Written[tuple[Any, ...]] = Written()
        settings = [
            [self._run(model, name, each, run, curves, runs) for run in own]
            for (name, each), own in zip(self._starts.settings, found, strict=True)
        ]
        blueprint = model.blueprint
        self._models.append(
            {
                "name": model.name,
                "family": model.row.family,
                "params": model.row.total_params or sum(blueprint.params().values()),
                "trained": blueprint.trained_context,
                "has": (MTP if blueprint.drafts else 0) | (VISION if blueprint.vision else 0),
                "options": options_of(model),
                "settings": settings,
                "runs": runs.values,
                "curves": [_differences(pieces) for pieces in curves.values],
                "engines": [self._engine(model, name) for name in registry.names()],
            }
        )

    def written(self) -> dict[str, Any]:
        """Return everything."""
        starts = self._starts
        macs = [self._mac(row, size) for row in catalogue.rows(MACS) for size in row.memory_gib]
        sizes = sorted({size for row in catalogue.rows(MACS) for size in row.memory_gib})
        limits = [self._memory(size) for size in sizes]
        return {
            "schema": SCHEMA,
            "version": __version__,
            "bases": [basis.value for basis in Basis],
            "verdicts": [verdict.value for verdict in JUDGED],
            "runtimes": registry.names(),
            "drafting": [list(found) if (found := speeds().drafting.get(name)) else None for name in registry.names()],
            "caches": [self._caches(name) for name in registry.names()],
            "slots": SLOTS,
            "apps": [
                {
                    "name": app.name,
                    "title": app.title,
                    "version": app.version,
                    "runtime": registry.names().index(app.runtime),
                    "options": [name in app.options for name in ("mtp", "vision")],
                    "context_of_slot": app.context_of_slot,
                }
                for app in starts.apps
            ],
            "settings": [self._settings(name, each) for name, each in starts.settings],
            "starts": [[each.app, each.kv, each.slots, each.settings] for each in starts.offered],
            "macos": [[generation, GENERATION_NAMES[generation]] for generation in reversed(GENERATIONS)],
            "memories": limits,
            "macs": macs,
            "models": self._models,
            "parts": [
                [kind.name, kind.label, kind.basis, kind.where, kind.later, kind.detail] for kind in self._kinds.values
            ],
            "intervals": [{**each._asdict(), "note": self._texts.place(each.note)} for each in self._intervals.values],
            "texts": self._texts.values,
        }

    def _run(
        self,
        model: Model,
        runtime: str,
        settings: Any,
        found: Run,
        curves: Written[tuple[Piece, ...]],
        runs: Written[tuple[Any, ...]],
    ) -> int:
        """Return the position of a run, or where the runtime refuses one less than minus that of the reason."""
        if isinstance(found, str):
            return -1 - self._texts.place(command_line(found))
        parts = [(self._kinds.place(kind), curves.place(tuple(pieces))) for kind, pieces in found.parts.items()]
        notes = registry.runtime(runtime).notes(model.blueprint, settings, 0, 0, 1)
        return runs.place(
            (
                found.first,
                found.most_tokens,
                found.usual_bytes,
                found.states,
                tuple(parts),
                tuple(self._texts.place(command_line(note)) for note in notes),
            )
        )

    def _engine(self, model: Model, runtime: str) -> dict[str, Any]:
        """Return what a runtime makes of a model: its files, and what the applications do not count."""
        files, apps = files_of(model, runtime, self._starts)
        if not files:
            return {"files": [], "preferred": [], "not_counted": [], "work": {}, "intervals": []}
        return {
            "files": [self._file(file) for file in files],
            "preferred": preferred(model, files),
            "not_counted": [[app, self._left_out(started)] for app, started in apps.items()],
            "work": work_of_model(model, runtime, speeds(), files[0].weights),
            "intervals": [self._interval(mac, runtime, model, files[0]) for mac in self._chips],
        }

    def _interval(self, mac: Mac, runtime: str, model: Model, file: File) -> int:
        """Return the position of an interval, -1 where speed is not known."""
        found = interval_of(mac, runtime, speeds(), model, file.weights)
        return -1 if found is None else self._intervals.place(found)

    def _left_out(self, started: Started) -> list[list[int]]:
        return [[index, *map(self._texts.place, lines)] for index, lines in started.left_out.items()]

    def _file(self, file: File) -> list[Any]:
        weights = file.weights
        return [
            self._texts.place(file.quant.name),
            self._texts.place(file.quant.publisher),
            int(file.is_published),
            self._texts.place(file.repo),
            list(Basis).index(weights.basis),
            [self._texts.place(command_line(note)) for note in weights.notes],
            [[app, bits] for app, bits in file.forced.items() if bits],
            [[app, self._texts.place(command)] for app, command in file.commands.items()],
            [[index, *self._variant(variant)] for index, variant in file.variants.items()],
        ]

    def _variant(self, variant: Variant | str) -> list[int]:
        """Return a variant's numbers, or the position of the reason why there is none."""
        if isinstance(variant, str):
            return [self._texts.place(variant)]
        loaded = [number for kind, nbytes in variant.loaded.items() for number in (self._kinds.place(kind), nbytes)]
        bits = round(100 * variant.bits_per_weight)
        return [variant.file_bytes, bits, *variant.work, *loaded]

    def _caches(self, runtime: str) -> list[Any]:
        engine = registry.runtime(runtime)
        return [[typed, engine.brief(engine.settings(1, typed))] for typed in self._starts.caches[runtime]]

    def _settings(self, name: str, settings: Any) -> dict[str, Any]:
        engine = registry.runtime(name)
        return {
            "runtime": registry.names().index(name),
            "step": engine.context_step(settings),
            "sequences": engine.sequences(settings),
            "headline": engine.headline(settings.with_context(STAND_IN)).replace(f"{STAND_IN:,}", "{context}"),
        }

    def _memory(self, size: int) -> dict[str, Any]:
        return {
            "gib": size,
            "limits": [self._limit(machine_of(str(size), str(each))) for each in reversed(GENERATIONS)],
        }

    def _limit(self, machine: Machine) -> dict[str, Any]:
        most = {
            Verdict.FITS: machine.budget_bytes,
            Verdict.TIGHT: machine.limit.limit_bytes,
            Verdict.NEEDS_RAISED_LIMIT: machine.highest_total_bytes,
        }
        return {
            "limit": machine.limit.limit_bytes,
            "budget": machine.budget_bytes,
            "most": [most.get(verdict) for verdict in JUDGED],
            "basis": machine.limit.basis.value,
            "note": self._texts.place(machine.limit.note),
        }

    def _mac(self, row: MacRow, size: int) -> dict[str, Any]:
        mac = _mac_of(row, size)
        return {
            "chip": row.chip,
            "gib": size,
            "row": catalogue.rows(MACS).index(row),
            "seconds": [seconds_of(mac, name, speeds()) for name in registry.names()],
            "why_not": self._texts.place(command_line(speeds().why_not(mac))),
        }


def _mac_of(row: MacRow, size: int) -> Mac:
    return machine_of(f"{row.chip} {size}").mac


def _differences(pieces: Sequence[Piece]) -> list[int]:
    """Return pieces as numbers that are mostly small: how far on each begins, by how much it leaves the line before it.

    >>> _differences([Piece(1, 100, 10), Piece(5, 150, 12)])
    [1, 100, 10, 4, 10, 2]
    """
    numbers = []
    before = Piece(0, 0, 0)
    for piece in pieces:
        steps = piece.first - before.first
        foreseen = before.nbytes + before.per_step * steps
        numbers += [steps, piece.nbytes - foreseen, piece.per_step - before.per_step]
        before = piece
    return numbers


def figures_of(models: Sequence[Model], step: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Return the figures of some models; `step` is called after each."""
    figures = Figures()
    tasks = [figures.tasks(model) for model in models]
    results = counted([task for own in tasks for task in own])
    for model, own in zip(models, tasks, strict=True):
        runs = {place: run for task in own for place, run in zip(task.places, next(results), strict=True)}
        figures.add(model, [runs[place] for place in sorted(runs)])
        step()
    return figures.written()
