"""The library: its names, what they give back beside what the commands print, and what importing it costs."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import run

import deployfit
from deployfit import DeployfitError
from deployfit.schema.schema import schema_of


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
    shown = printed(*words)
    texts = ("notes", "not_counted", "advice")
    assert [{**row, **dict.fromkeys(texts)} for row in answers.rows()] == [
        {**row, **dict.fromkeys(texts)} for row in shown
    ]
    assert "MTP drafting (--mtp)" in shown[0]["not_counted"]  # each door spells its parameters
    assert "MTP drafting (mtp)" in answers.rows()[0]["not_counted"]
    frame = answers.frame()
    assert frame.total_bytes.tolist() == [answer.estimate.total_bytes for answer in answers]
    assert frame.total_bytes.dtype == "int64"


def test_settings_are_keywords() -> None:
    (plain,) = deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16)
    (quantized,) = deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16, kv_type="q8_0", parallel=2)
    cache = [each.estimate.bytes_of("kv_cache") for each in (plain, quantized)]
    assert cache[1] * 32 == cache[0] * 17
    with pytest.raises(DeployfitError, match=r"no setting 'kv_typ'; did you mean kv_type"):
        deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16, kv_typ="q8_0")
    with pytest.raises(DeployfitError, match=r"no setting 'kv_typ'"):
        deployfit.sweep("Qwen3.5-9B", "Q4_K_M", mac=16, kv_typ=["q8_0"])
    with pytest.raises(DeployfitError, match=r"^kv_bits is an option of mlx"):
        deployfit.fit("Qwen3.5-9B", "Q4_K_M", mac=16, kv_bits=8)


def test_plan_recommend_sweep_and_table_give_what_the_commands_print() -> None:
    plan = deployfit.plan("Qwen3.5-9B", ["Q4_K_M", "Q8_0"], mac="M2 16")
    words = ("plan", "Qwen3.5-9B", "--quant", "Q4_K_M", "--quant", "Q8_0", "--mac", "M2 16")
    assert plan.rows() == printed(*words)
    assert json.loads(plan.frame().to_json(orient="records")) == printed(*words)
    places = deployfit.recommend(mac="M2 Pro 32", context="64k", min_speed=10, use="chat", places=99)
    words = ("recommend", "--mac", "M2 Pro 32", "--context", "64k", "--min-speed", "10", "--use", "chat")
    assert places.rows() == printed(*words, "--places", "99")
    swept = deployfit.sweep("Qwen3.5-9B", "Q4_K_M", context=[4096, "32k"], mac=["M2 16", 32], kv_type=["f16", "q4_0"])
    words = ("sweep", "Qwen3.5-9B", "--quant", "Q4_K_M", "--context", "4096", "--context", "32k", "--mac", "M2 16")
    rows = swept.rows()
    assert rows == list(swept.each_row()) == printed(*words, "--mac", "32", "--kv-type", "f16", "--kv-type", "q4_0")
    assert rows == printed(*words, "--mac", "32", "--kv-type", "f16,q4_0")
    assert swept.frame().shape == (8, len(rows[0]))
    table = deployfit.table("Qwen3.5-9B", ["Q8_0", "Q4_K_M"])
    assert table.rows() == printed("table", "Qwen3.5-9B", "--quant", "Q8_0,Q4_K_M")


def test_check_and_validate_give_what_the_commands_print() -> None:
    checked = deployfit.check(model="Qwen3.5-27B", publisher="unsloth")
    shown = printed("check", "--model", "Qwen3.5-27B", "--publisher", "unsloth")
    assert checked.rows() == shown
    assert sorted(checked.frame().error_bytes) == sorted(row["error_bytes"] for row in shown)
    measured = deployfit.validate()
    assert measured.rows() == printed("validate")
    assert measured.frame().error_percent.abs().median() < 15


def test_lists_are_frames() -> None:
    models, macs = deployfit.list_models().frame(), deployfit.list_macs()
    assert models.set_index("model").loc["Qwen3.5-397B-A17B", "total_params"] == 403_397_928_944
    assert models["model"][0] == "Qwen3.5-397B-A17B"
    assert pd.isna(macs.frame().set_index("chip").loc["A18 Pro", "bandwidth_gb_s"])
    assert deployfit.list_macs(macos=15).frame().gpu_limit_bytes.sum() != macs.frame().gpu_limit_bytes.sum()
    quants = deployfit.list_quants("Qwen3.5-4B", publisher="mlx-community")
    assert quants.rows() == printed("quants", "Qwen3.5-4B", "--publisher", "mlx-community")


ANSWERS: dict[str, Callable[[], Any]] = {
    "fit": lambda: deployfit.fit("Qwen3.5-9B", ["Q4_K_M", "BF16"], mac=16),
    "plan": lambda: deployfit.plan("Qwen3.5-9B", mac=16),
    "recommend": lambda: deployfit.recommend(mac="M4 Max 64"),
    "list_quants": lambda: deployfit.list_quants("Qwen3.5-9B"),
    "table": lambda: deployfit.table("Qwen3.5-9B"),
    "table of a Mac": lambda: deployfit.table("Qwen3.5-9B", mac=32),
    "sweep": lambda: deployfit.sweep("Qwen3.5-9B", mac=[16, 32]),
    "list_models": lambda: deployfit.list_models(family="Qwen3.5"),
    "list_macs": lambda: deployfit.list_macs(),
    "check": lambda: deployfit.check(model="Qwen3.5-9B"),
    "validate": lambda: deployfit.validate(),
}


@pytest.mark.parametrize("ask", ANSWERS.values(), ids=ANSWERS)
def test_every_answer_has_rows_a_frame_and_looks(ask: Callable[[], Any]) -> None:
    answer = ask()
    rows, frame = answer.rows(), answer.frame()
    assert len(rows) == len(frame) > 0
    assert list(frame.columns) == list(rows[0])
    assert answer.document().schema.startswith("deployfit/")
    fields = schema_of(answer.document().schema.split("/")[1])["properties"]["rows"]["items"]["properties"]
    for name in frame.columns:  # a whole number that may be missing stays one
        if "integer" in fields[name]["type"]:
            types = ("Int64",) if "null" in fields[name]["type"] else ("Int64", "int64")
            assert str(frame[name].dtype) in types, name
    assert 2 < len(repr(answer).splitlines()) < 400
    assert "<table>" in answer._repr_html_()
    json.dumps(rows, allow_nan=False)


def test_a_column_has_its_type_whatever_the_rows_hold() -> None:
    plain = deployfit.fit("Qwen3.5-27B", "Q4_K_M", mac=32).frame()  # without a chip no speed is known
    fast = deployfit.fit("Qwen3.5-27B", "Q4_K_M", mac="M4 Max 64", vision=True, image="640x480").frame()
    for name, kind in {
        "decode_tps": "float64",
        "image_tokens": "Int64",
        "kv_bits": "Int64",
        "max_context_tokens": "Int64",
        "kv_unified": "boolean",
        "total_bytes": "int64",
        "choice": "bool",
    }.items():
        assert (str(plain[name].dtype), str(fast[name].dtype)) == (kind, kind), name
    assert pd.isna(plain.decode_tps[0])
    assert fast.decode_tps[0] > 0


def test_a_single_answer_is_a_line_and_numbers_may_be_whole_floats() -> None:
    (answer,) = deployfit.fit("Qwen3.5-27B", "Q4_K_M", mac=32.0, context=32768.0)
    assert repr(answer) == "<Answer: Qwen3.5-27B Q4_K_M on 32 GB: fits, 18.29 of 24.96 GiB>"
    for ask in (deployfit.fit, deployfit.sweep):
        with pytest.raises(DeployfitError, match=r"no setting 'contex'; did you mean context"):
            ask("Qwen3.5-27B", "Q4_K_M", contex="8k")


@pytest.mark.parametrize("model", ["LFM2-1.2B", "LFM2-8B-A1B"])
def test_convolutions_stay_as_they_are_in_checkpoints_for_servers(model: str) -> None:
    rows = {row["quant"]: row["tensor_bytes"] for row in deployfit.list_quants(model).rows()}
    assert 0.5 * rows["bf16"] < rows["FP8"] < 0.6 * rows["bf16"]


def test_a_name_that_says_a_file_is_that_file_in_every_question() -> None:
    for name, recipe in (
        ("unsloth/Qwen3.5-27B-GGUF:Q4_K_M", "unsloth:Q4_K_M"),
        ("mlx-community/Qwen3.5-27B-4bit", "mlx-community:4bit"),
        ("qwen3.5:27b", "ollama:Q4_K_M"),
    ):
        for answer in (
            deployfit.fit(name, mac=32),
            deployfit.plan(name, mac=32),
            deployfit.sweep(name, mac=32),
            deployfit.table(name),
            deployfit.table(name, mac=32),
        ):
            assert {row["recipe"] for row in answer.rows()} == {recipe}
    files = deployfit.plan("unsloth/Qwen3.5-27B-GGUF", mac=32).rows()
    assert len(files) > 9
    assert all(row["recipe"].startswith("unsloth:") for row in files)
    assert len(deployfit.sweep("unsloth/Qwen3.5-27B-GGUF:Q4_K_M", "Q8_0", mac=32).rows()) == 1
    for ask in (deployfit.sweep, deployfit.table):
        with pytest.raises(DeployfitError, match=r"some of these names say a file, others none or another's"):
            ask(["unsloth/Qwen3.5-27B-GGUF:Q4_K_M", "Qwen3.5-9B"])


def test_no_context_is_none() -> None:
    (answer,) = deployfit.fit("Qwen3.5-27B", "Q8_0", mac=16)
    assert answer.max_context_tokens == 0
    frame = deployfit.fit("Qwen3.5-27B", ["Q8_0", "IQ2_XXS"], mac=16, imatrix=True, context="4k").frame()
    assert pd.isna(frame.max_context_tokens[0])
    assert frame.max_context_tokens[1] > 4096
    assert str(frame.max_context_tokens.dtype) == "Int64"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fit", {"model": "Qwen3.5-28B", "mac": 32}, "no model 'Qwen3.5-28B'"),
        ("plan", {"model": "Qwen3.5-27B", "mac": "M4 Max 24"}, "no M4 Max with 24 GB"),
        ("recommend", {"mac": 33}, "no Mac with 33 GB"),
        *(
            ("recommend", {"mac": "M2 Pro 32", "min_speed": speed}, "min_speed: expected tokens per second such as 10")
            for speed in (float("nan"), float("inf"), -1, 10**400, "fast", "-1")
        ),
        ("sweep", {"model": "Qwen3.5-27B", "context": "long"}, "context: expected a whole number"),
        ("check", {"publisher": "nobody"}, "no publisher 'nobody'"),
        ("list_quants", {"model": ""}, "model"),
        ("list_models", {"family": "Qwen9"}, "no family 'Qwen9'; did you mean Qwen"),
        ("list_macs", {"macos": 16}, "no macOS 16 for Apple silicon is known"),
        ("table", {"quant": "Q4_K_X"}, "no recipe 'Q4_K_X'"),
        ("validate", {"speeds": "/nowhere.csv"}, "speeds '/nowhere.csv': No such file or directory; give a CSV"),
    ],
)
def test_errors_are_deployfit_errors(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DeployfitError) as caught:
        getattr(deployfit, name)(**arguments)
    assert said in str(caught.value)
    assert not re.search(r"--[a-z]", str(caught.value))


def test_a_speed_may_be_a_text_as_on_the_command_line() -> None:
    assert deployfit.recommend(mac="M2 Pro 32", min_speed="30").rows() == (
        deployfit.recommend(mac="M2 Pro 32", min_speed=30).rows()
    )
    assert deployfit.recommend(mac="M2 Pro 32", min_speed="30").rows() != deployfit.recommend(mac="M2 Pro 32").rows()


def test_the_names_are_questions_whatever_was_imported() -> None:
    """Modules of the package must not hide functions of the library."""
    code = "import pkgutil, importlib, deployfit\n"
    code += "for each in pkgutil.iter_modules(deployfit.__path__, 'deployfit.'):\n"
    code += "    if not each.name.endswith('__main__'): importlib.import_module(each.name)\n"
    code += "print(*[name for name in deployfit.__all__ if not callable(getattr(deployfit, name))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_python_of_the_documents_runs(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    texts = [path.read_text(encoding="utf-8") for path in (root / "README.md", *sorted((root / "docs").glob("*.md")))]
    blocks = [block.partition("```")[0] for text in texts for block in text.split("```python\n")[1:]]
    sessions = [block for block in blocks if block.startswith(">>>")]
    programs = [block for block in blocks if block not in sessions]
    assert blocks
    subprocess.run([sys.executable, "-c", "\n".join(programs)], check=True, cwd=tmp_path)
    names = {name: getattr(deployfit, name) for name in deployfit.__all__}
    for session in sessions:
        found = doctest.DocTestParser().get_doctest(session, dict(names), "docs", None, 0)
        assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(found).failed == 0
