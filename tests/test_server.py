"""llama-server's memory against the real one, its context without -c, and what grows in use."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from conftest import DATA, engine_rows, run

from deployfit import fit
from deployfit.app_context import fitted
from deployfit.catalogue import models, rows
from deployfit.layers.blueprint import Blueprint
from deployfit.lookup import find_quant
from deployfit.measured.metal_builds import METAL_GENERATIONS, generation_of
from deployfit.models import Model
from deployfit.quants.weights import Options, Weights
from deployfit.questions.resolve import draft_model_of
from deployfit.runtimes.llamacpp.batch import batch_of
from deployfit.runtimes.llamacpp.compute import buffers_of
from deployfit.runtimes.llamacpp.engine import RUNTIME
from deployfit.runtimes.llamacpp.metal import flash_scratch
from deployfit.runtimes.llamacpp.settings import EVERY_LAYER, LlamaCppSettings
from deployfit.runtimes.runtime import MemoryPart
from deployfit.units import GIB, MIB

Rows = Callable[..., list[dict[str, Any]]]
PRINTED = MIB // 200  # a log has two decimals of MiB


def settings_of(row: Mapping[str, str]) -> LlamaCppSettings:
    return LlamaCppSettings(
        context_tokens=int(row["n_ctx"]),
        kv_type_k=row.get("type_k") or row["type_kv"],
        kv_type_v=row.get("type_v") or row["type_kv"],
        parallel=int(row["n_parallel"]),
        ubatch=int(row["n_ubatch"]),
        kv_unified=row["kv_unified"] == "1",
        flash_attn=row["flash_attn"] != "off",
        batch=int(row["n_batch"]),
        outputs="all" if "library default" in row.get("flags", "") else "slots",
        draft_max=int(row["drafting_n_max"]) or 3,
        gpu_layers=EVERY_LAYER if row.get("gpu_layers", "all") == "all" else int(row["gpu_layers"]),
        n_cpu_moe=int(row.get("n_cpu_moe", 0)),
    )


def bytes_of(parts: Iterable[MemoryPart], where: str, *names: str) -> int:
    return sum(part.nbytes for part in parts if part.where == where and part.name in names)


def running(row: Mapping[str, str], blueprint: Blueprint, mtp: str = "") -> list[MemoryPart]:
    drafts = (mtp or row["drafting_n_max"]) != "0"
    return list(RUNTIME.running(blueprint, settings_of(row), Options(mtp=drafts)))


SERVER = engine_rows("server_memory.csv")


def qwen35(row: Mapping[str, str]) -> Model:
    return models()["Qwen3.5-" + row["model"]]


def counted(row: Mapping[str, str], where: str) -> dict[str, int]:
    """What deployfit says of the columns of a row: cache, state, compute and drafting on the device or the host."""
    parts, side = running(row, qwen35(row).blueprint), where.removesuffix("ice")
    found = {
        f"{side}_kv": bytes_of(parts, where, "kv_cache"),
        f"{side}_state": bytes_of(parts, where, "recurrent_state"),
        f"{side}_compute": bytes_of(parts, where, "compute"),
    }
    if row["drafting_n_max"] != "0":
        found[f"draft_{side}_kv"] = bytes_of(parts, where, "draft_kv_cache")
        found[f"draft_{side}_compute"] = bytes_of(parts, where, "draft_compute")
    return found


def test_buffers_equal_every_context_that_was_made_with_the_servers_parameters() -> None:
    rows = [row for row in SERVER if row["method"] == "probe"]
    wrong = []
    for row in rows:
        for where in ("device", "host"):
            for name, nbytes in counted(row, where).items():
                if nbytes != int(row[name]):
                    wrong.append((row["model"], row["flags"], name, nbytes - int(row[name])))
    assert (len(rows), wrong) == (232, [])


def test_weights_lie_where_the_engine_puts_them() -> None:
    """Half of the tied model's embedding is the head's: on the device, and mapped again for the CPU."""
    rows = [row for row in SERVER if row["method"] == "probe"]
    wrong = []
    for row in rows:
        model, options = qwen35(row), Options(mtp=row["drafting_n_max"] != "0")
        weights = find_quant("BF16").weights(model, options)
        parts = RUNTIME.loaded(model.blueprint, weights, options, settings_of(row)._replace(load_mode="none"))
        names = ("weights", "draft_weights")
        if [bytes_of(parts, where, *names) for where in ("device", "host")] != [
            int(row["dev_model"]),
            int(row["host_model"]),
        ]:
            wrong.append(row)
    assert wrong == []


def test_a_mapped_file_is_no_second_copy() -> None:
    model, options = models()["Qwen3.5-0.8B"], Options()
    weights = find_quant("BF16").weights(model, options)
    mapped, read = (
        RUNTIME.loaded(model.blueprint, weights, options, LlamaCppSettings(4096, load_mode=mode))
        for mode in ("auto", "none")
    )
    assert [(part.where, part.nbytes, part.upper_bytes) for part in mapped] == [
        ("device", 1_505_783_040, 1_505_783_040),
        ("host", 0, 508_559_360),
    ]
    assert sum(part.nbytes for part in read) == 1_505_783_040 + 508_559_360


def test_the_servers_own_logs() -> None:
    """Two decimals of MiB; on a CPU without a device the compute buffers are another graph's, and not compared."""
    rows = [row for row in SERVER if row["method"] == "server"]
    wrong = []
    for row in rows:
        parts = running(row, qwen35(row).blueprint)
        pairs = {
            "kv": (bytes_of(parts, "device", "kv_cache"), int(row["dev_kv"]) + int(row["host_kv"])),
            "state": (bytes_of(parts, "device", "recurrent_state"), int(row["dev_state"]) + int(row["host_state"])),
            "output": (bytes_of(parts, "host", "output", "draft_output"), int(row["host_output_start"])),
        }
        if row["drafting_n_max"] != "0":
            cache = int(row["draft_dev_kv"]) + int(row["draft_host_kv"])
            pairs["draft kv"] = bytes_of(parts, "device", "draft_kv_cache"), cache
        if row["device"] == "rpc":
            for where, name in (("device", "dev_compute"), ("host", "host_compute")):
                pairs[name] = bytes_of(parts, where, "compute"), int(row[name])
            if row["drafting_n_max"] != "0":
                pairs["draft"] = bytes_of(parts, "device", "draft_compute"), int(row["draft_dev_compute"])
        wrong += [(row["flags"], name, pair) for name, pair in pairs.items() if abs(pair[0] - pair[1]) > 2 * PRINTED]
    assert (len(rows), wrong) == (51, [])


