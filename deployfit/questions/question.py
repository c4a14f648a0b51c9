"""What a question is: its parameters, the function that answers it, and an answer that becomes a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deployfit.errors import InputError
from deployfit.parameters import Parameter, param, python
from deployfit.report.document import Shown
from deployfit.values import NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from deployfit.report.document import Document
    from deployfit.sources.listing import Progress

# By the kind in a schema: the type of a column that always has a value, and of one that may be without.
PANDAS = {"integer": ("int64", "Int64"), "number": ("float64", "float64"), "boolean": ("bool", "boolean")}

Text = str | int
Row = Mapping[str, Any]


PROGRESS: list[Progress] = []  # how the door shows that something takes long; none unless it says so


def shown_progress() -> Progress:
    """Return how to show what takes long."""
    if PROGRESS:
        return PROGRESS[-1]
    from deployfit.sources.listing import silent

    return silent


class Answered:
    """What a question gives back: rows for programs, a table for people. Subclasses make the document."""

    exit_code = 0  # of the command

    def document(self) -> Document:
        """Return the document, which every output format is made of."""
        raise NotImplementedError

    def rows(self) -> list[Row]:
        """Return a mapping per row: the fields of the command's JSON."""
        document = self.document().spelled(python)
        return [dict(zip(document.columns, record, strict=True)) for record in document.records]

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame, whose columns have the types that the schema says, whatever the rows hold.

        Whole numbers and truth values that may be missing have pandas' own types. Without rows the columns are there.
        """
        import pandas as pd

        from deployfit.schema.documents import shape_of

        document = self.document().spelled(python)
        fields = shape_of(document.schema.split("/")[1]).row
        records = [list(record) for record in document.records]
        frame = pd.DataFrame(records, columns=list(document.columns) or fields["required"])
        for name in frame.columns:
            if found := _pandas_type(
                fields["properties"].get(name, {}).get("type"), missing=bool(frame[name].isna().any())
            ):
                place = frame.columns.get_loc(name)
                frame[name] = pd.array([record[place] for record in records], dtype=found)
        return frame

    def text(self, width: int = 100) -> str:
        """Return what the command prints on a screen of that width."""
        return self._rendered("text", width)

    def _rendered(self, format_name: str, width: int) -> str:
        import io

        from deployfit.report.formats import Screen, render

        out = io.StringIO()
        render(self.document().spelled(python), format_name, out, Screen(width))
        return out.getvalue().rstrip("\n")

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self._rendered("html", 0)


def _pandas_type(kind: str | Sequence[str] | None, *, missing: bool) -> str:
    """Return pandas' type of a column whose kind in a schema is this, "" for what it is to find out itself."""
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    always, maybe = PANDAS.get(kinds[0] if kinds else "", ("", ""))
    return maybe if missing or "null" in kinds else always


class Question(NamedTuple):
    """A question: `ask` takes its parameters as keywords; those of runtimes are taken too if `runtimes`.

    `arguments` are the parameters that the command line takes without a name. `many`: settings of runtimes may be
    given several times. `step_summary`: in GitHub Actions its Markdown goes into the step's summary as well.
    """

    name: str
    summary: str
    ask: Callable[..., Answered]
    parameters: Sequence[Parameter]
    arguments: Sequence[str] = ()
    runtimes: bool = False
    many: bool = False
    step_summary: bool = False
    epilogue: str = ""


def texts(values: Text | float | Iterable[Text] | None) -> list[str]:
    """Return one or several arguments as a list of texts; commas part them too, but not thousands.

    >>> texts(["32,768", "8k,16k"])
    ['32,768', '8k', '16k']
    >>> texts("Mac15,3,Mac14,7")
    ['Mac15,3', 'Mac14,7']
    """
    if values is None:
        return []
    given = [_typed(values)] if isinstance(values, str | int | float) else [_typed(value) for value in values]
    return [text for each in given for text in _parted(each)]


def _parted(text: str) -> list[str]:
    if "," not in text:
        return [text]
    if "mac" in text.casefold():  # the identifiers of models have a comma of their own: Mac15,3
        import re

        kept = re.sub("(?i)(mac[a-z]*[0-9]+),(?=[0-9])", "\\1\0", text)
        return [piece.strip().replace("\0", ",") for piece in kept.split(",") if piece.strip()]
    pieces = [piece.strip() for piece in text.split(",")]
    thousands = all(len(piece) == 3 and piece.isdigit() for piece in pieces[1:]) and pieces[0].isdigit()
    return [text] if thousands else [piece for piece in pieces if piece]


def text_of(value: Text | float | None) -> str | None:
    """Return one argument as a text, None for none."""
    return None if value is None else _typed(value)


def _typed(value: Text | float) -> str:
    """Return a value of Python as it would be typed: 32.0 is 32."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def shown_as(*, brief: bool, explain: bool) -> Shown:
    """Return how much to show."""
    if brief and explain:
        raise InputError(f"{param('brief')} and {param('explain')} are opposites; leave one out")
    return Shown.BRIEF if brief else Shown.EXPLAINED if explain else Shown.USUAL
