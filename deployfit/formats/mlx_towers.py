"""Vision towers whose kind of layers nobody wrote: how many numbers they have."""

from __future__ import annotations

from collections.abc import Iterable

from deployfit.tables import Table
from deployfit.values import NamedTuple


class TowerRow(NamedTuple):
    """A row of `data/mlx_towers.csv`: the vision tower of these models, whose kind of layers nobody wrote.

    How many numbers it has, and how many more for each of the text model's width that its projection maps to.
    """

    models: tuple[str, ...]
    params: int
    params_per_width: int


TOWERS = Table(
    "mlx_towers.csv",
    ["models", "params", "params_per_width"],
    lambda row: TowerRow(tuple(row.text("models").split()), row.number("params"), row.number("params_per_width")),
)


def tower_params(model: str, hidden: int, rows: Iterable[TowerRow]) -> int:
    """Return how many numbers a model's vision tower has that its blueprint does not tell, 0 if it has none.

    >>> tower_params("Gemma-3-12B", 3840, [TowerRow(("Gemma-3-12B",), 416_867_184, 1152)])
    421290864
    """
    return sum(row.params + hidden * row.params_per_width for row in rows if model in row.models)
