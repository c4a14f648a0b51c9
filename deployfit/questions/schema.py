"""`schema`: the JSON Schema of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployfit.parameters import Parameter
from deployfit.questions.question import Answered, Question
from deployfit.schema.kinds import Schema

if TYPE_CHECKING:
    from deployfit.report.document import Document


class DocumentSchema(Answered):
    """A JSON Schema (2020-12)."""

    def __init__(self, found: Schema) -> None:
        self.found = found

    def document(self) -> Document:
        """Return the schema as text to be saved; as rows its fields."""
        from deployfit.report.schema import schema_document

        return schema_document(self.found)


def schema(document: str) -> DocumentSchema:
    """Return the JSON Schema of what a command prints with the format json.

    >>> schema("macs").rows()[0]["field"], schema("macs").found["title"]
    ('chip', 'deployfit/macs/1')
    """
    from deployfit.schema.schema import schema_of

    return DocumentSchema(schema_of(document.strip().casefold()))


QUESTION = Question(
    name="schema",
    summary="Print the JSON Schema of a DOCUMENT. It describes what deployfit DOCUMENT --format json prints.\n\n"
    "Documents have the names of the commands that print them.",
    ask=schema,
    parameters=(Parameter("document", "fit, plan, recommend, quants, ...", "DOCUMENT"),),
    arguments=("document",),
)
