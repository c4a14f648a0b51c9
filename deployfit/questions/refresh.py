"""`refresh`: the Hub's sizes of today, appended to a file of published sizes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted
from deployfit.exit_codes import ANSWERED, HUB_NOT_ASKED
from deployfit.lookup import find_publisher
from deployfit.parameters import Parameter
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, shown_progress
from deployfit.questions.resolve import find_model
from deployfit.writing import replace_file

if TYPE_CHECKING:
    from deployfit.report.document import Document
    from deployfit.sources.hub.today import Refreshed

MOST_BYTES = 16 * 2**20


class Refresh(Answered):
    """What was appended, or would be."""

    def __init__(self, refreshed: Refreshed, *, dry_run: bool) -> None:
        self.refreshed, self._dry_run = refreshed, dry_run

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """4 if the Hub could not be asked about everything."""
        return ANSWERED if self.refreshed.today.complete else HUB_NOT_ASKED

    def document(self) -> Document:
        """Return a row per new size."""
        from deployfit.report.refresh import refresh_document

        return refresh_document(self.refreshed, dry_run=self._dry_run)


def refresh(path: str, *, model: str | None = None, publisher: str | None = None, dry_run: bool = False) -> Refresh:
    """Append the Hub's sizes of today to a file like data/published_sizes.csv; rows are only ever appended."""
    from deployfit.sources.hub.today import all_or, refreshed

    text = _text(path)
    models = all_or(None if model is None else find_model(model).name)
    whose = None if publisher is None else find_publisher(publisher)
    found = refreshed(text, os.path.basename(path), models, whose, shown_progress())
    if found.new and not dry_run:
        try:
            replace_file(path, found.text.encode())
        except OSError as error:
            raise InputError(f"{quoted(path)}: {error.strerror}; nothing was appended") from None
    return Refresh(found, dry_run=dry_run)


def _text(path: str) -> str:
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # some devices never end
            raise ValueError
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError
        return text
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{quoted(path)}: {reason}; give data/published_sizes.csv of a checkout") from None


QUESTION = Question(
    name="refresh",
    summary="Append the Hub's sizes of today to FILE. For maintainers: FILE is data/published_sizes.csv.\n\nRows are"
    " only ever appended, with their date; what is written down already stays as it is.",
    ask=refresh,
    parameters=(
        Parameter("path", "A file like data/published_sizes.csv.", "FILE"),
        common.MODEL._replace(help="Only this model.", default="all"),
        common.PUBLISHER._replace(help="Only this publisher.", default="all"),
        Parameter("dry_run", "Say what would be added, and add nothing."),
    ),
    arguments=("path",),
)
