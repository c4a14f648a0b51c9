"""deployfit's figures against llama.cpp's own, which share no code with it."""

from __future__ import annotations

import json
from functools import lru_cache

import pytest
from conftest import engine_rows

from deployfit.architectures.qwen35 import Qwen35
from deployfit.catalog import models, recipes
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.formats.gguf import GgufTensor, gguf_tensors
from deployfit.formats.gguf_file import file_bytes
from deployfit.formats.gguf_recipes import tensor_sizes, tensor_types
from deployfit.quants.gguf import gguf_weights
from deployfit.runtimes.llamacpp import (
    LlamaCppSettings,
    compute_buffers,
    kv_cache_bytes,
    least_compute_bytes,
    recurrent_state_bytes,
)
from deployfit.units import MIB

# (numbers in a block, bytes of a block): literal values of ggml's type table, source of 2026-10-01.
GGML_BLOCKS = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22),
    "Q5_1": (32, 24), "Q8_0": (32, 34), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144),
    "Q5_K": (256, 176), "Q6_K": (256, 210), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ3_XXS": (256, 98),
    "IQ1_S": (256, 50), "IQ4_NL": (32, 18), "IQ3_S": (256, 110), "IQ2_S": (256, 82), "IQ4_XS": (256, 136),
    "IQ1_M": (256, 56), "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36),
    "Q1_0": (128, 18), "Q2_0": (64, 18),
}  # fmt: skip


def config_of(row: dict[str, str]) -> Qwen35:
    return models()["Qwen3.5-" + row["model"].removeprefix("Qwen3.5-")].config


def settings_of(row: dict[str, str]) -> LlamaCppSettings:
    return LlamaCppSettings(
        context_tokens=int(row["n_ctx"]),
        kv_type_k=row["type_k"],
        kv_type_v=row["type_v"],
        parallel=int(row["n_parallel"]),
        ubatch=int(row["n_ubatch"]),
    )


def test_blocks_have_ggmls_sizes() -> None:
    assert {name: (each.block_size, each.block_bytes) for name, each in TENSOR_TYPES.items()} == GGML_BLOCKS


@lru_cache
def tensors_of(model: str, mtp: bool) -> list[GgufTensor]:
    return gguf_tensors(models()[model].config, mtp=mtp)


def bytes_by_type(row: dict[str, str]) -> dict[str, int]:
    config = config_of(row)
    tensors = tensors_of("Qwen3.5-" + row["model"], row["mtp"] == "1")
    gqa = config.num_attention_heads // config.num_key_value_heads
    recipe = recipes()[row["ftype"]]
    types = tensor_types(recipe, tensors, gqa=gqa, experts=config.num_experts, imatrix=row["imatrix"] == "1")
    totals: dict[str, int] = {}
    for tensor_type, size in zip(types, tensor_sizes(tensors, types), strict=True):
        totals[tensor_type.name.lower()] = totals.get(tensor_type.name.lower(), 0) + size
    return totals


def test_recipes_equal_the_quantizer_on_every_row() -> None:
    rows = engine_rows("llamacpp_quantize.csv")
    assert len(rows) == 544
    assert {row["ftype"] for row in rows} == set(recipes())
    wrong = [row for row in rows if bytes_by_type(row) != json.loads(row["type_bytes"])]
    wrong += [row for row in rows if sum(bytes_by_type(row).values()) != int(row["tensor_bytes"])]
    assert wrong == []


def test_rows_that_do_not_divide_fall_back_as_in_the_engine() -> None:
    """A hidden size of 32 x odd: K-quants cannot hold it. Expected types: the engine's table of fallbacks."""
    tensor = GgufTensor("blk.0.attn_q.weight", "attn_q", (1056, 64), "attn_q", 0, 0, TENSOR_TYPES["BF16"], 1056 * 64)
    output = GgufTensor("output.weight", "output", (1056, 64), "output", -1, 0, TENSOR_TYPES["BF16"], 1056 * 64)
    expected = {"Q2_K": "Q4_0", "Q3_K_S": "Q4_0", "Q4_K_S": "Q5_0", "Q5_K_S": "Q5_1", "IQ4_XS": "IQ4_NL"}
    for name, fallback in expected.items():
        types = tensor_types(recipes()[name], [output, tensor], gqa=4, experts=0, imatrix=False)
        assert [each.name for each in types] == ["Q8_0", fallback]


