"""The peers: what is installed, what is run, and where the answer stands in what it prints.

All of them were read by hand once: what their figures hold, and whether their GB are 10^9 bytes or GiB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from peers_questions import CACHE, CONTEXTS, F16, GB, GIB, MLX, TOTAL, WEIGHTS, Question

from deployfit.catalogue import models


class NoAnswer(Exception):
    """Why a peer does not answer."""


Reader = Callable[[str, Question], int]


class Peer(NamedTuple):
    """A command line in which names in braces are filled in, and what reads the bytes out of its output.

    `includes` says what its figure holds; `code` is run where its own command needs the network; `prepare` is
    run once, with what the Hub says about the models; `skip` is why it is left out unless it is asked for.
    """

    packages: tuple[str, ...]
    answers: tuple[str, ...]
    command: str
    read: Reader
    includes: str
    code: str = ""
    kv_types: tuple[str, str] = F16
    longest: int = CONTEXTS[-1]
    too_long: str = ""
    exit_codes: tuple[int, ...] = (0,)
    prepare: str = ""
    skip: str = ""

    @property
    def is_npm(self) -> bool:
        """Whether it comes from npm."""
        return "==" not in self.packages[0]

    @property
    def name(self) -> str:
        """Its name without the version."""
        return self.packages[0].partition("==")[0] if not self.is_npm else self.packages[0].rpartition("@")[0]

    @property
    def title(self) -> str:
        """Its name and version, and whether its function was called in place of its command."""
        version = re.split("==|@", self.packages[0])[-1]
        return f"{self.name} {version}" + (" (function)" if self.code else "")

    def is_about(self, question: Question) -> bool:
        """Return whether this is what it answers."""
        return question.asked in self.answers and question.kv_types == self.kv_types

    def words(self, question: Question, folder: Path, programs: Path) -> list[str]:
        """Return the command for a question."""
        if question.context > self.longest:
            raise NoAnswer(self.too_long)
        fields = {
            "gguf": folder / f"{question.model}-{question.quant}.gguf",
            "model": folder / question.model,
            "hub": models()[question.model].row.hub_repo,
            "context": question.context,
            "quant": "mlx-4bit" if question.quant == MLX else question.quant,
            "lower": question.quant.lower(),
            "code": self.code,
        }
        program, *arguments = self.command.split()
        return [str(programs / program), *(word.format_map(fields) for word in arguments)]


def figure(pattern: str, unit: int) -> Reader:
    def read(text: str, _question: Question) -> int:
        found = re.search(pattern, text)
        if found is None:
            raise NoAnswer(f"nothing like {pattern} in its answer")
        return round(float(found[1]) * unit)

    return read


def from_json(pick: Callable[[Any, Question], float], unit: int = 1) -> Reader:
    return lambda text, question: round(pick(json.loads(text), question) * unit)


def llmfit(answer: Any, question: Question) -> float:
    if question.asked == WEIGHTS:
        return float(answer["disk_size_gb"]) * GB
    return float(answer["minimum"]["vram_gb"]) * GIB


def ridgepoint(answer: Any, question: Question) -> float:
    sequence = float(answer["capacity"]["bytes_per_seq"])
    rest = [float(answer["memory"][part]["best"]) for part in ("weights_bytes", "overhead_bytes")]
    return sequence if question.asked == CACHE else sum(rest, sequence)


def caniarun(answer: Any, question: Question) -> float:
    (model,) = [each for each in answer["models"] if each["id"] == question.model.lower()]
    return float(model["quants"][question.quant]["vram_gb"])


def vramscout(answer: Any, _question: Question) -> float:
    return sum(float(size) for part, size in answer["parts_gib"].items() if "KV" in part or "state" in part)


def oldiron(answer: Any, question: Question) -> float:
    plan = answer["plan"]
    chosen = (plan["cache_type_k"], plan["cache_type_v"])
    if chosen != question.kv_types:
        raise NoAnswer(f"chooses the KV types by the machine that it runs on, here {' '.join(chosen)}")
    return float(plan["kv_cache"])


def fitlab(text: str, question: Question) -> int:
    listed = question.model.replace("3.5-27B", "3.6-27B")  # the successor has the same geometry
    return figure(rf"Qwen/{re.escape(listed)} +│ +[\d.]+B +│ +([\d.]+) ", GB)(text, question)


HF_MEM = """
import sys
from hf_mem.gguf.metadata import parse_gguf_metadata
with open(sys.argv[1], "rb") as file:
    header = file.read(1_000_000)
found = parse_gguf_metadata(header, experimental=True, max_model_len=int(sys.argv[2]))
print("bytes", found.bytes_count + found.kv_cache.cache_size)
"""
KVFIT = """
import json, sys
from kvfit.architectures import estimate_cache
with open(sys.argv[1]) as file:
    print("bytes", int(estimate_cache(json.load(file), context_tokens=int(sys.argv[2])).total_bytes))
