"""The documents of `table`: file sizes, or what running takes, models by recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.basis import Basis
from deployfit.quants.weights import Weights
from deployfit.report.document import NOTHING, Block, Bullets, Column, Document, Heading, Table, of_rows
from deployfit.units import gb, gib
from deployfit.verdict import Verdict

if TYPE_CHECKING:
    from deployfit.grid import GridResult

SCHEMA = "deployfit/table/1"
UNCOUNTED = (Basis.MEASURED, Basis.ASSUMED)
MARKS: Mapping[Verdict, str] = {
    Verdict.FITS: "",
    Verdict.TIGHT: "tight ",
    Verdict.NEEDS_RAISED_LIMIT: "raise ",
    Verdict.DOES_NOT_FIT: "no ",
}
LEGEND = (
    "a plain figure fits; tight: within the GPU limit, but not with the reserve; raise: needs a raised limit; no: does"
    " not fit; -: cannot be made"
)


def contents_of(weights: Weights) -> str:
    """Return which parts a file holds."""
    parts = {"text": weights.text_bytes, "vision": weights.vision_bytes, "MTP": weights.mtp_bytes}
    return " + ".join(name for name, size in parts.items() if size)


def sizes_document(sizes: Mapping[str, Mapping[str, Weights]], models: Sequence[str]) -> Document:
    """Return a row per recipe and model, in bytes, and the table in decimal GB."""
    rows = [
        {
            "model": name,
            "recipe": recipe,
            "params": by_model[name].params,
            "tensor_bytes": by_model[name].tensor_bytes,
            "file_bytes": by_model[name].file_bytes,
            "format": by_model[name].format,
            "vision_bytes": by_model[name].vision_bytes,
            "mtp_bytes": by_model[name].mtp_bytes,
            "basis": by_model[name].basis.value,
        }
        for recipe, by_model in sizes.items()
        for name in models
        if name in by_model
    ]
    return of_rows(SCHEMA, rows, list(_size_blocks(sizes, models)))


def _size_blocks(sizes: Mapping[str, Mapping[str, Weights]], models: Sequence[str]) -> Iterable[Block]:
    listed = [weights for by_model in sizes.values() for weights in by_model.values()]
    contents = sorted({contents_of(weights) for weights in listed})
    yield Heading("File size in GB (10^9 bytes)", f"in the files: {' or '.join(contents)}")
    cells = {
        recipe: [gb(by_model[name].file_bytes) if name in by_model else NOTHING for name in models]
        for recipe, by_model in sizes.items()
    }
    yield _table(models, cells)
    uncounted = sorted(
        {recipe for recipe, found in sizes.items() for each in found.values() if each.basis in UNCOUNTED}
    )
    if uncounted:
        yield Bullets("Not counted but published, or the nearest recipe's", [", ".join(uncounted)])


def _table(models: Sequence[str], cells: Mapping[str, Sequence[str]]) -> Table:
    columns = [Column("", left=True), *(Column(name, shrinks=True) for name in models)]
    return Table(columns, [[recipe, *row] for recipe, row in cells.items()], wraps=True)


def needs_document(results: Sequence[GridResult]) -> Document:
    """Return the rows of a sweep, and tables of models by recipes in GiB."""
    from deployfit.report.sweep import sweep_document

    return sweep_document(results)._replace(blocks=list(_need_blocks(results)))


def _need_blocks(results: Sequence[GridResult]) -> Iterable[Block]:
    from deployfit.grid import MISSING, VERDICTS
    from deployfit.report.fit_rows import machine_name

    for each in results:
        (machine,), (settings,), (tokens,) = each.grid.machines, each.grid.settings, each.grid.contexts
        runtime = each.grid.runtime
        yield Heading(
            f"What it takes in GiB on {machine_name(machine)}",
            f"{runtime.name}: {runtime.headline(settings.with_context(tokens))}",
        )
        totals = each.total_bytes[:, :, 0, 0].T.tolist()
        codes = each.verdicts[:, :, 0, 0, 0].T.tolist()
        cells = {
            quant.name: [
                NOTHING if total == MISSING else MARKS[VERDICTS[code]] + gib(total)
                for total, code in zip(row, marks, strict=True)
            ]
            for quant, row, marks in zip(each.grid.quants, totals, codes, strict=True)
        }
        yield _table([model.name for model in each.grid.models], cells)
        limit, reserve = gib(machine.limit.limit_bytes), gib(machine.reserve_bytes)
        yield Bullets("Note", [f"{limit} GiB are for the GPU, {reserve} of them reserve", LEGEND])
