"""Logs of engines: what each states is read, nothing of a user is repeated, hostile ones do no harm."""

from __future__ import annotations

import gzip
import io
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit import catalogue
from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.hardware.gpu_limit import LIMITS
from deployfit.hardware.mac import MACS
from deployfit.lookup import find_quant
from deployfit.measured.free_text import RULES
from deployfit.measured.logs import reading
from deployfit.measured.logs.causes import CAUSES
from deployfit.measured.logs.compare import Row, compare, compare_speeds, disagreements, longest
from deployfit.measured.logs.contribution import contribution, csv_text, left_out
from deployfit.measured.logs.header import parts_from_header
from deployfit.measured.logs.lines import MOST_CHARACTERS
from deployfit.measured.logs.log import EngineLog, Figure, LoggedPart
from deployfit.measured.logs.question import find_model, question_of
from deployfit.measured.logs.reading import programs, read_log
from deployfit.measured.memory import LOGS, judged_logs
from deployfit.quants import shelf
from deployfit.quants.weights import Options
from deployfit.questions.contribute import contribute
from deployfit.questions.verify import verify
from deployfit.runtimes import registry
from deployfit.runtimes.runtime import MemoryPart
from deployfit.speed import Rate
from deployfit.validation import check_logs

FOLDER = Path(__file__).parent / "data" / "logs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.log"))
OF_THE_ENGINE = [name for name in NAMES if name.startswith(("llama-server-", "made-server-"))]
MIB = 2**20
FEW = settings(max_examples=60, deadline=None, derandomize=True)


def log_of(name: str) -> EngineLog:
    with open(FOLDER / f"{name}.log", encoding="utf-8") as file:
        return read_log(file)


def asked(log: EngineLog) -> Mapping[str, str]:
    return question_of(
        log,
        catalogue.models(),
        find_quant,
        list(shelf.publishers()),
        catalogue.rows(MACS),
        catalogue.rows(LIMITS),
    )[0]


def predicted(question: Mapping[str, str]) -> list[MemoryPart]:
    """Return what the runtime says of a question; the weights are there if the quant is known."""
    runtime = registry.runtime(question["runtime"])
    model = catalogue.models()[question["model"]]
    known = {parameter.name for parameter in registry.parameters()[question["runtime"]]}
    typed = {name: value for name, value in question.items() if name in known}
    options = Options(mtp=question.get("mtp") == "true")
    how = runtime.settings(int(question["context"]), typed)
    parts = list(runtime.running(model.blueprint, how, options))
    if "quant" in question:
        weights = find_quant(question["quant"], question["runtime"]).weights(model, options)
        parts += runtime.loaded(model.blueprint, weights, options, how)
    return parts


def stated(log: EngineLog) -> dict[str, object]:
    """Return what the log says under the names that the .want files use."""
    facts: dict[str, object] = dict(log.settings._asdict())
    for name in {part.name for part in log.parts}:
        for where in ("", "device", "host"):
            found = log.part(name, where)
            if found:
                facts[f"{name}_{where}".rstrip("_")] = found.figure.nbytes
    facts |= {"program": log.program, "runtime": log.runtime, "version": log.version}
    facts |= {"context": log.settings.context_tokens, "sees": log.settings.vision}
    model, mac = log.model, log.mac
    facts |= {"file": model.file, "repository": model.repository, "name": model.name, "quant": model.quant}
    facts |= {"chip": mac.chip, "device": mac.device, "memory": mac.memory_bytes}
    facts["gpu_limit"] = mac.limit.nbytes if mac.limit else None
    for what in ("decode", "prefill"):
        speed = longest(log, what, 2)
        facts[what] = speed.tps if speed else None
    return facts