def test_context_equals_the_allocator_on_every_row() -> None:
    rows = engine_rows("llamacpp_memory_cpu.csv")
    wrong = []
    for row in rows:
        settings = settings_of(row)
        counted = kv_cache_bytes(config_of(row), settings) + recurrent_state_bytes(config_of(row), settings)
        if counted != int(row["context_bytes"]):
            wrong.append(row)
    assert (len(rows), wrong) == (120, [])


def test_device_memory_equals_the_allocator_on_every_row() -> None:
    """Context and compute buffers, device and host part, all eight models, to the byte."""
    rows = engine_rows("llamacpp_memory_device.csv")
    assert {row["model"] for row in rows} == {
        name.removeprefix("Qwen3.5-") for name in models() if name.startswith("Qwen3.5-")
    }
    wrong = []
    for row in rows:
        config, settings = config_of(row), settings_of(row)
        compute = compute_buffers(config, settings)
        counted = (
            kv_cache_bytes(config, settings) + recurrent_state_bytes(config, settings),
            compute.device_bytes,
            compute.host_bytes,
        )
        if counted != (int(row["dev_context"]), int(row["dev_compute"]), int(row["host_compute"])):
            wrong.append(row)
        assert compute.device_upper_bytes >= compute.device_bytes
        assert least_compute_bytes(config, settings) <= compute.total_bytes
    assert (len(rows), wrong) == (365, [])


def test_weights_are_the_device_and_host_parts_without_counting_a_mapped_file_twice() -> None:
    """A tied embedding is on both sides but once in the file; otherwise the parts add up to the file's tensors."""
    for row in engine_rows("llamacpp_memory_device.csv"):
        model = models()["Qwen3.5-" + row["model"]]
        weights = gguf_weights(model, recipes()["BF16"], imatrix=False, mtp=False)
        parts = int(row["dev_model"]) + (0 if model.config.tie_word_embeddings else int(row["host_model"]))
        assert weights.tensor_bytes == parts


def test_the_upper_bound_covers_metal() -> None:
    rows = engine_rows("llamacpp_metal_rules.csv")
    over = [
        row
        for row in rows
        if compute_buffers(config_of(row), settings_of(row)).device_upper_bytes < int(row["dev_compute"])
    ]
    assert (len(rows), over) == (208, [])


def test_metal_logs_of_real_macs() -> None:
    """Within 3 % or 24 MiB where Metal needs no scratch of its own; below the upper bound everywhere."""
    judged = close = 0
    for row in engine_rows("metal_logs.csv"):
        settings = LlamaCppSettings(
            context_tokens=int(row["context_tokens"]),
            kv_type_k=row["kv_type_k"],
            kv_type_v=row["kv_type_v"],
            parallel=int(row["parallel"]),
            ubatch=int(row["ubatch"]),
        )
        if settings.notes(0, 0, 1):
            continue  # attention on the CPU: deployfit says that it does not count this
        logged = int(float(row["device_compute_mib"]) * MIB)
        compute = compute_buffers(config_of(row), settings)
        assert logged <= compute.device_upper_bytes, row
        if settings.context_tokens <= 131_072:
            judged += 1
            close += abs(compute.device_bytes - logged) <= max(logged * 3 // 100, 24 * MIB)
    assert (judged, close) == (6, 6)


@pytest.mark.parametrize("row", engine_rows("published_gguf.csv"), ids=lambda row: f"{row['model']}-{row['file']}")
def test_file_sizes_are_within_4_kib_of_the_published_ones(row: dict[str, str]) -> None:
    model = models()[row["model"]]
    weights = gguf_weights(model, recipes()[row["file"]], imatrix=False, mtp=False)
    assert abs(weights.file_bytes - int(row["bytes"])) <= 4096
    tensors = tensors_of(row["model"], False)
    sizes = [TENSOR_TYPES["F32"].nbytes(tensor.params) for tensor in tensors]
    assert file_bytes(tensors, sizes, model.config.vocab_size) > sum(sizes)
