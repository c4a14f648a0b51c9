"""GGUF files against llama.cpp's own quantizer and published files, which share no code with deployfit."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from pathlib import Path

import pytest

from deployfit.basis import Basis
from deployfit.catalogue import models, rows
from deployfit.errors import InputError
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.formats.gguf import GgufSource
from deployfit.formats.gguf_file import TOKENIZERS, key_values
from deployfit.formats.gguf_recipes import GENERATIONS, Rule, of_generation, typed_classes
from deployfit.formats.mmproj import mmproj_tensor_bytes
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Mlp
from deployfit.models import own_model
from deployfit.quants.gguf import GgufQuant, gguf_header_bytes, gguf_recipes, gguf_weights, ollama_weights
from deployfit.quants.publishers import all_publishers
from deployfit.quants.weights import Options, Weights

DATA = Path(__file__).parent / "data"

# (numbers in a block, bytes of a block): literal values of ggml's type table, source of 2026-10-01.
GGML_BLOCKS = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22),
    "Q5_1": (32, 24), "Q8_0": (32, 34), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144),
    "Q5_K": (256, 176), "Q6_K": (256, 210), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ3_XXS": (256, 98),
    "IQ1_S": (256, 50), "IQ4_NL": (32, 18), "IQ3_S": (256, 110), "IQ2_S": (256, 82), "IQ4_XS": (256, 136),
    "IQ1_M": (256, 56), "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36),
    "Q1_0": (128, 18), "Q2_0": (64, 18),
}  # fmt: skip


def engine_rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bytes_by_type(weights: Weights) -> dict[str, int]:
    totals: dict[str, int] = {}
    for each in weights.classes:
        totals[each.type.lower()] = totals.get(each.type.lower(), 0) + each.total_bytes
    return totals


def dense(hidden: int, *, heads: int = 8, kv_heads: int = 2, layers: int = 16, tied: bool = False) -> Blueprint:
    """A plain model of a hidden size that one may choose."""
    layer = Layer(Attention(heads, kv_heads, 64, 64), Mlp(4096))
    return Blueprint("plain", "llama", hidden, 32_000, tied, 4096, (layer,) * layers)


def test_blocks_have_ggmls_sizes() -> None:
    assert {name: (each.block_size, each.block_bytes) for name, each in TENSOR_TYPES.items()} == GGML_BLOCKS


def test_recipes_equal_the_quantizer_on_every_row() -> None:
    known = engine_rows("llamacpp_quantize.csv")
    assert len(known) == 544
    assert {row["ftype"] for row in known} == set(gguf_recipes())
    wrong = []
    for row in known:
        model = models()["Qwen3.5-" + row["model"]]
        recipe = gguf_recipes()[row["ftype"]]
        weights = gguf_weights(model, recipe, imatrix=row["imatrix"] == "1", mtp=row["mtp"] == "1")
        counted = weights.tensor_bytes, weights.params, bytes_by_type(weights)
        if counted != (int(row["tensor_bytes"]), int(row["params"]), json.loads(row["type_bytes"])):
            wrong.append(row)
    assert wrong == []


def test_rows_that_do_not_divide_fall_back_as_in_the_engine() -> None:
    """A hidden size of 32 x odd: K-quants cannot hold it. Expected types: the engine's table of fallbacks."""
    expected = {"Q2_K": "Q4_0", "Q3_K_S": "Q4_0", "Q4_K_S": "Q5_0", "Q5_K_S": "Q5_1", "IQ4_XS": "IQ4_NL"}
    source = GgufSource(dense(1056), drafts=False)
    for name, fallback in expected.items():
        typed = typed_classes(gguf_recipes()[name], source, imatrix=False)
        found = {each.tensors.role: each.tensor_type.name for each in typed if each.tensors.row_size == 1056}
        assert (found["output"], found["attn_q"], found["attn_norm"]) == ("Q8_0", fallback, "F32")


