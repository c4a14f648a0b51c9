"""GGUF files for llama.cpp that are a header only: the data part is a hole of the right length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from deployfit.formats.gguf import GgufSource, tensor_data_bytes
from deployfit.formats.gguf_recipes import TypedClass
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import DeltaNet, KimiDelta, Mamba2, ShortConvolution

ROPE_SECTIONS = [11, 11, 10, 0]  # as published, like the frequency base: they shape no tensor
ROPE_BASE = 10_000_000.0
NORM_EPSILON = 1e-6
SIGMOID, SOFTMAX, SOFTMAX_CHOSEN = 2, 1, 3  # how experts are chosen, in the file's numbers

Value = int | float | Sequence[int] | Sequence[bool]


class StoredTensor(NamedTuple):
    """A tensor of a file: its shape begins with the row length."""

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


def source_tensors(source: GgufSource) -> list[StoredTensor]:
    """Return the tensors of the BF16 file, in no particular order."""
    typed = [
        TypedClass(each, each.source_type, each.layers, each.source_type.nbytes(each.params)) for each in source.classes
    ]
    return stored_tensors(typed)


def stored_tensors(typed: Iterable[TypedClass]) -> list[StoredTensor]:
    """Return the tensors of a file under a recipe."""
    return [
        StoredTensor(tensors.full_name(layer), tensors.shape, tensor_type.name, nbytes)
        for tensors, tensor_type, layers, nbytes in typed
        for layer in layers
    ]


def write_header_only(blueprint: Blueprint, path: Path, *, mtp: bool) -> None:
    """Write the file that llama.cpp's converter makes of a model, without a vocabulary and without data."""
    write_typed(blueprint, path, source_tensors(GgufSource(blueprint, drafts=mtp)), mtp=mtp)


