"""deployfit's figures for Qwen3.5 against llama.cpp's own, which share no code with it."""

from __future__ import annotations

from conftest import engine_rows
from llamacpp_rows import qwen35, settings_of

from deployfit.catalogue import models
from deployfit.quants.weights import Options
from deployfit.runtimes.llamacpp.caches import kv_cache_bytes, state_bytes
from deployfit.runtimes.llamacpp.compute import buffers_of
from deployfit.runtimes.llamacpp.engine import RUNTIME
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.units import MIB


def test_context_equals_the_allocator_on_every_row() -> None:
    rows = engine_rows("llamacpp_memory_cpu.csv")
    wrong = []
    for row in rows:
        blueprint, settings = qwen35(row), settings_of(row)
        if kv_cache_bytes(blueprint, settings) + state_bytes(blueprint, settings) != int(row["context_bytes"]):
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
        blueprint, settings = qwen35(row), settings_of(row)
        buffers = buffers_of(blueprint)
        compute = buffers.buffers(settings)
        counted = (
            kv_cache_bytes(blueprint, settings) + state_bytes(blueprint, settings),
            compute.device_bytes,
            compute.host_bytes,
        )
        if counted != (int(row["dev_context"]), int(row["dev_compute"]), int(row["host_compute"])):
            wrong.append(row)
        assert compute.device_upper_bytes >= compute.device_bytes
        assert buffers.least_bytes(settings) <= compute.total_bytes
    assert (len(rows), wrong) == (365, [])


def test_parts_add_up_to_what_the_engine_allocates() -> None:
    for row in engine_rows("llamacpp_memory_device.csv")[::7]:
        blueprint, settings = qwen35(row), settings_of(row)
        parts = RUNTIME.running(blueprint, settings, Options())
        assert [part.name for part in parts] == ["kv_cache", "recurrent_state", "compute", "compute"]
        on_device = sum(part.nbytes for part in parts if part.where == "device")
        on_host = sum(part.nbytes for part in parts if part.where == "host")
        assert on_device == int(row["dev_context"]) + int(row["dev_compute"])
        assert on_host == int(row["host_context"]) + int(row["host_compute"])
        assert RUNTIME.least_bytes(blueprint, settings, Options()) <= on_device + on_host


def test_drafting_adds_parts_of_its_own() -> None:
    blueprint, settings = models()["Qwen3.5-27B"].blueprint, LlamaCppSettings(32_768, "q8_0", "q8_0")
    parts = {part.name: part.nbytes for part in RUNTIME.running(blueprint, settings, Options(mtp=True))}
    head = 4 * 248_320 * 512 + 2 * 4 * 5_120 * 512
    inputs = 2 * 4 * 5_120 * 512 + 2 * 32_768 * 512 + 512 * (4 + 16 + 8 + 8 + 4) + 32
    assert parts["draft_kv_cache"] == 32_768 * 2 * 2 * 4 * 256
    assert parts["draft_state"] == 3 * parts["recurrent_state"]
    assert parts["draft_compute"] == head + inputs
    least = [RUNTIME.least_bytes(blueprint, settings, Options(mtp=mtp)) for mtp in (False, True)]
    assert least[1] - least[0] == sum(size for name, size in parts.items() if name.startswith("draft_"))


def test_the_upper_bound_covers_metal() -> None:
    rows = engine_rows("llamacpp_metal_rules.csv")
    over = [
        row
        for row in rows
        if buffers_of(qwen35(row)).buffers(settings_of(row)).device_upper_bytes < int(row["dev_compute"])
    ]
    assert (len(rows), over) == (208, [])


def test_metal_logs_of_real_macs() -> None:
    """Within 3 % or 24 MiB where Metal needs no scratch of its own; below the upper bound everywhere."""
    judged = close = 0
    for row in engine_rows("metal_logs.csv"):
        blueprint = qwen35(row)
        settings = LlamaCppSettings(
            context_tokens=int(row["context_tokens"]),
            kv_type_k=row["kv_type_k"],
            kv_type_v=row["kv_type_v"],
            parallel=int(row["parallel"]),
            ubatch=int(row["ubatch"]),
        )
        if RUNTIME.notes(blueprint, settings, 0, 0, 1):
            continue  # attention on the CPU: deployfit says that it does not count this
        logged = int(float(row["device_compute_mib"]) * MIB)
        compute = buffers_of(blueprint).buffers(settings)
        assert logged <= compute.device_upper_bytes, row
        if settings.context_tokens <= 131_072:
            judged += 1
            close += abs(compute.device_bytes - logged) <= max(logged * 3 // 100, 24 * MIB)
    assert (judged, close) == (6, 6)
