"""The size table: models x recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.basis import Basis
from deployfit.quants.weights import Weights
from deployfit.report.tabular import aligned, contents_of, csv_text, markdown
from deployfit.units import gb

SCHEMA = "deployfit/table/1"

Sizes = Mapping[str, Mapping[str, Weights]]  # by recipe, then by model; a recipe that cannot be made is missing


def table_text(sizes: Sizes, names: Sequence[str]) -> str:
    """Return the table for a person, in decimal GB."""
    return "\n".join([_title(sizes), "", *aligned(*_cells(sizes, names))])


def table_markdown(sizes: Sizes, names: Sequence[str]) -> str:
    """Return the table as Markdown, in decimal GB."""
    return "\n\n".join([_title(sizes), markdown(*_cells(sizes, names))])


def _title(sizes: Sizes) -> str:
    """Return the title; it says what is in the files, and which sizes were not counted."""
    listed = [weights for by_model in sizes.values() for weights in by_model.values()]
    contents = sorted({contents_of(weights) for weights in listed})
    uncounted = {recipe for recipe, by_model in sizes.items() for each in by_model.values() if each.basis in UNCOUNTED}
    title = f"File size in GB (10^9 bytes); in the files: {' or '.join(contents)}"
    return title + (f"; not counted but published or nearest: {', '.join(sorted(uncounted))}" if uncounted else "")


UNCOUNTED = (Basis.MEASURED, Basis.ASSUMED)


def _cells(sizes: Sizes, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    header = ["recipe", *names]
    rows = [
        [recipe, *(gb(by_model[name].file_bytes) if name in by_model else "-" for name in names)]
        for recipe, by_model in sizes.items()
    ]
    return header, rows


def _rows(sizes: Sizes, names: Sequence[str]) -> list[dict[str, object]]:
    return [
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
        for name in names
        if name in by_model
    ]


def table_csv(sizes: Sizes, names: Sequence[str]) -> str:
    """Return a CSV row per model and recipe, in bytes."""
    return csv_text(_rows(sizes, names))


def table_json(sizes: Sizes, names: Sequence[str]) -> str:
    """Return a JSON row per model and recipe, in bytes."""
    import json

    return json.dumps({"schema": SCHEMA, "rows": _rows(sizes, names)}, indent=2)