def write_typed(
    blueprint: Blueprint,
    path: Path,
    tensors: Iterable[StoredTensor],
    *,
    mtp: bool,
    describe: Callable[[GGUFWriter], None] = lambda writer: None,
    vocabulary: bool = False,
) -> int:
    """Write a file with these tensors, a hole where the data are; return the bytes of the tensors.

    `vocabulary`: words for all tokens, which a server needs to answer.
    """
    writer = GGUFWriter(path, blueprint.gguf_architecture)
    describe(writer)
    if vocabulary:
        _add_words(writer, blueprint.vocab)
    else:
        writer.add_string("tokenizer.ggml.model", "none")
    for key, value in file_numbers(blueprint, mtp=mtp).items():
        name = f"{writer.arch}.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_array(name, value)
    sizes = []
    for name, shape, type_name, nbytes in tensors:
        sizes.append((nbytes, 1))
        kind = GGMLQuantizationType[type_name]
        # the writer wants NumPy's order, the rows' length last
        writer.add_tensor_info(name, shape[::-1], np.dtype(np.float32), nbytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with open(path, "r+b") as file:
        begin = writer.ggml_pad(file.seek(0, 2), writer.data_alignment)
        file.truncate(begin + tensor_data_bytes(sizes))
    return sum(nbytes for nbytes, _ in sizes)


def _add_words(writer: GGUFWriter, count: int) -> None:
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_array("tokenizer.ggml.tokens", [f"t{number}" for number in range(count)])
    writer.add_array("tokenizer.ggml.token_type", [1] * count)  # plain words
    writer.add_array("tokenizer.ggml.merges", ["t1 t2"])
    writer.add_uint32("tokenizer.ggml.eos_token_id", 1)


def file_numbers(blueprint: Blueprint, *, mtp: bool) -> dict[str, Value]:
    """Return the hyperparameters that the loader asks for."""
    drafts = blueprint.drafts if mtp else ()
    layers = [*blueprint.layers, *(draft.layer for draft in drafts)]
    numbers: dict[str, Value] = {
        "vocab_size": blueprint.vocab,
        "block_count": len(layers),
        "nextn_predict_layers": len(drafts),
        "context_length": blueprint.trained_context,
        "embedding_length": blueprint.hidden,
        "attention.layer_norm_rms_epsilon": NORM_EPSILON,
        "attention.layer_norm_epsilon": NORM_EPSILON,
        "rope.freq_base": ROPE_BASE,
        "n_deepstack_layers": blueprint.deepstack,
        "embedding_length_per_layer_input": blueprint.per_layer_width,
        "interleave_moe_layer_step": 1,
        "feed_forward_length": _one_or_all([_width(layer) for layer in layers]),
        "embedding_scale": float(blueprint.embedding_scaled),
        "residual_scale": float(blueprint.residual_scaled),
        "logit_scale": float(blueprint.logits_scaled),
        **_attention(blueprint, layers),
        **_latent_attention(blueprint),
        **_recurrent(blueprint),
        **_experts(blueprint),
    }
    if blueprint.position_axes > 1:
        numbers["rope.dimension_sections"] = ROPE_SECTIONS
    return {key: value for key, value in numbers.items() if value != 0 or key in ALWAYS}


ALWAYS = ("embedding_length_per_layer_input", "feed_forward_length")


def _one_or_all(values: Sequence[int]) -> Value:
    return values[0] if len(set(values)) == 1 else values


def _width(layer: Layer) -> int:
    """Return the width of a layer's dense block, else that of its experts; 0 tells the loader that it has neither."""
    feed = layer.feed.beside or layer.feed if isinstance(layer.feed, Experts) else layer.feed
    return feed.width if feed else 0


def _kv_heads(layer: Layer) -> int:
    if isinstance(layer.mixer, LatentAttention):
        return 1
    return layer.mixer.kv_heads if isinstance(layer.mixer, Attention) else 0


def _attention(blueprint: Blueprint, layers: Sequence[Layer]) -> dict[str, Value]:
    mixers = [layer.mixer for layer in blueprint.layers if isinstance(layer.mixer, Attention)]
    kv_heads = [_kv_heads(layer) for layer in layers]
    if any(isinstance(layer.mixer, DeltaNet) for layer in layers):
        kv_heads = [max(kv_heads)]
    numbers: dict[str, Value] = {"attention.head_count_kv": _one_or_all(kv_heads)}
    if not mixers:
        return numbers
    full = next((mixer for mixer in mixers if not mixer.window), mixers[0])
    numbers |= {
        "attention.head_count": full.heads,
        "attention.key_length": full.head_dim,
        "attention.value_length": full.head_dim,
        "rope.dimension_count": full.rotary or full.head_dim,
    }
    sliding = next((mixer for mixer in mixers if mixer.window), None)
    if sliding:
        numbers |= {
            "attention.sliding_window": sliding.window,
            "attention.sliding_window_pattern": [mixer.window > 0 for mixer in mixers],
            "attention.key_length_swa": sliding.head_dim,
            "attention.value_length_swa": sliding.head_dim,
            "attention.shared_kv_layers": sum(mixer.shared_cache for mixer in mixers),
        }
    return numbers


def _latent_attention(blueprint: Blueprint) -> dict[str, Value]:
    mixer = next((each for each in blueprint.attentions if isinstance(each, LatentAttention)), None)
    if mixer is None:
        return {}
    numbers: dict[str, Value] = {
        "attention.head_count": mixer.heads,
        "attention.q_lora_rank": mixer.query_rank,
        "attention.kv_lora_rank": mixer.kv_rank,
        "attention.key_length": mixer.kv_rank + mixer.rope_dim,
        "attention.value_length": mixer.kv_rank,
        "attention.key_length_mla": mixer.nope_dim + mixer.rope_dim,
        "attention.value_length_mla": mixer.value_dim,
        "rope.dimension_count": mixer.rope_dim,
    }
    if mixer.indexer:
        numbers |= {
            "attention.indexer.head_count": mixer.indexer.heads,
            "attention.indexer.key_length": mixer.indexer.head_dim,
            "attention.indexer.top_k": mixer.indexer.top,
        }
    return numbers


def _recurrent(blueprint: Blueprint) -> dict[str, Value]:
    mixer = next(iter(blueprint.recurrents), None)
    if isinstance(mixer, DeltaNet):
        full = [isinstance(layer.mixer, Attention) for layer in blueprint.layers]
        return {
            "ssm.conv_kernel": mixer.kernel,
            "ssm.state_size": mixer.head_dim,
            "ssm.group_count": mixer.key_heads,
            "ssm.time_step_rank": mixer.value_heads,
            "ssm.inner_size": mixer.value_dim,
            "full_attention_interval": full.index(True) + 1,
        }
    if isinstance(mixer, Mamba2):
        return {
            "ssm.conv_kernel": mixer.kernel,
            "ssm.state_size": mixer.state,
            "ssm.group_count": mixer.groups,
            "ssm.time_step_rank": mixer.heads,
            "ssm.inner_size": mixer.inner,
        }
    if isinstance(mixer, KimiDelta):
        return {"ssm.conv_kernel": mixer.kernel, "kda.head_dim": mixer.head_dim}
    return {"shortconv.l_cache": mixer.kernel} if isinstance(mixer, ShortConvolution) else {}


def _experts(blueprint: Blueprint) -> dict[str, Value]:
    experts = blueprint.experts
    if experts is None:
        return {}
    dense = [isinstance(layer.feed, Mlp) for layer in blueprint.layers]
    scoring = {"sigmoid": SIGMOID, "softmax": SOFTMAX, "softmax_chosen": SOFTMAX_CHOSEN}
    return {
        "expert_count": experts.count,
        "expert_used_count": experts.used,
        "expert_feed_forward_length": experts.width,
        "expert_shared_feed_forward_length": experts.shared_width,
        "expert_shared_count": experts.shared_width // experts.width or int(experts.shared_width > 0),
        "expert_group_count": experts.groups,
        "expert_group_used_count": experts.groups_used,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": experts.normalized,
        "expert_gating_func": scoring[experts.scoring],
        "moe_latent_size": experts.latent,
        "leading_dense_block_count": dense.index(False) if False in dense else 0,
    }