def test_there_are_logs_of_every_program() -> None:
    assert len(NAMES) >= 80
    assert sum((FOLDER / f"{name}.want").exists() for name in NAMES) == len(NAMES)
    seen = {log_of(name).program for name in NAMES}
    assert seen >= {"llama-server", "llama-cli", "llama-bench", "llama-fit-params", "llama.cpp", "Ollama", "LM Studio"}
    assert seen >= {
        "mlx_lm.generate",
        "mlx_lm.server",
        "mlx_lm.benchmark",
        "mlx_vlm.generate",
        "mlx_vlm.server",
        "oMLX",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_log_gives_what_it_states(name: str) -> None:
    facts = stated(log_of(name))
    text = (FOLDER / f"{name}.want").read_text(encoding="utf-8")
    wanted = text.split() if name.startswith("llama-server-") else text.splitlines()
    assert wanted
    for line in wanted:
        fact, _, value = line.partition("=")
        if fact in ("decode", "prefill"):
            assert facts[fact] == float(value), fact
        else:
            assert str(facts[fact]) == value, fact


@pytest.mark.parametrize("name", OF_THE_ENGINE)
def test_caches_and_states_counted_again_with_plain_patterns(name: str) -> None:
    """The target's are those before the draft's context."""
    text = (FOLDER / f"{name}.log").read_text(encoding="utf-8").split("creating MTP draft context")[0]
    log = log_of(name)
    for part, pattern in (
        ("kv_cache", r"KV buffer size =\s+([\d.]+)"),
        ("recurrent_state", r"RS buffer size =\s+([\d.]+)"),
    ):
        sizes = [float(size) for size in re.findall(pattern, text)]
        found = log.part(part)
        assert (round(sum(sizes) * MIB) if sizes else None) == (found.figure.nbytes if found else None)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_user_is_repeated(name: str) -> None:
    log = log_of(name)
    said = repr((log, log.recognised, asked(log)))
    for word in ("somebody", "/Users", "private question", "holiday", "who is this", "sha256", "box ollama"):
        assert word not in said


def test_what_ollama_planned_and_which_file_its_own_engine_opened() -> None:
    """Lines of public threads: ollama pull 5117 (2024), issue 12912 (2025)."""
    plan = (
        'time=2024-06-18T11:02:47.707-07:00 level=INFO source=memory.go:309 msg="offload to metal" layers.requested=-1'
        ' layers.model=28 layers.offload=28 layers.split="" memory.available="[96.0 GiB]"'
        ' memory.required.full="9.2 GiB" memory.required.partial="9.2 GiB" memory.required.kv="432.0 MiB"'
        ' memory.required.allocations="[9.2 GiB]" memory.weights.total="8.4 GiB" memory.weights.repeating="8.3 GiB"'
        ' memory.weights.nonrepeating="164.1 MiB" memory.graph.full="72.0 MiB" memory.graph.partial="72.0 MiB"'
    )
    log = read_log([plan])
    assert [(part.name, part.figure.nbytes, part.said) for part in log.parts] == [
        ("weights", round(8.4 * 2**30), True),
        ("kv_cache", 432 * MIB, True),
        ("compute", 72 * MIB, True),
    ]
    assert (log.settings.offloaded, log.settings.layers, log.mac.device) == (28, 28, "Metal")
    opened = [
        'time=x level=INFO source=server.go:653 msg="loading model" "model layers"=37 requested=-1',
        'time=x level=INFO source=runner.go:1222 msg=load request="{Operation:fit LoraPath:[] Parallel:1 BatchSize:512'
        ' FlashAttention:true KvSize:28000 KvCacheType: GPULayers:37[ID:0 Layers:37(0..36)] UseMmap:false}"',
        'time=x level=INFO source=ggml.go:136 msg="" architecture=qwen3 file_type=Q8_0 name="Qwen3 4B Instruct 2507"'
        ' description="" num_tensors=398 num_key_values=33',
        'time=x level=INFO source=device.go:223 msg="kv cache" device=Metal size="3.9 GiB"',
    ]
    log = read_log(opened)
    assert {key: asked(log)[key] for key in ("model", "quant", "context")} == {
        "model": "Qwen3-4B-2507",
        "quant": "Q8_0",
        "context": "28000",
    }
    assert (log.settings.offloaded, log.settings.layers) == (37, 37)


SECRET = "zaphod"


def spoiled(line: str, random: Random) -> str:
    """Return a line with something of a user's in one of the places where lines have words, paths and values."""
    secret = random.choice(
        (f"/Users/{SECRET}/x", f"{SECRET}@example.org", f"{SECRET}s-mac.local", f"C:\\{SECRET}", SECRET)
    )
    words = line.split(" ")
    place = random.randrange(len(words))
    ways = (
        lambda: [secret, *words],
        lambda: [*words[:place], secret, *words[place:]],
        lambda: [*words[:place], secret + words[place], *words[place + 1 :]],
        lambda: [*words[:place], words[place] + secret, *words[place + 1 :]],
        lambda: [*words[:place], secret, *words[place + 1 :]],
        lambda: [re.sub(r"= \S+$", lambda _: f"= {secret}", line)],
        lambda: [re.sub(r"'[^']*'", lambda _: f"'{secret}'", line)],
    )
    return " ".join(random.choice(ways)())


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_the_wrong_place_is_not_repeated(name: str, tmp_path: Path) -> None:
    """Of names only those whose words are published models', of types and devices only the engine's own."""
    random = Random(name)
    lines = (FOLDER / f"{name}.log").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "spoiled.log"
    for _ in range(2):
        path.write_text("\n".join(spoiled(line, random) for line in lines), encoding="utf-8")
        try:
            said = repr(verify(str(path)).document())
        except InputError as error:
            said = str(error)
        assert SECRET not in said.casefold()
        try:
            said = repr(contribute(str(path), mac="M4 Max 64").document())
        except InputError as error:
            said = str(error)
        assert SECRET not in said.casefold()


@pytest.mark.parametrize("name", OF_THE_ENGINE)
def test_the_engine_s_caches_and_states_are_predicted_from_the_catalogue(name: str) -> None:
    """The question is found in the log alone; its answer is what was allocated, to the digits printed."""
    log = log_of(name)
    question = asked(log)
    expected = re.sub(r"-(?:mtp-)?(?:BF16|Q4_1)$|-mtp$", "", log.model.file.removesuffix(".gguf"))
    assert question["model"].casefold().endswith(expected.casefold())
    rows = {row.name: row for row in compare(log, predicted(question), catalogue.rows(CAUSES))}
    assert rows["kv_cache"].agrees is True
    assert (rows["kv_cache"].difference_bytes, rows["kv_cache"].basis) == (
        rows["kv_cache"].predicted_bytes - rows["kv_cache"].logged_bytes,  # type: ignore[operator]
        "exact",
    )
    if "recurrent_state" in rows:
        assert rows["recurrent_state"].agrees is True or "states of a sequence" in rows["recurrent_state"].reason
    # The files in Q4_1 have it for every matrix, which is no recipe of llama.cpp's.
    odd = question["quant"] == "Q4_1"
    assert rows["weights"].agrees is not odd
    assert [row.name for row in disagreements(list(rows.values()))] in ([], ["weights"] if odd else [])


@pytest.mark.parametrize("name", OF_THE_ENGINE)
def test_an_unknown_model_is_answered_from_its_header(name: str) -> None:
    log = log_of(name)
    parts = {part.name: part.nbytes for part in parts_from_header(log)}
    for part in ("kv_cache", "recurrent_state"):
        found = log.part(part)
        assert (part in parts) == (found is not None)
        assert found is None or found.figure.holds(parts[part])


def rows_of(name: str) -> dict[tuple[str, str], Row]:
    log = log_of(name)
    rows = compare(log, predicted(asked(log)), catalogue.rows(CAUSES))
    return {(row.name, row.where): row for row in rows}


def test_mappings_of_one_file_that_overlap_are_not_added() -> None:
    """The GPU maps 5,133.75 MiB, the CPU 545.62 of the same file, whose tensors are 5.01 GiB; CUDA copies its own."""
    weights = rows_of("metal-b8999-qwen3.5-9b")["weights", ""]
    assert weights.logged_bytes == round(5133.75 * MIB)
    around = rows_of("metal-perplexity-qwen3.5-27b-q8_0")["weights", ""]
    assert (around.logged_bytes, around.agrees) == (round(27260.56 * MIB), True)
    apart = rows_of("cuda-qwen3.6-35b-a3b")["weights", ""]
    assert abs((apart.logged_bytes or 0) - round((19871.2 + 515.31) * MIB)) <= 1
    inside = rows_of("llama-cli-b9010")["weights", ""]
    assert (inside.agrees, inside.reason) == (
        True,
        "the CPU's mapping of 304.28 MiB is of tensors that the GPU's has too",
    )


def test_known_causes_are_named() -> None:
    rows = rows_of("cuda-qwen3.6-35b-a3b")
    assert rows["compute", "device"].reason.startswith("another backend than Metal")
    assert rows_of("vulkan-mtp")["recurrent_state", ""].reason in ("", "it keeps 3 states of a sequence each")
    assert rows_of("llama-server-10")["compute", "host"].agrees is True
    assert rows_of("llama-server-08")["draft_compute", ""].reason.startswith("it ran on the CPU alone")
    said = rows_of("lmstudio-fit-35b")
    assert (said["kv_cache", ""].predicted_bytes, said["kv_cache", ""].logged_bytes) == (20_480 * 152_576,) * 2
    assert rows_of("server-vision")["vision", ""].reason == "not predicted"
    old = {row.name: row for row in verify(str(FOLDER / "metal-2025-04-init.log")).rows_by_part}["kv_cache"]
    assert (old.difference_bytes or 0) < 0
    assert "layers with a window" in old.reason


REASONS = {
    "made-cpu-qwen3-8b-q4_k_m": {
        "weights": "the CPU keeps 3199.50 MiB of them once more",
        "compute": "it ran on the CPU",
    },
    "made-cpu-qwen3.5-0.8b-no-mapping": {"compute": "it ran on the CPU alone"},
    "made-cpu-glm-4.5-air-mtp-unused": {"weights": "2297.68 MiB of MTP layers", "compute": "it ran on the CPU alone"},
    "made-rpc-qwen3.5-2b-10-layers": {"weights": "the CPU keeps 374.48 MiB of them once more"},
    "made-rpc-gemma-3-1b-checkpoints": {"checkpoint": "it has headers too"},
    "made-rpc-qwen3.5-0.8b-mtp": {"checkpoint": "it has headers too"},
    "made-rpc-lfm2-8b-a1b-experts-kept": {"weights": "the CPU keeps 1008.00 MiB", "compute": ""},
    "made-rpc-qwen3-0.6b-q8_0": {},
    "made-rpc-gemma-3-1b-swa-full": {},
    "made-rpc-gemma-4-e2b-q4_k_m": {},
    "made-rpc-qwen3.5-0.8b-mtp-unused": {},
    "made-rpc-qwen3.5-0.8b-no-mapping": {},
    "made-rpc-qwen3-draft-model": {},
}


@pytest.mark.parametrize("name", REASONS)
def test_what_the_engine_logged_is_predicted_or_the_log_shows_why_not(name: str) -> None:
    """Types of files, layers and experts that are kept from the device, whole windows, pages in two buffers."""
    found = verify(str(FOLDER / f"{name}.log"))
    assert (found.exit_code, found.notes) == (0, [])
    different = {row.name: row.reason for row in found.rows_by_part if not row.agrees}
    assert different.keys() == REASONS[name].keys()
    assert all(reason.startswith(REASONS[name][part]) for part, reason in different.items())


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("name", ["llama-server-10", "made-server-gpt-oss-20b", "made-rpc-qwen3.5-0.8b-mtp-unused"])
def test_a_mebibyte_more_or_less_in_an_exact_part_is_found(name: str, change: int, tmp_path: Path) -> None:
    """Whichever of the two lines says it that a log has of caches and states; and of weights in a known file."""
    text = (FOLDER / f"{name}.log").read_text(encoding="utf-8")
    lines = re.findall(r"^.*(?:(?:KV|RS|output|model) buffer |: )size = +\d{2,}\.\d+ MiB.*$", text, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        changed = re.sub(r"(size = +)([\d.]+)", lambda found: f"{found[1]}{float(found[2]) + change:.2f}", line)
        path = tmp_path / "changed.log"
        path.write_text(text.replace(line, changed), encoding="utf-8")
        assert verify(str(path)).exit_code == 1, changed


@pytest.mark.parametrize("name", ["ollama-0.12-llama-runner", "ollama-0.31-journald", "ollama-0.31-llama-server"])
def test_what_ollama_logs_of_its_engine_is_predicted_options_of_a_user_s_or_not(name: str) -> None:
    """Its engine logs the type of keys and of values, the micro-batch and more, none of which its users set so."""
    found = verify(str(FOLDER / f"{name}.log"))
    assert found.notes == []
    rows = {(row.name, row.where): row for row in found.rows_by_part}
    assert (rows["weights", ""].agrees, rows["kv_cache", ""].agrees) == (True, True)
    assert None not in {row.predicted_bytes for row in found.rows_by_part}


@pytest.mark.parametrize("name", ["llama-server-22", "made-server-gpt-oss-20b", "made-rpc-qwen3.5-2b-10-layers"])
def test_a_log_that_ends_anywhere_is_not_said_to_differ(name: str, tmp_path: Path) -> None:
    """Between two caches, after a trial's table, before it says that something drafts."""
    lines = (FOLDER / f"{name}.log").read_text(encoding="utf-8").splitlines(keepends=True)
    path, answered = tmp_path / "cut.log", 0
    for count in range(len(lines)):
        path.write_text("".join(lines[:count]), encoding="utf-8")
        try:
            assert verify(str(path)).exit_code == 0, lines[count - 1]
            answered += 1
        except InputError as error:
            assert "\n" not in str(error)
    assert 10 < answered < len(lines) - 50


WRAPPED: Mapping[str, Callable[[str], str]] = {
    "journald": lambda line: f"Nov 26 07:00:01 a-host llama-server[123]: {line}",
    "journald as JSON": lambda line: json.dumps({"_HOSTNAME": "a-host", "MESSAGE": line}),
    "Docker's file": lambda line: json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-11-26T07:00:01Z"}),
    "Docker Compose": lambda line: f"llama-1  | {line}",
    "timestamps": lambda line: f"2026-11-26T07:00:00.123456789Z {line}",
    "grep": lambda line: f"logs/server.log:12:{line}",
    "a logger": lambda line: f"INFO:runner:{line}",
    "brackets": lambda line: f"[2026-11-26 07:00:01] [llama-server] stderr: {line}",
    "quoted": lambda line: f"> {line}",
    "a tab": lambda line: f"\t{line}",
    "colours": lambda line: f"\x1b[38;5;244m{line}\x1b[0m\x1b[K",
    "Windows": lambda line: f"{line}\r",
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("name", ["metal-b8999-qwen3.5-9b", "made-rpc-gemma-3-1b-swa-full"])
def test_what_stands_around_an_engine_s_lines_changes_nothing(name: str, wrapped: Callable[[str], str]) -> None:
    lines = (FOLDER / f"{name}.log").read_text(encoding="utf-8").splitlines()
    assert read_log([f"{wrapped(line)}\n" for line in lines]) == read_log([f"{line}\n" for line in lines])


def test_what_says_nothing_of_memory_is_recognised_all_the_same() -> None:
    banner = ["build      : b10662-0c1e570", "model      : Qwen3.5-0.8B-Q4_K_M.gguf", "ftype      : Q4_K - Medium"]
    with pytest.raises(InputError, match=r"so far: llama-cli b10662, Qwen3.5-0.8B-Q4_K_M.gguf; it prints"):
        read_log(banner)
    command = ["$ build/bin/llama-fit-params -m ../models/Qwen3.5-0.8B-Q4_K_M.gguf -c 8192", "-c 8192 -ngl -1"]
    with pytest.raises(InputError, match=r"so far: llama-fit-params, Qwen3.5-0.8B-Q4_K_M.gguf; .* --fit-print on"):
        read_log(command)


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: gzip.compress(text.encode("utf-16")),
    ],
    ids=["PowerShell", "UTF-16 little", "UTF-16 big", "Windows", "gzip", "gzip of UTF-16"],
)
def test_a_log_says_the_same_however_it_is_written(written: Callable[[str], bytes], tmp_path: Path) -> None:
    plain = FOLDER / "llama-server-10.log"
    other = tmp_path / "other.log"
    other.write_bytes(written(plain.read_text(encoding="utf-8")))
    assert verify(str(other)).rows_by_part == verify(str(plain)).rows_by_part
    other.write_bytes(gzip.compress(plain.read_bytes())[:-20])
    with pytest.raises(InputError, match="a gzip file that is not whole"):
        verify(str(other))


def test_what_an_application_logs_comes_before_its_defaults(tmp_path: Path) -> None:
    """Ollama's users cannot set a micro-batch; its log has one all the same, and that is what was started."""
    text = (FOLDER / "ollama-0.31-llama-server.log").read_text()
    changed = tmp_path / "changed.log"
    changed.write_text(re.sub(r"(n_ubatch += )512", r"\g<1>256", text))
    found = [verify(str(path)) for path in (FOLDER / "ollama-0.31-llama-server.log", changed)]
    usual, half = ({(row.name, row.where): row.predicted_bytes for row in each.rows_by_part} for each in found)
    assert half["compute", "host"] < usual["compute", "host"]  # type: ignore[operator]
    assert half["kv_cache", ""] == usual["kv_cache", ""]


def test_several_devices_have_buffers_of_their_own(tmp_path: Path) -> None:
    text = (FOLDER / "made-rpc-qwen3-0.6b-q8_0.log").read_text(encoding="utf-8")
    (line,) = re.findall(r"^.*RPC0\S* compute buffer size.*\n", text, re.MULTILINE)
    (tmp_path / "two.log").write_text(text.replace(line, line + line.replace("RPC0[", "RPC1[")), encoding="utf-8")
    found = verify(str(tmp_path / "two.log"))
    reasons = {row.name: row.reason for row in found.rows_by_part if not row.agrees}
    assert (found.exit_code, reasons) == (0, {"compute": "it ran on 2 devices, each with buffers of its own"})


def test_a_checkpoint_is_one_of_the_states_that_drafting_keeps() -> None:
    log = log_of("llama-server-10")
    log = log._replace(settings=log.settings._replace(parallel=4, draft="mtp", draft_max=3))
    part = MemoryPart("recurrent_state", "", 16 * 20_201_472, 16 * 20_201_472, Basis.EXACT)
    log = log._replace(parts=[LoggedPart("checkpoint", Figure(20_201_472, 0))])
    (row,) = compare(log, [part], catalogue.rows(CAUSES))
    assert (row.name, row.predicted_bytes) == ("checkpoint", 20_201_472)


def test_every_cause_can_happen() -> None:
    for cause in catalogue.rows(CAUSES):
        log = EngineLog("llama-server", cause.runtime, build=cause.last_build)
        program = next(
            name
            for name in ("Ollama", "oMLX", "mlx_vlm", "mlx_lm.server", "llama-fit-params", "x")
            if cause.programs.search(name)
        )
        device = next(name for name in ("Metal", "CUDA", "CPU") if cause.devices.search(name))
        log = log._replace(program=program, mac=log.mac._replace(device=device))
        difference = {"more": -1, "less": 1}.get(cause.side, 1)
        assert all(cause.holds(log, part, cause.where or "device", difference) for part in cause.parts)
        assert not cause.holds(log, "something else", cause.where, difference)
        assert not cause.side or not cause.holds(log, cause.parts[0], cause.where, -difference)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("llama-server-04", "mlx-lm-generate", "of llama-server and of mlx_lm.generate; give the lines of one"),
        ("mlx-lm-generate", "mlx-lm-benchmark", "2 models in it, as --model names them"),
        ("ollama-0.31-llama-server", "llama-server-04", "'Qwen3 Coder 30B A3B Instruct' and 'Qwen3.5-0.8B'"),
        ("omlx-load-and-chat", "mlx-lm-generate", "2 models in it, 'Qwen3.5-9B-4bit' and 'Qwen3.8-27B-4bit'"),
        ("bench-markdown", "llama-server-04", "2 models in it, 'Qwen3.5-0.8B' and"),
        ("llama-server-04", "made-cpu-qwen3-8b-q4_k_m", "2 models in it, 'Qwen3.5-0.8B' and 'Qwen3 8B'"),
    ],
)
def test_two_logs_in_one_are_refused(first: str, second: str, said: str) -> None:
    texts = [(FOLDER / f"{name}.log").read_text(encoding="utf-8") for name in (first, second)]
    with pytest.raises(InputError, match=re.escape(said)):
        read_log("\n".join(texts).splitlines(keepends=True))


