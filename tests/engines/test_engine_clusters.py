"""Opt-in (`pytest -m engine`): real engines on loopback split models as deployfit says.

Proved, where the programs are installed: two and three of llama.cpp's RPC servers get deployfit's layers, and its
planner gives deployfit's bytes for each within the MiB that it prints; two ranks of mlx-lm hold exactly deployfit's
bytes and layers, and refuse what deployfit refuses. Nothing is loaded: headers and shapes are enough.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployfit.catalogue import models
from deployfit.clusters import llamacpp_rpc, mlx_distributed
from deployfit.clusters.engine import PIPELINE, TENSOR, Asked
from deployfit.hardware.cluster import Cluster
from deployfit.models import Model
from deployfit.quants.gguf import gguf_recipes, gguf_weights
from deployfit.quants.mlx import mlx_weights
from deployfit.quants.shelf import mlx_recipes
from deployfit.questions.resolve import machine_of
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.runtimes.runtime import DEVICE, HOST
from deployfit.units import MIB

pytestmark = pytest.mark.engine

HERE = Path(__file__).parent
RPC_SERVER = shutil.which("ggml-rpc-server") or shutil.which("rpc-server")
PLANNER = shutil.which("llama-fit-params")
RPC_MODELS = ("Qwen3-0.6B", "Qwen3.5-27B", "Llama-3.3-70B", "Gemma-4-E4B", "LFM2-1.2B", "Phi-4", "Qwen3-VL-8B")
SHARES = ((1, 1), (3, 1), (1, 4), (1, 1, 1), (2, 1, 3))
STARTS = (LlamaCppSettings(4096), LlamaCppSettings(32768, "q8_0", "q8_0"), LlamaCppSettings(16384, ubatch=1024))


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def ended(processes: Sequence[subprocess.Popen[str]]) -> None:
    for each in processes:
        each.kill()
        each.communicate()


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    if not (RPC_SERVER and PLANNER):
        pytest.skip("llama.cpp's ggml-rpc-server and llama-fit-params are not installed here")
    ports = free_ports(3)
    processes = [
        subprocess.Popen(
            [RPC_SERVER, "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for port in ports
    ]
    try:
        for port in ports:
            wait_for(port)
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        ended(processes)


def wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"no server on {port}")


def planned(file: Path, servers: Sequence[str], shares: Sequence[int], start: LlamaCppSettings) -> list[list[int]]:
    """Return model, context and compute of each device and of the host, in the planner's MiB."""
    assert PLANNER
    words = [PLANNER, "-m", str(file), "--rpc", ",".join(servers), "-ts", ",".join(map(str, shares)), "-ngl", "999"]
    words += ["-c", str(start.context_tokens), "-fa", "on", "-ctk", start.kv_type_k, "-ctv", start.kv_type_v]
    words += ["-b", str(max(2048, start.ubatch)), "-ub", str(start.ubatch), "-np", "1", "--fit-print", "on"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(("RPC", "Host"))]
    return [list(map(int, sizes)) for _, *sizes in lines]


