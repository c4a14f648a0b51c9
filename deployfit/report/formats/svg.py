"""SVG: the bar of an answer, for a README or a page."""

from __future__ import annotations

from typing import IO

from deployfit.errors import InputError
from deployfit.parameters import param
from deployfit.report.document import Bar, Document
from deployfit.report.drawing import bar_svg
from deployfit.report.formats import Screen


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the first bar; raise InputError for a document that has none."""
    bar = next((block for block in document.blocks if isinstance(block, Bar)), None)
    if bar is None:
        raise InputError(
            f"{param('format')}: svg is for one answer of deployfit fit; name one file with {param('quant')}"
        )
    out.write(bar_svg(bar) + "\n")
