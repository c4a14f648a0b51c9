"""Every document that a command prints is what its published JSON Schema says, field by field."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import Asking, run
from fake_hub import FakeHub, SparseFile
from hub_files import MLX_REPO, REPO, config_json, mlx_files
from jsonschema import Draft202012Validator

from deployfit.errors import DeployfitError
from deployfit.parameters import command_line
from deployfit.questions import MODULES
from deployfit.questions.question import Question
from deployfit.report.formats import render
from deployfit.schema.documents import SHAPES
from deployfit.schema.schema import schema_of
from deployfit.schema.words import WORDS

LOGS = Path(__file__).parent / "data" / "logs"
NOT_PRINTED = {"mcp"}  # questions whose answer is no document of rows


@cache
def validator(name: str) -> Draft202012Validator:
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(closed(schema) if name != "schema" else schema)


def closed(schema: Any) -> Any:
    """The same schema, but a field that it does not name is a fault: published ones leave room for later fields."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return (
        {**inner, "additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else inner
    )


def faults(report: Mapping[str, Any], name: str | None = None) -> list[str]:
    """What of a JSON document is not as its schema, or that of another name, says."""
    name = report["schema"].split("/")[1] if name is None else name
    return [f"{error.json_path}: {error.message[:300]}" for error in validator(name).iter_errors(report)]