def test_more_context_than_a_model_was_trained_for_is_counted_as_it_was_logged() -> None:
    found = verify(str(FOLDER / "made-rpc-qwen3-0.6b-beyond-trained.log"))
    assert {row.name: row.agrees for row in found.rows_by_part if not row.agrees} == {}
    assert found.notes == ["81,920 tokens were asked for, the model was trained for 40,960"]
    assert found.log.settings.context_tokens == 81_920


def test_slots_with_caches_of_their_own_have_the_trained_context_each(tmp_path: Path) -> None:
    text = (FOLDER / "made-rpc-qwen3-0.6b-beyond-trained.log").read_text(encoding="utf-8")
    apart = text.replace("kv_unified            = true", "kv_unified            = false")
    path = tmp_path / "apart.log"
    path.write_text(apart.replace(" 81920 cells,  28 layers,  4/1 seqs", " 20480 cells,  28 layers,  4/4 seqs"))
    assert text != apart
    found = verify(str(path))
    assert (found.asked["context"], found.notes) == ("81920", [])
    assert {row.name: row.agrees for row in found.rows_by_part}["kv_cache"] is True


def test_what_a_log_shows_of_other_caches_and_drafts_is_named(tmp_path: Path) -> None:
    text = (FOLDER / "made-rpc-qwen3-draft-model.log").read_text(encoding="utf-8")
    before, after = text.split("loading draft model")
    packed = after.replace("896.00", "476.00").replace("K (f16):  448", "K (q8_0):  238").replace("V (f16)", "V (q8_0)")
    path = tmp_path / "other.log"
    path.write_text(before + "loading draft model" + packed, encoding="utf-8")
    found = verify(str(path))
    (row,) = [row for row in found.rows_by_part if not row.agrees]
    assert (row.name, row.reason) == ("draft_kv_cache", "its types are q8_0/q8_0, as -ctkd and -ctvd choose them")
    assert (found.exit_code, row.predicted_bytes, row.logged_bytes) == (0, 896 * MIB, 476 * MIB)
    path.write_text(before + "loading draft model" + packed.replace("476.00", "477.00"), encoding="utf-8")
    assert verify(str(path)).exit_code == 1


