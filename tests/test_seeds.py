"""The answers in seeds/README.md, held to the numbers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run

from deployfit.catalogue import models

Rows = Callable[..., list[dict[str, Any]]]
SEEDS = Path(__file__).parent.parent / "seeds"
CLAIMS: list[dict[str, Any]] = json.loads((SEEDS / "claims.json").read_text(encoding="utf-8"))["claims"]
ANSWERS: list[dict[str, Any]] = [answer for claim in CLAIMS for answer in claim["answers"]]
OF_ALL_RECIPES = [answer for answer in ANSWERS if "largest_recipes_that_fit" in answer]


def test_claim_1_the_largest_model_is_807_gb_and_fits_512_gb_up_to_q8_0(fit_rows: Rows) -> None:
    model = models()["Qwen3.5-397B-A17B"]
    assert sum(map(model.checkpoint_tensor_bytes, model.blueprint.tensors())) == 806_795_875_168
    assert verdicts(fit_rows, model.name, "--mac 512", "Q8_0 BF16") == ["fits", "does_not_fit"]


def test_claim_2_the_line_up() -> None:
    sizes = ["397B-A17B", "122B-A10B", "35B-A3B", "27B", "9B", "4B", "2B", "0.8B"]
    assert [name for name in models() if name.startswith("Qwen3.5-")] == ["Qwen3.5-" + size for size in sizes]


@pytest.mark.parametrize(
    ("model", "where", "quants", "expected"),
    [
        ("27B", "--mac 32 --macos 15", "Q4_K_M Q5_K_M", ["fits", "tight"]),
        ("27B", "--mac 32 --macos 26", "Q4_K_M Q5_K_M", ["fits", "fits"]),
        ("35B-A3B", "--mac 32 --macos 15", "Q4_K_M", ["tight"]),
        ("35B-A3B", "--mac 32 --macos 26", "Q4_K_M Q5_K_M", ["fits", "tight"]),
        ("27B", "--mac 64 --context 256k", "Q8_0", ["fits"]),
        ("35B-A3B", "--mac 64 --context 256k", "Q8_0", ["fits"]),
    ],
)
def test_claim_3_coding_models_on_32_and_64_gb(
    model: str, where: str, quants: str, expected: list[str], fit_rows: Rows
) -> None:
    assert verdicts(fit_rows, "Qwen3.5-" + model, where, quants) == expected


@pytest.mark.parametrize(
    ("model", "where", "quants", "expected"),
    [
        ("4B", "--mac 8 --context 8k", "Q4_K_M", ["fits"]),
        ("2B", "--mac 8", "Q8_0", ["fits"]),
        ("9B", "--mac 16", "Q6_K", ["fits"]),
        ("27B", "--mac 16 --context 8k --imatrix", "IQ2_XXS", ["fits"]),
    ],
)
def test_claim_4_small_macs(model: str, where: str, quants: str, expected: list[str], fit_rows: Rows) -> None:
    assert verdicts(fit_rows, "Qwen3.5-" + model, where, quants) == expected


def verdicts(fit_rows: Rows, model: str, where: str, quants: str) -> list[str]:
    words = [word for quant in quants.split() for word in ("--quant", quant)]
    return [row["verdict"] for row in fit_rows(model, *where.split(), *words)]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["command"])
def test_every_command_gives_the_answer_of_claims_json(answer: dict[str, Any]) -> None:
    done = run(*shlex.split(answer["command"])[1:], "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    given = {(row["model"], row["recipe"]): row for row in rows}
    for expected in answer["rows"]:
        row = given[expected["model"], expected["recipe"]]
        assert {field: row[field] for field in expected} == expected
    if answer in OF_ALL_RECIPES:
        fitting = [row for row in rows if row["verdict"] == "fits"]
        most = max(row["tensor_bytes"] for row in fitting)
        largest = [row["recipe"] for row in fitting if row["tensor_bytes"] == most]
        assert largest == answer["largest_recipes_that_fit"]
    else:
        assert len([row for row in rows if row["model"].startswith("Qwen3.5-")]) == len(answer["rows"])


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_every_claim_and_its_commands_stand_in_the_readme(claim: dict[str, Any]) -> None:
    text = (SEEDS / "README.md").read_text(encoding="utf-8")
    (section,) = [part for part in text.split("\n## ")[1:] if part.startswith(claim["id"] + ". ")]
    assert claim["answer"] in section.splitlines()[0]
    for answer in claim["answers"]:
        assert f"$ {answer['command']}\n" in section or f"| `{answer['command']}` |" in section
    if "checkpoint_bytes" in claim:
        assert f"{claim['checkpoint_bytes']:,}" in section
        assert claim["checkpoint_bytes"] == models()["Qwen3.5-397B-A17B"].row.checkpoint_bytes


@pytest.mark.parametrize("answer", OF_ALL_RECIPES, ids=lambda answer: answer["command"])
def test_the_tables_of_the_readme_say_what_claims_json_says(answer: dict[str, Any]) -> None:
    rows = {row["recipe"]: row for row in answer["rows"]}
    largest = rows[answer["largest_recipes_that_fit"][0]]
    context = rows["Q4_K_M"]["max_context_tokens"]
    cells = [
        f"`{answer['command']}`",
        ", ".join(answer["largest_recipes_that_fit"]),
        f"{largest['total_bytes'] / 2**30:.2f}",
        f"{largest['gpu_limit_bytes'] / 2**30:.2f}",
        f"{context:,}" if context else "none",
    ]
    assert f"| {' | '.join(cells)} |" in (SEEDS / "README.md").read_text(encoding="utf-8").splitlines()
