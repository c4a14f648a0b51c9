"""Models: a name, a blueprint, and what was published about it."""

from __future__ import annotations

from deployfit.errors import DataError, quoted
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.feed import Experts
from deployfit.layers.tensor import Tensor
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple

ORIGINAL_BYTES = 2  # of a number in a published checkpoint, BF16, unless its role is kept in F32
FLOAT32_BYTES = 4


class ModelRow(NamedTuple):
    """A row of `data/models.csv`; the configuration lies in `data/configs/`, under the model's name.

    `total_params` and `checkpoint_bytes` are the published figures, 0 where none is known; `checkpoint_bytes` is the
    `total_size` of the safetensors index: tensors only, text, vision and MTP. `numbers` says how the configuration is
    known. `tokenizer` names the row of `data/tokenizers.csv`. `aliases` are other names of models that have the same
    numbers; `family` is for lists; `released` is a date, or as much of one as is known.
    """

    name: str
    hub_repo: str
    tokenizer: str
    float32_roles: tuple[str, ...]
    total_params: int
    checkpoint_bytes: int
    numbers: str
    source: str
    retrieved: str
    aliases: tuple[str, ...] = ()
    family: str = ""
    released: str = ""


def _model_row(row: Row) -> ModelRow:
    return ModelRow(
        name=row.text("model"),
        hub_repo=row.text("hub_repo", blank=True),
        tokenizer=row.text("tokenizer", blank=True),
        float32_roles=tuple(row.text("float32_roles", blank=True).split()),
        total_params=row.number("total_params", blank=True),
        checkpoint_bytes=row.number("checkpoint_bytes", blank=True),
        numbers=row.text("numbers", blank=True),
        source=row.text("source", blank=True),
        retrieved=row.text("retrieved", blank=True),
        aliases=tuple(row.text("aliases", blank=True).split()),
        family=row.text("family", blank=True),
        released=row.text("released", blank=True),
    )


MODELS = Table(
    "models.csv",
    [
        "model",
        "hub_repo",
        "tokenizer",
        "float32_roles",
        "total_params",
        "checkpoint_bytes",
        "numbers",
        "source",
        "retrieved",
        "aliases",
        "family",
        "released",
    ],
    _model_row,
)


class Model(NamedTuple):
    """A model of the catalogue, or a user's own: its blueprint, and the row that tells of it."""

    blueprint: Blueprint
    row: ModelRow

    @property
    def name(self) -> str:
        """As people type it."""
        return self.row.name

    def checkpoint_tensor_bytes(self, tensor: Tensor) -> int:
        """Return the bytes of one tensor in the published checkpoint."""
        return tensor.params * (FLOAT32_BYTES if tensor.role in self.row.float32_roles else ORIGINAL_BYTES)

    def faults(self) -> list[str]:
        """Return published figures that differ from derived ones."""
        tensors = list(self.blueprint.tensors())
        derived = {
            "total_params": (self.row.total_params, sum(tensor.params for tensor in tensors)),
            "checkpoint_bytes": (self.row.checkpoint_bytes, sum(map(self.checkpoint_tensor_bytes, tensors))),
        }
        return [
            f"{name}: {published} published, but the configuration gives {counted}"
            for name, (published, counted) in derived.items()
            if published and published != counted
        ]


# Far beyond any model. What is larger in everything at once, with the longest context and the most sequences, could
# not be counted in the 64 bits that many estimates at once are kept in.
MOST_PARAMS = 10**15
MOST_CACHED = 200_000  # numbers of a token that one layer caches
MOST_STATE = 10**9  # numbers of a sequence that one layer keeps
MOST_HEADS = 16_384
MOST_USED = 128  # experts; llama.cpp's graph has a node for each


def check_countable(blueprint: Blueprint, name: str) -> None:
    """Raise DataError with a line for each number of a model that is larger than any, by far."""
    largest = {"parameters": (sum(blueprint.params().values()), MOST_PARAMS)}
    used = max((layer.feed.used for layer in blueprint.layers if isinstance(layer.feed, Experts)), default=0)
    largest["experts per token"] = used, MOST_USED
    for mixer in {layer.mixer for layer in (*blueprint.layers, *(draft.layer for draft in blueprint.drafts))}:
        found: dict[str, tuple[int, int]] = {}
        if isinstance(mixer, Attention):
            found = {"heads": (mixer.heads, MOST_HEADS), "numbers cached per layer": (2 * mixer.kv_dim, MOST_CACHED)}
        elif isinstance(mixer, LatentAttention):
            cached = mixer.kv_rank + mixer.rope_dim + (mixer.indexer.head_dim if mixer.indexer else 0)
            heads = max(mixer.heads, mixer.indexer.heads if mixer.indexer else 0)
            found = {"heads": (heads, MOST_HEADS), "numbers cached per layer": (cached, MOST_CACHED)}
        elif mixer is not None:
            found = {"numbers of state per layer": (mixer.state_elements + mixer.conv_elements, MOST_STATE)}
        for what, (count, most) in found.items():
            largest[what] = max(largest.get(what, (0, most)), (count, most))
    faults = [
        f"{name}: {count:,} {what}, where {most:,} is more than any model has"
        for what, (count, most) in largest.items()
        if count > most
    ]
    if faults:
        raise DataError(faults)


def own_model(name: str, blueprint: Blueprint, source: str) -> Model:
    """Return a model of a user's own, of which nothing was published; raise DataError for an absurd one."""
    check_countable(blueprint, source if source.isprintable() else quoted(source))
    return Model(blueprint, ModelRow(name, "", "", (), 0, 0, "given", source, ""))
