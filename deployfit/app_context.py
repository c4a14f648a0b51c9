"""The context that an application chooses where its user names none: rules by name, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deployfit.quants.weights import Weights
from deployfit.runtimes.runtime import DEVICE, MemoryPart
from deployfit.units import GIB, MIB
from deployfit.verdict import Judge, Run

Rule = Callable[[Judge, Weights], int]


FIT_MARGIN = 1024 * MIB  # common/common.h: --fit-target
FIT_LEAST = 4096  # common/common.h: --fit-ctx
CONTEXT_STEP = 256
OF_IMAGES = ("vision", "image")  # they are added to the margin (tools/server/server-context.cpp)


def fit(judge: Judge, weights: Weights) -> int:
    """Return llama-server's context: the trained one, shrunk until a GiB of the GPU's memory is left.

    Where even the least context is too much it stays there, and layers leave the GPU's buffers.
    """
    run = judge.run

    def parts(tokens: int) -> Sequence[MemoryPart]:
        return judge.estimate(weights, run.settings.with_context(tokens)).at_start

    def device_bytes(tokens: int) -> int:
        return sum(part.nbytes for part in parts(tokens) if part.where == DEVICE and part.name not in OF_IMAGES)

    streams = int(getattr(run.settings, "streams", 1))
    images = sum(part.nbytes for part in parts(FIT_LEAST) if part.where == DEVICE and part.name in OF_IMAGES)
    target = run.machine.limit.limit_bytes - FIT_MARGIN - images
    return fitted(run.model.blueprint.trained_context, streams, target, device_bytes)


def fitted(trained: int, streams: int, target: int, device_bytes: Callable[[int], int]) -> int:
    """Return the context that `--fit` decides on: the whole one if the device has room, else as much as it has.

    A straight line between its least context and the whole one, rounded down to 256 tokens a sequence. Each of the
    separate caches counts; `target` is what the device has free, less the margin (common/fit.cpp).

    >>> fitted(262_144, 1, 100_000, lambda tokens: tokens)
    99840
    """
    whole, least = trained * streams, FIT_LEAST * streams
    most = device_bytes(whole)
    if most <= target or whole <= least:
        return whole
    smallest = device_bytes(least)
    if target <= smallest:
        return least
    tokens = least + (whole - least) * (target - smallest) // (most - smallest)
    return max(tokens - tokens % (CONTEXT_STEP * streams), least)


OLLAMA_STEPS = ((47 * GIB, 262_144), (23 * GIB, 32_768), (0, 4_096))  # server/routes.go


def by_gpu_memory(judge: Judge, weights: Weights) -> int:
    """Return Ollama's context: by the memory that the GPU may use, never more than the trained one; for each slot."""
    return ollama_slot(judge.run) * judge.run.runtime.sequences(judge.run.settings)


def ollama_slot(run: Run) -> int:
    """Return the context that Ollama gives each slot."""
    limit = run.machine.limit.limit_bytes
    tokens = next(tokens for least, tokens in OLLAMA_STEPS if limit >= least)
    return min(tokens, run.model.blueprint.trained_context)


LM_STUDIO_RESERVE = 3 * GIB  # or 5 % of the working set, whichever is more
BF16_BYTES = 2


def by_what_is_left(judge: Judge, weights: Weights) -> int:
    """Return the context that LM Studio's MLX engine fits into what the weights leave (mlx-engine 1.10.1).

    Working set less reserve less what is fixed, over the bytes a token: its cache, its embedding as an input, and one
    row of attention scores of a whole step. Logged: 208,384 tokens for Qwen3.8-27B at 4 bits with 51.84 GiB.
    """
    run = judge.run
    blueprint = run.model.blueprint
    needed = judge.estimate(weights)
    step = run.runtime.context_step(run.settings)
    one, two = (
        judge.estimate(weights, run.settings.with_context(step * steps)).bytes_of("kv_cache") for steps in (1, 2)
    )
    heads = max(getattr(mixer, "heads", 0) for mixer in blueprint.attentions)
    chunk = int(getattr(run.settings, "prefill_step_size", 2048))
    per_token = (two - one) // step + BF16_BYTES * blueprint.hidden + BF16_BYTES * heads * chunk
    fixed = needed.bytes_of("weights", "vision", "recurrent_state")
    tokens = left_for_context(run.machine.limit.limit_bytes, fixed, per_token)
    return min(tokens // step * step, blueprint.trained_context) or step


def left_for_context(limit_bytes: int, fixed_bytes: int, bytes_per_token: int) -> int:
    """Return the tokens for which LM Studio's MLX engine finds room.

    >>> left_for_context(int(51.84 * 2**30), int(14.95 * 2**30), 65_536 + 10_240 + 98_304)
    209036
    """
    reserve = max(LM_STUDIO_RESERVE, limit_bytes * 5 // 100)
    return max(0, limit_bytes - reserve - fixed_bytes) // bytes_per_token


RULES: Mapping[str, Rule] = {"fit": fit, "by_gpu_memory": by_gpu_memory, "by_what_is_left": by_what_is_left}


def context_by(rule: str, judge: Judge, weights: Weights) -> Any:
    """Return what a rule says."""
    return RULES[rule](judge, weights)
