"""Tables: aligned text, Markdown and CSV out of the same cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from deployfit.hardware import Place
from deployfit.models import Model
from deployfit.quants.weights import Weights
from deployfit.units import gib


def headline_of(model: Model, place: Place) -> str:
    """Return which model and which Mac is meant, as a headline."""
    limit = "raised limit" if place.raised else f"macOS {place.macos}"
    return f"{model.name} on {place.mac.with_article} ({limit}, {gib(place.limit.limit_bytes)} GiB for the GPU)"


def contents_of(weights: Weights) -> str:
    """Return which parts a file holds."""
    parts = {"text": weights.text_bytes, "vision": weights.vision_bytes, "MTP": weights.mtp_bytes}
    return " + ".join(name for name, size in parts.items() if size)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return the lines of a table; the first `left` columns are flush left, the others right.

    >>> aligned(["recipe", "GiB"], [["Q8_0", "26.6"], ["BF16", "50.1"]])
    ['recipe   GiB', 'Q8_0    26.6', 'BF16    50.1']
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return ["  ".join(_cell(*each, left) for each in zip(range(len(row)), row, widths, strict=True)).rstrip()
            for row in (header, *rows)]  # fmt: skip


def _cell(index: int, text: str, width: int, left: int) -> str:
    return text.ljust(width) if index < left else text.rjust(width)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table.

    >>> print(markdown(["recipe", "GiB"], [["Q8_0", "26.6"]]))
    | recipe | GiB |
    | --- | ---: |
    | Q8_0 | 26.6 |
    """
    rule = ["---" if index < left else "---:" for index in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *rows)
    )


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows with the same keys as CSV, header first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")
