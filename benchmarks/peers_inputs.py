"""What peers read in place of the Hub's files: GGUF files without data, config.json, a seeded Hub cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gguf import GGUFWriter

from deployfit.architectures.qwen35 import Qwen35
from deployfit.formats.gguf import gguf_tensors
from deployfit.formats.gguf_recipes import Recipe, tensor_types
from deployfit.models import Model

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "engines"))
from gguf_header import ROPE_BASE, ROPE_SECTIONS, ROPE_SHARE_OF_HEAD, write_typed

FILE_TYPES = {"Q4_K_M": 15, "Q8_0": 7}  # general.file_type, as llama.cpp's llama_ftype numbers them
QUANTIZATION_VERSION = 2
COMMIT = "0" * 40


def write_gguf(model: Model, recipe: Recipe, path: Path) -> int:
    """Write the recipe's file of a model with a hole where the data are; return the bytes of its tensors."""
    config = model.config
    tensors = gguf_tensors(config, mtp=False)
    gqa = config.num_attention_heads // config.num_key_value_heads
    types = tensor_types(recipe, tensors, gqa=gqa, experts=config.num_experts, imatrix=False)

    def describe(writer: GGUFWriter) -> None:
        writer.add_name(model.name)
        writer.add_file_type(FILE_TYPES[recipe.name])
        writer.add_quantization_version(QUANTIZATION_VERSION)

    return write_typed(config, path, zip(tensors, types, strict=True), mtp=False, describe=describe)


def config_json(config: Qwen35) -> dict[str, Any]:
    """Return the published config.json as far as the catalogue holds it; its names are the catalogue's."""
    numbers = {name: value for name, value in config._asdict().items() if name != "vision" and value != 0}
    kind = "qwen3_5_moe" if config.is_moe else "qwen3_5"
    layers = range(config.num_hidden_layers)
    text = numbers | {
        "model_type": kind + "_text",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "layer_types": [
            "full_attention" if config.is_full_attention(layer) else "linear_attention" for layer in layers
        ],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROPE_BASE,
            "partial_rotary_factor": 1 / ROPE_SHARE_OF_HEAD,
            "mrope_section": ROPE_SECTIONS[:3],
        },
    }
    return {
        "architectures": ["Qwen3_5MoeForConditionalGeneration" if config.is_moe else "Qwen3_5ForConditionalGeneration"],
        "model_type": kind,
        "tie_word_embeddings": config.tie_word_embeddings,
        "text_config": text,
        "vision_config": {"model_type": kind, **config.vision._asdict()},
    }


def write_config(model: Model, folder: Path) -> None:
    """Write a folder with config.json, and what the Hub says about the model beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_json(model.config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # the answer of the Hub's API, as far as peers read it: configuration and parameters
    told = {"id": model.hub_repo, "config": config["text_config"], "safetensors": {"total": model.total_params}}
    (folder / "hub.json").write_text(json.dumps(told), encoding="utf-8")


def write_hub_cache(model: Model, home: Path) -> None:
    """Write what a download of config.json and of the safetensors index leaves in HF_HOME."""
    repository = home / "hub" / ("models--" + model.hub_repo.replace("/", "--"))
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    (snapshot / "config.json").write_text(json.dumps(config_json(model.config)), encoding="utf-8")
    index = {"metadata": {"total_size": model.checkpoint_bytes}, "weight_map": {}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
