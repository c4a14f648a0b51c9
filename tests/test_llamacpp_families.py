"""deployfit's figures for every family against llama.cpp's own, which share no code with it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from conftest import engine_rows
from llamacpp_rows import settings_of
from plain_allocator import plain_peak, taken

from deployfit.catalogue import models
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.feed import Experts
from deployfit.runtimes.llamacpp.allocator import Curve, Program, Step, compiled
from deployfit.runtimes.llamacpp.batch import batch_of
from deployfit.runtimes.llamacpp.caches import kv_cache_bytes, state_bytes
from deployfit.runtimes.llamacpp.compute import buffers_of, rounds_of
from deployfit.runtimes.llamacpp.graph import build_graph
from deployfit.runtimes.llamacpp.refusals import check
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings

# Where the engine asks the file, and the files that were handed over say nothing: see tests/data/README.md.
NOT_IN_THE_FILES: Mapping[str, Mapping[str, Any]] = {
    "deepseek2": {"normalized": False, "scaled": False},
    "deepseek32": {"normalized": False, "scaled": False},
    "glm4moe": {"normalized": False, "scaled": False},
    "nemotron_h_moe": {"normalized": False, "scaled": False},
    "kimi-linear": {"scaled": False},
}


@cache
def as_in_the_files(name: str) -> Blueprint:
    """Return a model as the files describe it that were handed over."""
    blueprint = models()[name].blueprint
    changes = NOT_IN_THE_FILES.get(blueprint.gguf_architecture, {})
    layers = tuple(
        layer._replace(feed=layer.feed._replace(**changes)) if isinstance(layer.feed, Experts) else layer
        for layer in blueprint.layers
    )
    return blueprint._replace(layers=layers)


def counted(blueprint: Blueprint, settings: LlamaCppSettings) -> tuple[int, int, int]:
    """Return context, device part and host part of the compute buffers, and check the bounds."""
    buffers = buffers_of(blueprint)
    compute = buffers.buffers(settings)
    assert buffers.least_bytes(settings) <= compute.total_bytes <= compute.upper_bytes
    caches = kv_cache_bytes(blueprint, settings) + state_bytes(blueprint, settings)
    return caches, compute.device_bytes, compute.host_bytes


def engines(row: Mapping[str, str]) -> tuple[int, int, int]:
    return int(row["dev_context"]) + int(row["host_context"]), int(row["dev_compute"]), int(row["host_compute"])


def test_context_equals_the_allocator_on_every_row() -> None:
    rows = engine_rows("other_memory_cpu.csv")
    wrong = []
    for row in rows:
        blueprint, settings = models()[row["model"]].blueprint, settings_of(row)
        if kv_cache_bytes(blueprint, settings) + state_bytes(blueprint, settings) != int(row["context_bytes"]):
            wrong.append(row)
    assert (len(rows), wrong) == (491, [])


def test_device_memory_equals_the_allocator_on_every_row() -> None:
    rows = engine_rows("other_memory_device.csv")
    wrong = Counter[str]()
    for row in rows:
        check(as_in_the_files(row["model"]), settings_of(row))
        wrong[row["arch"]] += counted(as_in_the_files(row["model"]), settings_of(row)) != engines(row)
    assert (len(rows), +wrong) == (491, Counter())
    assert len(wrong) == 18


def test_experts_that_the_files_do_not_describe_hardly_matter() -> None:
    """The catalogue's own models, whose experts are normalized and scaled as published."""
    rows = engine_rows("other_memory_device.csv")
    wrong = [row for row in rows if counted(models()[row["model"]].blueprint, settings_of(row)) != engines(row)]
    assert {row["model"] for row in wrong} == {"Nemotron-3-Nano-30B-A3B"}
    assert len(wrong) == 2


def test_every_model_of_the_catalogue_equals_the_engine_under_random_settings() -> None:
    rows = engine_rows("other_memory_random.csv")
    assert {row["model"] for row in rows} <= set(models())
    wrong = []
    for row in rows:
        blueprint = models()[row["model"]].blueprint
        check(blueprint, settings_of(row))
        if counted(blueprint, settings_of(row)) != engines(row):
            wrong.append(row)
    assert (len(rows), wrong) == (534, [])


def placements(blueprint: Blueprint, settings: LlamaCppSettings) -> tuple[list[str], int]:
    """Return operation, bytes and address of each result with memory of its own, and the highest address."""
    graph = build_graph(blueprint, batch_of(blueprint, settings), blueprint.layers)
    placed = [node for node in graph.nodes if node.root is None and not node.external]
    blocks = list(taken(compiled(graph.nodes), settings.cells))
    lines = [f"{placed[slot].op} {size} {address}" for slot, size, address in blocks]
    return lines, max(address + size for _, size, address in blocks)


TRACED = engine_rows("llamacpp_placements.csv")


@pytest.mark.parametrize("row", TRACED, ids=lambda row: f"{row['model']}-{row['graph']}")
def test_every_result_has_the_address_that_the_engine_gives_it(row: dict[str, str]) -> None:
    blueprint = as_in_the_files(row["model"])
    context = min(32_768, blueprint.trained_context)
    settings = {
        "base": LlamaCppSettings(context),
        "q8": LlamaCppSettings(4_096, "q8_0", "q8_0"),
        "np4": LlamaCppSettings(context, parallel=4),
    }[row["graph"]]
    lines, peak = placements(blueprint, settings)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
    assert (len(lines), peak, digest) == (int(row["placements"]), int(row["buffer_bytes"]), row["sha256_32"])


def every_step(program: Program) -> list[Step]:
    """Return the steps with each round written out."""
    own = program.round

    def later(steps: Sequence[Step], rounds: int, least: int) -> Iterator[Any]:
        more = rounds * own.slots
        for action, slot, size, old in steps:
            yield action, slot + more * (slot >= least), size, old + more * (old >= least)

    steps = list(program.steps[: own.first])
    for each in range(own.times):
        steps += later(program.steps[own.first : own.last], each, 0)
    return [*steps, *later(program.steps[own.last :], own.times - 1, own.slot)]


REPEATED = [name for name, model in models().items() if rounds_of(model.blueprint).times > 1]


def test_most_models_have_rounds_of_equal_layers() -> None:
    assert {*models()} - {*REPEATED} == {"DeepSeek-V3.2"}  # its indexer


@pytest.mark.parametrize("name", REPEATED)
def test_rounds_are_the_steps_of_all_layers(name: str) -> None:
    blueprint = models()[name].blueprint
    for settings in (
        LlamaCppSettings(4_096),
        LlamaCppSettings(4_096, "q8_0", "f32", parallel=3, ubatch=700),
        LlamaCppSettings(65_536, "f32", "f32", ubatch=64),
        LlamaCppSettings(65_536, outputs="slots", metal="current"),
        LlamaCppSettings(65_536, flash_attn=False),
    ):
        batch = batch_of(blueprint, settings)
        whole = compiled(build_graph(blueprint, batch, blueprint.layers).nodes)
        program = buffers_of(blueprint).program(batch)
        assert every_step(program) == list(whole.steps), settings
        curve = Curve(program)
        for cells in (256, 2_816, 131_072):
            assert curve.peak_bytes(cells) == plain_peak(whole, cells), (settings, cells)