def test_output_buffers_and_checkpoints_equal_every_row() -> None:
    wrong = []
    rows = [row for row in SERVER if "library default" not in row["flags"]]
    for row in rows:
        blueprint, options = qwen35(row).blueprint, Options(mtp=row["drafting_n_max"] != "0")
        parts = [part for part in running(row, blueprint) if part.name in ("output", "draft_output")]
        columns = RUNTIME.extra_columns(blueprint, settings_of(row), options)
        found = {
            "host_output_most": sum(part.upper_bytes for part in parts),
            "checkpoint_bytes": columns["checkpoint_bytes"],
            "checkpoint_bytes_per_token": columns["checkpoint_bytes_per_token"],
        }
        if row["method"] == "probe":
            found["host_output_start"] = sum(part.nbytes for part in parts)
        wrong += [(row["flags"], name, value) for name, value in found.items() if value != int(row[name])]
    assert (len(rows), wrong) == (275, [])


def test_metal_adds_its_scratch_as_it_was_replayed() -> None:
    slots = {"default": (4, True), "np1": (1, False), "np4": (4, False)}
    rows = engine_rows("metal_replay.csv")
    wrong = []
    for row in rows:
        parallel, unified = slots[row["slots"]]
        ubatch, drafts = int(row["n_ubatch"]), int(row["drafting_n_max"])
        settings = LlamaCppSettings(
            int(row["n_ctx"]),
            row["type_kv"],
            row["type_kv"],
            parallel,
            ubatch,
            unified,
            batch=max(2048, ubatch),
            outputs="slots",
            metal="current",
            draft_max=drafts or 3,
        )
        parts = RUNTIME.running(qwen35(row).blueprint, settings, Options(mtp=drafts > 0))
        found = [
            bytes_of(parts, "device", "compute"),
            bytes_of(parts, "device", "compute", "metal_scratch"),
            bytes_of(parts, "host", "compute"),
        ]
        wanted = [int(row["probe_rpc_device"]), int(row["replay_metal_device"]), int(row["host"])]
        if drafts:
            found.append(bytes_of(parts, "device", "draft_compute", "draft_metal_scratch"))
            wanted.append(int(row["replay_metal_draft_device"]))
        if found != wanted:
            wrong.append((row, found))
    assert (len(rows), wrong) == (208, [])


