"""`check`: estimates held against published sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.checks import TOLERANCES, Checked, Review, check_sizes, summarize
from deployfit.errors import InputError
from deployfit.exit_codes import ANSWERED, HUB_NOT_ASKED, OUTSIDE
from deployfit.lookup import find_publisher
from deployfit.parameters import Parameter, param
from deployfit.quants import shelf
from deployfit.quants.published_sizes import PUBLISHED_SIZES
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, Text
from deployfit.questions.resolve import find_model, whole_number

if TYPE_CHECKING:
    from deployfit.report.document import Document

DEFAULT_ROWS = 20


class CheckedSizes(Answered, Sequence[Checked]):
    """Estimates beside published sizes; `review` is what the Hub says otherwise today."""

    def __init__(
        self, checked: Sequence[Checked], published: int, shown: int, review: Review, *, complete: bool
    ) -> None:
        self.checked, self.review, self._shown, self._complete = checked, review, shown, complete
        self.summary = summarize(checked, published)

    def __len__(self) -> int:
        return len(self.checked)

    def __getitem__(self, index: int) -> Checked:  # type: ignore[override]
        return self.checked[index]

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """1 if an estimate is outside its tolerance, 4 if the Hub could not be asked about everything."""
        if self.summary.failed:
            return OUTSIDE
        return ANSWERED if self._complete else HUB_NOT_ASKED

    def document(self) -> Document:
        """Return a row per published size, worst first."""
        from deployfit.report.check import check_document

        return check_document(self.checked, self.summary, self._shown, self.review)


def check(
    *,
    model: str | None = None,
    publisher: str | None = None,
    rows: Text = DEFAULT_ROWS,
    online: bool = False,
) -> CheckedSizes:
    """Return every estimate that can be held against a published size: those written down, or the Hub's of today.

    >>> all(each.passes for each in check(model="Qwen3.5-27B", publisher="unsloth"))
    True
    """
    name = None if model is None else find_model(model).name
    whose = None if publisher is None else find_publisher(publisher)
    shown = whole_number("rows", str(rows))
    sizes, review, complete = catalogue.rows(PUBLISHED_SIZES), Review(), True
    if online:
        from deployfit.sources.hub.today import all_or, ask_the_hub, review_of  # huggingface_hub: a quarter of a second

        today = ask_the_hub(all_or(name), whose)
        sizes, review, complete = today.sizes, review_of(today), today.complete
    sizes = [size for size in sizes if name in (None, size.model) and whose in (None, size.publisher)]
    checked = list(check_sizes(sizes, shelf.publishers(), catalogue.models(), catalogue.rows(TOLERANCES)))
    if not checked:
        raise InputError(f"no published size can be checked; leave out {param('model')} or {param('publisher')}")
    return CheckedSizes(checked, len(sizes), shown, review, complete=complete)


QUESTION = Question(
    name="check",
    summary="Hold estimates against published sizes. Those written down, or with --online the Hub's of today.\n\nIn"
    " GitHub Actions the Markdown table is appended to the step's summary as well.",
    ask=check,
    parameters=(
        common.MODEL._replace(help="Only this model.", default="all"),
        common.PUBLISHER._replace(help="Only this publisher.", default="all"),
        Parameter("rows", "Rows of the tables for people.", "N", str(DEFAULT_ROWS)),
        Parameter("online", "Ask the Hub for today's sizes, and how the catalogue differs from it."),
    ),
    step_summary=True,
)
