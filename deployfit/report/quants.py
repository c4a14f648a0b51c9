"""The document of `quants`: what exists for a model."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.models import Model
from deployfit.quants.weights import Quant, Weights
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Statement, Table, of_rows
from deployfit.report.table import contents_of
from deployfit.units import gb

SCHEMA = "deployfit/quants/1"
LEGEND = (
    "seen: when it was",
    "bits: all tensors of the files over their parameters; in the file: text, vision tower, MTP layer",
    "known: exact = equal to the tool's own figure; derived = counted by a rule that reproduces published sizes;"
    " measured = the published size itself; assumed = no size is known, the nearest recipe's",
)


def quants_document(model: Model, known: Sequence[tuple[Quant, Weights]]) -> Document:
    """Return a row per quant, in bytes, and the list of them."""
    rows = [
        {
            "model": model.name,
            "quant": quant.name,
            "format": quant.format,
            "params": weights.params,
            "tensor_bytes": weights.tensor_bytes,
            "vision_bytes": weights.vision_bytes,
            "mtp_bytes": weights.mtp_bytes,
            "file_bytes": weights.file_bytes,
            "bits_per_weight": round(weights.bits_per_weight, 4),
            "basis": weights.basis.value,
            "published": quant.published(model),
            "notes": "; ".join(weights.notes),
        }
        for quant, weights in known
    ]
    seen = [(quant, weights) for quant, weights in known if quant.published(model)]
    other = [(quant, weights) for quant, weights in known if not quant.published(model)]
    blocks: list[Block] = [Heading(f"{model.name}: what exists, smallest first", "GB is 10^9 bytes")]
    if seen:
        blocks += [Statement(" that were seen at their publishers':", f"{len(seen)} files"), _table(model, seen)]
    if other:
        blocks += [Statement(" that you would have to make:", f"{len(other)} recipes"), _table(model, other)]
    return of_rows(SCHEMA, rows, [*blocks, Bullets("Note", LEGEND)])


def _table(model: Model, known: Sequence[tuple[Quant, Weights]]) -> Table:
    columns = [
        Column("", left=True, shrinks=True),
        Column("file GB"),
        Column("bits", rank=1),
        Column("known", left=True),
        Column("seen", left=True, rank=2),
        Column("in the file", left=True, rank=3),
        Column("format", left=True, rank=4),
    ]
    cells = [
        [
            quant.name,
            gb(weights.file_bytes),
            f"{weights.bits_per_weight:.2f}",
            weights.basis.value,
            quant.published(model) or "-",
            contents_of(weights),
            quant.format,
        ]
        for quant, weights in known
    ]
    return Table(columns, cells)
