"""`page`: one file in which everything can be looked at, offline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from deployfit.errors import InputError
from deployfit.models import Model
from deployfit.parameters import Parameter, param
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, shown_progress, texts
from deployfit.questions.resolve import all_models, find_model

if TYPE_CHECKING:
    from deployfit.report.document import Document

FILE = "fit.html"


class FitPage(Answered):
    """A page of some models; it is counted when it is written, not before."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models
        self.opened = ""  # where it was written to be opened

    @cached_property
    def html(self) -> str:
        """The page: one file that asks nobody for anything."""
        from deployfit.page.figures import figures_of
        from deployfit.page.html import page_of

        with shown_progress()("counting", len(self.models)) as step:
            return page_of(figures_of(self.models, step))

    def document(self) -> Document:
        """Return a row per model, and the page for formats that can hold one."""
        from deployfit.report.page import page_document

        return page_document(self.models, self.opened, lambda: self.html)


def page(model: str | Iterable[str] | None = None, *, catalog: str | None = None, open: bool = False) -> FitPage:
    """Return the page of these models, of all without a name; `open` shows it in the browser.

    >>> len(page(["Qwen3.5-27B", "gpt-oss-20b"]).models)
    2
    """
    models = [find_model(name, catalog) for name in dict.fromkeys(texts(model)) or all_models(catalog)]
    found = FitPage(list({each.name: each for each in models}.values()))
    if open:
        found.opened = _shown(found.html)
    return found


def _shown(html: str) -> str:
    """Write the page into a folder of its own, and have the browser open it; return where it is."""
    import tempfile
    import webbrowser
    from pathlib import Path

    try:
        path = Path(tempfile.mkdtemp(prefix="deployfit-"), FILE)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{param('open')}: {error.strerror or error}; write it where there is room with {param('output')} {FILE}"
        ) from None
    if not webbrowser.open(path.as_uri()):
        raise InputError(f"{param('open')}: no browser could be started; open {os.fspath(path)} in one")
    return os.fspath(path)


QUESTION = Question(
    name="page",
    summary="Make a page to look at and to share. Models, files, Macs and contexts to choose from, in one file that"
    f" works offline.\n\nWith --output {FILE} it is written, with --open shown. It holds every model unless some are"
    " named, and asks no host for anything; its address holds the question, so that an answer can be shared.",
    ask=page,
    parameters=(
        common.MODELS,
        common.CATALOG,
        Parameter("open", "Write it to a temporary folder and show it in the browser."),
    ),
    arguments=("model",),
)
