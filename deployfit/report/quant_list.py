"""What exists for a model: `deployfit quants`."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.models import Model
from deployfit.quants.weights import Quant, Weights
from deployfit.report.tabular import aligned, contents_of, csv_text, markdown
from deployfit.units import gb

SCHEMA = "deployfit/quants/1"

Known = Sequence[tuple[Quant, Weights]]

LEGEND = (
    "seen: when such a file of a publisher was seen; - for a tool's recipe, and where none was seen for this model.\n"
    "bits/weight: all tensors of the files over their parameters; in the file: text, vision tower, MTP layer.\n"
    "known: exact = equal to the tool's own figure; derived = counted by a rule that reproduces published sizes;"
    " measured = the published size itself; assumed = no size is known, the nearest recipe's."
)
HEADER = ["quant", "format", "known", "seen", "in the file", "bits/weight", "file GB"]


def _title(model: Model) -> str:
    return f"{model.name}: what exists, smallest first; GB is 10^9 bytes"


def _cells(model: Model, known: Known) -> list[list[str]]:
    return [
        [
            quant.name,
            quant.format,
            weights.basis.value,
            quant.published(model) or "-",
            contents_of(weights),
            f"{weights.bits_per_weight:.2f}",
            gb(weights.file_bytes),
        ]
        for quant, weights in known
    ]


def quants_text(model: Model, known: Known) -> str:
    """Return the list for a person."""
    return "\n".join([_title(model), "", *aligned(HEADER, _cells(model, known), left=5), "", LEGEND])


def quants_markdown(model: Model, known: Known) -> str:
    """Return the list as Markdown."""
    return "\n\n".join([_title(model), markdown(HEADER, _cells(model, known), left=5), LEGEND])


def quant_rows(model: Model, known: Known) -> list[dict[str, object]]:
    """Return the rows of the report, in bytes."""
    return [
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


def quants_csv(model: Model, known: Known) -> str:
    """Return a CSV row per quant, in bytes."""
    return csv_text(quant_rows(model, known))


def quants_json(model: Model, known: Known) -> str:
    """Return a JSON row per quant, in bytes."""
    import json

    return json.dumps({"schema": SCHEMA, "rows": quant_rows(model, known)}, indent=2)
