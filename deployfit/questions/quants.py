"""`quants`: what exists for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployfit.lookup import find_publisher
from deployfit.models import Model
from deployfit.quants.weights import FORMATS, Options, Quant, Weights
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question
from deployfit.questions.resolve import find_model, known_quants
from deployfit.runtimes import registry

if TYPE_CHECKING:
    from deployfit.report.document import Document

Known = Sequence[tuple[Quant, Weights]]


class Quants(Answered):
    """What exists for a model, smallest first."""

    def __init__(self, model: Model, known: Known) -> None:
        self.model, self.known = model, known

    def document(self) -> Document:
        """Return a row per quant, in bytes, and the list."""
        from deployfit.report.quants import quants_document

        return quants_document(self.model, self.known)


def list_quants(
    model: str,
    *,
    runtime: str | None = None,
    publisher: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    catalog: str | None = None,
) -> Quants:
    """Return what exists for a model, smallest first: the tools' recipes and publishers' files.

    >>> {row["quant"]: row["tensor_bytes"] for row in list_quants("Qwen3.5-27B").rows()}["Q4_K_M"]
    16536406016
    """
    found = find_model(model, catalog)
    formats = FORMATS if runtime is None else (registry.format_of(registry.find_runtime(runtime)),)
    whose = None if publisher is None else find_publisher(publisher)
    return Quants(found, known_quants(found, formats, whose, Options(imatrix=imatrix, mtp=mtp)))


QUESTION = Question(
    name="quants",
    summary="List what exists for MODEL. Recipes and published files, smallest first, and how each size is known.",
    ask=list_quants,
    parameters=(
        common.MODEL,
        common.RUNTIME._replace(help="Only what this engine loads.", default="everything"),
        common.PUBLISHER._replace(
            help="Only this publisher's, assumed sizes too.", default="all, and the tools' own recipes"
        ),
        common.IMATRIX,
        common.MTP,
        common.CATALOG,
    ),
    arguments=("model",),
)
