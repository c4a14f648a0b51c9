"""Files as they are: weights and configuration out of the tensor table of a real file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from deployfit.architectures.qwen35 import Part, Qwen35, Vision
from deployfit.basis import Basis
from deployfit.errors import DataError, InputError, quoted
from deployfit.models import MOST_ELSE, MOST_LAYERS, Model
from deployfit.quants.weights import GGUF, Options, Weights, is_embedding, is_expert

Metadata = Mapping[str, int | float | bool | str]
ARCHITECTURES = ("qwen35", "qwen35moe")
MLX_BITS = (1, 2, 3, 4, 5, 6, 8)
LAYER = re.compile(r"(?:^blk|\.layers)\.([0-9]{1,4})\.")


class ActualTensor(NamedTuple):
    """A tensor of a real file."""

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


def part_of(name: str, trunk_layers: int) -> Part:
    """Return what a tensor belongs to, by the names of GGUF, Ollama, MLX and the original checkpoints.

    >>> part_of("blk.64.attn_q.weight", 64)
    <Part.MTP: 'mtp'>
    """
    if name.startswith(("v.", "mm.", "vision_tower.")) or "visual." in name:
        return Part.VISION
    layer = name.removeprefix("blk.").partition(".")[0]
    is_extra_block = name.startswith("blk.") and layer.isdigit() and int(layer) >= trunk_layers
    return Part.MTP if is_extra_block or name.startswith("mtp.") else Part.TEXT


def count_params(tensors: Sequence[ActualTensor], quantization: Mapping[str, Any]) -> int:
    """Return how many parameters the tensors stand for; `quantization` is that of an MLX repository's config.json.

    MLX packs them into U32, with scales (and biases) beside them that are none.

    >>> packed = [ActualTensor("a.weight", (8, 16), "U32", 512), ActualTensor("a.scales", (8, 2), "BF16", 32)]
    >>> count_params(packed, {"bits": 4}), count_params(packed, {"bits": 4, "a": {"bits": 8}}), count_params(packed, {})
    (1024, 512, 144)
    """
    types = {tensor.name: tensor.type for tensor in tensors}
    count = 0
    for tensor in tensors:
        module, _, kind = tensor.name.rpartition(".")
        own = quantization.get(module)
        bits = (own if isinstance(own, dict) else quantization).get("bits")
        is_packed = types.get(f"{module}.weight") == "U32" and f"{module}.scales" in types
        if not is_packed or type(bits) is not int or bits not in MLX_BITS:
            count += prod(tensor.shape)
        elif kind == "weight":
            count += prod(tensor.shape) * 32 // bits
    return count


def actual_weights(
    name: str,
    format_name: str,
    tensors: Sequence[ActualTensor],
    file_bytes: int,
    trunk_layers: int,
    quantization: Mapping[str, Any],
) -> Weights:
    """Return the weights that a file's tensor table lists."""
    sizes = dict.fromkeys(Part, 0)
    embedding_bytes = expert_bytes = 0
    for tensor in tensors:
        part = part_of(tensor.name, trunk_layers)
        sizes[part] += tensor.nbytes
        if part is Part.TEXT:
            embedding_bytes += tensor.nbytes * is_embedding(tensor.name)
            expert_bytes += tensor.nbytes * is_expert(tensor.name)
    return Weights(
        recipe=name,
        format=format_name,
        text_bytes=sizes[Part.TEXT],
        mtp_bytes=sizes[Part.MTP],
        vision_bytes=sizes[Part.VISION],
        file_bytes=file_bytes,
        params=max(1, count_params(tensors, quantization)),
        basis=Basis.MEASURED,
        embedding_bytes=embedding_bytes,
        expert_bytes=expert_bytes,
    )


def check_whole(tensors: Sequence[ActualTensor], config: Qwen35, place: str) -> None:
    """Raise InputError for what holds no whole model, such as an adapter or a repository that is still uploaded."""
    layers = config.num_hidden_layers
    text = [tensor.name for tensor in tensors if part_of(tensor.name, layers) is Part.TEXT]
    numbers = {int(number) for name in text for number in LAYER.findall(name)}
    missing = len(set(range(layers)) - numbers)
    if missing or not any(map(is_embedding, text)):
        what = f"the tensors of {missing} of {layers} layers are" if missing else "the embedding table is"
        raise InputError(f"{place}: {what} missing, so it is no whole model (deployfit hub shows what is there)")