def test_random_settings_of_every_family() -> None:
    """Run here: target and draft contexts of 29 models, with layers and experts kept from the GPU."""
    rows = engine_rows("server_random.csv")
    wrong = []
    for row in rows:
        model, options = models()[row["model"]], Options(mtp=row["mtp"] == "1")
        settings = settings_of(row)
        parts = RUNTIME.running(model.blueprint, settings, options)
        found = {}
        for side, where in (("dev", "device"), ("host", "host")):
            if row["model"] != "DeepSeek-V3":  # llama.cpp's converter leaves its MTP layer out
                weights = find_quant("BF16").weights(model, options)
                loaded = RUNTIME.loaded(model.blueprint, weights, options, settings._replace(load_mode="none"))
                found[f"{side}_model"] = bytes_of(loaded, where, "weights", "draft_weights")
            found[f"{side}_context"] = bytes_of(parts, where, "kv_cache", "recurrent_state")
        if (row["gpu_layers"], row["n_cpu_moe"]) == ("all", "0"):
            for side, where in (("dev", "device"), ("host", "host")):
                found[f"{side}_compute"] = bytes_of(parts, where, "compute")
                if options.mtp:
                    found[f"draft_{side}_compute"] = bytes_of(parts, where, "draft_compute")
            if options.mtp:
                found["draft_dev_kv"] = bytes_of(parts, "device", "draft_kv_cache")
        for name, nbytes in found.items():
            # Each of Gemma 4's layers has a scalar, for which the engine counts 32 bytes.
            scalars = 28 * len(model.blueprint.layers) if model.blueprint.layers[0].scaled else 0
            if not 0 <= int(row[name]) - nbytes <= scalars * name.endswith("_model"):
                wrong.append((row, name))
    assert (len(rows), len({row["model"] for row in rows}), wrong) == (204, 29, [])


def test_compute_buffers_of_both_sides_where_experts_or_layers_are_kept_from_the_gpu() -> None:
    """The upper bound holds for both who can read a prompt in; the figure is that of the CPU's own layers."""
    rows = engine_rows("partial_offload.csv")
    above, equal, errors = [], 0, []
    for row in rows:
        model = models()[row["model"]]
        settings = LlamaCppSettings(
            int(row["n_ctx"]),
            row["type_kv"],
            row["type_kv"],
            ubatch=int(row["n_ubatch"]),
            batch=max(2048, int(row["n_ubatch"])),
            flash_attn=row["flash_attn"] == "on",
            gpu_layers=EVERY_LAYER if row["gpu_layers"] == "all" else int(row["gpu_layers"]),
            n_cpu_moe=int(row["n_cpu_moe"]),
        )
        weights = find_quant(row["recipe"]).weights(model, Options())
        parts = [
            *RUNTIME.loaded(model.blueprint, weights, Options(), settings),
            *RUNTIME.running(model.blueprint, settings, Options()),
        ]
        logged = {"device": int(row["device_mib"]), "host": int(row["host_mib"])}
        for where, mib in logged.items():
            most = sum(
                part.upper_bytes for part in parts if part.where == where and part.name in ("compute", "weight_copy")
            )
            if most < mib * MIB:
                above.append((row, where, most / MIB))
        if row["reads_prompts"] == "cpu":
            found = {where: bytes_of(parts, where, "compute") / MIB for where in logged}
            equal += all(0 <= found[where] - mib < 1 for where, mib in logged.items())
            errors.append(sum(found.values()) / sum(logged.values()) - 1)
    assert (len(rows), above, equal) == (144, [], 23)
    assert -0.1 < min(errors) < max(errors) < 0.17, errors


