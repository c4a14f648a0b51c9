"""Properties that hold for every question."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.catalog import gpu_limits, models, recipes, speeds
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.hardware import Mac, Place, default_limit
from deployfit.quants.gguf import GgufQuant
from deployfit.runtimes.llamacpp import LlamaCppSettings, kv_cache_bytes
from deployfit.units import GIB, parse_limit, parse_tokens
from deployfit.verdict import Answer, Fit, Question, Verdict

SIZES = sorted({row.memory_gib for row in gpu_limits()})
BEST_FIRST = list(Verdict)
FEW = settings(max_examples=25, deadline=None, derandomize=True)

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
)


def ask(name: str, quant: str, how: LlamaCppSettings, memory_gib: int, macos: int) -> Answer:
    mac = Mac(chip="", memory_bytes=memory_gib * GIB)
    limit = default_limit(mac, macos, gpu_limits())
    question = Question(models()[name], how, Place(mac, macos, limit))
    menu = [GgufQuant(recipe) for recipe in recipes().values()]
    return Fit(question, menu, gpu_limits(), speeds()).answer(GgufQuant(recipes()[quant]))


@FEW
@given(names, quants, starts, st.sampled_from(SIZES), generations)
def test_parts_add_up_and_the_verdict_follows_from_the_headroom(
    name: str, quant: str, how: LlamaCppSettings, memory: int, macos: int
) -> None:
    answer = ask(name, quant, how, memory, macos)
    assert answer.estimate.total_bytes == sum(answer.estimate.parts.values())
    place = answer.question.place
    assert answer.headroom_bytes == place.limit.limit_bytes - place.reserve_bytes - answer.estimate.total_bytes
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
    largest = ask(name, quant, how, memory, macos).max_context_tokens
    step = 256 * how.parallel
    if largest:
        assert ask(name, quant, how._replace(context_tokens=largest), memory, macos).verdict is Verdict.FITS
    if largest + step <= 262_144:
        more = how._replace(context_tokens=largest + step)
        assert ask(name, quant, more, memory, macos).verdict is not Verdict.FITS


@FEW
@given(names, starts)
def test_twice_the_context_never_takes_less_memory(name: str, how: LlamaCppSettings) -> None:
    half = how._replace(context_tokens=max(512, how.context_tokens // 2))
    less, more = (
        ask(name, "Q4_K_M", each, 64, 26).estimate.total_bytes
        for each in (half, half._replace(context_tokens=min(262_144, 2 * half.context_tokens)))
    )
    assert less <= more


@FEW
@given(names, starts, st.sampled_from(["q8_0", "q5_1", "q4_0"]))
def test_a_narrower_kv_type_takes_its_share_of_the_cache(name: str, how: LlamaCppSettings, kv_type: str) -> None:
    config = models()[name].config
    wide = kv_cache_bytes(config, how._replace(kv_type_k="f16", kv_type_v="f16"))
    narrow = kv_cache_bytes(config, how._replace(kv_type_k=kv_type, kv_type_v=kv_type))
    block = TENSOR_TYPES[kv_type.upper()]
    assert narrow * 2 * block.block_size == wide * block.block_bytes


@settings(derandomize=True)
@given(st.integers(0, 10**9))
def test_tokens_and_limits_are_read_as_written(count: int) -> None:
    assert parse_tokens(str(count)) == count
    assert parse_tokens(f"{count}k") == count * 1024
    assert parse_limit(f"{count % 10**9}m") == count % 10**9 * 2**20
