"""What the tests of llama.cpp's figures share: a row of engine figures as a model and settings."""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.catalogue import models
from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings


def qwen35(row: Mapping[str, str]) -> Blueprint:
    return models()["Qwen3.5-" + row["model"].removeprefix("Qwen3.5-")].blueprint


def settings_of(row: Mapping[str, str]) -> LlamaCppSettings:
    return LlamaCppSettings(
        context_tokens=int(row["n_ctx"]),
        kv_type_k=row["type_k"],
        kv_type_v=row["type_v"],
        parallel=int(row["n_parallel"]),
        ubatch=int(row["n_ubatch"]),
        kv_unified=row.get("kv_unified") == "1",
        swa_full=row.get("swa_full") == "1",
        flash_attn=row.get("flash_attn") != "off",
    )