def test_a_recipe_without_fallback_is_refused_with_the_engines_reason() -> None:
    model = own_model("Mine", dense(1056), "")
    with pytest.raises(InputError, match=r"cannot make Q1_0: token_embd\.weight has rows of 1056"):
        gguf_weights(model, gguf_recipes()["Q1_0"], imatrix=True, mtp=False)
    assert not GgufQuant(gguf_recipes()["Q1_0"]).advisable(model, Options())


def test_a_model_without_draft_layers_is_named() -> None:
    with pytest.raises(InputError, match="Mine has no MTP layer"):
        gguf_weights(own_model("Mine", dense(1024), ""), gguf_recipes()["Q4_0"], imatrix=False, mtp=True)


def test_an_importance_matrix_is_needed_where_types_need_one() -> None:
    """What the engine warns of in a dry run: not where rows of 32 x odd made it take IQ4_NL instead."""
    quants = [GgufQuant(recipe) for name, recipe in gguf_recipes().items() if name != "MXFP4_MOE"]

    def needing(hidden: int) -> set[str]:
        model = own_model("Mine", dense(hidden), "")
        return {quant.name for quant in quants if not quant.advisable(model, Options())}

    every = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
    assert needing(1024) == every
    assert needing(1056) == every - {"IQ3_XS", "IQ3_XXS"} | {"Q1_0"}
    model = own_model("Mine", dense(1056), "")
    assert {quant.name for quant in quants if not quant.advisable(model, Options(imatrix=True))} == {"Q1_0"}


def test_a_recipe_for_experts_is_not_advised_where_there_are_none() -> None:
    """MXFP4_MOE of a dense model has no tensor in MXFP4: it is Q8_0."""
    mixed, plain = (GgufQuant(gguf_recipes()[name]) for name in ("MXFP4_MOE", "Q8_0"))
    dense_model, mixture = models()["Qwen3.5-9B"], models()["Qwen3.5-35B-A3B"]
    assert mixed.weights(dense_model, Options()).classes == plain.weights(dense_model, Options()).classes
    assert (mixed.advisable(dense_model, Options()), mixed.advisable(mixture, Options())) == (False, True)


def test_the_engines_model_of_70b_has_more_bits_for_values() -> None:
    source = GgufSource(dense(1024, layers=80), drafts=False)
    smaller = GgufSource(dense(1024, layers=79), drafts=False)
    many_kv_heads = GgufSource(dense(1024, layers=80, kv_heads=8), drafts=False)
    assert [each.is_70b for each in (source, smaller, many_kv_heads)] == [True, False, False]
    for name, plain, more in (("Q3_K_S", "Q3_K", "Q5_K"), ("Q2_K", "Q4_K", "Q5_K"), ("IQ2_M", "Q4_K", "Q4_K")):
        for of, expected in ((source, more), (smaller, plain)):
            typed = typed_classes(gguf_recipes()[name], of, imatrix=True)
            assert {each.tensor_type.name for each in typed if each.tensors.role == "attn_v"} == {expected}


def test_an_earlier_generation_typed_the_fused_projection_apart() -> None:
    source = GgufSource(models()["Qwen3.5-27B"].blueprint, drafts=False)
    for name, expected in (("Q4_K_M", "Q5_K"), ("Q5_K_M", "Q6_K"), ("Q4_K_S", "Q4_K")):
        recipe = of_generation(gguf_recipes()[name], "early 2026", rows(GENERATIONS))
        typed = typed_classes(recipe, source, imatrix=False)
        assert {each.tensor_type.name for each in typed if each.tensors.role == "attn_qkv"} == {expected}


