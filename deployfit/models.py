"""Models: a name, a configuration, and what was published about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from deployfit.architectures.qwen35 import Qwen35, Tensor, Vision, checkpoint_tensors
from deployfit.errors import DataError, quoted
from deployfit.tables import Row, parse_table

# In Qwen3.5 checkpoints everything is BF16 but these.
QWEN35_FLOAT32_TENSORS = ("A_log", "linear_attn.norm.weight")


class Model(NamedTuple):
    """A row of `data/models.csv`, or a user's own.

    `total_params` and `checkpoint_bytes` are the published figures, 0 where none is known; `checkpoint_bytes`
    is the `total_size` of the safetensors index: tensors only, text, vision and MTP.
    """

    name: str
    config: Qwen35
    float32_tensors: tuple[str, ...]
    hub_repo: str = ""
    total_params: int = 0
    checkpoint_bytes: int = 0
    source: str = ""
    retrieved: str = ""

    def checkpoint_tensor_bytes(self, tensor: Tensor) -> int:
        """Return the bytes of one tensor in the published checkpoint."""
        return tensor.params * (4 if tensor.name.endswith(self.float32_tensors) else 2)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor of the checkpoint."""
        return checkpoint_tensors(self.config)

    def faults(self) -> list[str]:
        """Return what contradicts itself in the configuration, and published figures that differ from derived ones."""
        tensors = self.tensors
        derived = {
            "total_params": (self.total_params, sum(tensor.params for tensor in tensors)),
            "checkpoint_bytes": (self.checkpoint_bytes, sum(map(self.checkpoint_tensor_bytes, tensors))),
        }
        return self.config.contradictions() + [
            f"{name}: {published} published, but the configuration gives {counted}"
            for name, (published, counted) in derived.items()
            if published and published != counted
        ]


VISION_COLUMNS = {field: "vision_" + field for field in Vision._fields}
CONFIG_COLUMNS = [field for field in Qwen35._fields if field != "vision"]
DENSE_COLUMNS = ("intermediate_size",)
EXPERT_COLUMNS = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size")
MAY_BE_ZERO = ("mtp_num_hidden_layers",)
MOST_LAYERS = 1_000  # of any kind: what a hostile file could otherwise keep us busy with
MOST_ELSE = 10_000_000
LAYER_COLUMNS = ("num_hidden_layers", "mtp_num_hidden_layers", "depth")


def _most(column: str) -> int:
    return MOST_LAYERS if column in LAYER_COLUMNS else MOST_ELSE


PUBLISHED_COLUMNS = ("total_params", "checkpoint_bytes")
MODEL_COLUMNS = [
    "model",
    "hub_repo",
    *CONFIG_COLUMNS,
    *VISION_COLUMNS.values(),
    "float32_tensors",
    *PUBLISHED_COLUMNS,
    "source",
    "retrieved",
]


def parse_models(text: str, place: str) -> list[Model]:
    """Return the models of a CSV text with the columns of `data/models.csv`."""
    found = parse_table(text, place, MODEL_COLUMNS, _parse_model)
    names = [model.name for model in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError([f"{place}: model {quoted(name)} stands there twice; give each its own name" for name in twice])
    return found


def _parse_model(row: Row) -> Model:
    moe = bool(row.number("num_experts", blank=True))
    blank: tuple[str, ...] = DENSE_COLUMNS if moe else EXPERT_COLUMNS
    numbers = {
        column: row.number(column, least=0 if column in MAY_BE_ZERO else 1, most=_most(column), blank=column in blank)
        for column in CONFIG_COLUMNS
        if column != "tie_word_embeddings"
    }
    vision = Vision(**{field: row.number(column, most=_most(field)) for field, column in VISION_COLUMNS.items()})
    return Model(
        name=row.text("model"),
        config=Qwen35(vision=vision, tie_word_embeddings=row.flag("tie_word_embeddings"), **numbers),
        float32_tensors=tuple(row.text("float32_tensors", blank=True).split()),
        hub_repo=row.text("hub_repo", blank=True),
        total_params=row.number("total_params", blank=True),
        checkpoint_bytes=row.number("checkpoint_bytes", blank=True),
        source=row.text("source", blank=True),
        retrieved=row.text("retrieved", blank=True),
    )


ARCHITECTURES = ("qwen3_5", "qwen3_5_moe")


def model_from_config(config: Mapping[str, Any], name: str, place: str) -> Model:
    """Return the model that a `config.json` of this architecture describes."""
    architecture = config.get("model_type")
    if architecture not in ARCHITECTURES:
        raise DataError(
            [f"{place}: model_type: expected one of {', '.join(ARCHITECTURES)}, got {quoted(architecture)}"]
        )
    faults: list[str] = []

    def section(key: str) -> Mapping[str, Any]:
        value = config.get(key)
        if isinstance(value, Mapping):
            return value
        faults.append(f"{place}: {key}: expected an object, got {quoted(value)}")
        return {}

    def number(source: Mapping[str, Any], key: str, where: str, *, optional: bool = False) -> int:
        value = source.get(key)
        if value is None and optional:
            return 0
        if type(value) is not int or not (0 if optional else 1) <= value <= _most(key):
            faults.append(f"{place}: {where}.{key}: expected a whole number up to {_most(key):,}, got {quoted(value)}")
            return 1
        return value

    text, vision = section("text_config"), section("vision_config")
    if faults:
        raise DataError(faults)
    optional = EXPERT_COLUMNS if architecture == "qwen3_5" else DENSE_COLUMNS
    numbers = {
        key: number(text, key, "text_config", optional=key in optional + MAY_BE_ZERO)
        for key in CONFIG_COLUMNS
        if key != "tie_word_embeddings"
    }
    tower = Vision(**{key: number(vision, key, "vision_config") for key in VISION_COLUMNS})
    layer_types = text.get("layer_types")
    interval = numbers["full_attention_interval"]
    regular = [
        "full_attention" if (layer + 1) % interval == 0 else "linear_attention"
        for layer in range(numbers["num_hidden_layers"])
    ]
    if layer_types is not None and layer_types != regular:
        faults.append(
            f"{place}: text_config.layer_types: expected full attention in every layer divisible by {interval}"
        )
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    if not isinstance(tied, bool):
        faults.append(f"{place}: tie_word_embeddings: expected true or false, got {quoted(tied)}")
    if faults:
        raise DataError(faults)
    return Model(
        name=name,
        config=Qwen35(vision=tower, tie_word_embeddings=bool(tied), **numbers),
        float32_tensors=QWEN35_FLOAT32_TENSORS,
        source=place,
    )
