"""The questions that peers are asked, the engines' answers to them, and ours."""

from __future__ import annotations

import csv
import json
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

FIGURES = Path(__file__).parent.parent / "tests" / "data"
GB = 10**9
GIB = 2**30

TOTAL = "total"  # weights, KV cache, recurrent state, working memory
CACHE = "cache"  # KV cache and recurrent state
WEIGHTS = "weights"
MLX = "4bit"
F16 = ("f16", "f16")


class Question(NamedTuple):
    """What is asked of which model; one sequence, KV in 16 bits unless said."""

    asked: str
    model: str
    quant: str
    context: int = 32_768
    kv_types: tuple[str, str] = F16

    @property
    def short(self) -> str:
        """The model as llama.cpp's figures name it."""
        return self.model.removeprefix("Qwen3.5-")

    @property
    def label(self) -> str:
        """The column's heading."""
        what = "weights" if self.asked == WEIGHTS else f"{self.context // 1024}k"
        quant = [] if self.asked == CACHE else [self.quant]
        return " ".join([self.short.split("-")[0], *quant, what, *([] if self.kv_types == F16 else self.kv_types)])


BIG = ("Qwen3.5-27B", "Qwen3.5-35B-A3B")
ALL = (*BIG, "Qwen3.5-9B")
CONTEXTS = (32_768, 262_144)
SECTIONS: dict[str, list[Question]] = {
    "Total memory under llama.cpp": [
        *(Question(TOTAL, model, "Q4_K_M", context) for model in BIG for context in CONTEXTS),
        *(Question(TOTAL, model, "Q8_0") for model in BIG),
    ],
    "KV cache and recurrent state": [
        *(Question(CACHE, model, "Q4_K_M", context) for model in ALL for context in CONTEXTS),
        *(Question(CACHE, model, "Q4_K_M", 65_536, ("q8_0", "q4_0")) for model in BIG),
    ],
    "MLX: weights as mlx-community publishes them; total of the text model while its context is read in": [
        *(Question(WEIGHTS, model, MLX) for model in ALL),
        *(Question(TOTAL, model, MLX) for model in ALL),
    ],
}


@cache
def rows_of(name: str) -> list[dict[str, str]]:
    with open(FIGURES / name, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def engine_row(name: str, **wanted: str) -> dict[str, str]:
    (row,) = [each for each in rows_of(name) if wanted.items() <= each.items()]
    return row


def quantized_bytes(short: str, recipe: str) -> int:
    """Return what llama.cpp's quantizer makes of the model's tensors."""
    row = engine_row("llamacpp_quantize.csv", model=short, mtp="0", imatrix="0", ftype=recipe)
    return int(row["tensor_bytes"])


def engine_bytes(question: Question) -> int:
    """Return what llama.cpp allocates; for MLX its weights and the replay of its prefill."""
    if question.quant == MLX:
        recipe = "vlm:q4_g64" if question.asked == WEIGHTS else "q4_g64"
        weights = int(engine_row("mlx_weights.csv", model=question.model, recipe=recipe)["weights_bytes"])
        return weights + (int(replay(question)["peak_above_weights_bytes"]) if question.asked == TOTAL else 0)
    settings = {"mtp_in_file": "0", "n_ctx": str(question.context), "n_ubatch": "512", "n_parallel": "1"}
    rows = [
        engine_row("llamacpp_memory_device.csv", model=question.short, type_k=kv_type, type_v=kv_type, **settings)
        for kv_type in question.kv_types
    ]
    # keys and values have one shape, so a pair of types is the mean of the two rows with equal types
    context = sum(int(row["dev_context"]) + int(row["host_context"]) for row in rows) // 2
    if question.asked == CACHE:
        return context
    compute = int(rows[0]["dev_compute"]) + int(rows[0]["host_compute"])
    return quantized_bytes(question.short, question.quant) + context + compute


def replay(question: Question) -> dict[str, str]:
    settings = {"step": "2048", "context": str(question.context), "kv_bits": "16", "chip": "base_pro"}
    return engine_row("mlx_prefill_replay.csv", model=question.model, recipe="q4_g64", **settings)


def allowed_bytes(question: Question) -> int:
    """Return how far off deployfit may be: by nothing; MLX's prefill memory as `tests/test_mlx.py` has it."""
    if question.quant != MLX or question.asked == WEIGHTS:
        return 0
    return max(6 * GB // 10, int(replay(question)["transient_bytes"]) // 20)


def deployfit_command(question: Question) -> list[str]:
    command = [sys.executable, "-m", "deployfit", "fit", question.model, "--quant", question.quant, "--mac", "512"]
    command += ["--context", str(question.context), "--format", "json"]
    if question.quant == MLX:
        return [*command, "--vision"] if question.asked == WEIGHTS else command
    return [*command, "--kv-type-k", question.kv_types[0], "--kv-type-v", question.kv_types[1]]


def deployfit_bytes(text: str, question: Question) -> int:
    (row,) = json.loads(text)["rows"]
    parts = {TOTAL: ["total_bytes"], CACHE: ["kv_cache_bytes", "recurrent_state_bytes"], WEIGHTS: ["tensor_bytes"]}
    return sum(int(row[part]) for part in parts[question.asked])
