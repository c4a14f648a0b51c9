"""The curve of llama.cpp's compute buffers against a plain replay for one number of cells at a time."""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_allocator import plain_peak

from deployfit.catalogue import models
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.quants.weights import Options
from deployfit.runtimes.llamacpp.allocator import CELL, GIVE, TAKE, Curve, Program, Step, compiled
from deployfit.runtimes.llamacpp.batch import Batch
from deployfit.runtimes.llamacpp.engine import RUNTIME
from deployfit.runtimes.llamacpp.graph import build_graph
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings


@lru_cache
def program_of(name: str, kv_type_k: str, kv_type_v: str, ubatch: int, parallel: int) -> Program:
    batch = Batch(ubatch, ubatch, parallel, parallel, TENSOR_TYPES[kv_type_k], TENSOR_TYPES[kv_type_v])
    blueprint = models()[name].blueprint
    return compiled(build_graph(blueprint, batch, blueprint.layers[:28]).nodes)


def wrong_cells(program: Program, cells: range | list[int]) -> list[int]:
    curve = Curve(program)
    return [each for each in cells if curve.peak_bytes(each) != plain_peak(program, each)]


@pytest.mark.parametrize(
    ("name", "kv_type", "ubatch"),
    [("Qwen3.5-0.8B", "F16", 512), ("Qwen3.5-35B-A3B", "Q8_0", 512), ("Qwen3.5-4B", "F32", 2048)],
)
def test_the_curve_is_the_plain_replay_at_every_step_of_the_context(name: str, kv_type: str, ubatch: int) -> None:
    program = program_of(name, kv_type, kv_type, ubatch, 1)
    assert wrong_cells(program, range(256, 262_144 + 1, 256)) == []


QWEN35 = [name for name in models() if name.startswith("Qwen3.5-")]


@pytest.mark.parametrize("name", QWEN35)
def test_the_curve_is_the_plain_replay_on_both_sides_of_every_bend(name: str) -> None:
    for kv_types in (("F16", "F16"), ("Q4_0", "F16")):
        program = program_of(name, *kv_types, 512, 1)
        curve, ends, cells = Curve(program), [], 1
        while cells <= 262_144:
            piece = curve.piece(cells)
            assert piece.first_cells == cells
            ends += [piece.first_cells, min(piece.last_cells, 300_000)]
            cells = piece.last_cells + 1
        assert len(ends) < 2 * 200
        assert wrong_cells(program, ends) == []
        assert wrong_cells(program, ends[::-1]) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(QWEN35)),
    st.sampled_from(["F16", "F32", "Q8_0"]),
    st.sampled_from(["F16", "F32", "Q8_0"]),
    st.sampled_from([1, 32, 128, 512, 2048]),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 2**32),
)
def test_the_curve_is_the_plain_replay_wherever_it_is_asked_for(
    name: str, kv_type_k: str, kv_type_v: str, ubatch: int, parallel: int, seed: int
) -> None:
    """In any order: what was asked before must not matter."""
    program = program_of(name, kv_type_k, kv_type_v, max(ubatch, parallel), parallel)
    chance = random.Random(seed)
    cells = [chance.choice([chance.randint(1, 3000), chance.randint(1, 300_000)]) for _ in range(8)]
    assert wrong_cells(program, cells) == []


def test_blocks_of_equal_size_and_of_none() -> None:
    """Ties and coincidences: sizes from few values, so that lines cross at whole numbers of cells."""
    for seed in range(200):
        chance = random.Random(seed)
        steps: list[Step] = []
        sizes: dict[int, int] = {}
        for slot in range(40):
            sizes[slot] = chance.choice([0, 0, 32, 64, 96, 128]) + CELL * chance.choice([0, 0, 8, 16])
            steps.append((TAKE, slot, sizes[slot], -1))
            while sizes and chance.random() < 0.45:
                gone = chance.choice(sorted(sizes))
                steps.append((GIVE, gone, sizes.pop(gone), -1))
        assert wrong_cells(Program(tuple(steps)), range(1, 40)) == [], seed
        assert wrong_cells(Program(tuple(steps)), range(39, 0, -1)) == [], seed


HOWS = [
    LlamaCppSettings(1, kv_type, kv_type, parallel, ubatch)
    for kv_type in ("f16", "q4_0", "f32")
    for parallel, ubatch in ((1, 128), (1, 512), (3, 700))
]
LINES = [(name, how) for name in ("Qwen3.5-122B-A10B", "Qwen3.5-27B") for how in HOWS]
LINES += [
    ("gpt-oss-20b", LlamaCppSettings(1)),
    ("gpt-oss-20b", LlamaCppSettings(1, parallel=3, ubatch=700, kv_unified=True)),
    ("gpt-oss-20b", LlamaCppSettings(1, "f32", "f32", swa_full=True)),
    ("Gemma-4-E4B", LlamaCppSettings(1, flash_attn=False)),
    ("DeepSeek-V3.2", LlamaCppSettings(1)),  # its indexer picks 2,048 tokens
]


@pytest.mark.parametrize(("name", "how"), LINES)
def test_memory_grows_in_straight_lines_up_to_where_the_runtime_says(name: str, how: LlamaCppSettings) -> None:
    """At every step of the context; with F32 caches the allocator's rare holes begin within a piece."""
    blueprint, step = models()[name].blueprint, RUNTIME.context_step(how)
    last = blueprint.trained_context // step
    options = Options(mtp=bool(blueprint.drafts))
    settings = [how.with_context(step * (each + 1)) for each in range(last)]
    grown = [[part.nbytes for part in RUNTIME.running(blueprint, each, options)] for each in settings]
    least = [RUNTIME.least_bytes(blueprint, each, options) for each in settings]
    assert least == sorted(least)
    assert all(bound <= sum(figures) for bound, figures in zip(least, grown, strict=True))
    first, lines = 0, 0
    while first < last:
        until = RUNTIME.straight_until(blueprint, settings[first], Options()) // step - 1
        assert first <= until < last
        for figures in zip(*grown, strict=True):
            assert len({later - figure for figure, later in pairwise(figures[first : until + 1])}) <= 1
        first, lines = until + 1, lines + 1
    assert lines < 300
