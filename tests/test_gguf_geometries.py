"""Shapes that no model of the catalogue has, for rules of llama.cpp's quantizer that ask for just these."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deployfit.architectures.registry import read_blueprint
from deployfit.catalogue import architectures
from deployfit.errors import InputError
from deployfit.models import own_model
from deployfit.quants.gguf import gguf_recipes, gguf_weights

DATA = Path(__file__).parent / "data"

GEOMETRIES: dict[str, dict[str, Any]] = {
    "8 experts": {  # Mixtral's: attention gets more bits
        "model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000, "max_position_embeddings": 32768,
        "num_local_experts": 8, "tie_word_embeddings": False,
    },
    "80 layers, a KV head for each query head": {  # the first Llama's of 65B: not what the engine takes for a 70B
        "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
        "num_key_value_heads": 64, "intermediate_size": 22016, "vocab_size": 32000, "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
    "a block in every second layer": {  # Nemotron Nano 9B's: feed-forward blocks are counted among themselves
        "model_type": "nemotron_h", "hidden_size": 4480, "num_hidden_layers": 56, "num_attention_heads": 40,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 15680, "vocab_size": 131072,
        "max_position_embeddings": 131072, "tie_word_embeddings": False, "mamba_num_heads": 128, "mamba_head_dim": 80,
        "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4,
        "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    },
    "rows of 33 times 32": {
        "model_type": "llama", "hidden_size": 1056, "num_hidden_layers": 16, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 4096, "vocab_size": 32000,
        "max_position_embeddings": 2048, "tie_word_embeddings": False,
    },
    "rows of 33 times 32, tied": {
        "model_type": "llama", "hidden_size": 1056, "num_hidden_layers": 16, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 1000, "vocab_size": 32000,
        "max_position_embeddings": 2048, "tie_word_embeddings": True,
    },
}  # fmt: skip


def runs() -> dict[tuple[str, str, str], dict[str, str]]:
    with open(DATA / "other_quantize_geometries.csv", encoding="utf-8", newline="") as file:
        return {(row["geometry"], row["imatrix"], row["recipe"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_weights_equal_the_quantizers(name: str) -> None:
    model = own_model("Mine", read_blueprint(GEOMETRIES[name], "here", architectures()), "")
    known = runs()
    wrong = []
    for recipe in gguf_recipes().values():
        for imatrix in "01":
            row = known.get((name, imatrix, recipe.name))
            if row is None:
                with pytest.raises(InputError, match=r"llama\.cpp cannot make"):
                    gguf_weights(model, recipe, imatrix=imatrix == "1", mtp=False)
                continue
            weights = gguf_weights(model, recipe, imatrix=imatrix == "1", mtp=False)
            sizes: Counter[str] = Counter()
            for each in weights.classes:
                sizes[each.type.lower()] += each.total_bytes
            if (weights.tensor_bytes, sizes) != (int(row["tensor_bytes"]), json.loads(row["type_bytes"])):
                wrong.append(row)
    assert wrong == []