def test_a_report_for_ci_has_a_case_for_each_figure(tmp_path: Path) -> None:
    text = (FOLDER / "llama-server-10.log").read_text(encoding="utf-8")
    changed = tmp_path / "changed.log"
    changed.write_text(text.replace("KV buffer size =   384.00 MiB", "KV buffer size =   385.00 MiB"), encoding="utf-8")
    right, wrong = (verify(str(path)).document().cases for path in (FOLDER / "llama-server-10.log", changed))
    assert {(case.group, bool(case.failure)) for case in right} == {("Qwen3.5-0.8B", False)}
    assert [case.name for case in right] == [case.name for case in wrong]
    assert [(case.name, case.failure) for case in wrong if case.failure] == [
        ("kv_cache", f"predicted {384 * MIB} bytes, logged {385 * MIB}")
    ]


def test_a_log_without_memory_says_how_to_get_one() -> None:
    found = verify(str(FOLDER / "server-quiet.log"))
    assert found.exit_code == 0
    assert "Not compared: nothing in it can be held against the prediction." in str(found)
    assert "--log-verbosity 4" in str(found)


def test_speeds_beside_the_predicted_interval() -> None:
    log = log_of("metal-2025-02-llama-init")
    decode, prefill = compare_speeds(log, Rate(50.0, 40.0, 60.0), Rate(900.0, 700.0, 1100.0))
    assert (decode.logged_tps, decode.agrees, prefill.logged_tps, prefill.agrees) == (49.61, True, 1278.05, False)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("metal-b8999-qwen3.5-9b", {"model": "Qwen3.5-9B", "mac": "M4 Pro 24", "macos": "15", "context": "262144"}),
        ("metal-perplexity-qwen3.5-27b-q8_0", {"quant": "Q8_0", "parallel": "4", "mac": "M5 Max 128", "macos": "26"}),
        ("metal-qwen3.6-35b-a3b-32768", {"quant": "unsloth:UD-Q4_K_M", "mac": "M1 Max 64", "kv_type_k": "f16"}),
        ("llama-server-08", {"mtp": "true", "parallel": "4", "kv_unified": "true"}),
        ("ollama-0.31-llama-server", {"model": "Qwen3-Coder-30B-A3B", "mac": "M1 Max 32", "ubatch": "512"}),
        ("bench-markdown", {"model": "Qwen3.5-27B", "mac": "M5 Max 48", "kv_type_v": "q8_0", "ubatch": "2048"}),
        (
            "mlx-lm-benchmark",
            {"runtime": "mlx", "model": "Qwen3-4B-2507", "quant": "mlx-community:4bit", "context": "2176"},
        ),
        ("mlx-vlm-generate", {"vision": "true", "quant": "mlx-community:8bit"}),
        ("lmstudio-fit-35b", {"runtime": "mlx", "model": "Qwen3.6-35B-A3B", "context": "152576", "mac": "48"}),
    ],
)
def test_the_question_is_found_in_the_log(name: str, wanted: Mapping[str, str]) -> None:
    question = asked(log_of(name))
    assert {key: question.get(key) for key in wanted} == wanted


