"""What the real mlx-lm and mlx-vlm make of a model: their own loading, `convert` and caches.

The checkpoint is a config.json and a safetensors file whose data part is a hole. MLX is lazy: nothing is read or
computed; only the shapes and types of the arrays are asked for. Of `convert`, download and writing are replaced.
"""

from __future__ import annotations

import json
from importlib import import_module  # the packages hide their modules `convert` behind functions of that name
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import ArraysCache

from deployfit.formats.mlx import MLX_LM, MlxRecipe
from deployfit.models import Model
from deployfit.runtimes.mlx import DEFAULT_PREFILL_STEP, KV_GROUP, UNQUANTIZED_BITS, MlxSettings

generate: Any = import_module("mlx_lm.generate")

NOT_IN_SHAPES = {
    "dtype": "bfloat16",
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000,
        "partial_rotary_factor": 0.25,
        "mrope_section": [11, 11, 10],
    },
}


def config_json(model: Model) -> dict[str, Any]:
    """Return the config.json of a model: its numbers, and what shapes no tensor as Qwen published it."""
    kind = "qwen3_5_moe" if model.config.is_moe else "qwen3_5"
    numbers = {key: value for key, value in model.config._asdict().items() if key != "vision" and value != 0}
    return {
        "model_type": kind,
        "tie_word_embeddings": model.config.tie_word_embeddings,
        "text_config": {"model_type": kind + "_text", **numbers, **NOT_IN_SHAPES},
        "vision_config": {"model_type": kind, **model.config.vision._asdict()},
    }


def write_checkpoint(model: Model, folder: Path) -> None:
    """Write a checkpoint with the names, shapes and types of deployfit's tensors; its data take no room."""
    header, end = {}, 0
    for tensor in model.tensors:
        begin, end = end, end + model.checkpoint_tensor_bytes(tensor)
        dtype = "F32" if end - begin == 4 * tensor.params else "BF16"
        header[tensor.name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    (folder / "config.json").write_text(json.dumps(config_json(model)), encoding="utf-8")
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + end)


def mixed_recipes(tool: str) -> set[str]:
    """Return the names of the recipes that the tool itself lists."""
    return set(import_module(tool.replace("-", "_") + ".convert").QUANT_RECIPES)


class Saved(Exception):
    """Raised where the tool would begin to write, with the bytes of the tensors."""


def _save(model: Any) -> None:
    arrays: Any = tree_flatten(model.parameters())
    raise Saved(sum(array.nbytes for _, array in arrays))


class Tool:
    """mlx-lm or mlx-vlm with a checkpoint that it has loaded."""

    def __init__(self, name: str, folder: Path) -> None:
        package = name.replace("-", "_")
        loaded = import_module(package + ".utils").load_model(folder, lazy=True)
        self.name = name
        self.model = loaded[0] if name == MLX_LM else loaded
        self._module = import_module(package + ".convert")
        self._folder = folder
        self._unquantized = self.model.leaf_modules()

    def saved_bytes(self, recipe: MlxRecipe) -> int:
        """Return the bytes of the tensors that `convert` saves."""
        target = str(self._folder / "converted")
        try:
            with patch.multiple(self._module, **self._replaced()):
                self._module.convert("checkpoint", target, **self._arguments(recipe))
        except Saved as saved:
            return int(saved.args[0])
        finally:
            self.model.update_modules(self._unquantized)
        raise AssertionError(f"{self.name} saved nothing")

    def _replaced(self) -> dict[str, Any]:
        """Return what takes the place of the functions that download, read and write."""
        config = json.loads((self._folder / "config.json").read_text(encoding="utf-8"))
        if self.name == MLX_LM:
            return {
                "load": lambda *_, **__: (self.model, None, config),
                "save": lambda _path, _source, model, *_, **__: _save(model),
            }
        return {
            "get_model_path": lambda *_, **__: self._folder,
            "fetch_from_hub": lambda *_, **__: (self.model, config, None),
            "save_weights": lambda _path, model, **_: _save(model),
        }

    def _arguments(self, recipe: MlxRecipe) -> dict[str, Any]:
        """Return what a user would pass for the recipe; None is what the command line passes for what is left out."""
        arguments: dict[str, Any] = {"quantize": recipe.low is not None, "q_group_size": None, "q_bits": None}
        if recipe.low is None:
            return arguments
        arguments["q_mode"] = recipe.low.mode
        if recipe.high:
            arguments["quant_predicate"] = f"mixed_{recipe.low.bits}_{recipe.high.bits}"
        elif recipe.low.mode == "affine":
            arguments["q_bits"] = recipe.low.bits
        if recipe.low.mode == "affine":
            arguments["q_group_size"] = recipe.low.group
        return arguments


def traced_cache(model: Any, tokens: int) -> list[Any]:
    """Return the caches after the model's own forward pass, which is not evaluated."""
    caches: list[Any] = model.make_cache()
    model(mx.zeros((1, tokens), mx.int32), cache=caches)
    return caches


def filled_kv_bytes(model: Any, traced: list[Any], settings: MlxSettings) -> int:
    """Return the bytes of the KV caches after a prompt, fed and quantized as mlx-lm's generate_step does.

    Chunk by chunk up to the last token but one, then the last; with keys and values like the traced ones.
    """
    caches = model.make_cache()
    bits = None if settings.kv_bits == UNQUANTIZED_BITS else settings.kv_bits
    done = 0
    while done < settings.context_tokens:
        tokens = min(DEFAULT_PREFILL_STEP, settings.context_tokens - 1 - done) or 1
        for cache, like in zip(caches, traced, strict=True):
            if not isinstance(like, ArraysCache):
                cache.update_and_fetch(_as_long(like.keys, tokens), _as_long(like.values, tokens))
        done += tokens
        generate.maybe_quantize_kv_cache(caches, 0, KV_GROUP, bits)
    return sum(cache.nbytes for cache, like in zip(caches, traced, strict=True) if not isinstance(like, ArraysCache))


def _as_long(array: Any, tokens: int) -> Any:
    batch, heads, _, width = array.shape
    return mx.zeros((batch, heads, tokens, width), array.dtype)


def state_bytes(caches: list[Any]) -> int:
    """Return the bytes of the linear layers' states."""
    return sum(cache.nbytes for cache in caches if isinstance(cache, ArraysCache))


def kv_bytes(caches: list[Any]) -> int:
    """Return the bytes of the full-attention layers' caches."""
    return sum(cache.nbytes for cache in caches if not isinstance(cache, ArraysCache))
