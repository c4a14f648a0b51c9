"""What the real mlx-lm and mlx-vlm make of a model: their own loading, `convert` and caches.

A checkpoint is a config.json and a safetensors file whose data part is a hole; other models are built from their
configuration alone. MLX is lazy: nothing is read or computed; only the shapes and types of the arrays are asked for. Of
`convert`, download and writing are replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module  # the packages hide their modules `convert` behind functions of that name
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.models.cache import ArraysCache, CacheList, ChunkedKVCache, RotatingKVCache, make_prompt_cache
from mlx_lm.utils import _get_classes, quantize_model

from deployfit.catalogue import data_text
from deployfit.formats.checkpoint import Source, checkpoint_runs
from deployfit.formats.mlx import MLX_LM, MlxRecipe
from deployfit.formats.safetensors import every_tensor
from deployfit.models import Model
from deployfit.quants.conventions import conventions
from deployfit.quants.shelf import checkpoint_recipes
from deployfit.runtimes.mlx.caches import KV_GROUP
from deployfit.runtimes.mlx.settings import MlxSettings

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
    """Return the published config.json of a model, with what shapes no tensor where it was left out."""
    config: dict[str, Any] = json.loads(data_text(f"configs/{model.name}.json"))
    for section in (config, config.get("text_config", {})):
        for key in ("quantization", "quantization_config"):
            section.pop(key, None)
    if model.blueprint.model_type.startswith("qwen3_5"):
        config["text_config"] = {**NOT_IN_SHAPES, **config["text_config"]}
    if "text_config" in config:  # both tools want it at both places
        tied = config.get("tie_word_embeddings", config["text_config"].get("tie_word_embeddings", False))
        config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = tied
    return config


def write_checkpoint(model: Model, folder: Path) -> None:
    """Write a checkpoint with the names, shapes and types of deployfit's tensors; its data take no room."""
    blueprint = model.blueprint
    source = Source(blueprint, conventions(blueprint.model_type).checkpoint_names, model.row.float32_roles)
    header, end = {}, 0
    for tensor in every_tensor(checkpoint_runs(source, checkpoint_recipes()["BF16"])):
        begin, end = end, end + tensor.nbytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (begin, end)}
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
    raise Saved(tensor_bytes(model))


def tensor_bytes(model: Any) -> int:
    """Return the bytes of a model's tensors."""
    arrays: Any = tree_flatten(model.parameters())
    return sum(array.nbytes for _, array in arrays)


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


def built(model: Model) -> Any:
    """Return mlx-lm's model of a configuration, in the types in which it would be saved."""
    config = config_json(model)
    module, arguments = _get_classes(config)
    made = module(arguments.from_dict(config))
    for part in (made, getattr(made, "language_model", None)):
        if model.blueprint.tied and part is not None and "lm_head" in part:
            part.pop("lm_head")  # as loading a checkpoint without one does
            part.tie_word_embeddings = True
    keeps = getattr(made, "cast_predicate", lambda _: True)

    def cast(name: str, array: Any) -> Any:
        return array.astype(mx.bfloat16) if keeps(name) and mx.issubdtype(array.dtype, mx.floating) else array

    made.update(tree_map_with_path(cast, made.parameters()))
    return made


def quantized(model: Model, recipe: MlxRecipe) -> Any:
    """Return a built model that mlx-lm has quantized."""
    made = built(model)
    if recipe.low is not None:
        low = recipe.low
        predicate = None
        if recipe.high is not None:
            builder = import_module("mlx_lm.convert").mixed_quant_predicate_builder
            predicate = builder(f"mixed_{low.bits}_{recipe.high.bits}", made, low.group)
        made, _ = quantize_model(
            made, config_json(model), low.group, low.bits, mode=low.mode, quant_predicate=predicate
        )
    return made


def converted_bytes(model: Model, recipe: MlxRecipe) -> int:
    """Return the bytes of a built model's tensors when mlx-lm has quantized it."""
    return tensor_bytes(quantized(model, recipe))


def _leaves(caches: list[Any]) -> Iterator[Any]:
    for cache in caches:
        if isinstance(cache, CacheList):
            yield from _leaves(cache.caches)
        elif cache is not None:
            yield cache


def traced_cache(model: Any, tokens: int) -> list[Any]:
    """Return the caches after the model's own forward pass, which is not evaluated."""
    caches: list[Any] = make_prompt_cache(model)
    model(mx.zeros((1, tokens), mx.int32), cache=caches)
    return caches


def filled_kv_bytes(model: Any, traced: list[Any], settings: MlxSettings) -> int:
    """Return the bytes of the KV caches after a prompt, fed and quantized as mlx-lm's generate_step does.

    Chunk by chunk up to the last token but one, then the last; with keys and values like the traced ones.
    """
    caches = make_prompt_cache(model)
    bits = settings.kv_bits if settings.quantized else None
    done = 0
    while done < settings.context_tokens:
        tokens = min(settings.prefill_step_size, settings.context_tokens - 1 - done) or 1
        for cache, like in zip(_leaves(caches), _leaves(traced), strict=True):
            if isinstance(like, ArraysCache):
                continue
            if isinstance(cache, ChunkedKVCache):
                cache.maybe_trim_front()
            cache.update_and_fetch(_as_long(like.keys, tokens), _as_long(like.values, tokens))
        done += tokens
        generate.maybe_quantize_kv_cache(caches, 0, KV_GROUP, bits)
    pairs = zip(_leaves(caches), _leaves(traced), strict=True)
    return sum(cache.nbytes for cache, like in pairs if not isinstance(like, ArraysCache))


def _as_long(array: Any, tokens: int) -> Any:
    batch, heads, _, width = array.shape
    return mx.zeros((batch, heads, tokens, width), array.dtype)


def has_windows(traced: list[Any]) -> bool:
    """Return whether some caches rotate, which cannot be quantized."""
    return any(isinstance(cache, RotatingKVCache) for cache in _leaves(traced))


def state_bytes(caches: list[Any]) -> int:
    """Return the bytes of the recurrent layers' states."""
    return sum(cache.nbytes for cache in _leaves(caches) if isinstance(cache, ArraysCache))


def kv_bytes(caches: list[Any]) -> int:
    """Return the bytes of the attention layers' caches."""
    return sum(cache.nbytes for cache in _leaves(caches) if not isinstance(cache, ArraysCache))