@pytest.mark.parametrize("row", engine_rows("published_gguf.csv"), ids=lambda row: f"{row['model']}-{row['file']}")
def test_file_sizes_are_within_4_kib_of_the_published_ones(row: dict[str, str]) -> None:
    model = models()[row["model"]]
    weights = gguf_weights(model, gguf_recipes()[row["file"]], imatrix=False, mtp=False)
    assert abs(weights.file_bytes - int(row["bytes"])) <= 4096
    assert 0 <= weights.file_bytes - weights.tensor_bytes - gguf_header_bytes(model, mtp=False) <= 32 * 2000


def test_a_tokenizer_is_found_by_name_or_size_else_scaled_and_said_to_be() -> None:
    known = rows(TOKENIZERS)
    assert key_values("qwen3.5", 1, known) == (10_943_100, True)
    assert key_values("", 248_320, known) == (10_943_100, True)
    assert key_values("another", 248_320, known) == (10_943_100, False)
    assert key_values("", 100_352, known).is_known is False  # two have as many tokens
    assert key_values("", 250_000, known) == (10_943_100 * 250_000 // 248_320, False)
    unknown = gguf_weights(own_model("Mine", dense(1024), ""), gguf_recipes()["Q4_0"], imatrix=False, mtp=False)
    assert unknown.basis is Basis.DERIVED


# (text, MTP) parameters as published: model cards and safetensors indices, collected 2026-11.
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("Qwen3.5-397B-A17B", 396_346_350_336 + 6_595_568_128),
        ("Qwen3.5-35B-A3B", 34_660_610_688 + 844_640_768),
        ("Qwen3.5-27B", 26_895_998_464 + 424_699_392),
        ("Qwen3.5-0.8B", 752_393_024 + 20_452_864),
    ],
)
def test_a_file_holds_the_published_numbers_under_unique_names(name: str, params: int) -> None:
    source = GgufSource(models()[name].blueprint, drafts=True)
    assert source.params == params
    names = [each.full_name(layer) for each in source.classes for layer in each.layers]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "file_bytes"), [("Qwen3.5-2B", 668_227_264), ("Qwen3.5-4B", 672_423_616)])
def test_mmproj_is_the_published_file_less_its_header(name: str, file_bytes: int) -> None:
    vision = models()[name].blueprint.vision
    assert vision is not None
    assert file_bytes - mmproj_tensor_bytes(vision) == 18_112  # the same for both: as many tensors in their towers


# Sizes of Ollama's API: its quantizer's choices are an earlier generation's and, beside, data of its own.
@pytest.mark.parametrize(
    ("name", "published", "off_by"),
    [("Qwen3.5-4B", 3_389_983_735, 0), ("Qwen3.5-9B", 6_594_474_711, 11), ("Qwen3.5-27B", 17_420_432_705, 45)],
)
def test_ollamas_files_are_known_to_a_few_bytes(name: str, published: int, off_by: int) -> None:
    types = {"attn_v": "Q6_K", "attn_qkv": "Q4_K"}
    overrides = tuple(Rule(role, (), (), TENSOR_TYPES[type_name]) for role, type_name in types.items())
    recipe = gguf_recipes()["Q4_K_M"]._replace(overrides=overrides)
    weights = ollama_weights(models()[name], recipe, imatrix=False)
    assert weights.vision_bytes > 0 < weights.mtp_bytes
    assert published - weights.file_bytes == off_by


@pytest.mark.parametrize("name", ["Qwen3.5-35B-A3B", "gpt-oss-20b", "Gemma-4-E4B"])
def test_layers_of_weights_are_in_order(name: str) -> None:
    model = models()[name]
    for publisher in all_publishers().values():
        for quant in publisher.quants():
            with suppress(InputError):
                layers = [each.layers for each in quant.weights(model, Options()).classes]
                assert layers == [tuple(sorted(each)) for each in layers], quant.name
    for recipe in gguf_recipes().values():
        with suppress(InputError):
            layers = [each.layers for each in gguf_weights(model, recipe, imatrix=True, mtp=False).classes]
            assert layers == [tuple(sorted(each)) for each in layers], recipe.name
