"""Several Macs: each engine's split against the engine's own figures, and what must hold for every cluster."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from conftest import engine_rows, run
from hypothesis import given, settings
from hypothesis import strategies as st
from llamacpp_rows import settings_of

from deployfit.catalogue import models, rows
from deployfit.clusters import exo, llamacpp_rpc, mlx_distributed
from deployfit.clusters.engine import PIPELINE, TENSOR, Asked, ClusterEngine
from deployfit.clusters.exo_cards import CARDS, card_of
from deployfit.clusters.rpc_layers import devices_of_layers
from deployfit.clusters.rpc_weights import layer_shares, placed_weights
from deployfit.clusters.speedups import SPEEDUPS
from deployfit.clusters.tensor_split import TensorSplit, bytes_of_layers, rank_layers
from deployfit.clusters.verdict import ORDER, ClusterAnswer, ClusterJudge
from deployfit.formats.mlx import RECIPES
from deployfit.hardware.cluster import Cluster
from deployfit.layers.attention import LatentAttention
from deployfit.layers.tensor import Part
from deployfit.lookup import find_quant
from deployfit.models import Model
from deployfit.quants.gguf import gguf_recipes, gguf_weights
from deployfit.quants.mlx import mlx_weights
from deployfit.quants.weights import Options, WeightClass, Weights
from deployfit.questions.cluster import ClusterFits
from deployfit.questions.fit import fit
from deployfit.questions.resolve import machine_of
from deployfit.questions.sweep import sweep
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.mlx.caches import kv_cache_bytes, state_bytes
from deployfit.runtimes.mlx.settings import MlxSettings
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart
from deployfit.units import GIB

NAMES = {"DeepSeek-V3.1": "DeepSeek-V3", "gemma-4-31b": "Gemma-4-31B"}  # the rows' names of the same numbers
RECIPES_OF_ROWS = {"native_mxfp4+q8_g64": "mxfp4_experts_q8_g64"}
MXFP4_EXPERTS = ("gpt-oss",)  # whose source file has its experts quantized


def model_of(row: Mapping[str, str]) -> Model:
    return models()[NAMES.get(row["model"], row["model"])]


@cache
def source_file(model: Model) -> Weights:
    """The BF16 file that the rows are of: what is quantized in the checkpoint, or kept in F32, stays so."""
    weights = gguf_weights(model, gguf_recipes()["BF16"], imatrix=False, mtp=False)
    if model.blueprint.gguf_architecture in MXFP4_EXPERTS:
        shipped = gguf_weights(model, gguf_recipes()["MXFP4_MOE"], imatrix=False, mtp=False)
        sizes = {(each.role, each.layers): each.nbytes for each in shipped.classes if each.is_experts}
        weights = weights._replace(
            classes=tuple(
                each._replace(nbytes=sizes.get((each.role, each.layers), each.nbytes)) for each in weights.classes
            )
        )
    indexer = "indexer.proj"  # which the quantizer makes BF16
    return weights._replace(
        classes=tuple(
            each._replace(nbytes=2 * each.nbytes) if each.role == indexer else each for each in weights.classes
        )
    )


def cluster(*memories: int) -> Cluster:
    return Cluster(tuple(machine_of(str(memory)) for memory in memories))


def bytes_of(parts: Sequence[MemoryPart], where: str, *names: str) -> int:
    return sum(part.nbytes for part in parts if part.where == where and part.name in names)


@pytest.mark.parametrize(("file", "count"), [("rpc_split.csv", 210), ("rpc_split_all.csv", 174)])
def test_llamacpp_rpc_equals_the_engine_on_every_row(file: str, count: int) -> None:
    """Layers, weights, context and compute of both devices and of the server, to the byte."""
    given_rows, wrong = engine_rows(file), []
    assert len(given_rows) == count
    for row in given_rows:
        if row["split"] == "single":
            continue  # one device: what one Mac's tests hold
        model, start = model_of(row), settings_of(row)
        shares = () if row["split"] == "default" else tuple(map(float, row["split"].split(",")))
        asked = Asked(model, cluster(512, 512), start, PIPELINE, shares=shares)
        division = llamacpp_rpc.ENGINE.division(asked, source_file(model))
        running = llamacpp_rpc.ENGINE.running(asked, division, start)
        counted: dict[str, int] = {}
        for number, (loaded, run_parts) in enumerate(zip(division.loaded, running, strict=True)):
            parts = [*loaded, *run_parts]
            assert all(part.machine == number for part in parts)
            counted |= {
                f"layers_dev{number}": len(division.layers[number]),
                f"dev{number}_model": bytes_of(parts, DEVICE, "weights"),
                f"dev{number}_context": bytes_of(parts, DEVICE, "kv_cache", "recurrent_state"),
                f"dev{number}_compute": bytes_of(parts, DEVICE, "compute"),
            }
            least = llamacpp_rpc.ENGINE.least_bytes(asked, division, start)[number]
            assert least <= sum(part.nbytes for part in run_parts)
        counted["host_model"] = bytes_of(division.loaded[-1], HOST, "weights")
        counted["host_compute"] = bytes_of(running[-1], HOST, "compute")
        if any(size != int(row[name]) for name, size in counted.items()):
            wrong.append((row["model"], row["split"], row["n_ctx"]))
    assert wrong == []


def test_llamacpp_rpc_equals_the_engine_under_random_shares_and_settings() -> None:
    """Run here: two to four devices, some without a layer; with the logits of a server's slots too."""
    given_rows, wrong = engine_rows("rpc_random.csv"), []
    for row in given_rows:
        model, start = model_of(row), settings_of(row)._replace(outputs=row["outputs"])
        shares = tuple(map(float, row["split"].split(",")))
        asked = Asked(model, cluster(*[512] * len(shares)), start, PIPELINE, shares=shares)
        division = llamacpp_rpc.ENGINE.division(asked, source_file(model))
        running = llamacpp_rpc.ENGINE.running(asked, division, start)
        held = [[*loaded, *parts] for loaded, parts in zip(division.loaded, running, strict=True)]
        groups = {"model": ("weights",), "context": ("kv_cache", "recurrent_state"), "compute": ("compute",)}
        counted = {
            f"device_{name}": " ".join(str(bytes_of(parts, DEVICE, *names)) for parts in held)
            for name, names in groups.items()
        }
        for name in ("model", "compute"):
            counted[f"host_{name}"] = str(bytes_of(held[-1], HOST, *groups[name]))
        if any(row[name] != found for name, found in counted.items()):
            wrong.append((row["model"], row["split"], row["n_ctx"], counted))
    assert (len(given_rows), wrong) == (46, [])


