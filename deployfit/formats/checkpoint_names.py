"""What checkpoints and MLX call tensors: a name for each role, as rows of `data/checkpoint_names.csv`.

In a name `*` stands for the layer's number and `#` for an expert's. Roles that share a name are stacked in it. A role
that no row names goes by its role; only the size of a file's header depends on that, and what a pattern matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployfit.layers.tensor import OUTSIDE, Part, Tensor
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

ANY = "*"  # the model_type of rows that hold for all
LAYER = "*"
EXPERT = "#"
LAYERS = "layers"  # the role of what stands before the names of a layer's tensors
TOWER = "tower"  # and of those of a vision tower


class NameRow(NamedTuple):
    """A row of `data/checkpoint_names.csv`; `mlx` is the checkpoint's name unless it says otherwise.

    `model_types` are those for which it holds, instead of the row for all.
    """

    model_types: tuple[str, ...]
    of: str
    role: str
    checkpoint: str
    mlx: str


def _name_row(row: Row) -> NameRow:
    checkpoint = row.text("checkpoint")
    return NameRow(
        tuple(row.text("model_types").split()),
        row.text("of"),
        row.text("role"),
        checkpoint,
        row.text("mlx", blank=True) or checkpoint,
    )


CHECKPOINT_NAMES = Table("checkpoint_names.csv", ["model_types", "of", "role", "checkpoint", "mlx"], _name_row)


class Names:
    """The names of one architecture's tensors in one tool's files."""

    def __init__(self, known: Mapping[tuple[str, str], str]) -> None:
        self._known = known

    @property
    def drafts_apart(self) -> bool:
        """Whether draft layers are a list of their own, counted from 0, rather than behind all others."""
        return self._known["draft", LAYERS] != self._known["model", LAYERS]

    @property
    def tower(self) -> str:
        """What stands before the names of a vision tower's tensors."""
        return self._known["vision", TOWER]

    def name(self, tensor: Tensor) -> str:
        """Return a tensor's name; that of a layer's tensor has `*` in place of the number."""
        known = self._known.get((tensor.of, tensor.role)) or self._bias(tensor)
        if tensor.layer == OUTSIDE or tensor.of == "draft":
            return known
        return self._known["draft" if tensor.part is Part.MTP else "model", LAYERS] + known

    def _bias(self, tensor: Tensor) -> str:
        """Return the name of a bias, which is that of its matrix, or what the role says where no row tells."""
        of_what = self._known.get((tensor.of, tensor.role.removesuffix(".bias")))
        return of_what.removesuffix("weight") + "bias" if of_what else tensor.role


def names_of(rows: Iterable[NameRow], model_type: str) -> tuple[Names, Names]:
    """Return the names of an architecture's tensors in checkpoints, and in MLX's files."""
    known: list[NameRow] = list(rows)
    ordered: Sequence[NameRow] = [
        *(row for row in known if ANY in row.model_types),
        *(row for row in known if model_type in row.model_types),
    ]
    return (
        Names({(row.of, row.role): row.checkpoint for row in ordered}),
        Names({(row.of, row.role): row.mlx for row in ordered}),
    )
