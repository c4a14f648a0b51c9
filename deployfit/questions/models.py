"""`models`: what the catalogue knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployfit import catalogue
from deployfit.errors import unknown
from deployfit.models import Model
from deployfit.parameters import Parameter
from deployfit.questions.question import Answered, Question

if TYPE_CHECKING:
    from deployfit.report.document import Document


class Models(Answered):
    """The catalogue's models, or those of a family."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models

    def document(self) -> Document:
        """Return a row per model."""
        from deployfit.report.models import models_document

        return models_document(self.models)


def list_models(*, family: str | None = None) -> Models:
    """Return the models that deployfit knows by name.

    >>> {row["model"]: row["total_params"] for row in list_models(family="Qwen3.5").rows()}["Qwen3.5-35B-A3B"]
    35951822704
    """
    known = catalogue.models()
    if family is None:
        return Models(list(known.values()))
    families = dict.fromkeys(row.family for row in known.rows.values())
    wanted = next((each for each in families if each.casefold() == family.strip().casefold()), None)
    if wanted is None:
        raise unknown("family", family, families)
    return Models([known[name] for name, row in known.rows.items() if row.family == wanted])


QUESTION = Question(
    name="models",
    summary="List the models of the catalogue, by family.",
    ask=list_models,
    parameters=(Parameter("family", "Only these: 'Qwen3.5', 'Gemma 4', ...", "NAME", "all"),),
)