def test_macs_that_serve_a_device_need_metals_scratch_too() -> None:
    """Its own in each Mac's replay; over RPC the device is not told that latent attention's values are keys' parts.

    Quantized caches are padded as F16, as is counted; an F16 cache by its strides, up to some MiB more or less.
    """
    given_rows, wrong = engine_rows("rpc_metal.csv"), []
    for row in given_rows:
        model, shares = model_of(row), tuple(map(float, row["split"].split(",")))
        start = settings_of({**row, "type_k": row["type_kv"], "type_v": row["type_kv"]})._replace(metal="current")
        asked = Asked(model, cluster(*[512] * len(shares)), start, PIPELINE, shares=shares)
        division = llamacpp_rpc.ENGINE.division(asked, source_file(model))
        running = llamacpp_rpc.ENGINE.running(asked, division, start)
        counted = [bytes_of(parts, DEVICE, "compute", "metal_scratch") for parts in running[:-1]]
        wanted = list(map(int, row["remote_compute"].split()))
        is_exact = row["type_kv"] == "q8_0" and not any(latent.indexer for latent in latents(model))
        room = 0.0 if is_exact else 0.08
        if any(abs(found - size) > room * size for found, size in zip(counted, wanted, strict=True)):
            wrong.append((row, counted))
        least = llamacpp_rpc.ENGINE.least_bytes(asked, division, start)
        assert all(low <= sum(part.nbytes for part in parts) for low, parts in zip(least, running, strict=True))
    assert (len(given_rows), wrong) == (47, [])


def latents(model: Model) -> list[LatentAttention]:
    return [each for each in model.blueprint.attentions if isinstance(each, LatentAttention)]


def test_macs_without_layers_are_counted_one_by_one() -> None:
    model, start = models()["Qwen3-0.6B"], LlamaCppSettings(4096)
    for count in (2, 3, 4, 2):
        shares = (1.0, *[0.0] * (count - 1))
        asked = Asked(model, cluster(*[64] * count), start, PIPELINE, shares=shares)
        division = llamacpp_rpc.ENGINE.division(asked, source_file(model))
        running = llamacpp_rpc.ENGINE.running(asked, division, start)
        assert [len(layers) for layers in division.layers] == [28, *[0] * (count - 1)]
        assert [bytes_of(parts, DEVICE, "compute") > 0 for parts in running] == [True, *[False] * (count - 1)]


def test_layers_go_by_cumulated_shares_in_32_bits() -> None:
    for row in engine_rows("rpc_split.csv"):
        if row["split"] in ("single", "default"):
            continue
        devices = devices_of_layers(
            int(row["layers_dev0"]) + int(row["layers_dev1"]), list(map(float, row["split"].split(",")))
        )
        assert devices.count(0) == int(row["layers_dev0"])
        assert devices[-1] == 1


@cache
def converted(model: Model, recipe: str) -> Weights:
    recipes = {each.name: each for each in rows(RECIPES)}
    return mlx_weights(model, recipes[RECIPES_OF_ROWS.get(recipe, recipe)], vision=False)


