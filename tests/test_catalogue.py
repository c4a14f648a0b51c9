"""Laws that hold for every row of the catalogue: what is derived equals what is published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run

from deployfit.architectures.qwen35 import Part, checkpoint_tensors
from deployfit.catalog import models
from deployfit.formats.gguf import gguf_tensors
from deployfit.formats.mmproj import mmproj_tensor_bytes

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


def test_the_line_up_is_complete() -> None:
    assert list(models()) == list(PUBLISHED_PARTS)


@pytest.mark.parametrize("name", PUBLISHED_PARTS)
def test_derived_parameters_equal_the_published_ones(name: str) -> None:
    tensors = checkpoint_tensors(models()[name].config)
    counted = tuple(sum(t.params for t in tensors if t.part is part) for part in (Part.TEXT, Part.VISION, Part.MTP))
    assert counted == PUBLISHED_PARTS[name]
    assert sum(counted) == models()[name].total_params


@pytest.mark.parametrize("name", PUBLISHED_PARTS)
def test_derived_checkpoint_bytes_equal_total_size(name: str) -> None:
    model = models()[name]
    total = sum(map(model.checkpoint_tensor_bytes, checkpoint_tensors(model.config)))
    if name == "Qwen3.6-35B-A3B":  # whose index was not seen
        assert (total, model.checkpoint_bytes) == (2 * model.total_params, 0)
    else:
        assert total == model.checkpoint_bytes


@pytest.mark.parametrize("name", PUBLISHED_PARTS)
def test_gguf_holds_the_same_numbers_under_unique_names(name: str) -> None:
    text, _, mtp = PUBLISHED_PARTS[name]
    tensors = gguf_tensors(models()[name].config, mtp=True)
    assert sum(tensor.params for tensor in tensors) == text + mtp
    assert len({tensor.name for tensor in tensors}) == len(tensors)


@pytest.mark.parametrize(("name", "file_bytes"), [("Qwen3.5-2B", 668_227_264), ("Qwen3.5-4B", 672_423_616)])
def test_mmproj_is_the_published_file_less_its_header(name: str, file_bytes: int) -> None:
    header = file_bytes - mmproj_tensor_bytes(models()[name].config.vision)
    assert header == 18_112  # the same for both: their towers have the same number of tensors


def hub_config(name: str) -> dict[str, Any]:
    """The config.json of a catalogue model, in the Hub's layout."""
    config = models()[name].config
    text = {field: getattr(config, field) for field in config._fields if field != "vision"}
    vision = {field: getattr(config.vision, field) for field in config.vision._fields}
    tied = text.pop("tie_word_embeddings")
    kind = "qwen3_5_moe" if config.is_moe else "qwen3_5"
    return {"model_type": kind, "tie_word_embeddings": tied, "text_config": text, "vision_config": vision}


@pytest.mark.parametrize("name", ["Qwen3.5-27B", "Qwen3.5-35B-A3B"])
def test_a_config_json_gives_the_same_answer(name: str, tmp_path: Path, fit_rows: Callable[..., Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(hub_config(name)))
    words = ("--mac", "64", "--quant", "Q4_K_M")
    (theirs,) = fit_rows("My-Finetune", *words, "--catalog", str(path))
    (ours,) = fit_rows(name, *words)
    assert theirs["model"] == "My-Finetune"
    assert {**theirs, "model": name} == ours


def test_a_csv_row_of_ones_own_works(tmp_path: Path, fit_rows: Callable[..., Any]) -> None:
    lines = (Path(__file__).parent.parent / "data" / "models.csv").read_text().splitlines()
    row = next(line for line in lines if line.startswith("Qwen3.5-9B,"))
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([lines[0], row.replace("Qwen3.5-9B,", "Mine-9B,", 1)]))
    (row_of_mine,) = fit_rows("mine-9b", "--mac", "32", "--quant", "Q8_0", "--catalog", str(path))
    assert row_of_mine["tensor_bytes"] == fit_rows("Qwen3.5-9B", "--mac", "32", "--quant", "Q8_0")[0]["tensor_bytes"]


def test_data_are_found_from_a_checkout_without_installation(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    # -S hides site-packages, so that nothing installed can help; click comes in by itself.
    click_home = Path(__import__("click").__file__).parent.parent
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(click_home)!r}]; from deployfit import catalog; "
    code += "print(len(catalog.models()), 'deployfit.data' in sys.modules)"
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, env=bare)
    assert done.stdout.split() == ["11", "False"], done.stderr


def test_names_are_found_whatever_their_case() -> None:
    done = run("fit", "qwen3.5-27b", "--quant", "q4_k_m", "--mac", "m4 max 64gb")
    assert done.returncode == 0
    assert "Qwen3.5-27B on an M4 Max 64 GB Mac" in done.stdout