def test_a_name_does_not_make_a_model() -> None:
    """Phi-3.5-mini has the width and depth of Phi-4-mini, and other heads; a name that lies is found out."""
    assert find_model(log_of("metal-2024-phi-3.5-mini"), catalogue.models()).model is None
    log = log_of("llama-server-04")
    lying = log._replace(model=log.model._replace(file="Qwen3.5-9B-Q4_K_M.gguf", name="Qwen3.5-9B"))
    found = find_model(lying, catalogue.models())
    assert found.model is not None
    assert found.model.name == "Qwen3.5-0.8B"
    assert found.reason.startswith("taken for Qwen3.5-0.8B: its numbers are those of the log's")


def test_what_is_contributed_is_judged_as_it_was_logged() -> None:
    models, rules = catalogue.models(), catalogue.rows(RULES)
    compared = 0
    for name in NAMES:
        log = log_of(name)
        question = {"mac": "M4 Max 64", **asked(log)}
        if "model" not in question:
            continue
        log = log._replace(mac=log.mac._replace(device="Metal"))
        try:
            rows = contribution(log, question, "a log")
        except InputError as error:
            assert "nothing was measured in it" in str(error)
            continue
        known = left_out(rows, rules, models, catalogue.rows(MACS), catalogue.rows(LIMITS), find_quant)
        assert all(reasons for reasons in known.values())
        if "memory_logs.csv" not in rows or "memory_logs.csv" in known:
            continue
        judged, nothing = judged_logs(LOGS.rows(csv_text(rows["memory_logs.csv"]), name), rules, models, find_quant)
        assert nothing == {}
        for check in check_logs(judged)[0]:
            part = {"compute_buffer": "compute"}.get(check.what, check.what)
            found = log.part(part, "device" if part == "compute" else "")
            assert found is not None
            assert abs(check.logged.measured_bytes - found.figure.nbytes) <= max(1, found.figure.above_bytes)
            compared += 1
    assert compared > 40