def as_type(model: Model, model_type: str) -> mlx_distributed.SplitRow | None:
    """How mlx-lm splits the type that a row is of."""
    found = [each for each in rows(mlx_distributed.SPLITS) if each.model_type == model_type]
    return found[0] if found else None


def test_mlx_lm_equals_the_library_on_every_row() -> None:
    """Bytes, layers and caches of every rank; what the library refuses or raises is refused."""
    wrong, seen = [], 0
    for row in engine_rows("mlx_split.csv"):
        model, count, split = model_of(row), int(row["ranks"]), row["mode"]
        ranks = list(map(int, row["rank"].split()))
        seen += len(ranks)
        own = as_type(model, row["model_type"])
        assert (own is not None and bool(own.at(split))) == (not row["note"].startswith("unsupported")), row
        if own is None or not own.at(split):
            continue
        weights, blueprint = converted(model, row["recipe"]), model.blueprint
        assert weights.text_bytes == int(row["whole_bytes"])
        tensor = TensorSplit(own.also_split, own.repeats_kv)
        if split == TENSOR:
            reason = tensor.why_not(blueprint, count) or tensor.why_not_weights(blueprint, weights, count)
            assert bool(reason) == row["note"].startswith("ERROR"), (row, reason)
        if row["note"]:
            continue
        for rank in ranks:
            if split == TENSOR:
                size, layers = tensor.rank_bytes(weights, blueprint, count), rank_layers(blueprint.layers, count)
            else:
                held = mlx_distributed.stages(len(blueprint.layers), count)[rank]
                assert f"{held.start}:{held.stop}" == row["layers"]
                size, layers = bytes_of_layers(weights, held), blueprint.layers[held.start : held.stop]
            here = blueprint._replace(layers=tuple(layers))
            counted = {"rank_bytes": size}
            for tokens in (4096, 32768):
                start = MlxSettings(tokens)
                counted[f"cache_{tokens}"] = kv_cache_bytes(here, start) + state_bytes(here)
            if any(row[name] and found != int(row[name]) for name, found in counted.items()):
                wrong.append(row)
    assert (seen, wrong) == (444, [])


def test_exo_equals_its_code_on_every_row() -> None:
    wrong, seen = [], 0
    for row in engine_rows("exo_split.csv"):
        model, count = model_of(row), int(row["ranks"])
        weights, blueprint = converted(model, row["recipe"]), model.blueprint
        own = exo.row_of(model)
        tensor = TensorSplit(own.also_split if own else frozenset())
        seen += len(row["rank"].split())
        if row["mode"] == TENSOR:
            assert own is not None
            assert bool(tensor.why_not_weights(blueprint, weights, count)) == row["note"].startswith("ERROR"), row
            size = tensor.rank_bytes(weights, blueprint, count)
        else:
            size = bytes_of_layers(weights, range(*map(int, row["layers"].split(":"))))
        if not row["note"] and size != int(row["rank_bytes"]):
            wrong.append(row)
    assert (seen, wrong) == (444, [])


