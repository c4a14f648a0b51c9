"""Sweep: every combination at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

from deployfit import catalog, grid
from deployfit.api.answers import Row, Text, option_of, texts
from deployfit.ask import (
    DEFAULT_CONTEXT,
    DEFAULT_MACOS,
    SETTINGS,
    SHELF,
    all_models,
    check_settings,
    find_model,
    find_place,
    quants_of,
    settings_of,
    speeds_of,
)
from deployfit.errors import InputError
from deployfit.quants.find import FORMAT_OF, own_quants
from deployfit.quants.weights import Options
from deployfit.runtimes.running import Settings
from deployfit.units import parse_tokens

if TYPE_CHECKING:
    import pandas as pd


MOST_POINTS = 50_000_000  # about a GB of memory, and 10 GB of CSV


class Sweeps(tuple[grid.Swept, ...]):
    """Sweeps, one per runtime that was asked for."""

    def rows(self) -> Iterator[Row]:
        """Yield a mapping per estimate: those of `deployfit sweep --format json`."""
        for each in self:
            for row in each.rows():
                yield dict(zip(grid.COLUMNS, row, strict=True))

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per estimate."""
        from deployfit.report.sweep_report import frame

        return frame(self)


def sweep(
    models: str | Iterable[str] | None = None,
    quants: str | Iterable[str] | None = None,
    *,
    contexts: Text | Iterable[Text] = DEFAULT_CONTEXT,
    macs: Text | Iterable[Text] | None = None,
    macos: Text | Iterable[Text] = DEFAULT_MACOS,
    runtime: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog_file: str | None = None,
    **settings: Text | Iterable[Text] | None,
) -> Sweeps:
    """Return every combination; what is left out means all: models, a runtime's recipes, sizes of memory.

    Other keywords are the runtime's settings, one or several values each: kv_type, kv_type_k, kv_type_v,
    parallel, ubatch; kv_bits, prefill_step_size.

    >>> frame = sweep("Qwen3.5-27B", ["Q4_K_M", "Q8_0"], contexts=["32k", "128k"], macs=[32, 64]).frame()
    >>> frame.groupby("recipe", observed=True).headroom_bytes.min().tolist()
    [-358553632, -12406917152]
    """
    return every_combination(
        texts(models),
        texts(quants),
        runtime=runtime,
        contexts=texts(contexts),
        macs=texts(macs),
        versions=texts(macos),
        settings={option_of(name): texts(values) for name, values in settings.items()},
        options=Options(imatrix=imatrix, mtp=mtp, vision=vision),
        catalog_file=catalog_file,
    )


def every_combination(
    models: Sequence[str],
    quants: Sequence[str],
    *,
    runtime: str | None,
    contexts: Sequence[str],
    macs: Sequence[str],
    versions: Sequence[str],
    settings: Mapping[str, Sequence[str]],
    options: Options,
    catalog_file: str | None,
) -> Sweeps:
    """Return the sweeps that words ask for, a runtime each; raise InputError where none has an answer."""
    asked = {
        name: list(dict.fromkeys(chosen)) or own_quants(SHELF, FORMAT_OF[name])
        for name, chosen in quants_of(quants, runtime).items()
    }
    check_settings({option: "" for option, texts in settings.items() if texts}, list(asked))
    sizes = sorted({size for row in catalog.macs() for size in row.memory_gib})
    places = [
        find_place(mac, macos, None)
        for mac, macos in product(_once(macs) or map(str, sizes), _once(versions) or [DEFAULT_MACOS])
    ]
    found = [find_model(name, catalog_file) for name in _once(models) or all_models(catalog_file)]
    tokens = [parse_tokens(text) for text in _once(contexts) or [DEFAULT_CONTEXT]]
    grids = [
        grid.Grid(found, chosen, list(_combined(name, settings)), tokens, places, options, speeds_of(places))
        for name, chosen in asked.items()
    ]
    for each in grids:
        if each.points > MOST_POINTS:
            raise InputError(
                f"{each.points:,} combinations are too many at once; name fewer models, recipes, settings, contexts or"
                f" Macs, for up to {MOST_POINTS:,}"
            )
    answers = Sweeps(map(grid.sweep, grids))
    grid.require_answers(answers)
    return answers


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _combined(runtime: str, settings: Mapping[str, Sequence[str]]) -> Iterator[Settings]:
    """Yield every combination of the settings of a runtime."""
    own = {option: _once(settings[option]) for option in SETTINGS[runtime] if settings.get(option)}
    for typed in product(*own.values()):
        yield settings_of(runtime, 1, dict(zip(own, typed, strict=True)))