def test_compute_buffers_of_both_sides_with_a_servers_settings() -> None:
    """46 random ones, with unified caches, drafts and several slots: most to the byte on the CPU's side."""
    rows = [row for row in engine_rows("server_random.csv") if (row["gpu_layers"], row["n_cpu_moe"]) != ("all", "0")]
    above, equal, errors = [], 0, []
    for row in rows:
        parts = running(row, models()[row["model"]].blueprint, row["mtp"])
        for side, where in (("dev", "device"), ("host", "host")):
            most = sum(part.upper_bytes for part in parts if part.where == where and part.name == "compute")
            if most < int(row[f"{side}_compute"]):
                above.append((row, where))
        equal += bytes_of(parts, "host", "compute") == int(row["host_compute"])
        both = bytes_of(parts, "device", "compute") + bytes_of(parts, "host", "compute")
        errors.append(both / (int(row["dev_compute"]) + int(row["host_compute"])) - 1)
    assert (len(rows), above, equal) == (46, [], 23)
    assert -0.13 < min(errors) < max(errors) < 0.18, errors


@pytest.mark.parametrize("flash", [True, False])
def test_the_upper_bound_of_partial_offload_is_there_with_metals_scratch_and_without(flash: bool) -> None:
    blueprint = models()["Qwen3-30B-A3B"].blueprint
    settings = LlamaCppSettings(8192, outputs="slots", n_cpu_moe=20, flash_attn=flash)
    plain, metal = (
        RUNTIME.running(blueprint, settings._replace(metal=generation), Options()) for generation in ("none", "current")
    )
    names = ("compute", "metal_scratch")
    most = [
        sum(part.upper_bytes for part in parts if part.where == "device" and part.name in names)
        for parts in (plain, metal)
    ]
    assert most[1] >= most[0] > bytes_of(plain, "device", "compute") + 8 * 512 * 4 * 2048


def q4_1(model: Model, options: Options) -> Weights:
    """The weights of the files that --fit was asked about: every matrix is Q4_1, the head too."""
    weights = find_quant("Q4_1").weights(model, options)
    (embedding,) = [each.nbytes for each in weights.classes if each.role == "token_embd"]
    return weights._replace(
        classes=tuple(each._replace(nbytes=embedding) if each.role == "output" else each for each in weights.classes)
    )


FREE_BYTES = 24_105 * MIB + MIB // 2  # a log cuts the rest off


@pytest.mark.parametrize(
    "case", json.loads((DATA / "server_fit.json").read_text()), ids=lambda case: str(case["flags"])
)
def test_the_context_that_fit_decides_on(case: dict[str, Any]) -> None:
    flags, log = case["flags"], " ".join(case["lines"])
    name = case["model"].removesuffix("-Q4_1")
    options = Options(mtp="draft-mtp" in flags)
    model = models()["Qwen3.5-" + name.removesuffix("-mtp")]
    small = case["model"].endswith("Q4_1")
    weights = q4_1(model, options) if small else find_quant("BF16").weights(model, options)
    slots = re.search(r"-np (\d)", flags)
    margin = re.search(r"-fitt (\d+)", flags)
    settings = LlamaCppSettings(
        4096, parallel=int(slots[1]) if slots else 4, kv_unified=slots is None, batch=2048, outputs="slots"
    )

    def device_bytes(tokens: int) -> int:
        at = settings.with_context(tokens)
        parts = [*RUNTIME.loaded(model.blueprint, weights, options, at), *RUNTIME.running(model.blueprint, at, options)]
        return sum(part.nbytes for part in parts if part.where == "device")

    typed = re.search(r"-c (\d+)", flags)
    trained = model.blueprint.trained_context
    (said,) = re.findall(r"projected to use (\d+) MiB of device memory", log)
    assert device_bytes(int(typed[1]) if typed else trained * settings.streams) // MIB == int(said)
    if typed:
        return
    target = FREE_BYTES - int(margin[1] if margin else 1024) * MIB
    decided = re.search(r"context size reduced from \d+ to (\d+)", log)
    assert fitted(trained, settings.streams, target, device_bytes) == (int(decided[1]) if decided else trained)


