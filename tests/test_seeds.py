"""The answers in seeds/README.md, held to the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deployfit.architectures.qwen35 import checkpoint_tensors
from deployfit.catalog import models

Rows = Callable[..., list[dict[str, Any]]]


def test_claim_1_the_largest_model_is_807_gb_and_fits_512_gb_up_to_q8_0(fit_rows: Rows) -> None:
    model = models()["Qwen3.5-397B-A17B"]
    assert sum(map(model.checkpoint_tensor_bytes, checkpoint_tensors(model.config))) == 806_795_875_168
    assert verdicts(fit_rows, model.name, "--mac 512", "Q8_0 BF16") == ["fits", "does_not_fit"]


def test_claim_2_the_line_up() -> None:
    sizes = ["397B-A17B", "122B-A10B", "35B-A3B", "27B", "9B", "4B", "2B", "0.8B"]
    assert list(models()) == ["Qwen3.5-" + size for size in sizes]


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