def test_exo_places_layers_as_its_own_code_does() -> None:
    given_rows = engine_rows("exo_placement.csv")
    assert len(given_rows) == 60
    for row in given_rows:
        free = [int(size) * GIB for size in row["available_gib_per_node"].split("|")]
        storage, layers = int(row["storage_bytes"]), int(row["n_layers"])
        counts = exo.layers_by_memory(layers, free)
        refusal = exo.placement_refusal(storage, layers, free, counts)
        if row["error"]:
            assert row["error"] in refusal
        else:
            assert (refusal, "|".join(map(str, counts))) == ("", row["layers_per_node"])
            needed = [storage * count // layers for count in counts]
            assert "|".join(map(str, needed)) == row["required_bytes_per_node"]


def test_exo_takes_layers_by_free_memory_without_a_choice() -> None:
    """Its dashboard and API begin with Pipeline."""
    answer = together("Qwen3.5-35B-A3B", "mlx-community:8bit", "M4 Max 36 + M4 24 + M4 16", runtime="exo")
    assert answer.asked.split == PIPELINE
    free = [exo.free_bytes(machine) for machine in answer.asked.cluster.machines]
    assert [len(layers) for layers in answer.division.layers] == exo.layers_by_memory(40, free)


def test_exo_counts_a_published_file_as_its_card_does() -> None:
    cards = {card.model_id: card for card in rows(CARDS)}
    assert len(cards) == 123
    quant, model = find_quant("mlx-community:4bit"), models()["Qwen3.5-27B"]
    weights = quant.weights(model, Options())
    card = card_of(model, weights)
    assert card is not None
    assert card.model_id == "mlx-community/Qwen3.5-27B-4bit"
    assert exo.storage_bytes(card, weights) == 16_054_266_848 == weights.tensor_bytes


def together(model: str, quant: str, mac: str, **more: Any) -> ClusterAnswer:
    answers = fit(model, quant, mac=mac, **more)
    assert isinstance(answers, ClusterFits)
    return answers[0]


FILES = {"llama.cpp": "Q4_K_M", "mlx": "4bit", "exo": "4bit"}
ENGINES: Mapping[str, ClusterEngine] = {
    "llama.cpp": llamacpp_rpc.ENGINE,
    "mlx": mlx_distributed.ENGINE,
    "exo": exo.ENGINE,
}
SOME_MODELS = ("Qwen3.5-27B", "Qwen3.5-122B-A10B", "Qwen3-30B-A3B", "DeepSeek-V3", "GLM-4.7-Flash", "Llama-3.3-70B")
MEMORIES = sorted({16, 24, 32, 48, 64, 96, 128, 192, 256, 512})


def judge_of(engine: str, name: str, split: str, here: Cluster, tokens: int = 8192) -> ClusterJudge:
    start = LlamaCppSettings(tokens) if engine == "llama.cpp" else MlxSettings(tokens)
    return ClusterJudge(Asked(models()[name], here, start, split), ENGINES[engine])


@settings(max_examples=40, deadline=None)
@given(
    engine=st.sampled_from(list(ENGINES)),
    name=st.sampled_from(SOME_MODELS),
    split=st.sampled_from((TENSOR, PIPELINE)),
    count=st.sampled_from((2, 4)),
    sizes=st.tuples(st.sampled_from(MEMORIES), st.sampled_from(MEMORIES)).map(sorted),
)
def test_more_memory_never_gives_a_worse_verdict(
    engine: str, name: str, split: str, count: int, sizes: list[int]
) -> None:
    if ENGINES[engine].why_not(models()[name], split, count):
        return
    quant = find_quant(FILES[engine])
    small, large = (judge_of(engine, name, split, cluster(*[size] * count)).verdict(quant) for size in sizes)
    assert ORDER.index(large) <= ORDER.index(small)


@settings(max_examples=40, deadline=None)
@given(
    engine=st.sampled_from(list(ENGINES)),
    name=st.sampled_from(SOME_MODELS),
    sizes=st.lists(st.sampled_from((64, 96, 128, 512)), min_size=2, max_size=5),
)
def test_the_layers_of_a_pipeline_add_up_to_one_mac(engine: str, name: str, sizes: list[int]) -> None:
    """Layers, their weights and their caches: each is on one Mac, and on no other."""
    model = models()[name]
    if ENGINES[engine].why_not(model, PIPELINE, len(sizes)):
        return
    judge = judge_of(engine, name, PIPELINE, cluster(*sizes))
    answer = judge.answer(find_quant(FILES[engine]))
    held = sorted(layer for layers in answer.division.layers for layer in layers)
    assert held == list(range(len(model.blueprint.layers)))
    whole = judge.runtime.running(model.blueprint, judge.asked.settings, judge.asked.options)
    for part in ("kv_cache", "recurrent_state"):
        assert answer.estimate.bytes_of(part) == sum(each.nbytes for each in whole if each.name == part)
    outside = sum(each.total_bytes for each in answer.weights.classes if each.layers[0] < 0 and is_text(each))
    in_layers = answer.weights.text_bytes - outside
    total = answer.estimate.bytes_of("weights")
    if engine == "llama.cpp":
        again = sum(each.nbytes for each in answer.weights.classes if each.role == "rope_freqs")
        assert not model.blueprint.tied
        assert total == answer.weights.text_bytes + (len(sizes) - 1) * again
    else:
        assert total == in_layers + len(sizes) * outside


def is_text(each: WeightClass) -> bool:
    return each.part is Part.TEXT


@settings(max_examples=25, deadline=None)
@given(
    engine=st.sampled_from(list(ENGINES)),
    name=st.sampled_from(SOME_MODELS),
    split=st.sampled_from((TENSOR, PIPELINE)),
    size=st.sampled_from((16, 24, 32, 64, 128, 256)),
)
def test_the_largest_context_fits_and_one_step_more_does_not(engine: str, name: str, split: str, size: int) -> None:
    if ENGINES[engine].why_not(models()[name], split, 2):
        return
    judge = judge_of(engine, name, split, cluster(size, size))
    answer = judge.answer(find_quant(FILES[engine]))
    tokens, trained = answer.max_context_tokens, judge.asked.model.blueprint.trained_context
    step = judge.runtime.context_step(judge.asked.settings)

    def fits(context: int) -> bool:
        start = judge.asked.settings.with_context(context)
        return all(member.headroom_bytes >= 0 for member in judge.members(answer.division, start))

    if answer.division.refusal:
        assert tokens == 0
        return
    assert tokens == 0 or fits(tokens)
    if tokens < trained:
        assert not fits(min(tokens + step, trained)) or engine == "llama.cpp"  # whose buffers may shrink


def test_loading_counts_where_it_takes_more() -> None:
    """Two 64 GB Macs went down while each loaded 51 GiB that were planned as 28: mlx-lm's tensor split."""
    answer = together("Qwen3.8-27B", "bf16", "2x 64", context="8k", runtime="mlx")
    head = 248_320 * 5_120 * 2
    assert {member.load_peak_bytes for member in answer.members} == {answer.weights.text_bytes + head // 2}
    assert answer.verdict.value == "tight"
    running = max(member.estimate.total_bytes for member in answer.members)
    assert running < 32 * GIB < answer.weights.text_bytes
    stages = together("Qwen3.8-27B", "bf16", "2x 64", context="8k", runtime="mlx", split="pipeline")
    assert stages.verdict.value == "fits"


def test_rows_are_sums_over_macs_and_the_worst_verdict_counts() -> None:
    done = run(
        *("fit", "Qwen3.5-122B-A10B", "--quant", "Q8_0", "--mac", "M3 Ultra 96 + M4 Max 64", "--context", "64k"),
        *("--format", "json"),
    )
    (row,) = json.loads(done.stdout)["rows"]
    machines = row["machines"]
    assert [each["mac"] for each in machines] == ["M3 Ultra 96 GB", "M4 Max 64 GB"]
    assert sum(each["layers"] for each in machines) == 48
    for name in ("weights_bytes", "total_bytes", "load_peak_bytes", "gpu_limit_bytes", "headroom_bytes"):
        assert row[name] == sum(each[name] for each in machines)
    for number, each in enumerate(machines):
        assert each["total_bytes"] == sum(part["bytes"] for part in each["parts"])
        assert {part["machine"] for part in each["parts"]} == {number}
    order = [verdict.value for verdict in ORDER]
    assert row["verdict"] == max((each["verdict"] for each in machines), key=order.index)
    one = json.loads(run("fit", "Qwen3.5-27B", "--quant", "Q8_0", "--mac", "64", "--format", "json").stdout)["rows"][0]
    assert set(one) <= set(row)
    assert row["decode_tps"] is None


def test_the_engines_own_figures_come_through_the_door() -> None:
    """`--app llama-bench` counts the library as the rows have it: logits of a whole micro-batch, no Metal."""
    for row in engine_rows("rpc_split.csv"):
        if (row["model"], row["split"], row["n_parallel"], row["n_ubatch"]) != ("Qwen3.5-27B", "3,1", "1", "512"):
            continue
        answer = together(
            *("Qwen3.5-27B", "BF16", "2x 512"),
            tensor_split=[3, 1],
            app="llama-bench",
            context=row["n_ctx"],
            kv_type_k=row["type_k"],
            kv_type_v=row["type_v"],
        )
        for number, member in enumerate(answer.members):
            found = [bytes_of(member.parts, DEVICE, *names) for names in (("weights",), CACHES, ("compute",))]
            assert found == [int(row[f"dev{number}_{name}"]) for name in ("model", "context", "compute")]
    command = answer.engine.commands(answer.asked, answer.division, answer.quant, answer.weights)[-1].command
    assert command.startswith("llama-bench -m Qwen3.5-27B-BF16.gguf --rpc mac1:50052 --tensor-split 3/1 ")


CACHES = ("kv_cache", "recurrent_state")

# What fits fewer Macs, others, or by another way: the advice of each is typed and answered.
TOO_LARGE: list[tuple[str, str, dict[str, Any]]] = [
    ("Qwen3.5-397B-A17B", "Q4_K_M", {"mac": "3x M4 Max 64", "context": "128k"}),
    ("DeepSeek-V3.1", "4bit", {"mac": "M3 Ultra 512 + M4 Max 128", "split": "pipeline"}),
    ("QwQ-32B", "4bit", {"mac": "M4 Pro 24 + M4 Pro 48", "split": "tensor", "runtime": "mlx"}),
    ("Mistral-Small-3.2-24B", "4bit", {"mac": "M6 16 + M2 8 + M2 8", "split": "pipeline", "runtime": "exo"}),
    ("Gemma-3-12B", "Q8_0", {"mac": "M3 8 + M3 Max 64", "tensor_split": "1,2"}),
    ("Phi-4", "F16", {"mac": "M3 Max 64 + M5 24", "tensor_split": "1,2", "context": "max"}),
    ("DeepSeek-V3", "Q8_0", {"mac": "2x M1 8"}),
    ("Qwen3.5-27B", "bf16", {"mac": "2x M3 Max 36", "runtime": "exo", "other": "10g", "macos": "14"}),
]


@pytest.mark.parametrize(("model", "quant", "typed"), TOO_LARGE, ids=str)
def test_advice_helps_as_it_is_typed(model: str, quant: str, typed: dict[str, Any]) -> None:
    answers = fit(model, quant, **typed)
    assert isinstance(answers, ClusterFits)
    advice = answers.rows()[0]["advice"]
    assert answers[0].verdict.value != "fits"
    assert advice
    for line in advice:
        words, _, leave_out = f" {line.rpartition(': ')[0]}".partition(" without ")
        changed = dict(typed)
        for name in leave_out.split(" and ") if leave_out else ():
            del changed[name]
        pairs = shlex.split(words)
        changed |= dict(zip(pairs[::2], pairs[1::2], strict=True))
        assert fit(model, quant, **changed)[0].verdict.value == "fits", line


def test_the_fewest_macs_are_those_of_the_macos_and_the_programs_that_were_typed() -> None:
    def needed(**typed: Any) -> str:
        answers = fit("Llama-3.3-70B", "Q4_K_M", macs_needed=True, **typed)
        return str(answers.rows()[0]["macs_needed"][0]["mac"])

    assert (needed(), needed(other="20g")) == ("64 GB", "96 GB")
    nothing_free = together("Qwen3-8B", "4bit", "2x 8", runtime="exo", split="pipeline", other="10g")
    assert "No cycles found" in nothing_free.division.refusal
    assert [len(layers) for layers in nothing_free.division.layers] == [18, 18]


def test_one_mac_is_compared_with_several() -> None:
    pair, one = fit("Qwen3.5-397B-A17B", "Q4_K_M", mac=["2x M3 Ultra 256", "M3 Ultra 512"]).rows()
    (alone,) = fit("Qwen3.5-397B-A17B", "Q4_K_M", mac="M3 Ultra 512").rows()
    assert (len(pair["machines"]), len(one["machines"])) == (2, 1)
    for name in ("total_bytes", "headroom_bytes", "verdict", "max_context_tokens"):
        assert one[name] == alone[name]


def test_slots_with_caches_of_their_own_have_the_trained_context_each() -> None:
    typed = {"parallel": 4, "context": "100k"}
    (alone,) = fit("Qwen3-0.6B", "Q8_0", mac="64", **typed).rows()
    answer = together("Qwen3-0.6B", "Q8_0", "2x 64", **typed)
    assert answer.max_context_tokens == alone["max_context_tokens"] == 4 * 40_960


def test_shares_of_layers_split_again_as_they_were_split() -> None:
    """With a draft layer in the file, which counts as a layer though it is not loaded."""
    model = models()["Qwen3.5-27B"]
    weights = gguf_weights(model, gguf_recipes()["Q4_K_M"], imatrix=False, mtp=True)
    for memories in ((64, 64), (128, 24), (64, 32, 96), (16, 16, 16, 16, 16)):
        asked = Asked(model, cluster(*memories), LlamaCppSettings(4096), PIPELINE)
        shares = layer_shares(asked, weights)
        assert sum(shares) == 64 + 1 + 1
        again = asked._replace(shares=tuple(map(float, shares)))
        assert placed_weights(again, weights) == placed_weights(asked, weights)


def test_a_line_or_every_part_of_every_mac() -> None:
    words = ("fit", "Gemma-3-27B", "--quant", "Q4_K_M", "--mac", "M4 Max 64 + M4 24")
    (line,) = run(*words, "--brief").stdout.splitlines()
    answer = together("Gemma-3-27B", "Q4_K_M", "M4 Max 64 + M4 24")
    assert line.split()[:2] == ["fits", f"{answer.worst.headroom_bytes / GIB:.1f}"]
    explained, usual = run(*words, "--explain").stdout, run(*words).stdout
    for part in answer.estimate.at_start:
        assert part.label in explained
        assert f"{part.nbytes / GIB:.2f}" in explained
    assert "Metal's scratch" not in usual


def test_speed_is_measured_or_not_known() -> None:
    known = run("fit", "Qwen3-235B-A22B", "--quant", "8bit", "--mac", "4x M3 Ultra 512").stdout
    assert "1.54 to 1.64 times that of one Mac over RDMA" in known
    unknown = run("fit", "Qwen3-32B", "--quant", "Q8_0", "--mac", "2x M3 Ultra 512").stdout
    assert "not known: nobody measured llama.cpp" in unknown
    factors = {row.name: round(row.factor, 2) for row in rows(SPEEDUPS) if row.used}
    assert factors == {"C02": 0.84, "C03": 0.75, "C05": 1.34, "C06": 1.64, "C29": 1.54, "C33": 1.78}


def test_the_fewest_macs_run_it_and_smaller_ones_do_not() -> None:
    (row,) = json.loads(
        run("fit", "Qwen3.5-397B-A17B", "--quant", "Q4_K_M", "--macs-needed", "--format", "json").stdout
    )["rows"]
    sets = [(each["machines"], each["mac"]) for each in row["macs_needed"]]
    assert sets[:3] == [(1, "512 GB"), (2, "2x 192 GB"), (3, "3x 128 GB")]
    for count, below in ((1, 256), (2, 128), (3, 96)):
        mac = f"{count}x {below}" if count > 1 else str(below)
        smaller = fit("Qwen3.5-397B-A17B", "Q4_K_M", mac=mac)[0]
        assert smaller.verdict.value != "fits"


def test_commands_start_the_split_that_was_counted() -> None:
    answer = together("Qwen3.5-27B", "unsloth:Q8_0", "3x 32", context="16k", kv_type="q8_0")
    commands = answer.engine.commands(answer.asked, answer.division, answer.quant, answer.weights)
    assert [each.machine for each in commands] == ["mac1", "mac2", "mac3"]
    *servers, main = (each.command for each in commands)
    assert all(each.startswith("ggml-rpc-server ") for each in servers)
    assert "-hf unsloth/Qwen3.5-27B-GGUF:Q8_0 --rpc mac1:50052,mac2:50052 --tensor-split " in main
    assert "-c 16384 -np 4 -fa on -ctk q8_0 -ctv q8_0 --kv-unified" in main
    shares = list(map(float, main.split("--tensor-split ")[1].split()[0].split(",")))
    devices = devices_of_layers(64, shares)
    assert [devices[:64].count(number) for number in range(3)] == [len(layers) for layers in answer.division.layers]
    for runtime, split, word in (("mlx", "pipeline", "--pipeline"), ("exo", "tensor", '"sharding": "Tensor"')):
        other = together("Qwen3.5-27B", "4bit", "2x 64", runtime=runtime, split=split)
        last = other.engine.commands(other.asked, other.division, other.quant, other.weights)[-1].command
        assert word in last


BAD = [
    ("2x M3 Ultra 100", (), "it was sold with 96, 256, 512 GB"),
    ("M3 Ultra 256 +", (), "a Mac is missing beside a +"),
    ("2x (M3 Ultra 256 + M4 Max 128)", (), "several Macs are '2x M3 Ultra 256'"),
    ("1x M3 Ultra 256", (), "one Mac needs no count; say 'M3 Ultra 256 GB'"),
    ("2x M3 Ultra 256, M4 Max 128", ("--split", "pipeline"), "one Mac has nothing to split"),
    ("M3 Ultra 256", ("--runtime", "exo", "--quant", "4bit"), "or leave out --runtime"),
    ("2x M3 Ultra 256", ("--split", ""), "--split is empty"),
    ("2x M3 Ultra 256", ("--tensor-split", "1"), "1 share for 2 Macs"),
    ("2x M3 Ultra 256", ("--context", "10m"), "choose from 1 to the trained 40,960 for each of 4 sequences\n"),
    ("2x M3 Ultra 256", ("--app", "ollama"), "ollama does not split a model over several Macs"),
    ("2x M3 Ultra 256", ("--app", "mlx_lm.server", "--runtime", "exo", "--quant", "4bit"), "leave out --app"),
    ("0x M3 Ultra 256", (), "expected 1 to 32 Macs"),
    ("1000x M3 Ultra 256", (), "expected 1 to 32 Macs"),
    ("M3 Ultra 256", ("--split", "pipeline"), "one Mac has nothing to split"),
    ("M3 Ultra 256", ("--tensor-split", "1,2"), "one Mac has nothing to split"),
    ("2x M3 Ultra 256", ("--tensor-split", "1,2,3"), "3 shares for 2 Macs"),
    ("2x M3 Ultra 256", ("--tensor-split", "1,-2"), "expected a share for each Mac"),
    ("2x M3 Ultra 256", ("--tensor-split", "0,0"), "at least one share"),
    ("2x M3 Ultra 256", ("--split", "rows"), "no split 'rows'"),
    ("2x M3 Ultra 256", ("--split", "tensor"), "has no tensor split"),
    ("2x M3 Ultra 256", ("--mtp",), "--mtp"),
    ("32x 16", (), "more than its 28 layers"),
    (
        "15x 16",
        (),
        "15 Macs are more than the 14 that llama.cpp computes on together; exo can (an MLX file, --runtime exo",
    ),
    ("16x 16", ("--split", "tensor", "--quant", "4bit"), "8 KV heads do not divide by 16"),
    ("3x 16", ("--split", "tensor", "--quant", "4bit"), "do not divide by 3"),
    ("2x 16", ("--tensor-split", "1,1", "--quant", "4bit"), "is an option of llama.cpp"),
]


@pytest.mark.parametrize(("mac", "options", "said"), BAD)
def test_bad_input_is_one_line(mac: str, options: tuple[str, ...], said: str) -> None:
    words = options if "--quant" in options else ("--quant", "Q4_K_M", *options)
    done = run("fit", "Qwen3-0.6B", "--mac", mac, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "quant", "said"),
    [
        ("Gemma-4-31B", "4bit", "exo can (--runtime exo --split tensor)"),
        ("Devstral-Small-2-24B", "4bit", "cannot split mistral3"),
        ("GLM-4.5-Air", "4bit", "171 groups of 64"),
        ("gpt-oss-20b", "4bit", "llama.cpp can (a GGUF file)"),
        ("Nemotron-3-Nano-30B-A3B", "4bit", "has no shard()"),
    ],
)
def test_what_an_engine_cannot_split_names_the_one_that_can(model: str, quant: str, said: str) -> None:
    done = run("fit", model, "--quant", quant, "--mac", "2x M3 Ultra 256")
    assert done.returncode == 2
    assert said in done.stderr
    assert "can (" in done.stderr


def test_who_can_is_asked_of_the_same_file() -> None:
    said = run("fit", "gpt-oss-120b", "--quant", "8bit", "--mac", "2x 128", "--split", "pipeline").stderr
    assert "mlx can" not in said  # its 45 groups of 64 do not divide by 2
    assert said.endswith("; llama.cpp can (a GGUF file), exo can (--runtime exo --split pipeline)\n")


def test_recommendations_for_several_macs_fit_every_one_of_them() -> None:
    done = run("recommend", "--mac", "2x M3 Ultra 256", "--context", "64k", "--places", "3", "--format", "json")
    found = json.loads(done.stdout)["rows"]
    assert len(found) == 3
    for row in found:
        assert row["mac"] == "2x M3 Ultra 256 GB"
        answer = together(row["model"], row["recipe"], "2x M3 Ultra 256", context="64k")
        assert answer.verdict.value == "fits"
        assert row["total_bytes"] == answer.estimate.total_bytes
        assert row["headroom_bytes"] == min(member.headroom_bytes for member in answer.members)
        assert row["max_context_tokens"] == answer.max_context_tokens
    refused = run("recommend", "--mac", "2x M3 Ultra 256", "--min-speed", "10")
    assert (refused.returncode, "--min-speed" in refused.stderr) == (2, True)


def test_a_plan_for_several_macs_has_the_contexts_of_fit() -> None:
    done = run("plan", "Qwen3.5-122B-A10B", "--quant", "Q8_0", "--mac", "2x M4 Max 128", "--format", "json")
    found = json.loads(done.stdout)["rows"]
    assert [row["kv_type_k"] for row in found] == ["f16", "q8_0", "q4_0"]
    for row in found:
        answer = together("Qwen3.5-122B-A10B", "Q8_0", "2x M4 Max 128", kv_type=row["kv_type_k"])
        assert row["max_context_tokens"] == answer.max_context_tokens
        assert row["mac"] == "2x M4 Max 128 GB"


def test_a_plan_for_several_macs_spells_what_it_refuses() -> None:
    done = run("plan", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "2x 64", "--mtp")
    assert (done.returncode, done.stderr) == (
        2,
        "deployfit: what --mtp does on several Macs is not known; leave it out\n",
    )
    assert "left out: --kv-bits: " in run("plan", "DeepSeek-V3", "--mac", "2x 512", "--quant", "4bit").stdout


def test_a_sweep_of_several_macs_has_the_rows_of_fit() -> None:
    contexts, macs, types = ["8k", "64k"], ["2x M4 Max 64", "M4 Max 128"], ["f16", "q8_0"]
    swept = sweep("Qwen3.5-122B-A10B", "Q4_K_M", mac=macs, context=contexts, kv_type=types)
    found = swept.rows()
    assert len(found) == len(contexts) * len(macs) * len(types)
    for row in found:
        typed = {"context": row["context_tokens"], "kv_type": row["kv_type_k"]}
        (own,) = fit("Qwen3.5-122B-A10B", "Q4_K_M", mac=row["mac"].removesuffix(" GB"), **typed).rows()
        speeds = ("decode_tps", "decode_full_tps", "prefill_tps")
        assert {name: row[name] for name in row if name in own and name not in speeds} == {
            name: own[name] for name in row if name in own and name not in speeds
        }
    assert swept.frame().total_bytes.tolist() == [row["total_bytes"] for row in found]
    (by_exo,) = sweep("Qwen3-235B-A22B", "4bit", mac="2x 128", runtime="exo").rows()
    assert by_exo["runtime"] == "exo"
    for words in (("--mac", "128", "--runtime", "exo"), ("--mac", "2x 128", "--app", "omlx"), ("--mac", "2x 99")):
        done = run("sweep", "Qwen3-235B-A22B", "--quant", "4bit", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_other_questions_say_who_knows_several_macs() -> None:
    done = run("table", "Qwen3.5-27B", "--mac", "2x 64")
    assert (done.returncode, done.stdout) == (2, "")
    assert "only fit, plan, recommend and sweep know them" in done.stderr


def test_one_mac_does_not_pay_for_clusters() -> None:
    code = (
        "import sys; from deployfit.questions.fit import fit; fit('Qwen3.5-27B', 'Q4_K_M', mac=32).text();"
        "print([name for name in sys.modules if 'cluster' in name])"
    )
    import subprocess
    import sys

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
