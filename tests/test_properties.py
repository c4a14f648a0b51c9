"""Properties that hold for every question."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deployfit.catalogue import models, rows
from deployfit.errors import InputError
from deployfit.estimate import COLUMNS, estimate
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.hardware.gpu_limit import LIMITS, default_limit
from deployfit.hardware.mac import Mac
from deployfit.hardware.machine import Machine
from deployfit.lookup import find_quant
from deployfit.quants.weights import Options, Quant, Weights
from deployfit.runtimes import registry
from deployfit.runtimes.llamacpp.caches import kv_cache_bytes
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.speed import NO_SPEEDS
from deployfit.units import GIB
from deployfit.verdict import Answer, Judge, Run, Verdict
from deployfit.words.numbers import context, wired_limit

SIZES = sorted({row.memory_gib for row in rows(LIMITS)})
BEST_FIRST = list(Verdict)
FEW = settings(max_examples=60, deadline=None, derandomize=True)
LLAMACPP, MLX = registry.runtime("llama.cpp"), registry.runtime("mlx")

names = st.sampled_from(sorted(models()))
quants = st.sampled_from(["IQ2_XXS", "Q4_K_M", "Q6_K", "Q8_0", "BF16"])
generations = st.sampled_from([15, 26])
starts = st.builds(
    LlamaCppSettings,
    context_tokens=st.integers(1, 262_144),
    kv_type_k=st.just("f16"),
    kv_type_v=st.sampled_from(["f16", "q8_0"]),
    parallel=st.sampled_from([1, 2, 4]),
    ubatch=st.sampled_from([128, 512]),
    kv_unified=st.booleans(),
    swa_full=st.booleans(),
)
mlx_starts = st.builds(
    MlxSettings,
    context_tokens=st.integers(1, 262_144),
    kv_bits=st.sampled_from([16, 8, 4]),
    prefill_step_size=st.sampled_from([1, 512, 2048, 2**18]),
)


class Remembered:
    """A quant whose weights are weighed once for all examples."""

    def __init__(self, quant: Quant) -> None:
        self._quant = quant
        self.weights = cache(quant.weights)

    def __getattr__(self, name: str) -> object:
        return getattr(self._quant, name)


@cache
def quant_of(name: str, runtime: str) -> Quant:
    return Remembered(find_quant(name, runtime))  # type: ignore[return-value]


def weights_of(name: str, quant: str, runtime: str = "llama.cpp") -> Weights:
    try:
        return quant_of(quant, runtime).weights(models()[name], Options())
    except InputError:
        assume(False)
        raise


def within_training(name: str, how: Any) -> Any:
    return how.with_context(min(how.context_tokens, models()[name].blueprint.trained_context))


def ask(name: str, quant: str, how: LlamaCppSettings, memory_gib: int, macos: int) -> Answer:
    how = within_training(name, how)
    mac = Mac(chip="", memory_bytes=memory_gib * GIB)
    machine = Machine(mac, macos, default_limit(mac, macos, rows(LIMITS)))
    weights_of(name, quant)
    try:
        judge = Judge(Run(models()[name], LLAMACPP, how, machine), rows(LIMITS), NO_SPEEDS)
    except InputError:
        assume(False)
        raise
    return judge.answer(quant_of(quant, "llama.cpp"))


@FEW
@given(names, quants, starts, st.sampled_from(SIZES), generations)
def test_parts_add_up_and_the_verdict_follows_from_the_headroom(
    name: str, quant: str, how: LlamaCppSettings, memory: int, macos: int
) -> None:
    answer = ask(name, quant, how, memory, macos)
    needed, machine = answer.estimate, answer.run.machine
    assert needed.total_bytes == sum(part.nbytes for part in needed.parts) == sum(needed.columns.values())
    assert {part.name for part in needed.parts} <= {name for parts in COLUMNS.values() for name in parts}
    assert all(0 <= part.nbytes <= part.upper_bytes for part in needed.parts)
    assert answer.headroom_bytes == machine.limit.limit_bytes - machine.reserve_bytes - needed.total_bytes
    assert (answer.verdict is Verdict.FITS) == (answer.headroom_bytes >= 0)


@FEW
@given(names, quants, starts, st.lists(st.sampled_from(SIZES), min_size=2, max_size=2, unique=True), generations)
def test_a_bigger_mac_never_gets_a_worse_verdict(
    name: str, quant: str, how: LlamaCppSettings, memories: list[int], macos: int
) -> None:
    small, big = (ask(name, quant, how, memory, macos).verdict for memory in sorted(memories))
    assert BEST_FIRST.index(big) <= BEST_FIRST.index(small)


@FEW
@given(names, quants, starts, st.sampled_from(SIZES), generations)
def test_the_largest_context_fits_and_one_step_more_does_not(
    name: str, quant: str, how: LlamaCppSettings, memory: int, macos: int
) -> None:
    answer = ask(name, quant, how, memory, macos)
    largest, trained = answer.max_context_tokens, answer.run.model.blueprint.trained_context
    step = answer.run.runtime.context_step(answer.run.settings)
    assert step == 256 * (1 if how.kv_unified else how.parallel)
    if largest:
        assert ask(name, quant, how._replace(context_tokens=largest), memory, macos).verdict is Verdict.FITS
    if largest + step <= trained:
        more = how._replace(context_tokens=largest + step)
        assert ask(name, quant, more, memory, macos).verdict is not Verdict.FITS


@FEW
@given(names, starts)
def test_twice_the_context_never_takes_less_memory(name: str, how: LlamaCppSettings) -> None:
    trained = models()[name].blueprint.trained_context
    half = how._replace(context_tokens=max(512, min(how.context_tokens, trained) // 2))
    less, more = (
        ask(name, "Q4_K_M", each, 64, 26).estimate.total_bytes
        for each in (half, half._replace(context_tokens=min(trained, 2 * half.context_tokens)))
    )
    assert less <= more


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names, st.one_of(starts, mlx_starts), st.integers(1, 262_144))
def test_the_lower_bound_never_falls_with_the_context_and_is_one(
    name: str, how: LlamaCppSettings | MlxSettings, other: int
) -> None:
    model, runtime, options = models()[name], LLAMACPP if isinstance(how, LlamaCppSettings) else MLX, Options()
    weights = weights_of(name, "BF16", runtime.name)
    fewer, more = sorted(
        (within_training(name, how), within_training(name, how.with_context(other))),
        key=lambda each: each.context_tokens,
    )
    try:
        runtime.check(model.blueprint, more)
    except InputError:
        assume(False)
    low, high = (runtime.least_bytes(model.blueprint, each, options) for each in (fewer, more))
    loaded = sum(part.nbytes for part in runtime.loaded(model.blueprint, weights, options, more))
    assert low <= high <= estimate(model, weights, runtime, more, options).total_bytes - loaded


@FEW
@given(names, starts, st.sampled_from(["q8_0", "q5_1", "q4_0"]))
def test_a_narrower_kv_type_takes_its_share_of_the_cache(name: str, how: LlamaCppSettings, kv_type: str) -> None:
    blueprint, how = models()[name].blueprint, within_training(name, how)
    narrowed = how._replace(kv_type_k=kv_type, kv_type_v=kv_type)
    try:
        LLAMACPP.check(blueprint, narrowed)
    except InputError:
        assume(False)
    wide = kv_cache_bytes(blueprint, how._replace(kv_type_k="f16", kv_type_v="f16"))
    block = TENSOR_TYPES[kv_type.upper()]
    assert kv_cache_bytes(blueprint, narrowed) * 2 * block.block_size == wide * block.block_bytes


@settings(derandomize=True)
@given(st.integers(1, 10**9 - 1))
def test_tokens_and_limits_are_read_as_written(count: int) -> None:
    assert context(str(count)) == count
    assert context(f"{count}k") == count * 1024
    assert wired_limit(f"{count % 10**9}m") == count % 10**9 * 2**20
