"""exo over several Macs: layers in proportion to the memory that is free, or a part of every layer on each.

exo counts a model as its card says, or as its files' index does: weights only, without caches and working memory, and
against free memory, not against what the GPU may use. So it starts what cannot run; here both are said. Its placement
takes the fewest Macs that hold the weights unless it is told how many. Source: exo b5375f8 (2026-06-22), which has an
mlx-lm of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.catalogue import rows
from deployfit.clusters.commands import exo_commands
from deployfit.clusters.engine import PIPELINE, TENSOR, Asked, Command, Division
from deployfit.clusters.exo_cards import Card, card_of
from deployfit.clusters.mlx_distributed import HERE, rank_blueprints, weights_part
from deployfit.clusters.tensor_split import TensorSplit, bytes_of_layers
from deployfit.hardware.gpu_limit import SYSTEM_RESERVE
from deployfit.hardware.machine import Machine
from deployfit.layers.attention import Attention
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.quants.weights import Quant, Weights
from deployfit.runtimes.mlx.engine import RUNTIME
from deployfit.runtimes.mlx.settings import NAME as MLX
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.runtimes.runtime import MemoryPart
from deployfit.tables import Row, Table
from deployfit.units import gib
from deployfit.values import NamedTuple

NO_ROOM = "No cycles found with sufficient memory"
NO_PIPELINE = ("gemma4", "gemma4_unified")
NO_PIPELINE_CARDS = ("mlx-community/DeepSeek-V3.1-8bit",)


class ExoRow(NamedTuple):
    """A row of `data/exo_splits.csv`: a type of models that exo can split by tensor.

    `without_card`: also a model that has no card. `also_split` are roles beside the usual ones.
    """

    model_type: str
    without_card: bool
    also_split: frozenset[str]


EXO_SPLITS = Table(
    "exo_splits.csv",
    ["model_type", "without_card", "also_split"],
    lambda row: _exo_row(row),
)


def _exo_row(row: Row) -> ExoRow:
    return ExoRow(
        row.text("model_type"), row.flag("without_card"), frozenset(row.text("also_split", blank=True).split())
    )


def row_of(model: Model) -> ExoRow | None:
    """Return how exo splits a model by tensor, None if it cannot."""
    kind = model.blueprint.model_type
    return next((row for row in rows(EXO_SPLITS) if row.model_type == kind), None)


def free_bytes(machine: Machine) -> int:
    """Return what exo finds free: all memory but for what macOS and other programs hold."""
    return max(0, machine.mac.memory_bytes - max(SYSTEM_RESERVE, machine.other_bytes))


def layers_by_memory(layers: int, free: Sequence[int]) -> list[int]:
    """Return how many layers each node gets: in proportion, by largest remainder, at least one.

    >>> layers_by_memory(40, [30, 16, 8]), layers_by_memory(48, [200, 2])
    ([22, 12, 6], [47, 1])
    """
    if not any(free):
        free = [1] * len(free)  # which is refused, however the layers lie
    total = sum(free)
    exact = [each / total * layers for each in free]
    counts = [int(each) for each in exact]
    by_remainder = sorted(range(len(free)), key=lambda node: exact[node] - counts[node], reverse=True)
    for node in by_remainder[: layers - sum(counts)]:
        counts[node] += 1
    for node, count in enumerate(counts):
        if not count:
            counts[counts.index(max(counts))] -= 1
            counts[node] = 1
    return counts


def placement_refusal(storage_bytes: int, layers: int, free: Sequence[int], counts: Sequence[int]) -> str:
    """Return why exo does not place layers so, in its own words where it has some; "" if it does."""
    if sum(free) < storage_bytes:
        return f"exo: {NO_ROOM}"
    for node, (count, room) in enumerate(zip(counts, free, strict=True), start=1):
        needed = storage_bytes * count // layers
        if needed > room:
            return f"exo: Mac {node} has insufficient memory: {gib(needed)} GiB for {count} layers, {gib(room)} free"
    return ""


class Exo:
    """The engine."""

    name = "exo"
    runtime = MLX
    splits = (PIPELINE, TENSOR)  # its dashboard and its API take pipeline without a choice

    def why_not(self, model: Model, split: str, count: int) -> str:
        """Return why the model cannot be split so."""
        blueprint = model.blueprint
        if split == PIPELINE:
            if blueprint.model_type in NO_PIPELINE:
                return "exo does not split Gemma 4 by pipeline; it has tensor"
            layers = len(blueprint.layers)
            return f"{count} Macs are more than its {layers} layers" if count > layers else ""
        row = row_of(model)
        if row is None:
            return f"exo has no tensor split for {blueprint.model_type}; it has pipeline"
        if blueprint.hidden % count:
            return f"{count} Macs: exo wants the hidden size, {blueprint.hidden}, to divide by them"
        heads = min((each.kv_heads for each in blueprint.attentions if isinstance(each, Attention)), default=0)
        if heads % count:
            return f"{count} Macs: exo wants the {heads} KV heads to divide by them"
        return TensorSplit(row.also_split).why_not(blueprint, count)

    def why_not_weights(self, asked: Asked, weights: Weights) -> str:
        """Return which matrix of these weights does not divide, and what exo's card says of them."""
        card, row = card_of(asked.model, weights), row_of(asked.model)
        if asked.split == PIPELINE:
            named = card is not None and card.model_id in NO_PIPELINE_CARDS
            return f"exo does not split {weights.recipe} of this model by pipeline; it has tensor" if named else ""
        if row is None:
            return ""
        if not (card.supports_tensor if card else row.without_card):
            why = "its card says so" if card else "no card says that it can"
            return f"exo does not split {weights.recipe} of this model by tensor ({why}); it has pipeline"
        return TensorSplit(row.also_split).why_not_weights(asked.model.blueprint, weights, asked.size)

    def division(self, asked: Asked, weights: Weights) -> Division:
        """Return what each node holds; layer by layer is loaded, and split where the split is tensor."""
        blueprint, count = asked.model.blueprint, asked.size
        total, storage = len(blueprint.layers), storage_bytes(card_of(asked.model, weights), weights)
        free = [free_bytes(machine) for machine in asked.cluster.machines]
        if asked.split == PIPELINE:
            counts = layers_by_memory(total, free)
            starts = [sum(counts[:node]) for node in range(count)]
            held = [range(start, start + size) for start, size in zip(starts, counts, strict=True)]
            sizes = [bytes_of_layers(weights, layers) for layers in held]
            details = [f"{len(layers)} of {total} layers, embeddings and head" for layers in held]
            loaded = tuple([weights_part(weights, *each)] for each in zip(range(count), sizes, details, strict=True))
            refusal = placement_refusal(storage, total, free, counts)
            return Division(tuple(held), loaded, tuple(sizes), refusal=refusal)
        row = row_of(asked.model)
        size = TensorSplit(row.also_split if row else frozenset()).rank_bytes(weights, blueprint, count)
        detail = f"1/{count} of every layer; norms, routers, embeddings and head whole"
        loaded = tuple([weights_part(weights, node, size, detail)] for node in range(count))
        peak = size + largest_layer_bytes(weights)
        refusal = f"exo: {NO_ROOM}" if sum(free) < storage else ""
        return Division((range(total),) * count, loaded, (peak,) * count, refusal=refusal)

    def running(self, asked: Asked, division: Division, settings: MlxSettings) -> Sequence[Sequence[MemoryPart]]:
        """Return caches, states and prefill memory of each node."""
        return [
            [part._replace(machine=node) for part in RUNTIME.running(own, settings, HERE)]
            for node, own in enumerate(rank_blueprints(asked, division))
        ]

    def least_bytes(self, asked: Asked, division: Division, settings: MlxSettings) -> Sequence[int]:
        """Return all of it: nothing falls as the context grows."""
        return [RUNTIME.least_bytes(own, settings, HERE) for own in rank_blueprints(asked, division)]

    def notes(self, asked: Asked) -> Sequence[str]:
        """Return none beside those that are data."""
        return []

    def commands(self, asked: Asked, division: Division, quant: Quant, weights: Weights) -> Sequence[Command]:
        """Return the commands that start it."""
        return exo_commands(asked, quant)


def storage_bytes(card: Card | None, weights: Weights) -> int:
    """Return what exo takes for the model's size: its card's figure, else that of the files' index."""
    return card.storage_bytes if card else weights.tensor_bytes


def largest_layer_bytes(weights: Weights) -> int:
    """Return the bytes of the largest layer: under tensor it is whole until it is split."""
    sizes: dict[int, int] = {}
    for each in weights.classes:
        if each.part is Part.TEXT:
            for layer in each.layers:
                sizes[layer] = sizes.get(layer, 0) + each.nbytes
    return max((size for layer, size in sizes.items() if layer >= 0), default=0)


ENGINE = Exo()
