"""What the library gives back, and how arguments are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from deployfit.ask import SETTINGS
from deployfit.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Row = Mapping[str, Any]
Text = str | int


class Answers(tuple[T, ...], Generic[T]):
    """Answers in order; `rows()` are those of the command's JSON, `frame()` the same as a DataFrame."""

    to_row: Callable[[T], Row]

    def rows(self) -> list[Row]:
        """Return a mapping per answer."""
        return [type(self).to_row(each) for each in self]

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per answer."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def texts(values: Text | Iterable[Text] | None) -> list[str]:
    """Return one or several arguments as a list of texts."""
    if values is None:
        return []
    return [str(values)] if isinstance(values, str | int) else [str(value) for value in values]


def text_of(value: Text | None) -> str | None:
    """Return one argument as a text, None for none."""
    return None if value is None else str(value)


def typed_of(settings: Mapping[str, Text | None]) -> dict[str, str]:
    """Return the settings that were given, as the command line spells them."""
    return {option_of(name): str(value) for name, value in settings.items() if value is not None}


def option_of(name: str) -> str:
    """Return a runtime's option by the name of its keyword; raise InputError if no runtime has it.

    >>> option_of("kv_type")
    'kv-type'
    """
    known = [option.replace("-", "_") for options in SETTINGS.values() for option in options]
    if name not in known:
        raise unknown("setting", name, known)
    return name.replace("_", "-")