def test_fit_rounds_down_by_256_tokens_for_each_separate_cache() -> None:
    """common/fit.cpp: 500,000 tokens of four streams are 499,712, of one 499,968."""
    assert fitted(262_144, 4, 500_000, lambda tokens: tokens) == 488 * 4 * 256
    assert fitted(1_048_576, 1, 500_000, lambda tokens: tokens) == 1953 * 256


def test_what_an_m4_logged_before_metal_copied_keys_and_values() -> None:
    """llama.cpp b10450 on an M4 24: 164 MiB, and with two drafts 294; a build that made no copies."""
    blueprint = models()["Qwen3.8-27B"].blueprint
    settings = LlamaCppSettings(32_768, "q4_0", "q4_0", 1, 512, batch=512, outputs="slots", metal="before", draft_max=2)
    alone, drafting = (RUNTIME.running(blueprint, settings, Options(mtp=mtp)) for mtp in (False, True))
    compute = ("compute", "metal_scratch", "draft_compute", "draft_metal_scratch")
    assert abs(bytes_of(alone, "device", *compute) - 164 * MIB) <= 12 * MIB
    assert abs(bytes_of(drafting, "device", *compute) - 294 * MIB) <= 12 * MIB
    assert bytes_of(alone, "device", "recurrent_state") // MIB == 149
    assert bytes_of(drafting, "device", "recurrent_state") == 3 * bytes_of(alone, "device", "recurrent_state")


@pytest.mark.parametrize(("queries", "flags"), [(16, 2 * 16), (19, 2 * 19), (20, 3), (512, 64)])
def test_metal_has_a_flag_for_each_block_of_scores(queries: int, flags: int) -> None:
    """ggml-metal-ops.cpp: below 20 queries blocks are of one query and 32 cells, else of 8 and 64."""
    blueprint = models()["Qwen3.5-9B"].blueprint
    batch = batch_of(blueprint, LlamaCppSettings(4096, ubatch=queries, metal="before"))
    (mixer,) = set(blueprint.attentions)
    assert flash_scratch(batch, mixer)[1] == flags


def build_number(text: str) -> int:
    """Builds that are known by their commit only are of May 2026."""
    return int(text[1:]) if re.fullmatch(r"b\d+", text) else 9000


def test_compute_figures_of_real_macs_within_3_percent() -> None:
    """By the generation of the build: copies of keys and values came between the MTP builds and b10662."""
    logs = [row for row in engine_rows("metal_logs.csv") if row["kv_type_k"] == row["kv_type_v"]]
    errors = []
    for row in logs:
        settings = LlamaCppSettings(
            int(row["context_tokens"]),
            row["kv_type_k"],
            row["kv_type_v"],
            int(row["parallel"]),
            int(row["ubatch"]),
            metal=generation_of(build_number(row["build"]), rows(METAL_GENERATIONS)),
        )
        compute = buffers_of(models()[row["model"]].blueprint).buffers(settings)
        logged = float(row["device_compute_mib"]) * MIB
        errors.append(abs(compute.device_bytes + compute.metal_bytes - logged) / logged)
    assert (len(logs), max(errors) < 0.03) == (7, True), errors