def printed(name: str, **asked: Any) -> dict[str, Any]:
    """What `deployfit NAME --format json` prints."""
    question: Question = import_module(f"deployfit.questions.{MODULES[name]}").QUESTION
    out = io.StringIO()
    render(question.ask(**asked).document().spelled(command_line), "json", out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


FITS: list[dict[str, Any]] = [
    {"model": "Qwen3.5-27B", "quant": "Q4_K_M", "mac": "M4 Max 64"},
    {"model": "Qwen3.5-27B", "mac": "16"},
    {"model": "gpt-oss-20b", "mac": ["M1 8", "M2 Ultra 192"], "context": "max", "parallel": "2"},
    {"model": "Qwen3.5-27B", "quant": "Q4_K_M", "mac": 32, "mtp": True, "image": "1920x1080"},
    {"model": "Qwen3.5-9B", "quant": "4bit", "mac": 16, "kv_bits": "4", "vision": True},
    {"model": "Qwen3.5-9B", "own": True, "runtime": "mlx", "mac": 16},
    {"model": "Qwen3.5-27B", "quant": "unsloth:Q4_K_M", "mac": 32, "app": "ollama", "wired_limit": "30g"},
    {"model": "Qwen3.5-27B", "quant": "Q4_K_M", "mac": 48, "app": "llama-server"},
    {"model": "Qwen3.5-27B", "quant": "Q4_K_M", "mac": "M3 Max 64", "app": "lmstudio"},
    {"model": "Qwen3.5-27B", "quant": "4bit", "mac": "2x M3 Ultra 256", "macs_needed": True},
    {"model": "Qwen3.5-27B", "quant": ["Q8_0", "Q4_K_M"], "mac": "M4 Max 64 + M1 8"},
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("plan", {"model": "Qwen3.5-35B-A3B", "mac": "M2 Pro 32"}),
    ("plan", {"model": "Qwen3.5-9B", "mac": 8, "runtime": "mlx"}),
    ("recommend", {"mac": "M2 Pro 32", "context": "64k"}),
    ("recommend", {"mac": 16, "use": "chat", "places": 9}),
    ("quants", {"model": "Qwen3.5-27B"}),
    ("quants", {"model": "gpt-oss-20b"}),
    ("table", {"model": ["Qwen3.5-27B", "Qwen3.5-9B"]}),
    ("table", {"model": "Qwen3.5-27B", "mac": "M4 Max 64"}),
    ("sweep", {"model": "Qwen3.5-27B", "quant": ["Q4_K_M", "4bit"], "mac": ["32", "M4 Max 64"]}),
    ("page", {"model": "Qwen3.5-27B"}),
    ("models", {}),
    ("macs", {}),
    ("macs", {"macos": 15}),
    ("check", {}),
    ("validate", {}),
    ("schema", {"document": "schema"}),
]


@pytest.mark.parametrize("asked", FITS, ids=lambda asked: " ".join(map(str, asked.values())))
def test_verdicts_are_as_the_schema_says(asked: dict[str, Any]) -> None:
    report = printed("fit", **asked)
    assert report["rows"]
    assert faults(report) == []


@pytest.mark.parametrize(("name", "asked"), OTHERS)
def test_documents_are_as_their_schemas_say(name: str, asked: dict[str, Any]) -> None:
    report = printed(name, **asked)
    assert report["rows"]
    assert faults(report) == []


@pytest.mark.parametrize("name", SHAPES)
def test_schemas_are_documents_too(name: str) -> None:
    assert faults(printed("schema", document=name), "schema") == []


def test_logs_are_as_the_schemas_say() -> None:
    read = 0
    for path in sorted(LOGS.glob("*.log")):
        for name in ("verify", "contribute"):
            try:
                report = printed(name, log=str(path))
            except DeployfitError:
                continue
            assert faults(report) == [], path.name
            read += 1
    assert read > 80


def test_what_comes_from_the_hub_is_as_the_schemas_say(
    hub: FakeHub, ask: Asking, files: dict[str, SparseFile | bytes], tmp_path: Path
) -> None:
    hub.add_repo(REPO, files)
    hub.add_repo(MLX_REPO, {"config.json": config_json("Qwen3.5-9B"), **mlx_files("Qwen3.5-9B", "q4_g64", 2)})
    sizes = tmp_path / "sizes.csv"
    sizes.write_bytes((Path(__file__).parent.parent / "data" / "published_sizes.csv").read_bytes())
    words = [
        f"hub {REPO}",
        f"hub {REPO} --file *Q4_K_M*",
        f"fit hub:{REPO} --file *Q8_0* --mac 32",
        f"fit hub:{MLX_REPO} --mac 16",
        f"refresh {sizes} --model Qwen3.5-27B --publisher unsloth --dry-run",
        "here --mac 32",
    ]
    for each in words:
        done = ask(*each.split(), "--format", "json")
        assert done.stdout, done.stderr
        report = json.loads(done.stdout)
        assert faults(report) == [], each


def test_every_question_s_document_has_a_schema_and_every_word_is_used() -> None:
    assert set(SHAPES) == set(MODULES) - NOT_PRINTED
    used: set[str] = set()
    for name in SHAPES:
        used |= words_in(schema_of(name))
    assert set(WORDS) <= used


def words_in(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(words_in, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    properties = schema.get("properties", {})
    return set(properties) | set().union(*map(words_in, schema.values())) if schema else set()


def test_the_command_prints_a_schema_that_other_programs_read(tmp_path: Path) -> None:
    done = run("schema", "fit")
    schema = json.loads(done.stdout)
    Draft202012Validator.check_schema(schema)
    assert schema == schema_of("fit")
    written = tmp_path / "fit.json"
    assert run("schema", "fit", "--output", str(written)).returncode == 0
    saved = json.loads(written.read_text(encoding="utf-8"))
    assert {**saved, **schema} == saved  # its fields as rows stand beside its keywords
    report = json.loads(run("fit", "Qwen3.5-0.8B", "--quant", "Q8_0", "--mac", "8", "--format", "json").stdout)
    assert list(Draft202012Validator(saved).iter_errors(report)) == []
    del report["rows"][0]["verdict"]
    assert list(Draft202012Validator(saved).iter_errors(report)) != []


def test_an_unknown_document_is_one_line() -> None:
    done = run("schema", "fitt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "deployfit: no document 'fitt'; did you mean fit?\n"
