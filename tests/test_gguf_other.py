"""GGUF files of other families than Qwen3.5 against llama.cpp's quantizer, tensor kind by tensor kind, and files."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from deployfit.catalogue import models
from deployfit.errors import InputError
from deployfit.formats.gguf_recipes import TypedClass, needs_imatrix, typed_classes
from deployfit.layers.tensor import OUTSIDE
from deployfit.quants.gguf import GgufQuant, gguf_recipes, gguf_source, gguf_weights
from deployfit.quants.weights import Options

DATA = Path(__file__).parent / "data"

Run = tuple[str, ...]  # model, source, mtp, imatrix, recipe
Kind = tuple[str, str, str, str, str]  # tensor, type, layers, count, bytes
RUN = ("model", "source", "mtp", "imatrix", "recipe")


def rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


RUNS: dict[Run, dict[str, str]] = {tuple(row[key] for key in RUN): row for row in rows("other_quantize.csv")}
MODELS = sorted({run[0] for run in RUNS})


def kinds() -> dict[Run, set[Kind]]:
    found: dict[Run, set[Kind]] = defaultdict(set)
    with gzip.open(DATA / "other_quantize_kinds.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[tuple(row[key] for key in RUN)].add(
                (row["tensor"], row["type"], row["layers"], row["count"], row["bytes"])
            )
    return found


KINDS = kinds()


def typed(run: Run) -> list[TypedClass]:
    model, _, mtp, imatrix, recipe = run
    source = gguf_source(models()[model], drafts=mtp == "1")
    return typed_classes(gguf_recipes()[recipe], source, imatrix=imatrix == "1")


def counted_kinds(typed: Iterable[TypedClass]) -> set[Kind]:
    """By name and type, as the engine's log was summed up: tensors of several shapes have one name."""
    layers: dict[tuple[str, str], list[int]] = defaultdict(list)
    sizes: Counter[tuple[str, str]] = Counter()
    for each in typed:
        key = each.tensors.name, each.tensor_type.name.lower()
        layers[key] += each.layers
        sizes[key] += each.nbytes * len(each.layers)
    return {(*key, ranges(sorted(layers[key])), str(len(layers[key])), str(sizes[key])) for key in layers}


def ranges(layers: list[int]) -> str:
    spans: list[list[int]] = []
    for layer in layers:
        if layer == OUTSIDE:
            return ""
        if spans and spans[-1][1] == layer - 1:
            spans[-1][1] = layer
        else:
            spans.append([layer, layer])
    return " ".join(f"{first}-{last}" if first < last else str(first) for first, last in spans)


def test_the_figures_are_all_there() -> None:
    assert Counter(row["origin"] for row in RUNS.values()) == {"handed over": 1_956, "run here": 1_424}
    assert sum(map(len, KINDS.values())) == 67_304
    assert KINDS.keys() == RUNS.keys()
    assert len(MODELS) == 45


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_has_the_quantizers_type_and_bytes(model: str) -> None:
    wrong = [run for run in RUNS if run[0] == model and counted_kinds(typed(run)) != KINDS[run]]
    assert wrong == []


@pytest.mark.parametrize("model", MODELS)
def test_weights_equal_the_quantizers_sums(model: str) -> None:
    wrong = []
    for (name, _, mtp, imatrix, recipe), row in RUNS.items():
        if name == model:
            weights = gguf_weights(models()[name], gguf_recipes()[recipe], imatrix=imatrix == "1", mtp=mtp == "1")
            if (weights.tensor_bytes, weights.params) != (int(row["tensor_bytes"]), int(row["params"])):
                wrong.append(row)
    assert wrong == []


def test_an_importance_matrix_is_needed_where_the_engine_says_so() -> None:
    wrong = [
        row
        for run, row in RUNS.items()
        if run[3] == "0" and needs_imatrix(gguf_recipes()[run[4]], typed(run)) != (row["needs_imatrix"] == "1")
    ]
    assert wrong == []
    assert {row["needs_imatrix"] for row in RUNS.values() if row["recipe"] == "IQ3_XS"} == {"0", "1"}


def test_what_the_engine_refused_is_refused_with_its_reason() -> None:
    """No dry run of these files was possible; the engine's words: no tensor type fallback is defined."""
    refused = {(*run[:4], recipe) for run in RUNS for recipe in gguf_recipes()} - RUNS.keys()
    assert {run[4] for run in refused} == {"Q1_0"}
    assert len(refused) == 20
    for run in refused:
        with pytest.raises(InputError, match=r"llama\.cpp cannot make Q1_0: .* has no fallback for"):
            typed(run)


def test_draft_layers_are_refused_where_llamacpp_leaves_them_out() -> None:
    with pytest.raises(InputError, match=r"llama.cpp's files of DeepSeek-V3 have no MTP layer"):
        gguf_weights(models()["DeepSeek-V3"], gguf_recipes()["Q4_K_M"], imatrix=False, mtp=True)


def test_experts_that_are_shipped_quantized_are_not_advised_in_other_types() -> None:
    model = models()["gpt-oss-20b"]
    advised = [name for name, recipe in gguf_recipes().items() if GgufQuant(recipe).advisable(model, Options())]
    assert advised == ["MXFP4_MOE"]
    (note,) = gguf_weights(model, gguf_recipes()["Q4_K_M"], imatrix=False, mtp=False).notes
    assert "shipped in MXFP4" in note


@pytest.mark.parametrize("row", rows("published_gguf_other.csv"), ids=lambda row: f"{row['model']}-{row['file']}")
def test_published_files_are_known_to_8_kib(row: dict[str, str]) -> None:
    """Names and settings that a publisher writes differ; tensors, their records and the tokenizer do not."""
    recipe = gguf_recipes()[row["recipe"]]
    weights = gguf_weights(models()[row["model"]], recipe, imatrix=row["imatrix"] == "1", mtp=row["mtp"] == "1")
    assert abs(weights.file_bytes - int(row["bytes"])) <= 8192