@pytest.mark.parametrize("shares", SHARES, ids=str)
@pytest.mark.parametrize("name", RPC_MODELS)
def test_llamacpp_plans_the_same_over_rpc(name: str, shares: Sequence[int], servers: list[str], tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf: not installed here (pip install gguf)")
    from gguf_header import write_header_only

    model, file = models()[name], tmp_path / "model.gguf"
    write_header_only(model.blueprint, file, mtp=False)
    weights = gguf_weights(model, gguf_recipes()["BF16"], imatrix=False, mtp=False)
    here = Cluster((machine_of("512"),) * len(shares))
    for start in STARTS:
        asked = Asked(model, here, start, PIPELINE, shares=tuple(map(float, shares)))
        division = llamacpp_rpc.ENGINE.division(asked, weights)
        running = llamacpp_rpc.ENGINE.running(asked, division, start)
        expected = []
        for loaded, parts in zip(division.loaded, running, strict=True):
            expected.append(sizes_of([*loaded, *parts], DEVICE))
        expected.append(sizes_of([*division.loaded[-1], *running[-1]], HOST))
        found = planned(file, servers[: len(shares)], shares, start)
        assert len(found) == len(expected)
        for printed, counted in zip(found, expected, strict=True):
            assert all(abs(a - b / MIB) <= 1 for a, b in zip(printed, counted, strict=True)), (printed, counted)
    file.unlink()


def sizes_of(parts: Sequence[Any], where: str) -> list[int]:
    groups = (("weights",), ("kv_cache", "recurrent_state"), ("compute",))
    return [sum(part.nbytes for part in parts if part.where == where and part.name in names) for names in groups]


class Ranks:
    """Two ranks of mlx-lm on loopback."""

    def __init__(self, folder: Path) -> None:
        hosts = folder / "hosts.json"
        hosts.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in free_ports(2)]))
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / "mlx_rank.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "MLX_RANK": str(rank),
                    "MLX_HOSTFILE": str(hosts),
                    "PYTHONPATH": str(HERE.parent.parent),
                },
            )
            for rank in range(2)
        ]

    def held(self, name: str, recipe: str, split: str) -> list[dict[str, Any]]:
        """Return what each rank says."""
        answers = []
        for each in self.processes:
            assert each.stdin
            each.stdin.write(f"{name} {recipe} {split}\n")
            each.stdin.flush()
        for each in self.processes:
            assert each.stdout
            line = next((line for line in each.stdout if line.startswith("{")), "")  # the library says things too
            assert line, "a rank ended"
            answers.append(json.loads(line))
        return answers


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    pytest.importorskip("mlx_lm", reason="engine mlx-lm: not installed here (pip install mlx-lm)")
    pytest.importorskip("mlx_vlm", reason="engine mlx-vlm: not installed here (pip install mlx-vlm)")
    started = Ranks(tmp_path_factory.mktemp("ranks"))
    try:
        yield started
    finally:
        ended(started.processes)


WRAPPED = ("ministral3", "mistral4")  # the catalogue's are published with a vision tower, as mistral3


def splittable() -> list[str]:
    """One model of each type that mlx-lm splits, the smallest."""
    by_type: dict[str, Model] = {}
    for name in models():
        model = models()[name]
        row = mlx_distributed.row_of(model)
        known = by_type.get(model.blueprint.model_type)
        if (
            model.blueprint.model_type not in WRAPPED
            and (row.tensor_at or row.pipeline_at)
            and (known is None or size(model) < size(known))
        ):
            by_type[model.blueprint.model_type] = model
    return [model.name for model in by_type.values()]


def size(model: Model) -> int:
    return len(model.blueprint.layers) * model.blueprint.hidden**2


@pytest.mark.parametrize("split", [TENSOR, PIPELINE])
@pytest.mark.parametrize("name", splittable())
def test_mlx_lm_splits_the_same_on_real_ranks(name: str, split: str, ranks: Ranks) -> None:
    model = models()[name]
    here = Cluster((machine_of("512"),) * 2)
    asked = Asked(model, here, MlxSettings(4096), split)
    engine = mlx_distributed.ENGINE
    refused = bool(engine.why_not(model, split, 2))
    for recipe in ("bf16", "q4_g64", "q8_g32", "mxfp4"):
        found = ranks.held(name, recipe, split)
        weights = mlx_weights(model, mlx_recipes()[recipe], vision=False)
        if refused or engine.why_not_weights(asked, weights):
            assert all("fault" in each for each in found), (recipe, found)
            continue
        division = engine.division(asked, weights)
        expected = [
            {"bytes": loaded[0].nbytes, "layers": [layers[0], layers[-1] + 1]}
            for loaded, layers in zip(division.loaded, division.layers, strict=True)
        ]
        assert found == expected, recipe
