"""The library: its names, what they give back beside what the commands print, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pandas as pd
import pytest
from conftest import run

import deployfit
from deployfit import DeployfitError


def printed(*words: str) -> list[dict[str, Any]]:
    done = run(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


def test_importing_it_costs_nothing() -> None:
    code = "import sys, deployfit; print(*[name for name in sys.modules if 'deployfit.' in name or name == 'click'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", deployfit.__all__)
def test_every_name_is_there_documented_and_no_module(name: str) -> None:
    """A module of the same name would take the name's place as soon as anything imports it."""
    found = getattr(deployfit, name)
    assert callable(found)
    assert found.__doc__
    assert find_spec(f"deployfit.{name}") is None
    assert name in dir(deployfit)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fits'"):
        _ = deployfit.fits  # type: ignore[attr-defined]


def test_fit_gives_what_the_command_prints() -> None:
    words = ("fit", "Qwen3.5-27B", "--mac", "M4 Max 64", "--quant", "Q4_K_M", "--quant", "4bit", "--context", "64k")
    answers = deployfit.fit("Qwen3.5-27B", ["Q4_K_M", "4bit"], mac="M4 Max 64", context="64k")
    assert answers.rows() == printed(*words)
    frame = answers.frame()
    assert frame.total_bytes.tolist() == [answer.estimate.total_bytes for answer in answers]
    assert frame.total_bytes.dtype == "int64"


def test_settings_are_keywords() -> None:
    (plain,) = deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16)
    (quantized,) = deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16, kv_type="q8_0", parallel=2)
    assert quantized.estimate.kv_cache_bytes * 32 == plain.estimate.kv_cache_bytes * 17
    with pytest.raises(DeployfitError, match=r"no setting 'kv_typ'; did you mean kv_type"):
        deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16, kv_typ="q8_0")
    with pytest.raises(DeployfitError, match=r"no setting 'kv_typ'"):
        deployfit.sweep("Qwen3.5-9B", "Q4_K_M", macs=16, kv_typ=["q8_0"])
    with pytest.raises(DeployfitError, match="--kv-bits is an option of mlx"):
        deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16, kv_bits=8)


def test_plan_recommend_and_sweep_give_what_the_commands_print() -> None:
    plan = deployfit.plan("Qwen3.5-9B", ["Q4_K_M", "Q8_0"], mac="M2 16")
    words = ("plan", "Qwen3.5-9B", "--quant", "Q4_K_M", "--quant", "Q8_0", "--mac", "M2 16")
    assert json.loads(plan.frame().to_json(orient="records")) == printed(*words)
    places = deployfit.recommend("M2 Pro 32", context="64k", min_speed=10, use="chat")
    words = ("recommend", "--mac", "M2 Pro 32", "--context", "64k", "--min-speed", "10", "--use", "chat")
    assert places.rows() == printed(*words, "--places", "99")
    swept = deployfit.sweep("Qwen3.5-9B", "Q4_K_M", contexts=[4096, "32k"], macs=["M2 16", 32], kv_type=["f16", "q4_0"])
    words = ("sweep", "Qwen3.5-9B", "--quant", "Q4_K_M", "--context", "4096", "--context", "32k", "--mac", "M2 16")
    assert list(swept.rows()) == printed(*words, "--mac", "32", "--kv-type", "f16", "--kv-type", "q4_0")
    assert swept.frame().shape == (8, len(next(swept.rows())))


def test_check_and_validate_give_what_the_commands_print() -> None:
    checked = deployfit.check("Qwen3.5-27B", "unsloth")
    shown = printed("check", "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert sorted(checked.frame().error_bytes) == sorted(row["error_bytes"] for row in shown)
    measured = deployfit.validate()
    assert len(measured.frame()) == len(printed("validate"))
    assert measured.frame().error_percent.abs().median() < 15


def test_lists_are_frames() -> None:
    models, macs = deployfit.list_models(), deployfit.list_macs()
    assert models.loc["Qwen3.5-397B-A17B", "total_params"] == 403_397_928_944
    assert models.index[0] == "Qwen3.5-397B-A17B"
    assert pd.isna(macs.set_index("chip").loc["A18 Pro", "bandwidth_gb_s"])
    assert deployfit.list_macs(15).gpu_limit_bytes.sum() != macs.gpu_limit_bytes.sum()
    quants = deployfit.list_quants("Qwen3.5-4B", publisher="mlx-community")
    assert quants["quant"].tolist() == [
        row["quant"] for row in printed("quants", "Qwen3.5-4B", "--publisher", "mlx-community")
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fit", {"model": "Qwen3.5-28B", "mac": 32}, "no model 'Qwen3.5-28B'"),
        ("plan", {"model": "Qwen3.5-27B", "mac": "M4 Max 24"}, "no M4 Max with 24 GB"),
        ("recommend", {"mac": 33}, "no Mac with 33 GB"),
        *(
            ("recommend", {"mac": "M2 Pro 32", "min_speed": speed}, "min-speed: expected tokens per second such as 10")
            for speed in (float("nan"), float("inf"), -1, 10**400, "fast", "0")
        ),
        ("sweep", {"models": "Qwen3.5-27B", "contexts": "long"}, "context: expected a whole number"),
        ("check", {"publisher": "nobody"}, "no publisher 'nobody'"),
        ("list_quants", {"model": ""}, "no model ''"),
        ("validate", {"speed_file": "/nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_errors_are_deployfit_errors(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DeployfitError) as caught:
        getattr(deployfit, name)(**arguments)
    assert said in str(caught.value)


def test_a_speed_may_be_a_text_as_on_the_command_line() -> None:
    assert deployfit.recommend("M2 Pro 32", min_speed="30") == deployfit.recommend("M2 Pro 32", min_speed=30)
    assert deployfit.recommend("M2 Pro 32", min_speed="30") != deployfit.recommend("M2 Pro 32")


def test_the_readme_s_python_runs(tmp_path: Any) -> None:
    from test_readme import README

    (block,) = README.read_text(encoding="utf-8").split("```python\n")[1:]
    code = block.partition("```")[0] + "assert len(frame)\n"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
