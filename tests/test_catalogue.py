"""The catalogue: what is derived equals what is published, and one's own models are read as its own are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run

from deployfit.catalogue import Catalogue, data_text, models, rows
from deployfit.errors import DataError
from deployfit.formats.gguf_recipes import RECIPES, recipes_of
from deployfit.layers.tensor import Part
from deployfit.models import MODELS

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "data" / "configs"

# (text, vision, MTP) parameters as published: model cards and safetensors indices, collected 2026-11.
PUBLISHED_PARTS = {
    "Qwen3.5-397B-A17B": (396_346_350_336, 456_010_480, 6_595_568_128),
    "Qwen3.5-122B-A10B": (122_111_526_912, 451_290_864, 2_523_679_232),
    "Qwen3.5-35B-A3B": (34_660_610_688, 446_571_248, 844_640_768),
    "Qwen3.5-27B": (26_895_998_464, 460_730_096, 424_699_392),
    "Qwen3.5-9B": (8_953_803_264, 456_010_480, 243_290_624),
    "Qwen3.5-4B": (4_205_751_296, 333_514_240, 120_599_552),
    "Qwen3.5-2B": (1_881_825_088, 331_416_576, 60_828_160),
    "Qwen3.5-0.8B": (752_393_024, 100_592_896, 20_452_864),
    "Qwen3.6-35B-A3B": (34_660_610_688, 446_571_248, 844_640_768),
    "Qwen3.6-27B": (26_895_998_464, 460_730_096, 424_699_392),
    "Qwen3.8-27B": (26_895_998_464, 460_730_096, 424_699_392),
}


def config_of(name: str) -> dict[str, Any]:
    """The config.json of a catalogue model, as it was published."""
    found: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_the_line_up_is_complete() -> None:
    assert list(models())[: len(PUBLISHED_PARTS)] == list(PUBLISHED_PARTS)
    assert sorted(models()) == sorted(path.stem for path in CONFIGS.glob("*.json"))


@pytest.mark.parametrize("name", PUBLISHED_PARTS)
def test_derived_parameters_equal_the_published_ones(name: str) -> None:
    tensors = list(models()[name].blueprint.tensors())
    counted = tuple(sum(t.params for t in tensors if t.part is part) for part in (Part.TEXT, Part.VISION, Part.MTP))
    assert counted == PUBLISHED_PARTS[name]
    assert sum(counted) == models()[name].row.total_params


@pytest.mark.parametrize("name", PUBLISHED_PARTS)
def test_derived_checkpoint_bytes_equal_total_size(name: str) -> None:
    model = models()[name]
    total = sum(map(model.checkpoint_tensor_bytes, model.blueprint.tensors()))
    if name == "Qwen3.6-35B-A3B":  # whose index was not seen
        assert (total, model.row.checkpoint_bytes) == (2 * model.row.total_params, 0)
    else:
        assert total == model.row.checkpoint_bytes


def test_a_figure_that_is_not_what_the_configuration_gives_is_a_fault() -> None:
    model = models()["Qwen3.5-9B"]
    wrong = model._replace(row=model.row._replace(total_params=9_000_000_000))
    assert model.faults() == []
    assert wrong.faults() == ["total_params: 9000000000 published, but the configuration gives 9653104368"]


def test_a_model_is_defined_once() -> None:
    text = data_text(MODELS.file)
    again = next(line for line in text.splitlines() if line.startswith("Qwen3.5-27B,"))
    with pytest.raises(DataError, match=r"model 'Qwen3\.5-27B' is defined twice"):
        Catalogue(MODELS.by("model", f"{text}{again}\n", MODELS.file))


def test_what_is_read_when_it_is_asked_for_is_what_all_rows_are() -> None:
    assert list(models().rows.values()) == rows(MODELS)


def test_a_fault_is_told_of_the_row_that_is_asked_for() -> None:
    text = "recipe,category,when,tensor_type\nGood,*,,Q4_K\nBad,*,,Q4_K\nBad,output,always,Q9_K\n"
    recipes = recipes_of(RECIPES.by("recipe", text, "mine.csv"))
    assert (list(recipes), recipes["Good"].default.name) == (["Good", "Bad"], "Q4_K")
    with pytest.raises(DataError, match=r"mine\.csv:4: when: expected conditions .*\n.*mine\.csv:4: tensor_type"):
        recipes["Bad"]


@pytest.mark.parametrize("name", ["Qwen3.5-27B", "Qwen3.5-35B-A3B", "gpt-oss-20b"])
def test_a_config_json_gives_the_same_answer(name: str, tmp_path: Path, fit_rows: Callable[..., Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of(name)))
    words = ("--mac", "64", "--quant", "Q4_K_M")
    (theirs,) = fit_rows("My-Finetune", *words, "--catalog", str(path))
    (ours,) = fit_rows(name, *words)
    assert theirs["model"] == "My-Finetune"
    sizes = [field for field in ours if field.endswith("_bytes") and field != "file_bytes"]
    assert {field: theirs[field] for field in sizes} == {field: ours[field] for field in sizes}
    assert theirs["max_context_tokens"] == ours["max_context_tokens"]


def test_several_models_by_name_stand_in_one_object(tmp_path: Path, fit_rows: Callable[..., Any]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"A": config_of("Qwen3.5-9B"), "B": config_of("Qwen3.5-4B")}))
    for mine, theirs in (("A", "Qwen3.5-9B"), ("b", "Qwen3.5-4B")):
        (row,) = fit_rows(mine, "--mac", "32", "--quant", "Q8_0", "--catalog", str(path))
        (known,) = fit_rows(theirs, "--mac", "32", "--quant", "Q8_0")
        assert row["tensor_bytes"] == known["tensor_bytes"]


def test_a_csv_row_of_ones_own_works(tmp_path: Path, fit_rows: Callable[..., Any]) -> None:
    lines = (ROOT / "data" / "models.csv").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith("Qwen3.5-9B,"))
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([lines[0], row.replace("Qwen3.5-9B,", "Mine-9B,", 1)]), encoding="utf-8")
    (tmp_path / "configs").mkdir()
    shutil.copy(CONFIGS / "Qwen3.5-9B.json", tmp_path / "configs" / "Mine-9B.json")
    (row_of_mine,) = fit_rows("mine-9b", "--mac", "32", "--quant", "Q8_0", "--catalog", str(path))
    (known,) = fit_rows("Qwen3.5-9B", "--mac", "32", "--quant", "Q8_0")
    assert {**row_of_mine, "model": "Qwen3.5-9B"} == known


def test_data_are_found_from_a_checkout_without_installation(tmp_path: Path) -> None:
    # -S hides site-packages, so that nothing installed can help.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from deployfit import catalogue; "
    code += "print(len(catalogue.models()), 'deployfit.data' in sys.modules)"
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, env=bare)
    assert done.stdout.split() == [str(len(models())), "False"], done.stderr


def test_names_are_found_whatever_their_case() -> None:
    done = run("fit", "qwen3.5-27b", "--quant", "q4_k_m", "--mac", "m4 max 64gb")
    assert done.returncode == 0
    assert "Qwen3.5-27B on an M4 Max 64 GB Mac" in done.stdout
