"""mlx-lm over several Macs, started with mlx.launch: a part of every matrix on each, or whole layers.

Without a choice mlx-lm takes tensor where a model has it, else pipeline. The Macs are ranks in the order in which they
are named. Every rank has the embeddings, the norms and (but for Qwen3.5 under tensor) the output head. In a pipeline
all ranks have equally many layers, the first ones one more where that does not come out even, and rank 0 the last
layers. Source: mlx-lm 0.32.2 (utils.py:700-820, models/pipeline.py, `shard()` of the models).
"""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.catalogue import rows
from deployfit.clusters.commands import mlx_commands
from deployfit.clusters.engine import PIPELINE, TENSOR, Asked, Command, Division
from deployfit.clusters.tensor_split import TensorSplit, bytes_of_layers, rank_layers
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes.mlx.engine import RUNTIME
from deployfit.runtimes.mlx.settings import NAME, MlxSettings
from deployfit.runtimes.runtime import MemoryPart
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

VERSION = "mlx-lm 0.32.2"
HERE = Options()


class SplitRow(NamedTuple):
    """A row of `data/mlx_splits.csv`: where mlx-lm splits a type of models, "" for where it cannot.

    `model` is the one that the row is for, "" for all of the type. `also_split` are roles beside the usual ones. `note`
    is what its users should know.
    """

    model_type: str
    model: str
    tensor_at: str
    pipeline_at: str
    also_split: frozenset[str]
    repeats_kv: bool
    note: str = ""

    def at(self, split: str) -> str:
        """Return the place in the library that splits so."""
        return self.tensor_at if split == TENSOR else self.pipeline_at


def _split_row(row: Row) -> SplitRow:
    return SplitRow(
        model_type=row.text("model_type"),
        model=row.text("model", blank=True),
        tensor_at=row.text("tensor_at", blank=True),
        pipeline_at=row.text("pipeline_at", blank=True),
        also_split=frozenset(row.text("also_split", blank=True).split()),
        repeats_kv=row.flag("repeats_kv"),
        note=row.text("note", blank=True),
    )


SPLITS = Table(
    "mlx_splits.csv",
    ["model_type", "model", "tensor_at", "pipeline_at", "also_split", "repeats_kv", "note"],
    _split_row,
)


def row_of(model: Model) -> SplitRow:
    """Return how mlx-lm splits a model: what is known of its own published class goes before its type's."""
    found = None
    for row in rows(SPLITS):
        if row.model == model.name:
            return row
        if row.model_type == model.blueprint.model_type and not row.model:
            found = row
    return found or SplitRow(model.blueprint.model_type, "", "", "", frozenset(), repeats_kv=False)


def tensor_split_of(model: Model) -> TensorSplit:
    """Return which matrices mlx-lm splits."""
    row = row_of(model)
    return TensorSplit(row.also_split, row.repeats_kv)


def stages(layers: int, count: int) -> list[range]:
    """Return the layers of each rank of mlx-lm's pipeline.

    >>> stages(47, 2)
    [range(23, 47), range(0, 23)]
    """
    base, extra = divmod(layers, count)
    sizes = [base + (rank < extra) for rank in range(count)]
    starts = [sum(sizes[rank + 1 :]) for rank in range(count)]
    return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]


class MlxDistributed:
    """The engine."""

    name = NAME
    runtime = NAME
    splits = (TENSOR, PIPELINE)

    def why_not(self, model: Model, split: str, count: int) -> str:
        """Return why the model cannot be split so."""
        row = row_of(model)
        if not row.at(split):
            function = "shard()" if split == TENSOR else "pipeline()"
            other = PIPELINE if split == TENSOR else TENSOR
            hint = f"; it has {other}" if row.at(other) else ""
            return f"{VERSION} cannot split {row.model_type} by {split}: the model has no {function}{hint}"
        if split == TENSOR:
            return tensor_split_of(model).why_not(model.blueprint, count)
        layers = len(model.blueprint.layers)
        return f"{count} Macs are more than its {layers} layers" if count > layers else ""

    def why_not_weights(self, asked: Asked, weights: Weights) -> str:
        """Return which matrix of these weights does not divide."""
        if asked.split != TENSOR:
            return ""
        return tensor_split_of(asked.model).why_not_weights(asked.model.blueprint, weights, asked.size)

    def division(self, asked: Asked, weights: Weights) -> Division:
        """Return what each rank holds; under tensor it loads the whole model first."""
        count, total = asked.size, len(asked.model.blueprint.layers)
        if asked.split == PIPELINE:
            held = stages(total, count)
            sizes = [bytes_of_layers(weights, layers) for layers in held]
            details = [f"{len(layers)} of {total} layers, embeddings and head" for layers in held]
            loaded = tuple([weights_part(weights, *each)] for each in zip(range(count), sizes, details, strict=True))
            return Division(tuple(held), loaded, tuple(sizes))
        size = tensor_split_of(asked.model).rank_bytes(weights, asked.model.blueprint, count)
        detail = f"1/{count} of every layer; norms, routers and embeddings whole"
        loaded = tuple([weights_part(weights, rank, size, detail)] for rank in range(count))
        return Division((range(total),) * count, loaded, (load_peak_bytes(asked.model, weights, count),) * count)

    def running(self, asked: Asked, division: Division, settings: MlxSettings) -> Sequence[Sequence[MemoryPart]]:
        """Return caches, states and prefill memory of each rank."""
        return [
            [part._replace(machine=rank) for part in RUNTIME.running(own, settings, HERE)]
            for rank, own in enumerate(rank_blueprints(asked, division))
        ]

    def least_bytes(self, asked: Asked, division: Division, settings: MlxSettings) -> Sequence[int]:
        """Return all of it: nothing falls as the context grows."""
        return [RUNTIME.least_bytes(own, settings, HERE) for own in rank_blueprints(asked, division)]

    def notes(self, asked: Asked) -> Sequence[str]:
        """Return what is known of the model's type."""
        note = row_of(asked.model).note
        return [note] if note else []

    def commands(self, asked: Asked, division: Division, quant: Quant, weights: Weights) -> Sequence[Command]:
        """Return the commands that start it."""
        return mlx_commands(asked, quant)


def load_peak_bytes(model: Model, weights: Weights, count: int) -> int:
    """Return what a rank holds at most while it loads under tensor: the whole model, and a part of the largest matrix.

    Two Macs that loaded 51 GiB so were seen at 52 to 53 GiB.
    """
    split = tensor_split_of(model)
    parts = [each.nbytes // count for each in weights.classes if each.part is Part.TEXT and split.is_split(each.role)]
    return weights.text_bytes + max(parts, default=0)


def weights_part(weights: Weights, rank: int, nbytes: int, detail: str) -> MemoryPart:
    """Return a rank's weights."""
    return MemoryPart("weights", "weights", nbytes, nbytes, weights.basis, detail, machine=rank)


def rank_blueprints(asked: Asked, division: Division) -> list[Blueprint]:
    """Return the model as each rank computes it: with some of the heads, or with some of the layers."""
    blueprint = asked.model.blueprint
    if asked.split == TENSOR:
        return [blueprint._replace(layers=rank_layers(blueprint.layers, asked.size))] * asked.size
    return [blueprint._replace(layers=tuple(blueprint.layers[at] for at in held)) for held in division.layers]


ENGINE = MlxDistributed()
