"""What peers read in place of the Hub's files: GGUF files without data, config.json, a seeded Hub cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gguf import GGUFWriter

from deployfit.formats.gguf import GgufSource
from deployfit.formats.gguf_recipes import Recipe, typed_classes
from deployfit.models import Model

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "engines"))
from gguf_header import stored_tensors, write_typed

CONFIGS = Path(__file__).parent.parent / "data" / "configs"

FILE_TYPES = {"Q4_K_M": 15, "Q8_0": 7}  # general.file_type, as llama.cpp's llama_ftype numbers them
QUANTIZATION_VERSION = 2
COMMIT = "0" * 40


def write_gguf(model: Model, recipe: Recipe, path: Path) -> int:
    """Write the recipe's file of a model with a hole where the data are; return the bytes of its tensors."""
    typed = typed_classes(recipe, GgufSource(model.blueprint, drafts=False), imatrix=False)

    def describe(writer: GGUFWriter) -> None:
        writer.add_name(model.name)
        writer.add_file_type(FILE_TYPES[recipe.name])
        writer.add_quantization_version(QUANTIZATION_VERSION)

    return write_typed(model.blueprint, path, stored_tensors(typed), mtp=False, describe=describe)


def config_json(model: Model) -> dict[str, Any]:
    """Return the published config.json."""
    found: dict[str, Any] = json.loads((CONFIGS / f"{model.name}.json").read_text(encoding="utf-8"))
    return found


def write_config(model: Model, folder: Path) -> None:
    """Write a folder with config.json, and what the Hub says about the model beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_json(model)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # the answer of the Hub's API, as far as peers read it: configuration and parameters
    text = config.get("text_config", config)
    told = {"id": model.row.hub_repo, "config": text, "safetensors": {"total": model.row.total_params}}
    (folder / "hub.json").write_text(json.dumps(told), encoding="utf-8")


def write_hub_cache(model: Model, home: Path) -> None:
    """Write what a download of config.json and of the safetensors index leaves in HF_HOME."""
    repository = home / "hub" / ("models--" + model.row.hub_repo.replace("/", "--"))
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    (snapshot / "config.json").write_text(json.dumps(config_json(model)), encoding="utf-8")
    index = {"metadata": {"total_size": model.row.checkpoint_bytes}, "weight_map": {}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
