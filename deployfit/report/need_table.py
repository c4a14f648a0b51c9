"""The table of `deployfit table --mac`: models x recipes, in each cell what it takes and whether that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.grid import MISSING, VERDICTS, Swept
from deployfit.report.tabular import aligned, markdown
from deployfit.units import gib
from deployfit.verdict import Verdict

MARKS: Mapping[Verdict, str] = {
    Verdict.FITS: "",
    Verdict.TIGHT: "tight ",
    Verdict.NEEDS_RAISED_LIMIT: "raise ",
    Verdict.DOES_NOT_FIT: "no ",
}
LEGEND = (
    "A plain figure fits; tight: within the GPU limit, but not with the reserve; raise: needs a raised limit; no: does"
    " not fit; -: cannot be made."
)


def need_text(swept: Sequence[Swept]) -> str:
    """Return a table per runtime for a person, in GiB."""
    return "\n\n".join(["\n".join([_title(each), "", *aligned(*_cells(each))]) for each in swept] + [LEGEND])


def need_markdown(swept: Sequence[Swept]) -> str:
    """Return the same as Markdown."""
    return "\n\n".join([text for each in swept for text in (_title(each), markdown(*_cells(each)))] + [LEGEND])


def _title(swept: Swept) -> str:
    (place,), (settings,), (tokens,) = swept.grid.places, swept.grid.settings, swept.grid.contexts
    limit = "raised limit" if place.raised else f"macOS {place.macos}"
    return (
        f"What it takes in GiB on {place.mac.with_article} ({limit}, {gib(place.limit.limit_bytes)} GiB for the GPU,"
        f" {gib(place.reserve_bytes)} of them reserve), {settings.runtime}, {settings.with_context(tokens).words}"
    )


def _cells(swept: Swept) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a sweep of one setting, context and place; the recipes in the order of the grid."""
    totals = swept.total_bytes[:, :, 0, 0].T.tolist()
    codes = swept.verdicts[:, :, 0, 0, 0].T.tolist()
    rows = [
        [quant.name, *(_cell(total, code) for total, code in zip(*cells, strict=True))]
        for quant, *cells in zip(swept.grid.quants, totals, codes, strict=True)
    ]
    return ["recipe", *(model.name for model in swept.grid.models)], rows


def _cell(total_bytes: int, code: int) -> str:
    return "-" if total_bytes == MISSING else MARKS[VERDICTS[code]] + gib(total_bytes)
