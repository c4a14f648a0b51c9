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

from deployfit.catalogue import models
from deployfit.formats.gguf import GgufSource
from deployfit.formats.gguf_recipes import Recipe, needs_imatrix, typed_classes
from deployfit.models import Model
from deployfit.quants.gguf import gguf_recipes, gguf_weights
from deployfit.runtimes.llamacpp.caches import kv_cache_bytes, state_bytes
from deployfit.runtimes.llamacpp.settings import KV_TYPES, LlamaCppSettings

pytest.importorskip("gguf", reason="gguf: not installed here (pip install gguf)")
pytest.importorskip("llama_cpp", reason="engine llama.cpp: not installed here (pip install llama-cpp-python)")

import llamacpp_engine as engine
from gguf_header import stored_tensors, write_header_only

pytestmark = pytest.mark.engine

FAMILIES = ("qwen3_5", "qwen3_5_moe")  # whose files can be written here with all that the engine reads of them
GEOMETRIES = {
    model.blueprint: model for model in reversed([*models().values()]) if model.blueprint.model_type in FAMILIES
}  # the first model of each
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
    write_header_only(model.blueprint, path, mtp=mtp)
    yield path
    path.unlink()


def counted(model: Model, recipe: Recipe, *, imatrix: bool, mtp: bool) -> dict[str, engine.Quantized]:
    typed = typed_classes(recipe, GgufSource(model.blueprint, drafts=mtp), imatrix=imatrix)
    return {each.name: engine.Quantized(each.type, each.nbytes) for each in stored_tensors(typed)}


@pytest.mark.parametrize("imatrix", [False, True], ids=["no-imatrix", "imatrix"])
def test_quantizer(model: Model, header_only: Path, mtp: bool, imatrix: bool) -> None:
    wrong: list[tuple[str, str, object]] = []
    for name, recipe in gguf_recipes().items():
        asked = engine.dry_run(header_only, name, imatrix=imatrix)
        expected = counted(model, recipe, imatrix=imatrix, mtp=mtp)
        weights = gguf_weights(model, recipe, imatrix=imatrix, mtp=mtp)
        wrong += [(name, *pair) for pair in sorted(asked.tensors.items() ^ expected.items())]
        if asked.tensor_bytes != weights.tensor_bytes:
            wrong.append((name, "all", (asked.tensor_bytes, weights.tensor_bytes)))
    assert wrong == []


def test_recipes_that_need_an_importance_matrix(model: Model, header_only: Path, mtp: bool) -> None:
    """The library refuses to make these without one; a dry run warns that it would."""
    needing = {name for name in gguf_recipes() if engine.dry_run(header_only, name, imatrix=False).needs_imatrix}
    source = GgufSource(model.blueprint, drafts=mtp)
    refused = {
        name
        for name, recipe in gguf_recipes().items()
        if needs_imatrix(recipe, typed_classes(recipe, source, imatrix=False))
    }
    assert needing == refused


def test_no_recipe_is_missing(tmp_path: Path) -> None:
    header_only = tmp_path / "model.gguf"
    write_header_only(next(iter(GEOMETRIES)), header_only, mtp=False)
    made = {name for name in engine.file_types() if engine.dry_run(header_only, name, imatrix=True).accepted}
    assert made == set(gguf_recipes())


def test_loaded_model(model: Model, header_only: Path, mtp: bool) -> None:
    with engine.loaded(header_only) as loaded:
        bf16 = gguf_weights(model, gguf_recipes()["BF16"], imatrix=False, mtp=mtp)
        assert engine.model_bytes(loaded) == bf16.tensor_bytes


def test_caches(model: Model, header_only: Path, mtp: bool) -> None:
    """The MTP layer, if the file has it, adds nothing to a context that does not draft."""
    wrong = []
    with engine.loaded(header_only) as loaded:
        for settings in SETTINGS:
            asked = engine.caches(loaded, settings)
            expected = engine.Caches(kv_cache_bytes(model.blueprint, settings), state_bytes(model.blueprint, settings))
            if any(abs(a - b) > engine.MIB_WRITTEN for a, b in zip(asked, expected, strict=True)):
                wrong.append((settings, asked, expected))
    assert wrong == []