def rows_of(*words: str) -> dict[str, Any]:
    done = run("fit", *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    found: dict[str, Any] = row
    return found


def upper(row: dict[str, Any], name: str) -> int:
    return sum(part["upper_bytes"] for part in row["parts"] if part["name"] == name)


def test_what_grows_in_use_is_a_part_and_not_in_the_total() -> None:
    question = ["Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32", "--app", "llama-server", "--context", "32768"]
    row = rows_of(*question)
    state = 156_893_184
    assert (row["checkpoint_bytes"], row["checkpoint_bytes_per_token"]) == (state, 0)
    assert row["recurrent_state_bytes"] == 4 * state
    assert upper(row, "checkpoints") == 4 * 32 * state
    assert upper(row, "prompt_cache") == 8 * GIB
    assert row["total_bytes"] == sum(part["bytes"] for part in row["parts"])
    assert abs(row["total_bytes"] - 18.29 * GIB) < 0.01 * GIB
    (note,) = [note for note in row["notes"] if note.startswith("in use")]
    assert "to 30.96 GiB in all with one request at a time, 44.99 GiB at most, of 32.00" in note
    none = rows_of(*question, "--ctx-checkpoints", "0", "--cache-ram", "0")
    assert not [part for part in none["parts"] if part["name"] in ("checkpoints", "prompt_cache")]
    assert not [note for note in none["notes"] if note.startswith("in use")]
    assert (none["total_bytes"], none["verdict"]) == (row["total_bytes"], row["verdict"])


@pytest.mark.parametrize(("unified", "cache_ram", "slots"), [(True, 8192, 1), (False, 8192, 4), (True, 0, 4)])
def test_only_slots_of_one_cache_that_are_saved_are_cleared(unified: bool, cache_ram: int, slots: int) -> None:
    """server-context.cpp: idle slots are saved to the prompt cache, and cleared where they share one cache."""
    settings = LlamaCppSettings(
        32_768, parallel=4, kv_unified=unified, outputs="slots", ctx_checkpoints=32, cache_ram=cache_ram
    )
    parts = RUNTIME.running(models()["Qwen3.5-27B"].blueprint, settings, Options())
    (checkpoints,) = [part for part in parts if part.name == "checkpoints"]
    assert (checkpoints.usual_bytes, checkpoints.upper_bytes) == (slots * 32 * 156_893_184, 4 * 32 * 156_893_184)


def test_checkpoints_of_windows_are_what_can_still_be_seen() -> None:
    blueprint = models()["gpt-oss-20b"].blueprint
    settings = LlamaCppSettings(32_768, outputs="slots")
    assert RUNTIME.extra_columns(blueprint, settings, Options())["checkpoint_bytes"] == 12 * 128 * 2 * 2 * 8 * 64
    assert RUNTIME.extra_columns(blueprint, settings._replace(swa_full=True), Options())["checkpoint_bytes"] == 0
    plain = models()["Qwen3-8B"].blueprint
    assert RUNTIME.extra_columns(plain, settings, Options())["checkpoint_bytes"] == 0


def test_checkpoints_hold_the_draft_cache_of_the_tokens_so_far() -> None:
    blueprint = models()["Qwen3.5-27B"].blueprint
    columns = RUNTIME.extra_columns(blueprint, LlamaCppSettings(32_768, outputs="slots"), Options(mtp=True))
    assert columns == {"checkpoint_bytes": 156_893_184, "checkpoint_bytes_per_token": 4096}


def test_a_model_that_drafts_has_a_context_of_its_own() -> None:
    blueprint = models()["Qwen3.5-27B"].blueprint
    draft = draft_model_of("Qwen3.5-0.8B:Q8_0", "llama.cpp")
    settings = LlamaCppSettings(32_768, "q8_0", "q8_0", 4, 512, kv_unified=True, batch=2048, outputs="slots")
    parts = RUNTIME.running(blueprint, settings._replace(draft_model=draft), Options())
    alone = RUNTIME.running(
        draft.blueprint, settings._replace(kv_type_k="f16", kv_type_v="f16", draft_model=None), Options()
    )
    for name, of_draft in {
        "kv_cache": "draft_kv_cache",
        "recurrent_state": "draft_state",
        "compute": "draft_compute",
        "output": "draft_output",
    }.items():
        for where in ("device", "host"):
            assert bytes_of(parts, where, of_draft) == bytes_of(alone, where, name)
    assert bytes_of(parts, "device", "draft_weights") == draft.weights.text_bytes
    (output,) = [part for part in parts if part.name == "output"]
    assert (output.nbytes, output.upper_bytes) == (4 * 4 * 248_320, 4 * 16 * 248_320)
    assert bytes_of(parts, "device", "recurrent_state") == 4 * 156_893_184


def test_the_largest_context_of_separate_caches_is_that_of_all_slots() -> None:
    row = rows_of(*["Qwen3.5-4B", "--quant", "Q4_K_M", "--mac", "128", "--app", "llama-server", "--parallel", "4"])
    assert (row["context_tokens"], row["max_context_tokens"]) == (4 * 262_144, 4 * 262_144)
    assert row["kv_cache_bytes"] == 4 * 262_144 * 32_768


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("Qwen3.5-9B --quant Q4_K_M --app llama-server --parallel 0", "--parallel: 0 sequences; choose from 1 to 256"),
        ("Qwen3-8B --quant Q4_K_M --app llama-server --mtp", "Qwen3-8B has no MTP layer; leave out --mtp"),
        (
            "Qwen3-8B --quant Q4_K_M --app llama-server --draft-max 2",
            "--draft-max: Qwen3-8B has no MTP layer; leave it out, or name a --draft-model",
        ),
        (
            "Qwen3.5-9B --quant Q4_K_M --app llama-server --draft-max 2",
            "--draft-max: nothing drafts; say --mtp too, or --draft-model",
        ),
        (
            "Qwen3.5-9B --quant Q4_K_M --app llama-server --flash-attn off --kv-type q8_0",
            "KV type q8_0: quantized values need --flash-attn",
        ),
        ("Qwen3.5-9B --quant Q4_K_M --flash-attn maybe", "--flash-attn: expected on, true, auto, off or false"),
        ("Qwen3.5-9B --quant Q4_K_M --app llama-server --cache-ram -2", "--cache-ram: -2; choose from -1 to 1,048,576"),
        ("Qwen3.5-9B --quant Q4_K_M --app llama-server --gpu-layers few", "--gpu-layers: expected a whole number"),
        (
            "Qwen3.5-9B --quant Q4_K_M --app llama-server --draft-model Qwen3.5-0.8B",
            "--draft-model 'Qwen3.5-0.8B': which file? Say it as Qwen3.5-0.8B:QUANT",
        ),
        (
            "Qwen3.5-9B --quant Q4_K_M --app llama-server --draft-model Llama-3.1-8B:Q8_0",
            "--draft-model: Llama-3.1-8B:Q8_0 has a vocabulary of 128,256, the model one of 248,320",
        ),
        (
            "Qwen3.5-9B --quant Q4_K_M --app llama-server --mtp --draft-model Qwen3.5-0.8B:Q8_0",
            "--mtp and --draft-model both draft; choose one",
        ),
        ("Qwen3.5-9B --quant Q4_K_M --app ollama --ubatch 64", "--ubatch: Ollama has no such option"),
        (
            "Qwen3.5-9B --quant 4bit --context 4k --prompt 8k",
            "--prompt: 8,192 tokens are more than the context of 4,096",
        ),
        ("Qwen3.5-9B --quant 4bit --draft-model Qwen3.5-0.8B:4bit", "--draft-model: mlx-lm drafts only with caches"),
    ],
)
def test_bad_input_is_one_line(words: str, message: str) -> None:
    done = run("fit", *words.split(), "--mac", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_kept_from_the_gpu_counts_and_a_note_says_where_it_would_run() -> None:
    question = "Qwen3.5-35B-A3B", "--quant", "Q4_K_M", "--mac", "M4 Pro 24", "--context", "32768"
    kept = rows_of(*question, "--n-cpu-moe", "20")
    assert kept["verdict"] == "does_not_fit"
    device = sum(part["bytes"] for part in kept["parts"] if part["where"] == "device")
    (note,) = [note for note in kept["notes"] if "are the GPU's" in note]
    assert note.startswith(f"{device / GIB:.2f} GiB of it are the GPU's, within its limit")
    assert f"if {kept['total_bytes'] / GIB:.2f} GiB are free" in note
    assert not [note for note in rows_of(*question)["notes"] if "are the GPU's" in note]


def test_a_prompt_cache_alone_grows() -> None:
    (answer,) = fit("SmolLM3-3B", "BF16", mac="M2 16")
    assert any(note.startswith("in use prompt cache grows: to 16.14 GiB") for note in answer.notes)
