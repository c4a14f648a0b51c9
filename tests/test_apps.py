"""What applications choose where nothing is typed, and what follows from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import engine_rows, one_line, run
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.app_context import left_for_context
from deployfit.apps import APPS, FLAGS
from deployfit.catalogue import rows
from deployfit.commands.flags import _quoted
from deployfit.units import GIB, MIB

GGUF = ("--quant", "unsloth:Q4_K_M")


def row_of(*words: str) -> dict[str, Any]:
    done = run("fit", *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    found: dict[str, Any] = row
    return found


def text_of(*words: str) -> str:
    done = run("fit", *words)
    assert done.returncode == 0, done.stderr
    return one_line(done.stdout)


def part_of(row: dict[str, Any], name: str) -> tuple[int, int]:
    (part,) = [part for part in row["parts"] if part["name"] == name]
    return part["bytes"], part["upper_bytes"]


# --- llama-server and the engine's library


def test_llama_server_is_what_starts_a_gguf_and_mlx_lm_what_starts_an_mlx_model() -> None:
    asked = "Qwen3.5-9B", "--mac", "64", "--context", "16k"
    for words, app in ((GGUF, "llama-server"), (("--quant", "4bit"), "mlx_lm.generate")):
        unnamed, named = row_of(*asked, *words), row_of(*asked, *words, "--app", app)
        assert unnamed == named
        assert unnamed["app"] == app


def test_llama_server_has_four_slots_in_one_cache_until_their_number_is_typed() -> None:
    asked = "Qwen3.5-27B", *GGUF, "--mac", "64", "--context", "16k"
    alone = row_of(*asked, "--parallel", "1")
    usual, split = row_of(*asked), row_of(*asked, "--parallel", "4")
    assert [(each["parallel"], each["kv_unified"]) for each in (alone, usual, split)] == [
        (1, False),
        (4, True),
        (4, False),
    ]
    assert [each["recurrent_state_bytes"] for each in (alone, usual, split)] == [
        156_893_184 * slots for slots in (1, 4, 4)
    ]
    assert {each["kv_cache_bytes"] for each in (alone, usual, split)} == {16_384 * 65_536}


def test_the_library_reserves_logits_for_a_whole_micro_batch() -> None:
    """A row of 248,320 logits of four bytes for each token: all of a micro-batch, or one a slot."""
    asked = "Qwen3.5-9B", *GGUF, "--mac", "64", "--context", "16k", "--parallel", "1", "--ubatch"
    larger, smaller = (row_of(*asked, size, "--app", "llama-bench") for size in ("2048", "1024"))
    grown = larger["compute_buffer_bytes"] - smaller["compute_buffer_bytes"]
    assert grown > 1024 * 248_320 * 4
    larger, smaller = (row_of(*asked, size) for size in ("2048", "1024"))
    assert larger["compute_buffer_bytes"] - smaller["compute_buffer_bytes"] < grown // 2


def test_metal_s_scratch_is_counted_where_an_application_is_started_and_not_for_the_library() -> None:
    asked = "Qwen3.5-9B", *GGUF, "--mac", "64", "--context", "64k"
    copies = 2 * 65_536 * 1024 * 2  # one layer's keys and values in F16, less what the rest no longer needs
    assert 0.8 * copies < row_of(*asked)["metal_scratch_bytes"] < copies
    assert row_of(*asked, "--app", "llama-bench")["metal_scratch_bytes"] == 0


def test_without_a_context_llama_server_takes_the_trained_one_and_shrinks_it_to_fit() -> None:
    asked = "Qwen3.5-27B", *GGUF, "--app", "llama-server"
    assert row_of(*asked, "--mac", "M4 Max 64")["context_tokens"] == 262_144
    small = row_of(*asked, "--mac", "32")
    assert 4_096 < small["context_tokens"] < 262_144
    assert small["context_tokens"] % 256 == 0
    device = sum(part["bytes"] for part in small["parts"] if part["where"] == "device")
    assert 0 <= small["gpu_limit_bytes"] - GIB - device < 256 * 65_536 * 1.1


def test_what_came_from_the_application_is_said() -> None:
    said = text_of("Qwen3.5-27B", *GGUF, "--mac", "64", "--app", "llama-server", "--batch", "1024")
    assert "llama-server (llama.cpp of 2026-10-01): context 262,144 tokens for 4 sequences" in said
    assert "defaults of llama-server: --parallel 4, --kv-unified true, --ubatch 512, --ctx-checkpoints 32" in said
    assert "--batch 2048" not in said


# --- Ollama


@pytest.mark.parametrize(
    ("mac", "tokens"), [("16", 4_096), ("24", 4_096), ("M4 Max 36", 32_768), ("M4 Max 64", 262_144), ("128", 262_144)]
)
def test_ollama_s_context_goes_by_the_memory_of_the_gpu(mac: str, tokens: int) -> None:
    """Below 23 GiB, below 47 and above: server/routes.go."""
    row = row_of("Qwen3.5-4B", *GGUF, "--app", "ollama", "--mac", mac)
    assert (row["context_tokens"], row["parallel"]) == (tokens, 1)
    two = row_of("Qwen3.5-4B", *GGUF, "--app", "ollama", "--mac", mac, "--parallel", "2")
    assert two["context_tokens"] == 2 * tokens
    typed = row_of("Qwen3.5-4B", *GGUF, "--app", "ollama", "--mac", mac, "--parallel", "2", "--context", "8k")
    assert typed["context_tokens"] == 2 * 8_192


def test_ollama_never_asks_for_more_than_the_trained_context() -> None:
    assert row_of("Qwen3-8B", "--quant", "Q4_K_M", "--app", "ollama", "--mac", "128")["context_tokens"] == 40_960


def test_ollama_drafts_four_tokens_each_with_a_state_of_its_own() -> None:
    """Logged for the 27B: 748.12 MiB of recurrent state."""
    asked = "Qwen3.8-27B", "--quant", "Q4_K_M", "--app", "ollama", "--mac", "M4 Max 64", "--mtp"
    row = row_of(*asked)
    assert row["recurrent_state_bytes"] == 5 * 48 * 4 * (48 * 128 * 128 + 3 * (2 * 16 * 128 + 48 * 128))
    assert f"{row['recurrent_state_bytes'] / MIB:.2f}" in ("748.12", "748.13")
    assert row_of(*asked, "--draft-max", "1")["recurrent_state_bytes"] == row["recurrent_state_bytes"] * 2 // 5


def test_ollama_s_micro_batch_is_its_batch() -> None:
    asked = "Qwen3.5-4B", *GGUF, "--app", "ollama", "--mac", "64"
    assert (row_of(*asked)["batch"], row_of(*asked)["ubatch"]) == (512, 512)
    typed = row_of(*asked, "--batch", "128")
    assert (typed["batch"], typed["ubatch"]) == (128, 128)


# --- LM Studio


def test_lm_studio_s_contexts_within_2_percent_of_its_logs() -> None:
    row = row_of("Qwen3.8-27B", "--quant", "4bit", "--runtime", "mlx", "--app", "lmstudio", "--mac", "M1 Max 64")
    assert row["context_tokens"] == pytest.approx(208_384, rel=0.02)
    # A publisher's mixture of the 35B-A3B on 48 GB: 36.00 GiB lent, 20.15 loaded, 0.06 of states
    fixed = int((20.15 + 0.06) * GIB)
    assert left_for_context(36 * GIB, fixed, 20_480 + 4_096 + 65_536) == pytest.approx(152_576, rel=0.02)


def test_lm_studio_s_context_of_mlx_grows_with_the_mac_and_never_beyond_the_trained_one() -> None:
    asked = ("Qwen3.6-35B-A3B", "--quant", "4bit", "--runtime", "mlx", "--app", "lmstudio", "--macos", "15", "--mac")
    tokens = [row_of(*asked, mac)["context_tokens"] for mac in ("36", "48", "128")]
    assert tokens == sorted(tokens)
    assert tokens[-1] == 262_144
    assert row_of(*asked, "48", "--context", "8k")["context_tokens"] == 8_192


def test_lm_studio_loads_a_gguf_with_four_slots_and_4096_tokens() -> None:
    row = row_of("Qwen3.5-9B", *GGUF, "--app", "LM Studio", "--mac", "64")
    assert (row["context_tokens"], row["parallel"], row["kv_unified"]) == (4_096, 4, True)


# --- MLX


def test_a_prompt_shorter_than_the_context_needs_the_memory_of_the_prompt() -> None:
    asked = "Qwen3.5-9B", "--quant", "4bit", "--mac", "64", "--context"
    whole, long_answer, short = row_of(*asked, "2304"), row_of(*asked, "2304", "--prompt", "256"), row_of(*asked, "256")
    assert long_answer["total_bytes"] == short["total_bytes"] < whole["total_bytes"]
    assert long_answer["kv_cache_bytes"] == whole["kv_cache_bytes"]
    assert row_of(*asked, "2304", "--prompt", "2304")["total_bytes"] == whole["total_bytes"]


SHORT = engine_rows("mlx_short_prompts.csv")


@pytest.mark.parametrize("row", SHORT, ids=lambda row: f"{row['model']}-{row['quant']}-{row['answer_tokens']}")
def test_peaks_of_short_prompts(row: dict[str, str]) -> None:
    """Within 2 %; weights of 4 bits are those that most is in flight beside."""
    prompt, answer = int(row["prompt_tokens"]), int(row["answer_tokens"])
    words = "--quant", row["quant"], "--runtime", "mlx", "--mac", "128"
    asked = row_of(row["model"], *words, "--context", str(prompt + answer), "--prompt", str(prompt))
    assert asked["total_bytes"] == pytest.approx(int(row["peak_bytes"]), rel=0.02)


def test_requests_at_once_have_a_cache_each_unless_caches_are_quantized() -> None:
    asked = "Qwen3.5-9B", "--quant", "4bit", "--mac", "128", "--app", "mlx_lm.server", "--context", "8k"
    one, four = row_of(*asked), row_of(*asked, "--parallel", "4")
    for column in ("kv_cache_bytes", "recurrent_state_bytes"):
        assert four[column] == 4 * one[column]
    assert four["weights_bytes"] == one["weights_bytes"]
    quantized = [row_of(*asked, "--kv-bits", "8", "--parallel", number) for number in ("1", "4")]
    assert quantized[0]["total_bytes"] == quantized[1]["total_bytes"]


def test_prompt_caches_grow_by_number_and_bytes_and_are_not_in_the_total() -> None:
    asked = "Qwen3.5-9B", "--quant", "4bit", "--mac", "128", "--app", "mlx_lm.server", "--context", "8k"
    ten, two, capped = (
        row_of(*asked),
        row_of(*asked, "--prompt-cache-size", "2"),
        row_of(*asked, "--prompt-cache-bytes", "1g"),
    )
    cache = ten["kv_cache_bytes"] + ten["recurrent_state_bytes"]
    assert [part_of(each, "prompt_cache") for each in (ten, two, capped)] == [
        (0, 10 * cache),
        (0, 2 * cache),
        (0, 10**9),
    ]
    assert len({each["total_bytes"] for each in (ten, two, capped)}) == 1


def test_a_cache_that_rotates_stays_at_its_size() -> None:
    asked = "Qwen3-8B", "--quant", "4bit", "--mac", "64", "--context", "32k"
    assert row_of(*asked, "--max-kv-size", "4096")["kv_cache_bytes"] == row_of(*asked)["kv_cache_bytes"] // 8
    hybrid = "Qwen3.5-9B", "--quant", "4bit", "--mac", "64", "--context", "32k"  # its caches are its own
    assert row_of(*hybrid, "--max-kv-size", "4096")["kv_cache_bytes"] == row_of(*hybrid)["kv_cache_bytes"]


def test_a_model_that_drafts_under_mlx_brings_weights_and_a_cache() -> None:
    asked = "--quant", "4bit", "--mac", "64", "--context", "8k"
    row, draft = row_of("Qwen3-8B", *asked, "--draft-model", "Qwen3-0.6B:4bit"), row_of("Qwen3-0.6B", *asked)
    assert part_of(row, "draft_weights")[0] == draft["weights_bytes"]
    assert part_of(row, "draft_kv_cache")[0] == draft["kv_cache_bytes"]


# --- what memory does not explain


@pytest.mark.parametrize(
    ("words", "said", "unsaid"),
    [
        ("--quant 4bit --context 128k", ("GPU watchdog", "jundot/omlx#1387"), ("kernel panics", "jetsam")),
        ("--quant 4bit --context 8k", (), ("GPU watchdog", "kernel panics", "jetsam")),
        ("--quant 4bit --context 8k --app mlx_lm.server", ("kernel panics", "mlx#3186"), ("GPU watchdog",)),
        ("--quant unsloth:Q4_K_M --context 128k", (), ("kernel panics", "GPU watchdog")),
    ],
)
def test_crashes_are_noted_where_they_were_met(words: str, said: tuple[str, ...], unsaid: tuple[str, ...]) -> None:
    notes = text_of("Qwen3.5-9B", *words.split(), "--mac", "128")
    assert all(each in notes for each in said)
    assert not any(each in notes for each in unsaid)


def test_what_outgrows_the_mac_is_a_warning_and_the_verdict_that_of_the_start() -> None:
    """The 27B on 32 GB: 32 checkpoints of 149.6 MiB for each of four slots are 18.7 GiB."""
    asked = "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32", "--context", "16k"
    row, said = row_of(*asked), text_of(*asked)
    assert part_of(row, "checkpoints") == (0, 4 * 32 * 156_893_184)
    assert part_of(row, "prompt_cache") == (0, 8 * GIB)
    most = row["total_bytes"] + 4 * 32 * 156_893_184 + 8 * GIB
    assert f"{most / GIB:.2f} GiB at most, of 32.00; limit them with --ctx-checkpoints and --cache-ram" in said
    assert "ended by macOS (jetsam)" in said
    limited = *asked, "--ctx-checkpoints", "4", "--cache-ram", "0"
    assert "at most, of 32.00" not in text_of(*limited)
    assert row_of(*limited)["verdict"] == row["verdict"]


def test_ollama_has_no_option_to_limit_what_grows() -> None:
    said = text_of("Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "M4 Max 36", "--app", "ollama", "--parallel", "4")
    assert "GiB at most, of 36.00 " in said
    assert "limit them with" not in said


# --- options that an application does not have


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--app ollama --ctx-checkpoints 4", "--ctx-checkpoints: Ollama has no such option"),
        ("--app ollama --kv-type-k q8_0", "--kv-type-k: Ollama has no such option"),
        ("--app lmstudio --ubatch 256", "--ubatch: LM Studio has no such option"),
        ("--app lmstudio --mtp", "--mtp: LM Studio has no such option"),
        ("--app llama-bench --cache-ram 0", "--cache-ram: llama-bench has no such option"),
        ("--app llama-bench --image 100x100", "--image: llama-bench has no such option"),
        ("--app mlx_lm.server", "which mlx does not load; leave out --runtime or --app, or choose one of llama.cpp"),
        ("--app llama.cpp", "'llama.cpp' is an engine; what starts it: llama-server, llama-bench, "),
    ],
)
def test_an_option_that_the_application_has_not(words: str, message: str) -> None:
    done = run("fit", "Qwen3.5-27B", *GGUF, *words.split(), "--mac", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--app mlx_lm.server --vision", "--vision: mlx_lm.server has no such option"),
        ("--app mlx_lm.generate --parallel 2", "--parallel: mlx_lm.generate has no such option"),
        ("--app ollama --runtime mlx", "--app: Ollama does not run on mlx; choose mlx_lm.generate or"),
        ("--mtp", "mlx-lm and mlx-vlm drop the MTP layer"),
    ],
)
def test_what_an_application_of_mlx_has_not(words: str, message: str) -> None:
    done = run("fit", "Qwen3.5-27B", "--quant", "4bit", *words.split(), "--mac", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# --- the command that starts it

GGUF_QUESTION = "Qwen3.5-27B --quant unsloth:Q4_K_M --mac 128 --context 8192"
MLX_QUESTION = "Qwen3.5-9B --quant 4bit --mac 128 --context 8192"
# Of each application: what may be asked, and what the command must say then, as the application's own help has it.
SAID: dict[tuple[str, str], dict[str, str]] = {
    ("llama-server", GGUF_QUESTION.replace("unsloth:", "")): {
        "--kv-type-k q8_0": "-ctk q8_0",
        "--kv-type-v q4_0": "-ctv q4_0",
        "--parallel 3": "-np 3",
        "--kv-unified": "--kv-unified",
        "--batch 1024": "-b 1024",
        "--ubatch 256": "-ub 256",
        "--flash-attn on": "-fa on",
        "--swa-full": "--swa-full",
        "--ctx-checkpoints 4": "--ctx-checkpoints 4",
        "--cache-ram 0": "--cache-ram 0",
        "--mtp": "--spec-type draft-mtp",
        "--mtp --draft-max 2": "--spec-draft-n-max 2",
        "--gpu-layers 20": "-ngl 20",
        "--cpu-moe": "--cpu-moe",
        "--n-cpu-moe 3": "--n-cpu-moe 3",
        "--load-mode none": "--load-mode none",
    },
    ("llama-bench", GGUF_QUESTION): {
        "--kv-type q8_0": "-ctk q8_0 -ctv q8_0",
        "--batch 1024": "-b 1024",
        "--ubatch 256": "-ub 256",
        "--flash-attn on": "-fa 1",
        "--gpu-layers 20": "-ngl 20",
        "--n-cpu-moe 3": "-ncmoe 3",
        "--load-mode none": "-lm none",
        "--parallel 2": "llama-batched-bench -npl 2",
    },
    ("ollama", GGUF_QUESTION): {
        "--kv-type q8_0": "OLLAMA_KV_CACHE_TYPE=q8_0",
        "--parallel 2": "OLLAMA_NUM_PARALLEL=2",
        "--flash-attn on": "OLLAMA_FLASH_ATTENTION=1",
        "--batch 1024": "/set parameter num_batch 1024",
        "--gpu-layers 20": "/set parameter num_gpu 20",
        "--load-mode none": "/set parameter use_mmap false",
    },
    ("lmstudio", GGUF_QUESTION): {
        "--kv-type-k q8_0": "K Cache Quantization Type: q8_0",
        "--parallel 2": "Max Concurrent Predictions: 2",
        "--batch 1024": "Evaluation Batch Size: 1024",
        "--flash-attn on": "Flash Attention: on",
        "--gpu-layers 20": "GPU Offload: 20",
    },
    ("lmstudio", MLX_QUESTION): {
        "--kv-bits 8": "KV Cache Quantization: 8 bits",
        "--parallel 2": "Max Concurrent Predictions: 2",
    },
    ("mlx_lm.generate", MLX_QUESTION): {
        "--prompt 1000": "--max-tokens 7192",
        "--kv-bits 8": "--kv-bits 8 --quantized-kv-start 0",
        "--prefill-step-size 512": "--prefill-step-size 512",
        "--max-kv-size 4096": "--max-kv-size 4096",
    },
    ("mlx_lm.server", MLX_QUESTION): {
        "--kv-bits 4": "--kv-bits 4 --quantized-kv-start 0",
        "--prefill-step-size 512": "--prefill-step-size 512",
        "--parallel 2": "--decode-concurrency 2",
        "--prompt-cache-size 3": "--prompt-cache-size 3",
        "--prompt-cache-bytes 2g": "--prompt-cache-bytes 2000000000",
    },
    ("omlx", MLX_QUESTION): {"--kv-bits 8": "KV cache: 8 bits", "--parallel 2": "concurrent requests: 2"},
}


@settings(max_examples=12, deadline=None)
@given(data=st.data(), app=st.sampled_from(list(SAID)))
def test_the_command_says_every_option_that_was_asked_for_and_no_other(
    data: st.DataObject, app: tuple[str, str]
) -> None:
    name, question = app
    options = SAID[app]
    asked = data.draw(st.sets(st.sampled_from(sorted(options))))
    shown = shown_command(*question.split(), "--app", name, *" ".join(sorted(asked)).split())
    said = {option for option, words in options.items() if f" {words} " in f"{shown} "}
    assert said == asked | ({"--mtp"} if "--mtp --draft-max 2" in asked else set()), shown


def shown_command(*words: str) -> str:
    """What is shown below the parts and above the notes."""
    text = text_of(*words).replace(" \\ ", " ")
    start = min(text.index(word) for word in ("Serve it", "Run it") if word in text)
    ends = [text.index(word, start) for word in ("Note:", "Not counted:", "Get it") if word in text[start:]]
    tail = text[start:].partition("Set in it:")[2].partition("Not")[0]
    return f"{text[start : min(ends, default=len(text))]} {tail}"


def test_every_option_of_every_application_is_said_somehow() -> None:
    said = {(row.app, row.runtime, row.parameter) for row in rows(FLAGS)}
    unsaid = [
        (app.name, name)
        for app in rows(APPS)
        for name in app.options
        if (app.name, app.runtime, name) not in said and "{context}" not in app.command + name
    ]
    # A KV type is said as that of keys and of values; an image comes with a request, or with the tower.
    assert {name for _, name in unsaid} == {"context", "kv_type", "image"}
    assert ("ollama", "kv_type") not in unsaid


def test_a_model_that_drafts_is_named_in_the_command() -> None:
    asked = "Qwen3.5-27B", "--quant", "unsloth:Q4_K_M", "--mac", "64", "--draft-model"
    assert "--spec-type draft-simple -md Qwen3.5-0.8B-Q8_0.gguf" in shown_command(*asked, "Qwen3.5-0.8B:Q8_0")
    for name in ("Qwen3.5-0.8B:unsloth:Q8_0", "unsloth/Qwen3.5-0.8B-GGUF:Q8_0"):
        assert "--spec-type draft-simple -hfd unsloth/Qwen3.5-0.8B-GGUF:Q8_0" in shown_command(*asked, name)
    assert "-md Qwen3.5-0.8B-Q4_K_M.gguf" in shown_command(*asked, "qwen3.5:0.8b")
    mlx = "Qwen3-8B", "--quant", "4bit", "--mac", "64", "--draft-model"
    assert "--draft-model mlx-community/Qwen3-0.6B-4bit" in shown_command(*mlx, "mlx-community/Qwen3-0.6B-4bit")


def test_the_tower_is_left_out_of_the_command_unless_it_was_counted() -> None:
    """With -hf llama-server loads the tower's file beside the model's, if the repository has it."""
    asked = "Qwen3.5-27B", "--quant", "unsloth:Q4_K_M", "--mac", "64"
    assert "--no-mmproj" in shown_command(*asked)
    assert "mmproj" not in shown_command(*asked, "--vision")
    assert "mmproj" not in shown_command("Qwen3-8B", "--quant", "unsloth:Q4_K_M", "--mac", "64")
    assert "--no-mmproj" in shown_command("Gemma-3-4B", "--quant", "unsloth:Q4_K_M", "--mac", "64")
    assert "--mmproj mmproj-Qwen3.5-27B-F16.gguf" in shown_command(
        *asked[:1], "--quant", "Q4_K_M", *asked[3:], "--vision"
    )


def test_a_name_of_a_file_is_quoted_where_a_shell_would_read_more_into_it() -> None:
    assert _quoted("mmproj-Qwen3.5-9B-F16.gguf") == "mmproj-Qwen3.5-9B-F16.gguf"
    assert _quoted("mmproj-a b;c-F16.gguf") == "'mmproj-a b;c-F16.gguf'"


def test_a_vision_tower_that_nobody_knows_is_said_to_be_left_out() -> None:
    row = row_of("Gemma-3-4B", "--quant", "Q4_K_M", "--mac", "64", "--vision")
    assert row["vision_bytes"] == 0
    assert "vision tower: none that is known of Gemma-3-4B" in row["not_counted"]


def test_separate_caches_need_the_number_of_slots_to_be_said() -> None:
    """tools/server/server.cpp makes one cache of them where -np is not given."""
    asked = "Qwen3.5-27B", *GGUF, "--mac", "64", "--no-kv-unified"
    assert "-np 4 --no-kv-unified" in shown_command(*asked)
    two = shown_command(*asked, "--parallel", "2")
    assert "-np 2 --no-kv-unified" in two
    assert two.count("-np") == 1


def test_ollamas_context_is_its_servers_unless_it_would_choose_it_itself() -> None:
    asked = "Qwen3.5-27B", *GGUF, "--app", "ollama", "--mac", "64"
    assert shown_command(*asked, "--context", "8k").startswith("Serve it OLLAMA_CONTEXT_LENGTH=8192 ollama serve")
    assert "Serve it" not in shown_command(*asked)
    two = shown_command(*asked, "--context", "8k", "--parallel", "2")
    assert "OLLAMA_CONTEXT_LENGTH=8192 OLLAMA_NUM_PARALLEL=2" in two


def test_a_file_of_ollamas_is_run_by_it_whoever_is_asked() -> None:
    """The file has no name that another program would know, and another file's tag is not its own."""
    assert shown_command("qwen3.5:27b", "--mac", "64").split() == ["Run", "it", "ollama", "run", "qwen3.5:27b"]
    said = text_of("qwen3.5:27b", "--mac", "64")
    assert "the figures of llama-server; Ollama starts its file otherwise" in said
    assert "the figures of" not in text_of("qwen3.5:27b", "--mac", "64", "--app", "ollama")
    for app in ("ollama", "llama-server"):
        assert "ollama run" not in text_of("qwen3:8b-q8_0", "--mac", "64", "--app", app)


def test_files_of_ollamas_library_are_for_ollama_alone() -> None:
    """Its gpt-oss:20b keeps 16 bits beside the experts: 1.7 GB more than the file that others fetch."""
    assert row_of("gpt-oss:20b", "--mac", "64")["file_bytes"] == 13_793_441_244
    assert row_of("gpt-oss-20b", "--mac", "64", "--runtime", "llama.cpp")["recipe"] == "ggml-org:MXFP4"
    names = [
        row["recipe"]
        for row in json.loads(run("fit", "gpt-oss-20b", "--app", "ollama", "--mac", "64", "--format", "json").stdout)[
            "rows"
        ]
    ]
    assert names == ["ggml-org:MXFP4", "ollama:MXFP4"]