def test_what_no_mac_s_gpu_measured_cannot_be_contributed() -> None:
    for name, said in (("cuda-qwen3.6-35b-a3b", "it ran on CUDA"), ("lmstudio-fit-35b", "nothing was measured in it")):
        log = log_of(name)
        with pytest.raises(InputError, match=said):
            contribution(log, {"mac": "M4 Max 64", **asked(log)}, "a log")


def test_a_log_that_says_too_little_cannot_be_contributed() -> None:
    log = log_of("fit-print-metal")
    with pytest.raises(InputError, match=r"^log: no model of the catalogue is in it; recognised: llama-fit-params"):
        contribution(log, asked(log), "a log")
    log = log_of("mlx-lm-benchmark")
    with pytest.raises(InputError, match=r"^log: neither the Mac's chip nor its memory is in it"):
        contribution(log, asked(log), "a log")


START = (FOLDER / "llama-server-00.log").read_text(encoding="utf-8")
OTHER = (FOLDER / "made-server-llama-3.1-8b.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "log: empty; give what llama-server, llama-cli"),
        ("\n", "log: nothing in it that llama-server"),
        ("vllm INFO: Loading weights took 3.1 seconds\n", "log: nothing in it that llama-server"),
        ("\x00\x01\x02ELF" * 400, "log: nothing in it that llama-server"),
        (
            START[: START.index("llama_context: constructing")],
            "log: it ends before the caches are made; recognised so far:",
        ),
        (START + OTHER, "log: 2 models in it, 'Qwen3.5-0.8B' and 'Llama-3.1-8B'; give the lines of one"),
        (
            (FOLDER / "bench-csv.log").read_text(encoding="utf-8").replace("Qwen3.5-9B-Q8_0", "x", 1),
            "log: 2 models in it, 'x.gguf' and 'Qwen3.5-9B-Q8_0.gguf'; give the rows of one",
        ),
    ],
)
def test_what_is_no_log_is_said_in_a_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_log(io.StringIO(text))
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_a_log_that_breaks_off_says_what_was_recognised() -> None:
    with pytest.raises(InputError, match=r"recognised so far: llama-server, Qwen3.5-0.8B, weights 1436.03 MiB"):
        read_log(io.StringIO(START[: START.index("llama_context: constructing")]))


