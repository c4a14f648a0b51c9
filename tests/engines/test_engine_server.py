"""Opt-in (`pytest -m engine`): the real llama-server, started with random settings, logs what `fit` says of the file.

Architectures with and without MTP layers, cut to a few layers so that a start takes seconds; the files hold a header
only. The server has one device, the CPU's kernels behind a socket, as none at hand has Metal's scratch. It answers one
prompt, for some buffers and all checkpoints are made then. Where layers or experts are kept from the device the compute
buffers are an estimate, and only their upper bound is held. How much is asked: DEPLOYFIT_STARTS, DEPLOYFIT_SEED.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from conftest import run

from deployfit.catalogue import models
from deployfit.formats.gguf import GgufSource
from deployfit.formats.gguf_recipes import typed_classes
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.feed import Experts
from deployfit.quants.gguf import gguf_recipes
from deployfit.questions.verify import verify

pytest.importorskip("gguf", reason="gguf: not installed here (pip install gguf)")

import llama_server
from gguf_header import StoredTensor, source_tensors, stored_tensors, write_typed

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        llama_server.server() is None, reason=f"llama-server: not on the path; {llama_server.VARIABLE} names it"
    ),
]

STARTS = int(os.environ.get("DEPLOYFIT_STARTS", "60"))
SEED = int(os.environ.get("DEPLOYFIT_SEED", "14"))
HEADERS, HEADERS_PER_TOKEN = 2048, 24  # of a checkpoint: what is in it, and of which tokens
NAMES = (
    "Qwen3.5-0.8B",
    "Qwen3.5-4B",
    "Qwen3.5-35B-A3B",
    "Qwen3-Next-80B-A3B",
    "GLM-4.5-Air",
    "Nemotron-3-Nano-30B-A3B",
    "Qwen3-0.6B",
    "Qwen3-30B-A3B",
    "gpt-oss-20b",
    "Gemma-3-1B",
    "Gemma-4-E4B",
    "Llama-3.2-1B",
    "Llama-4-Scout",
    "GLM-4.7-Flash",
    "Kimi-Linear-48B-A3B",
    "Granite-4.0-H-Tiny",
    "LFM2-1.2B",
    "LFM2-8B-A1B",
    "Phi-4-mini",
    "Ministral-3-3B",
)
EXPERTS = 4  # of a mixture, or as many as are used, so that its file is small
MOST_BYTES = 1_000_000_000


class Asked(NamedTuple):
    """A start: the file's model, and how it is started, in deployfit's words."""

    name: str
    blueprint: Blueprint
    words: Sequence[str]


def cut(blueprint: Blueprint, layers: int, vocab: int) -> Blueprint:
    """Return a model of the first layers, at least so many that each kind of mixer is there."""
    mixers = [layer.mixer for layer in blueprint.layers]
    attention = next(i for i, mixer in enumerate(mixers) if isinstance(mixer, Attention | LatentAttention))
    full = next((i for i, m in enumerate(mixers) if isinstance(m, Attention) and not m.window), attention)
    kept = blueprint.layers[: max(layers, attention + 1, full + 1)]

    def smaller(layer: Any) -> Any:
        feed = layer.feed
        if isinstance(feed, Experts) and feed.count > EXPERTS:
            feed = feed._replace(count=max(EXPERTS, feed.used))
        return layer._replace(feed=feed)

    return blueprint._replace(
        vocab=vocab,
        per_layer_vocab=min(blueprint.per_layer_vocab, vocab),
        layers=tuple(map(smaller, kept)),
        drafts=tuple(draft._replace(layer=smaller(draft.layer)) for draft in blueprint.drafts),
    )


def random_start(random: Random) -> Asked:
    name = random.choice(NAMES)
    blueprint = cut(models()[name].blueprint, random.randint(3, 9), random.choice((4096, 5003, 32_000)))
    while sum(tensor.nbytes for tensor in tensors_of(blueprint)) > MOST_BYTES:
        name = random.choice(NAMES)
        blueprint = cut(models()[name].blueprint, random.randint(2, 5), 4096)
    words = ["--context", str(random.choice((2048, 4096, 8192, 10_000, 16_384, 40_000)))]

    def perhaps(share: float, *options: Any) -> None:
        if random.random() < share:
            words.extend(map(str, options))

    most = 6 if blueprint.gguf_architecture != "kimi-linear" else 1  # whose batch must divide
    perhaps(0.5, "--parallel", random.randint(1, most))
    perhaps(0.3, random.choice(("--kv-unified", "--no-kv-unified")[: 1 + (most > 1)]))
    perhaps(0.4, "--ubatch", random.choice((32, 100, 256, 512, 700, 1024)))
    perhaps(0.2, "--batch", random.choice((256, 512, 1000, 2048, 4096)))
    flash = random.random() < 0.8
    if not flash:
        words += ["--flash-attn", "off"]
    # A published Kimi-Linear says nothing of its values' length and is refused; these files do.
    quantized = flash and blueprint.gguf_architecture != "kimi-linear"
    kv_types = ("f16", "bf16", "q8_0", "q4_0", "q5_1") if quantized else ("f16", "bf16")
    perhaps(0.4, "--kv-type", random.choice(kv_types))
    perhaps(0.15, "--swa-full")
    perhaps(0.2, "--ctx-checkpoints", random.choice((1, 8)))
    if blueprint.drafts and random.random() < 0.6:
        words.append("--mtp")
        perhaps(0.6, "--draft-max", random.randint(1, 6))
    # The engine counts an MTP layer of the file among the layers although nothing drafts with it; `fit` does not. Where
    # that layer itself stays behind, so do its cache and buffers, which `fit` counts as the device's.
    if not blueprint.drafts or "--mtp" in words:
        perhaps(0.15, "--gpu-layers", random.randint(1 + len(blueprint.drafts), len(blueprint.layers)))
    if blueprint.experts:
        perhaps(0.15, "--n-cpu-moe", random.randint(1, len(blueprint.layers)))
    return Asked(name, blueprint, words)


PARTS = {
    (0, "model"): ("weights", "draft_weights"),
    (0, "KV"): ("kv_cache",),
    (0, "RS"): ("recurrent_state",),
    (0, "compute"): ("compute",),
    (0, "output"): ("output",),
    (1, "model"): ("draft_weights",),
    (1, "KV"): ("draft_kv_cache",),
    (1, "RS"): ("draft_state",),
    (1, "compute"): ("draft_compute",),
    (1, "output"): ("draft_output",),
}


@pytest.fixture
def device() -> Iterator[str]:
    if llama_server.device() is None:
        pytest.skip(f"{llama_server.DEVICE}: neither beside llama-server nor on the path")
    with llama_server.devices() as address:
        yield address


def tensors_of(blueprint: Blueprint) -> list[StoredTensor]:
    return source_tensors(GgufSource(blueprint, drafts=bool(blueprint.drafts)))


def write(asked: Asked, file: Path) -> None:
    mtp = bool(asked.blueprint.drafts)
    write_typed(asked.blueprint, file, tensors_of(asked.blueprint), mtp=mtp, vocabulary=True)


class Fitted(NamedTuple):
    """What deployfit says: the row, and the command that starts the server."""

    row: Mapping[str, Any]
    command: Sequence[str]


def fitted(file: Path, words: Sequence[str]) -> Fitted | str:
    """Return what deployfit says of a file, or why it says nothing."""
    question = ["fit", str(file), "--app", "llama-server", "--mac", "512", *words, "--load-mode", "none"]
    done = run(*question, "--format", "json")
    if done.returncode:
        return done.stderr
    shown = run(*question).stdout.replace("\\\n", " ")
    command = re.search(r"^Run it +llama-server (.*)$", shown, re.MULTILINE)
    assert command, shown
    return Fitted(json.loads(done.stdout)["rows"][0], shlex.split(command[1]))


def window_of(blueprint: Blueprint) -> int:
    """Return how many tokens layers with a window see, 0 where a checkpoint is a state or there is none."""
    mixers = [layer.mixer for layer in blueprint.layers]
    return max((mixer.window or mixer.chunk for mixer in mixers if isinstance(mixer, Attention)), default=0)


def prompt_of(asked: Asked) -> range:
    """Return a prompt that a slot has room for, if it has a cache of its own, and that fills short windows."""
    words = list(asked.words)
    slots = int(words[words.index("--parallel") + 1]) if "--parallel" in words else 4
    tokens = min(window_of(asked.blueprint), 512) + 40
    return range(2, 2 + min(tokens, int(words[1]) // slots - 64))


def differences(row: Mapping[str, Any], log: llama_server.Log, window: int) -> list[object]:
    """Return where the log and the parts of a row are not equal, as the log prints sizes."""
    wrong: list[object] = []
    for (context, kind, where), printed in log.sizes.items():
        names = PARTS[context, kind]
        if (1, "model", where) in log.sizes and context == 0:  # else MTP layers are in the model's own file
            names = tuple(name for name in names if name != "draft_weights")
        parts = [part for part in row["parts"] if part["where"] == where and part["name"] in names]
        nbytes = sum(part["bytes"] for part in parts)
        scratch = [part for part in row["parts"] if part["name"] == "metal_scratch" and kind == "compute"]
        most = sum(part["upper_bytes"] for part in (*parts, *scratch) if part["where"] == where)
        estimated = {part["basis"] for part in parts if part["name"] == "compute"} == {"assumed"}
        if not printed.is_of(min(round(printed.mib * 2**20), most) if estimated else nbytes):
            wrong.append((context, kind, where, printed.mib, round(nbytes / 2**20, 3)))
    for tokens, printed in log.checkpoints:
        seen = min(1.0, tokens / window) if window else 1.0
        nbytes = int(row["checkpoint_bytes"] * seen) + row["checkpoint_bytes_per_token"] * tokens
        if not printed.is_of(nbytes, HEADERS + HEADERS_PER_TOKEN * tokens):
            wrong.append(("checkpoint", tokens, printed.mib, nbytes / 2**20))
    return wrong


def starts() -> list[Asked]:
    random = Random(SEED)
    return [random_start(random) for _ in range(STARTS)]


@pytest.mark.parametrize("asked", starts(), ids=lambda asked: f"{asked.name} {' '.join(asked.words)}")
def test_the_servers_log_says_the_same(asked: Asked, device: str, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write(asked, file)
    said = fitted(file, asked.words)
    assert isinstance(said, Fitted), said
    log = llama_server.started(said.command, file.with_suffix(".log"), rpc=device, prompt=prompt_of(asked))
    file.unlink()
    assert log.ran, log.text[-2000:]
    assert differences(said.row, log, window_of(asked.blueprint)) == []


WHOLE = {
    "Qwen3-0.6B Q4_0": ["-c", "8192", "-np", "2", "-ctk", "q8_0", "-ctv", "q8_0", "-ub", "200"],
    "Qwen3-0.6B Q4_K_M": ["-c", "4096", "-np", "1", "-fa", "off", "--load-mode", "none"],
    "Gemma-3-1B Q8_0": ["-c", "16384", "--swa-full"],
    "Qwen3.5-0.8B Q4_K_M": ["-c", "16384", "-np", "2", "--spec-type", "draft-mtp", "--spec-draft-n-max", "4"],
    "Gemma-4-E2B Q4_K_M": ["-c", "32768", "-np", "2", "--kv-unified"],
}


@pytest.mark.parametrize("named", WHOLE)
def test_verify_finds_the_question_in_the_log_and_no_difference(named: str, device: str, tmp_path: Path) -> None:
    """Models of the catalogue, whole; a change of a mebibyte in what is exact is found."""
    name, recipe = named.split()
    blueprint = models()[name].blueprint
    mtp = bool(blueprint.drafts)
    typed = typed_classes(gguf_recipes()[recipe], GgufSource(blueprint, drafts=mtp), imatrix=False)
    file = tmp_path / f"{name}-{recipe}.gguf"
    write_typed(blueprint, file, stored_tensors(typed), mtp=mtp, vocabulary=True)
    log = llama_server.started(["-m", file.name, *WHOLE[named]], file.with_suffix(".log"), rpc=device)
    assert log.ran, log.text[-2000:]
    found = verify(str(file.with_suffix(".log")))
    assert found.asked["model"] == name
    assert found.asked["quant"].rpartition(":")[2] == recipe
    assert [row for row in found.rows_by_part if not row.agrees] == []
    changed = re.sub(r"(KV buffer size = +)(\d+)", lambda size: f"{size[1]}{int(size[2]) + 1}", log.text, count=1)
    (tmp_path / "changed.log").write_text(changed)
    assert verify(str(tmp_path / "changed.log")).exit_code == 1


DRAFTER, RECIPE = "Qwen3-0.6B", "Q4_0"


@pytest.mark.parametrize(
    "words",
    [
        ["--context", "4096"],
        ["--context", "8192", "--parallel", "2", "--ubatch", "256", "--kv-type", "q8_0"],
        ["--context", "10000", "--parallel", "3", "--kv-unified", "--draft-max", "5", "--flash-attn", "off"],
    ],
    ids=" ".join,
)
def test_a_model_that_drafts(words: Sequence[str], device: str, tmp_path: Path) -> None:
    drafter = models()[DRAFTER].blueprint
    recipe = typed_classes(gguf_recipes()[RECIPE], GgufSource(drafter, drafts=False), imatrix=False)
    write_typed(drafter, tmp_path / f"{DRAFTER}-{RECIPE}.gguf", stored_tensors(recipe), mtp=False, vocabulary=True)
    asked = Asked(DRAFTER, cut(drafter, 4, drafter.vocab), words)
    file = tmp_path / "model.gguf"
    write(asked, file)
    said = fitted(file, [*words, "--draft-model", f"{DRAFTER}:{RECIPE}"])
    assert isinstance(said, Fitted), said
    log = llama_server.started(said.command, file.with_suffix(".log"), rpc=device, prompt=prompt_of(asked))
    assert log.ran, log.text[-2000:]
    assert (1, "KV", "device") in log.sizes
    assert differences(said.row, log, 0) == []