class ActualQuant(NamedTuple):
    """A real file, weighed; `mmproj_bytes` is the vision tower's file beside it, 0 if there is none."""

    found: Weights
    mmproj_bytes: int

    @property
    def name(self) -> str:
        """Repository and file."""
        return self.found.recipe

    @property
    def format(self) -> str:
        """The file's format."""
        return self.found.format

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: it is what was asked for, not what could be had instead."""
        return False

    def published(self, model: Model) -> str:
        """Return "": it was looked at, not read about."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the weights; raise InputError for a part that the file does not have."""
        if options.imatrix:
            raise InputError(f"{self.name}: the file is made; leave out --imatrix")
        if options.mtp and not self.found.mtp_bytes:
            raise InputError(f"{self.name}: the file has no MTP layer; leave out --mtp")
        if options.vision and not self.found.vision_bytes:
            if not self.mmproj_bytes:
                raise InputError(
                    f"{self.name}: no vision tower in the file, and no mmproj beside it; leave out --vision"
                )
            return self.found._replace(
                vision_bytes=self.mmproj_bytes, notes=(*self.found.notes, "vision tower: the mmproj file beside it")
            )
        return self.found


def config_of_gguf(metadata: Metadata, tensors: Sequence[ActualTensor], place: str) -> Qwen35:
    """Return the configuration that a GGUF file's key-values tell; raise InputError for another architecture.

    The vision tower's numbers stand in a file of their own and are 0 here.
    """
    architecture = metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"{place}: architecture {quoted(architecture)}; memory is known for {' and '.join(ARCHITECTURES)} only"
            " (deployfit hub shows the sizes)"
        )
    faults: list[str] = []

    def number(key: str, *, optional: bool = False) -> int:
        value = metadata.get(f"{architecture}.{key}")
        if value is None and optional:
            return 0
        most = MOST_LAYERS if key in ("block_count", "nextn_predict_layers") else MOST_ELSE
        if type(value) is not int or not (0 if optional else 1) <= value <= most:
            faults.append(f"{place}: {architecture}.{key}: expected a whole number, got {quoted(value)}")
            return 1
        return value

    shapes = {tensor.name: tensor.shape for tensor in tensors}
    embedding = shapes.get("token_embd.weight", ())
    if len(embedding) != 2:
        faults.append(f"{place}: no token_embd.weight of two dimensions in it")
    is_moe = architecture == "qwen35moe"
    mtp_layers = number("nextn_predict_layers", optional=True)
    config = Qwen35(
        hidden_size=number("embedding_length"),
        num_hidden_layers=number("block_count") - mtp_layers,
        full_attention_interval=number("full_attention_interval"),
        num_attention_heads=number("attention.head_count"),
        num_key_value_heads=number("attention.head_count_kv"),
        head_dim=number("attention.key_length"),
        linear_num_key_heads=number("ssm.group_count"),
        linear_num_value_heads=number("ssm.time_step_rank"),
        linear_key_head_dim=number("ssm.state_size"),
        linear_value_head_dim=number("ssm.state_size"),
        linear_conv_kernel_dim=number("ssm.conv_kernel"),
        intermediate_size=0 if is_moe else number("feed_forward_length"),
        num_experts=number("expert_count") if is_moe else 0,
        num_experts_per_tok=number("expert_used_count") if is_moe else 0,
        moe_intermediate_size=number("expert_feed_forward_length") if is_moe else 0,
        shared_expert_intermediate_size=number("expert_shared_feed_forward_length") if is_moe else 0,
        vocab_size=embedding[-1] if embedding else 1,
        tie_word_embeddings="output.weight" not in shapes,
        max_position_embeddings=number("context_length"),
        mtp_num_hidden_layers=mtp_layers,
        vision=Vision(*[0] * len(Vision._fields)),
    )
    if not faults:
        faults = [f"{place}: {fault}" for fault in config.contradictions()]
    if config.num_hidden_layers < 1 and not faults:
        faults = [f"{place}: no layers beside the MTP layer"]
    if faults:
        raise DataError(faults)
    return config


def known_model(config: Qwen35, models: Mapping[str, Model]) -> Model | None:
    """Return the catalogue's model of the same text geometry; None if there is none."""
    same: Callable[[Qwen35], Qwen35] = lambda each: each._replace(vision=config.vision, mtp_num_hidden_layers=0)  # noqa: E731
    return next((model for model in models.values() if same(model.config) == same(config)), None)


def actual_model(config: Qwen35, name: str, models: Mapping[str, Model]) -> Model:
    """Return the model of a file: its own configuration, with the vision tower of a catalogue model if one is alike."""
    known = known_model(config, models)
    if known is not None:
        config = config._replace(vision=known.config.vision)
    return Model(name=name, config=config, float32_tensors=(), source=GGUF)
