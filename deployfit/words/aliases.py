"""Names of models that no rule makes from the catalogue's: Ollama's library, and other spellings."""

from __future__ import annotations

from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

NAME = "name"  # another name of the model
TAG = "ollama"  # a tag of Ollama's library that means the model
KINDS = (NAME, TAG)


class AliasRow(NamedTuple):
    """A row of `data/names.csv`: a name, and the model of the catalogue that it means.

    `quant` is the recipe of the file behind a tag of Ollama's. `repo` is the repository that it means, where that is
    another one of the same numbers.
    """

    name: str
    model: str
    kind: str
    quant: str
    repo: str


def _alias_row(row: Row) -> AliasRow:
    return AliasRow(
        name=row.text("name"),
        model=row.text("model"),
        kind=row.one_of("kind", KINDS),
        quant=row.text("quant", blank=True),
        repo=row.text("repo", blank=True),
    )


ALIASES = Table("names.csv", ["name", "model", "kind", "quant", "repo"], _alias_row)
