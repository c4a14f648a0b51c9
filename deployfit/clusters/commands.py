"""The commands that start a split model: Macs are called mac1, mac2 and so on, in the order of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.apps import DEFAULTS
from deployfit.catalogue import rows
from deployfit.clusters.engine import PIPELINE, TENSOR, Asked, Command
from deployfit.clusters.rpc_weights import layer_shares
from deployfit.models import Model
from deployfit.quants import shelf
from deployfit.quants.weights import Quant, Weights
from deployfit.runtimes.llamacpp.settings import DEFAULT_BATCH, DEFAULT_UBATCH, LlamaCppSettings
from deployfit.runtimes.mlx.settings import DEFAULT_PREFILL_STEP, MlxSettings

RPC_PORT = 50052  # ggml-rpc-server's default
SERVER = "llama-server"
EXO_API = "http://localhost:52415"


def host(number: int) -> str:
    """Return what a Mac is called.

    >>> host(0)
    'mac1'
    """
    return f"mac{number + 1}"


def repository_of(model: Model, quant: Quant) -> str:
    """Return where a publisher's file is, "" for a recipe that one makes oneself or a file that is there already."""
    found = shelf.publishers().get(quant.publisher)
    row = found.rows.get(quant.format) if found else None
    return "" if row is None else row.repo.format(model=model.name, recipe=quant.name.partition(":")[2])


def llamacpp_commands(asked: Asked, quant: Quant, weights: Weights) -> Sequence[Command]:
    """Return a server of a device on every Mac but the last, and llama-server there.

    Shares are given as layers, so that the split is the one that was counted.
    """
    server = asked.size - 1
    commands = [Command(host(number), f"ggml-rpc-server --host 0.0.0.0 --port {RPC_PORT}") for number in range(server)]
    typed = [f"{share:.9g}" for share in asked.shares or layer_shares(asked, weights)]
    is_bench = asked.app == "llama-bench"
    words = [
        "llama-bench" if is_bench else "llama-server",
        _gguf_file(asked.model, quant, weights),
        "--rpc " + ",".join(f"{host(number)}:{RPC_PORT}" for number in range(server)),
        f"--tensor-split {('/' if is_bench else ',').join(typed)}",
        "--n-gpu-layers 999" if is_bench else "--gpu-layers 999",
        *(_bench_settings(asked.settings) if is_bench else [*_server_settings(asked.settings), *_tower(asked, quant)]),
    ]
    return [*commands, Command(host(server), " ".join(words))]


def _gguf_file(model: Model, quant: Quant, weights: Weights) -> str:
    repository = repository_of(model, quant)
    if repository:
        return f"-hf {repository}:{quant.name.partition(':')[2]}"
    name = weights.recipe.rpartition("/")[2]
    return f"-m {name}" if name.endswith(".gguf") else f"-m {model.name}-{name}.gguf"


def _tower(asked: Asked, quant: Quant) -> Sequence[str]:
    """Return what loads the vision tower only where it is counted: with a repository's file it comes unasked."""
    if asked.model.blueprint.vision is None:
        return []
    if repository_of(asked.model, quant):
        return [] if asked.options.vision else ["--no-mmproj"]
    return [f"--mmproj mmproj-{asked.model.name}.gguf"] if asked.options.vision else []


def _bench_settings(settings: LlamaCppSettings) -> Sequence[str]:
    return [f"-p {settings.context_tokens} -n 0", *_library_settings(settings)]


def _library_settings(settings: LlamaCppSettings) -> Sequence[str]:
    words = ["-fa on" if settings.flash_attn else "-fa off"]
    if settings.kv_type_k != "f16":
        words.append(f"-ctk {settings.kv_type_k}")
    if settings.kv_type_v != "f16":
        words.append(f"-ctv {settings.kv_type_v}")
    batch = settings.batch or max(DEFAULT_BATCH, settings.ubatch)
    if (batch, settings.ubatch) != (DEFAULT_BATCH, DEFAULT_UBATCH):
        words.append(f"-b {batch} -ub {settings.ubatch}")
    return [*words, f"--load-mode {settings.load_mode}"] if settings.load_mode != "auto" else words


def _server_settings(settings: LlamaCppSettings) -> Sequence[str]:
    words = [f"-c {settings.context_tokens}", f"-np {settings.parallel}", *_library_settings(settings)]
    defaults = {row.parameter: row.value for row in rows(DEFAULTS) if row.app == SERVER}
    for name, value in (("ctx_checkpoints", settings.ctx_checkpoints), ("cache_ram", settings.cache_ram)):
        if str(value) != defaults[name]:
            words.append(f"--{name.replace('_', '-')} {value}")
    words += ["--kv-unified"] if settings.kv_unified else []
    return [*words, "--swa-full"] if settings.swa_full else words


def mlx_commands(asked: Asked, quant: Quant) -> Sequence[Command]:
    """Return what finds the Macs' links, and the launch from the first of them.

    A tensor split waits for every layer's sums, so it is launched over RDMA.
    """
    hosts = ",".join(host(number) for number in range(asked.size))
    backend = "jaccl" if asked.split == TENSOR else "ring"
    over = f"mlx.distributed_config --hosts {hosts} --over thunderbolt --backend {backend}"
    repository = repository_of(asked.model, quant)
    name = repository or f"{asked.model.name}-{quant.name}"
    environment = " --env MLX_METAL_FAST_SYNCH=1" if backend == "jaccl" else ""
    words = [f"mlx.launch --hostfile hosts.json --backend {backend}{environment} -- mlx_lm.server --model {name}"]
    words += ["--pipeline"] if asked.split == PIPELINE else []
    settings: MlxSettings = asked.settings
    if settings.prefill_step_size != DEFAULT_PREFILL_STEP:
        words.append(f"--prefill-step-size {settings.prefill_step_size}")
    if settings.quantized:
        words.append(f"--kv-bits {settings.kv_bits} --quantized-kv-start 0")
    if settings.parallel > 1:
        words.append(f"--decode-concurrency {settings.parallel} --prompt-concurrency {settings.prompts_at_once}")
    if settings.prompt_cache_size:
        words.append(f"--prompt-cache-size {settings.prompt_cache_size}")
    if settings.prompt_cache_bytes:
        words.append(f"--prompt-cache-bytes {settings.prompt_cache_bytes}")
    return [Command(host(0), f"{over} --auto-setup --output-hostfile hosts.json"), Command(host(0), " ".join(words))]


def exo_commands(asked: Asked, quant: Quant) -> Sequence[Command]:
    """Return exo itself on every Mac, and what asks it to place the model."""
    name = repository_of(asked.model, quant) or f"{asked.model.name}-{quant.name}"
    body: Mapping[str, str] = {
        "model_id": f'"{name}"',
        "sharding": f'"{asked.split.capitalize()}"',
        "instance_meta": '"MlxJaccl"' if asked.split == TENSOR else '"MlxRing"',
        "min_nodes": str(asked.size),
    }
    written = ", ".join(f'"{key}": {value}' for key, value in body.items())
    place = f"curl -X POST {EXO_API}/place_instance -H 'Content-Type: application/json' -d '{{{written}}}'"
    return [*(Command(host(number), "uv run exo") for number in range(asked.size)), Command(host(0), place)]
