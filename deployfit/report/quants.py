"""The document of `quants`: what exists for a model."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.models import Model
from deployfit.quants.weights import Quant, Weights
from deployfit.report.document import Block, Bullets, Column, Document, Heading, Statement, Table, of_rows
from deployfit.report.table import contents_of
from deployfit.units import gb

SCHEMA = "deployfit/quants/1"
SEEN = "Files to download"
OWN = "Recipes that you would have to make"
NOT_SEEN = "Not seen of this model, as they would be"
LEGEND = (
    "seen: when such a file of the publisher was",
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
    groups = {
        SEEN: [pair for pair in known if pair[0].published(model)],
        OWN: [pair for pair in known if not pair[0].publisher],
        NOT_SEEN: [pair for pair in known if pair[0].publisher and not pair[0].published(model)],
    }
    blocks: list[Block] = [Heading(f"{model.name}: what exists, smallest first", "GB is 10^9 bytes")]
    for title, found in groups.items():
        if found:
            blocks += [Statement(f": {len(found)}", title), _table(model, found, seen=title is SEEN)]
    return of_rows(SCHEMA, rows, [*blocks, Bullets("Note", LEGEND)])


def _table(model: Model, known: Sequence[tuple[Quant, Weights]], *, seen: bool) -> Table:
    columns = [
        Column("", left=True, shrinks=True),
        Column("file GB"),
        Column("bits", rank=1),
        Column("known", left=True),
        *([Column("seen", left=True, rank=2)] if seen else []),
        Column("in the file", left=True, rank=3),
        Column("format", left=True, rank=4),
    ]
    cells = [
        [
            quant.name,
            gb(weights.file_bytes),
            f"{weights.bits_per_weight:.2f}",
            weights.basis.value,
            *([quant.published(model)] if seen else []),
            contents_of(weights),
            quant.format,
        ]
        for quant, weights in known
    ]
    return Table(columns, cells)
