"""The words before the colon of llama.cpp's lines: mostly the function that prints, of 2024 to today."""

from __future__ import annotations

HEADER = ("print_info", "llm_load_print_meta")
LOADER = ("llama_model_loader",)
TENSORS = ("load_tensors", "llm_load_tensors")
CONTEXT = ("llama_context", "llama_new_context_with_model", "llama_init_from_model")
CACHE = (
    "llama_kv_cache",
    "llama_kv_cache_init",
    "llama_kv_cache_unified",
    "llama_kv_cache_unified_iswa",
    "llama_kv_cache_iswa",
    "init",
)
STATE = ("llama_memory_recurrent", "llama_kv_cache_recurrent")
SERVER = ("load_model", "create_check", "llama_server", "srv")
FIT = ("common_params_fit_impl", "llama_params_fit_impl", "common_fit_params", "llama_params_fit", "common_init_")
BREAKDOWN = ("common_memory_breakdown_print", "llama_memory_breakdown_print", "common_memory")
METAL = ("ggml_metal_init", "ggml_metal_device_init", "ggml_backend_metal_device_init")
DEVICES = (
    "llama_model_load_from_file_impl",
    "llama_prepare_model_devices",
    "llama_load_model_from_file",
    "common_param",
    "device_info",
)
TIMES = ("print_timing", "print_timings", "common_perf_print", "llama_perf_context_print", "llama_print_timings")
VERSION = ("build", "version", "main", "common_params_print_info", "build_info")
DRAFT = ("common_speculative_init_result", "common_specu", "common_speculative_init")
VISION = ("clip_ctx", "clip_model_loader", "load_hparams", "alloc_compute_meta", "reserve_compute_meta", "clip_init")

WORDS = frozenset(
    (
        *HEADER,
        *LOADER,
        *TENSORS,
        *CONTEXT,
        *CACHE,
        *STATE,
        *SERVER,
        *FIT,
        *BREAKDOWN,
        *METAL,
        *DEVICES,
        *TIMES,
        *VERSION,
        *DRAFT,
        *VISION,
        "sched_reserve",
        "resolve_fused_ops",
        "generate",
        "llama_fit_params",
    )
)