"""
WHICHLLM_CACHE = """
import json, sys
from whichllm.models.cache import save_cache
from whichllm.models.fetcher import models_to_dicts
from whichllm.models.parser import _parse_model
save_cache(models_to_dicts([_parse_model(json.load(open(path))) for path in sys.argv[1:]]))
"""

PEERS = [
    Peer(
        packages=("node-llama-cpp@3.22.1",),
        answers=(TOTAL,),
        command="node-llama-cpp inspect estimate {gguf} --contextSize {context} --gpu false",
        read=figure(r"RAM usage: ([\d.]+)GB", GIB),
        includes="weights, KV cache, state, compute buffers of the CPU backend, and equal to that backend's own where"
        " the engine's row here is a GPU-like device's; its GB are GiB. It ships llama.cpp; the estimator is its own",
    ),
    Peer(
        packages=("llmfit==1.1.17",),
        answers=(TOTAL, WEIGHTS),
        command="llmfit plan {hub} --context {context} --quant {quant} --json",
        read=from_json(llmfit),
        includes="weights (of all parameters, vision tower and MTP layer among them), KV cache, 0.5 for the rest. It"
        " adds weights in GB to a cache in GiB; the sum is read as GiB, in which it counts the memory of a machine (as"
        " GB it would be 7 % less). Nothing for reading a prompt in: 3 to 5 GiB of the engine's totals under MLX",
    ),
    Peer(
        packages=("ridgepoint==0.1.2",),
        answers=(TOTAL, CACHE),
        command="ridgepoint fit {hub} --engine llamacpp --dtype {lower} --ctx {context} --json",
        read=from_json(ridgepoint),
        includes="the sum of three of its figures: weights (of all parameters, vision tower and MTP layer among them),"
        " its best estimate of the overhead, which is CUDA's, and one sequence's cache; no recurrent state",
    ),
    Peer(
        packages=("whichllm==0.5.21", "typer==0.21.2"),  # its command does not start with typer 0.29
        answers=(TOTAL,),
        command="whichllm plan {hub} --context-length {context} --quant {quant} --json",
        read=from_json(lambda answer, question: answer["vram_by_quant"][question.quant]["vram_bytes"]),
        includes="weights by bits per weight (of all parameters, vision tower and MTP layer among them), KV cache by"
        " parameter count, activations that grow with the context, 0.5 GB. Its cache of the Hub is filled beforehand",
        prepare=WHICHLLM_CACHE,
    ),
    Peer(
        packages=("hf-mem==0.5.6",),
        answers=(TOTAL,),
        command="python -c {code} {gguf} {context}",
        read=figure(r"bytes (\d+)", 1),
        includes="weights (exact), a KV cache in every layer with heads of hidden size / heads; no state, no working"
        " memory. Its command wants the Hub",
        code=HF_MEM,
    ),
    Peer(
        packages=("@huggingface/gguf@0.4.6",),
        answers=(TOTAL,),
        command="gguf-view --context {context} {gguf}",
        read=figure(r"TOTAL +\| +([\d.]+) GB", GB),
        includes="weights (exact), a KV cache in every layer, as overhead 5 % of the weights and a cache of 256 tokens",
    ),
    Peer(
        packages=("modelinfo-cli==1.4.4",),
        answers=(TOTAL,),
        command="modelinfo --context {context} {gguf}",
        read=figure(r"~([\d.]+) GB Total", GIB),
        includes="weights by bits per weight of each tensor, a KV cache in every layer, 600 MiB; its GB are GiB",
    ),
    Peer(
        packages=("fitlab==0.1.1",),
        answers=(TOTAL,),
        command="fitlab check --gpu A100 --vram 80 --quant {quant} --ctx {context}",
        read=fitlab,
        includes="weights and 3 %, a KV cache in every layer, 0.9 GB; it counts in GB. For the 27B its row of"
        " Qwen3.6-27B, which has the same geometry",
        longest=CONTEXTS[0],
        too_long="offers contexts up to 32k",
    ),
    Peer(
        packages=("caniarun==0.2.0",),
        answers=(TOTAL,),
        command="caniarun scan --json --all-quants",
        read=from_json(caniarun, GIB),
        includes="one figure per quant out of a table, whatever the context; read as GiB, in which it counts the memory"
        " of a machine",
        longest=CONTEXTS[0],
        too_long="has no context to ask for: its one figure stands under 32k",
    ),
    Peer(
        packages=("kvfit==0.3.0",),
        answers=(CACHE,),
        command="python -c {code} {model}/config.json {context}",
        read=figure(r"bytes (\d+)", 1),
        includes="KV cache and state, the state's convolution in 16 bits (llama.cpp: 32). Its command wants the Hub",
        code=KVFIT,
    ),
    Peer(
        packages=("vramscout==0.7.0",),
        answers=(CACHE,),
        command="vramscout {model}/config.json --context {context} --dtype int4 --vram-gib 512 --json",
        read=from_json(vramscout, GIB),
        includes="two of its lines, KV and state; its weights and its total are of other formats and for CUDA",
    ),
    Peer(
        packages=("oldiron==0.1.0",),
        answers=(CACHE,),
        command="oldiron fit --json --ctx {context} {gguf}",
        read=from_json(oldiron),
        includes="a KV cache in every layer, no recurrent state; of types that it chooses by the machine it runs on",
        kv_types=("q8_0", "q4_0"),
        exit_codes=(0, 1),  # 1: does not fit this machine
    ),
    Peer(
        packages=("hf-vram-calc==1.0.9",),
        answers=(CACHE,),
        command="hf-vram-calc --model {hub} --model_path {model} --dtype int4 --max_seq_len {context}"
        " --output_json /dev/stdout",
        read=figure(r'"kv_cache_size_gib": ([\d.]+)', GIB),
        includes="a KV cache in every layer, with heads of hidden size / heads; no recurrent state",
        skip="brings PyTorch, 5.7 GB; asked with --only hf-vram-calc",
    ),
]
NOT_ASKED = {
    "gguf-parser-go": "a Go program, neither on PyPI nor on npm (gguf-parser on PyPI is another, and only reads files)",
    "llm-checker 3.8.1": "installs from npm, but without Ollama no command takes a model, a quant and a context",
}
