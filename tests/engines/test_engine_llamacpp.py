"""Opt-in (`pytest -m engine`): the installed llama.cpp gives deployfit's figures, on every geometry of the catalogue.

Proved: its quantizer gives every tensor deployfit's type and bytes, for every recipe, with and without importance
matrix and MTP layer; it has no recipe that deployfit lacks; the loaded model has deployfit's bytes; KV cache and
recurrent state are deployfit's within what the log tells (0.01 MiB). Not asked: the compute buffers. deployfit
predicts those of a GPU-like device, the installed engine may have the CPU only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployfit.catalog import models, recipes
from deployfit.formats.gguf import gguf_tensors
from deployfit.formats.gguf_recipes import NEED_IMATRIX, Recipe, tensor_sizes, tensor_types
from deployfit.models import Model
from deployfit.quants.gguf import gguf_weights
from deployfit.runtimes.llamacpp import KV_TYPES, LlamaCppSettings, kv_cache_bytes, recurrent_state_bytes

pytest.importorskip("gguf", reason="gguf: not installed here (pip install gguf)")
pytest.importorskip("llama_cpp", reason="engine llama.cpp: not installed here (pip install llama-cpp-python)")

import llamacpp_engine as engine
from gguf_header import write_header_only

pytestmark = pytest.mark.engine

GEOMETRIES = {model.config: model for model in reversed(models().values())}  # the first model of each
SETTINGS = [
    *(LlamaCppSettings(8192, kv_type, kv_type) for kv_type in KV_TYPES),
    LlamaCppSettings(1),
    LlamaCppSettings(5000, "q8_0", "f16"),
    LlamaCppSettings(20_000, "f16", "q4_0", parallel=3),
    LlamaCppSettings(262_144),
    LlamaCppSettings(262_144, "q8_0", "q8_0", parallel=2, ubatch=2048),
]


@pytest.fixture(scope="module", params=list(GEOMETRIES.values()), ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.param
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["text", "text-and-mtp"])
def mtp(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def header_only(model: Model, mtp: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_header_only(model.config, path, mtp=mtp)
    yield path
    path.unlink()


def counted(model: Model, recipe: Recipe, *, imatrix: bool, mtp: bool) -> dict[str, engine.Quantized]:
    config = model.config
    tensors = gguf_tensors(config, mtp=mtp)
    gqa = config.num_attention_heads // config.num_key_value_heads
    types = tensor_types(recipe, tensors, gqa=gqa, experts=config.num_experts, imatrix=imatrix)
    return {
        tensor.name: engine.Quantized(tensor_type.name, size)
        for tensor, tensor_type, size in zip(tensors, types, tensor_sizes(tensors, types), strict=True)
    }


@pytest.mark.parametrize("imatrix", [False, True], ids=["no-imatrix", "imatrix"])
def test_quantizer(model: Model, header_only: Path, mtp: bool, imatrix: bool) -> None:
    wrong: list[tuple[str, str, object]] = []
    for name, recipe in recipes().items():
        asked = engine.dry_run(header_only, name, imatrix=imatrix)
        expected = counted(model, recipe, imatrix=imatrix, mtp=mtp)
        weights = gguf_weights(model, recipe, imatrix=imatrix, mtp=mtp)
        wrong += [(name, *pair) for pair in sorted(asked.tensors.items() ^ expected.items())]
        if asked.tensor_bytes != weights.tensor_bytes:
            wrong.append((name, "all", (asked.tensor_bytes, weights.tensor_bytes)))
    assert wrong == []


def test_recipes_that_need_an_importance_matrix(header_only: Path) -> None:
    """The library refuses to make these without one; a dry run warns that it would."""
    needing = {name for name in recipes() if engine.dry_run(header_only, name, imatrix=False).needs_imatrix}
    assert needing == set(NEED_IMATRIX)


def test_no_recipe_is_missing(tmp_path: Path) -> None:
    header_only = tmp_path / "model.gguf"
    write_header_only(min(GEOMETRIES), header_only, mtp=False)
    made = {name for name in engine.file_types() if engine.dry_run(header_only, name, imatrix=True).accepted}
    assert made == set(recipes())


def test_loaded_model(model: Model, header_only: Path, mtp: bool) -> None:
    with engine.loaded(header_only) as loaded:
        bf16 = gguf_weights(model, recipes()["BF16"], imatrix=False, mtp=mtp)
        assert engine.model_bytes(loaded) == bf16.tensor_bytes


def test_caches(model: Model, header_only: Path, mtp: bool) -> None:
    """The MTP layer, if the file has it, adds nothing to a context that does not draft."""
    wrong = []
    with engine.loaded(header_only) as loaded:
        for settings in SETTINGS:
            asked = engine.caches(loaded, settings)
            expected = engine.Caches(
                kv_cache_bytes(model.config, settings), recurrent_state_bytes(model.config, settings)
            )
            if any(abs(a - b) > engine.MIB_WRITTEN for a, b in zip(asked, expected, strict=True)):
                wrong.append((settings, asked, expected))
    assert wrong == []