@pytest.mark.parametrize("cut", range(2_000, len(START), 1_500))
def test_a_log_that_is_cut_anywhere_is_read_or_refused(cut: int) -> None:
    try:
        log = read_log(io.StringIO(START[:cut]))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert log.parts or log.speeds


def test_fifty_megabytes_take_seconds_at_most() -> None:
    """The aim is 2 seconds on a quiet machine; here it is the processor's own time, of a fifth of it."""
    talk = OTHER + "slot update_slots: id  0 | task 7 | n_tokens = 12, memory_seq_rm [12, end)\n" * 140_000
    assert len(talk) > 10 * MIB
    start = time.process_time()
    assert read_log(io.StringIO(talk)).program == "llama-server"
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "line",
    [
        "llama_context: " + "a" * 10**6 + " buffer size = 1.00 MiB",
        "load_tensors: " + "MTL0 " * 10**5 + "model buffer size = 1.00 MiB",
        "print_timing: prompt eval time = 1.00 ms / 3 tokens (" + "9" * 10**5,
        "llama_kv_cache: size = "
        + "9" * 5_000
        + ".00 MiB ( 1 cells, 1 layers, 1/1 seqs), K (f16): 1 MiB, V (f16): 1 MiB",
        "common_memory_breakdown_print: |   - " + "MTL0 (" * 10**4 + "| 1 = 1 + 1 + 1 |",
        'time=x level=INFO source=x msg="' + "a=" * 10**5,
        "[" * 10**5 + "]: " * 1000,
        '{"build_commit": ' + "[" * 10**5,
        '{"msg": ' + "[" * 10**5,
        "| " + "|" * 10**5,
        "models--" * 10**4,
        "Peak memory: " + "9" * 10**5 + ".0 GB",
    ],
)
def test_hostile_lines_cost_little_and_break_nothing(line: str) -> None:
    text = (line + "\n") * max(1, 2**22 // len(line))
    start = time.process_time()
    try:
        assert len(repr(read_log(io.StringIO(text)))) < 10 * MOST_CHARACTERS * 100
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 2_000
    assert time.process_time() - start < 5


LINES = [line for name in NAMES for line in (FOLDER / f"{name}.log").read_text(encoding="utf-8").splitlines() if line]


@FEW
@given(st.lists(st.tuples(st.sampled_from(LINES), st.integers(0, 200), st.text(max_size=9)), max_size=40))
def test_lines_in_any_order_and_with_anything_in_them_break_nothing(mixed: Sequence[tuple[str, int, str]]) -> None:
    lines = [line[:at] + odd.replace("\n", " ") + line[at:] for line, at, odd in mixed]
    try:
        log = read_log(lines)
    except InputError as error:
        assert "\n" not in str(error)
        return
    question = asked(log)
    compare(log, parts_from_header(log), catalogue.rows(CAUSES))
    assert question["runtime"] == log.runtime


def test_a_program_is_a_file_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(reading.__file__).parent / "programs"
    assert set(programs()) == {path.stem for path in folder.glob("*.py")} - {"__init__"}

    parts = log_of("mlx-lm-generate-plain").parts

    def read(lines: Sequence[object]) -> EngineLog | None:
        return EngineLog("dummy", "mlx", parts=parts) if lines else None

    dummy = SimpleNamespace(WORDS={"dummyengine"}, STARTS=(), MARKS=(), ORDER=9, read=read)
    monkeypatch.setattr(reading, "programs", lambda: {"dummy": dummy})
    assert read_log(["12:00 dummyengine: ready at last"]).program == "dummy"
