"""Publishers' recipes reproduce what was published: on every model at once, and on sizes that nothing was fitted to."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from typing import Any

import pytest
from conftest import run

from deployfit import catalogue
from deployfit.basis import Basis
from deployfit.catalogue import models
from deployfit.errors import InputError
from deployfit.formats.checkpoint import Source, checkpoint_runs
from deployfit.formats.safetensors import every_tensor
from deployfit.layers.tensor import Part
from deployfit.lookup import find_quant
from deployfit.models import Model, own_model
from deployfit.quants.checkpoint import checkpoint_weights
from deployfit.quants.conventions import conventions
from deployfit.quants.published_sizes import PUBLISHED_SIZES, PublishedSize
from deployfit.quants.publishers import PUBLISHER_RECIPES, PUBLISHERS, Publisher, PublisherRecipe
from deployfit.quants.publishers import all_publishers as publishers
from deployfit.quants.shelf import checkpoint_recipes
from deployfit.quants.weights import Options
from deployfit.units import GB

Rows = Callable[..., list[dict[str, Any]]]


def published_sizes() -> list[PublishedSize]:
    return catalogue.rows(PUBLISHED_SIZES)


def solved(size: PublishedSize) -> PublisherRecipe | None:
    """The rule that claims to reproduce a published size, if there is one."""
    publisher = publishers().get(size.publisher)
    rule = publisher and publisher.rule(size.recipe, size.model)
    return rule if rule and size.model in rule.solved_on and "upload before" not in size.note else None


def predicted(size: PublishedSize, rule: PublisherRecipe) -> int:
    weights = publishers()[size.publisher].counted(rule, models()[size.model])
    return weights.tensor_bytes if size.of == "tensors" else weights.file_bytes


def contents(size: PublishedSize, rule: PublisherRecipe) -> tuple[str, ...]:
    weights = publishers()[size.publisher].counted(rule, models()[size.model])
    parts = {"text": weights.text_bytes, "vision": weights.vision_bytes, "mtp": weights.mtp_bytes}
    return tuple(name for name, nbytes in parts.items() if nbytes)


SOLVED = [(size, rule) for size in published_sizes() for rule in [solved(size)] if rule]
EXACT = [
    (size, rule)
    for size, rule in SOLVED
    if size.is_exact and size.of != "repository" and size.confidence != "low"  # a list that nothing bears out
]
ROUNDED = [
    (size, rule)
    for size, rule in SOLVED
    if not size.is_exact and size.of != "repository" and size.contains == contents(size, rule)  # not an older upload
]


def name_of(size: object) -> str:
    return f"{size.publisher}-{size.model}-{size.recipe}" if isinstance(size, PublishedSize) else "rule"


@pytest.mark.parametrize(("size", "rule"), EXACT, ids=name_of)
def test_exact_sizes_within_4_kib(size: PublishedSize, rule: PublisherRecipe) -> None:
    assert abs(predicted(size, rule) - size.nbytes) <= 4096


@pytest.mark.parametrize(("size", "rule"), ROUNDED, ids=name_of)
def test_rounded_sizes_within_their_rounding(size: PublishedSize, rule: PublisherRecipe) -> None:
    assert abs(predicted(size, rule) - size.nbytes) <= size.plus_minus_bytes


def test_what_is_claimed_is_not_little() -> None:
    """Of the family that recipes were solved on first, every plain recipe of unsloth's is."""
    plain = [size for size, _ in EXACT if is_plain(size)]
    assert [name_of(size) for size in published_sizes() if is_plain(size) and size not in plain] == []
    assert len(plain) == 105
    assert len(EXACT) == 289
    assert len(ROUNDED) == 41


def is_plain(size: PublishedSize) -> bool:
    return (
        size.publisher == "unsloth"
        and size.is_exact
        and size.model.startswith(("Qwen3.5", "Qwen3.6", "Qwen3.8"))
        and not size.recipe.startswith(("UD-", "mmproj"))
        and "upload before" not in size.note
    )


# Published figures that no rule was made from: a size that was seen after the rule stood, and counts of tensors
# and parameters that people read out of the files.
def test_a_122b_file_was_predicted_before_it_was_looked_at() -> None:
    rule = publishers()["unsloth"].rule("UD-Q4_K_XL", "Qwen3.5-122B-A10B")
    assert rule is not None
    counted = publishers()["unsloth"].counted(rule, models()["Qwen3.5-122B-A10B"])
    assert abs(counted.file_bytes - 77_029_996_032) <= 4096


@pytest.mark.parametrize(
    ("model", "recipe", "field", "published"),
    [
        ("Qwen3.5-27B", "FP8", "numbers", 27_782_935_472),  # the Hub's parameter count, which includes the scales
        ("Qwen3.6-35B-A3B", "FP8", "tensors", 64_196),
        ("Qwen3.6-35B-A3B", "FP8", "mtp tensors", 1_560),
        ("Qwen3.6-35B-A3B", "FP8", "vision tensors", 333),
        ("Qwen3.6-35B-A3B", "NVFP4", "tensors", 124_468),
        ("Qwen3.6-35B-A3B", "NVFP4", "mtp tensors", 19),
    ],
)
def test_checkpoints_hold_as_many_tensors_as_were_counted_in_them(
    model: str, recipe: str, field: str, published: int
) -> None:
    blueprint, row = models()[model]
    source = Source(blueprint, conventions(blueprint.model_type).checkpoint_names, row.float32_roles)
    stored = list(every_tensor(checkpoint_runs(source, checkpoint_recipes()[recipe])))
    assert len({tensor.name for tensor in stored}) == len(stored)
    counts = {
        "tensors": len(stored),
        "numbers": sum(prod(tensor.shape) for tensor in stored),
        "mtp tensors": sum(tensor.part is Part.MTP for tensor in stored),
        "vision tensors": sum(tensor.part is Part.VISION for tensor in stored),
    }
    assert counts[field] == published


REPOSITORIES = [
    size
    for size in published_sizes()
    if (size.publisher, size.of) in (("Qwen", "repository"), ("nvidia", "repository"))
]
TOKENIZER_BYTES = 23_000_000  # tokenizer.json, vocabulary and merges beside the weights


@pytest.mark.parametrize("size", REPOSITORIES, ids=name_of)
def test_checkpoints_within_a_thousandth_of_the_published_repository(size: PublishedSize) -> None:
    weights = checkpoint_weights(models()[size.model], checkpoint_recipes()[size.recipe])
    error = weights.file_bytes + TOKENIZER_BYTES - size.nbytes
    assert abs(error) <= size.nbytes // 1000 + size.plus_minus_bytes


@pytest.mark.parametrize("model", [name for name in models() if models()[name].row.checkpoint_bytes])
def test_bf16_checkpoints_are_exact(model: str) -> None:
    weights = checkpoint_weights(models()[model], checkpoint_recipes()["BF16"])
    assert weights.tensor_bytes == models()[model].row.checkpoint_bytes


def test_sizes_are_bytes_and_never_gib_called_gb() -> None:
    """A GiB table's "16.7 GB" of the 9B in BF16 is 17.92 GB, as counted."""
    (size,) = [
        size
        for size in published_sizes()
        if (size.publisher, size.model, size.recipe) == ("bartowski", "Qwen3.5-9B", "BF16")
    ]
    assert size.nbytes == round(16.7 * 2**30)
    assert not size.is_exact
    assert round(size.nbytes / GB, 1) == 17.9


def test_a_rule_reproduces_every_size_of_the_models_that_it_was_solved_on() -> None:
    """Each of them has a size, or counts of what is in it; and none is a pattern."""
    known = {(size.publisher, size.model) for size in published_sizes()}
    for rule in catalogue.rows(PUBLISHER_RECIPES):
        assert set(rule.solved_on) <= set(models()), rule
        assert {(rule.publisher, model) for model in rule.solved_on} <= known, rule


def test_a_model_that_exists_nowhere_has_no_publisher_s_files() -> None:
    nowhere = own_model("Nowhere-9B", models()["Qwen3.5-9B"].blueprint, "given")
    for publisher in publishers().values():
        for quant in publisher.quants():
            assert not quant.advisable(nowhere, Options())
            with pytest.raises(InputError, match=r"for Nowhere-9B is known"):
                quant.weights(nowhere, Options())


def test_a_rule_is_a_guess_on_models_that_it_was_not_solved_on() -> None:
    """One of a pattern that matches, but of which nobody saw a file: assumed, and said so."""
    known = models()["Qwen3.5-9B"]
    kin = known._replace(row=known.row._replace(name="Qwen3.5-10B"))
    weights = publishers()["mlx-community"].quant("8bit").weights(kin, Options())
    assert weights.basis is Basis.ASSUMED
    assert "no size of mlx-community:8bit is known; counted by its recipe on other models" in weights.notes[0]
    fp8 = publishers()["Qwen"].quant("FP8")
    bases = [fp8.weights(models()[name], Options()).basis for name in ("Qwen3.5-27B", "Qwen3.5-4B")]
    assert bases == [Basis.DERIVED, Basis.ASSUMED]


def test_rules_do_not_depend_on_the_order_in_which_models_are_named() -> None:
    """What a rule overrides is found by its name, so that swapping two models changes nothing."""
    recipes = catalogue.rows(PUBLISHER_RECIPES)
    swapped = [rule._replace(models=rule.models[::-1], solved_on=rule.solved_on[::-1]) for rule in recipes]
    own = [row for row in catalogue.rows(PUBLISHERS) if row.name == "unsloth"]
    sizes = catalogue.rows_by(PUBLISHED_SIZES, "publisher")["unsloth"]
    before, after = (Publisher(own, rules, sizes) for rules in (recipes, swapped))
    overridden = [rule for rule in recipes if rule.publisher == "unsloth" and rule.overrides and len(rule.models) > 1]
    assert len(overridden) > 30

    def file_bytes(publisher: Publisher, rule: PublisherRecipe) -> list[int]:
        counted = [publisher.quant(rule.name).weights(models()[name], Options()) for name in rule.solved_on]
        return [weights.file_bytes for weights in counted]

    assert [file_bytes(before, rule) for rule in overridden] == [file_bytes(after, rule) for rule in overridden]


@pytest.mark.parametrize(
    ("publisher", "formats"),
    [("Qwen", ["safetensors", "GGUF"]), ("lmstudio-community", ["GGUF", "MLX"]), ("ibm-granite", ["GGUF", "MLX"])],
)
def test_a_publisher_can_have_several_formats(publisher: str, formats: list[str]) -> None:
    assert list(publishers()[publisher].rows) == formats
    assert {quant.format for quant in publishers()[publisher].quants()} == set(formats)


def test_the_mtp_layer_of_a_repository_of_its_own_is_answered() -> None:
    """unsloth's Qwen3.6-27B-MTP-GGUF: a public benchmark says 17.9 GB of its UD-Q4_K_XL file."""
    model = models()["Qwen3.6-27B"]
    quant = publishers()["unsloth"].quant("UD-Q4_K_XL")
    without, weights = (quant.weights(model, Options(mtp=mtp)) for mtp in (False, True))
    assert weights.file_bytes == pytest.approx(17.9 * GB, abs=0.05 * GB)
    assert weights.file_bytes - without.file_bytes == pytest.approx(weights.mtp_bytes, rel=0.01)
    assert (weights.text_bytes, weights.basis) == (without.text_bytes, Basis.ASSUMED)
    assert "the one in unsloth/Qwen3.6-27B-MTP-GGUF" in weights.notes[-1]


def test_what_nobody_ships_names_what_is_shipped() -> None:
    """gpt-oss comes with experts in MXFP4: a plain Q4_K_M is larger than what everybody runs."""
    model = models()["gpt-oss-20b"]
    plain, shipped = (find_quant(name).weights(model, Options()) for name in ("Q4_K_M", "ggml-org:MXFP4"))
    assert [note for note in plain.notes if "ggml-org:MXFP4 of 12.11 GB" in note]
    assert (shipped.file_bytes, shipped.basis, shipped.notes) == (12_109_566_624, Basis.DERIVED, ())
    assert plain.file_bytes > 15_500_000_000
    assert find_quant("Q4_K_M").weights(models()["Qwen3.5-27B"], Options()).notes == ()


def test_weights_say_whose_they_are() -> None:
    model: Model = models()["Qwen3.5-27B"]
    counted, published = (
        publishers()["unsloth"].quant(name).weights(models()[of], Options())
        for name, of in (("Q4_K_M", "Qwen3.5-27B"), ("UD-Q4_K_XL", "Qwen3.8-27B"))
    )
    own = checkpoint_weights(model, checkpoint_recipes()["BF16"])
    assert [counted.publisher, published.publisher, own.publisher] == ["unsloth", "unsloth", ""]


def test_every_published_model_and_publisher_of_a_rule_exists() -> None:
    assert {size.model for size in published_sizes()} <= set(models())
    for publisher in publishers().values():
        for name in publisher.names:
            assert publisher.quant(name.lower()).name == f"{publisher.name}:{name}"


def test_each_kind_of_knowledge_says_what_it_is(fit_rows: Rows) -> None:
    rows = {
        quant: fit_rows(model, "--quant", quant, "--mac", "128")[0]
        for model, quant in (
            ("Qwen3.5-27B", "unsloth:Q4_K_M"),
            ("Qwen3.8-27B", "unsloth:UD-Q4_K_XL"),
            ("Qwen3.5-4B", "bartowski:Q5_K_M"),
        )
    }
    assert [row["basis"]["weights_bytes"] for row in rows.values()] == ["derived", "measured", "assumed"]
    counted, measured, assumed = rows.values()
    assert counted["notes"] == []
    assert measured["file_bytes"] == 17_559_178_144
    assert "the published size (text + mtp, 2026-08-21), not counted" in measured["notes"][0]
    assert "no size of bartowski:Q5_K_M is known; counted by its recipe on other models" in assumed["notes"][0]


def test_a_measured_size_is_shared_out_and_adds_up() -> None:
    """Of a published file that holds the MTP layer, the layer's share by parameters is not counted as text."""
    model = models()["Qwen3.8-27B"]
    weights = publishers()["unsloth"].quant("UD-Q4_K_XL").weights(model, Options())
    assert weights.basis is Basis.MEASURED
    assert 0 < weights.mtp_bytes < weights.text_bytes // 50
    assert 0 < weights.file_bytes - weights.tensor_bytes < 12_000_000


@pytest.mark.parametrize(
    ("model", "recipe", "tool_s_text"),  # mlx-lm's own figures of the text, as in other_mlx_weights.csv
    [
        ("Gemma-4-E4B", "4bit", 4_198_750_292),
        ("Gemma-4-E4B", "6bit", 6_064_363_604),
        ("Gemma-4-E4B", "bf16", 14_926_026_836),
        ("Gemma-4-31B", "8bit", 32_617_177_720),
        ("Mistral-Small-3.2-24B", "4bit", 13_260_072_960),
    ],
)
def test_towers_in_mlx_files_are_no_weights_of_mlx_lm(
    model: str, recipe: str, tool_s_text: int, fit_rows: Rows
) -> None:
    (row,) = fit_rows(model, "--quant", f"mlx-community:{recipe}", "--mac", "128")
    text = next(part["bytes"] for part in row["parts"] if part["name"] == "weights")
    assert row["file_bytes"] > 1.02 * tool_s_text  # the file has the tower
    assert abs(text - tool_s_text) < 0.008 * tool_s_text


def test_re_uploads_are_kept_and_the_latest_is_taken(fit_rows: Rows) -> None:
    dated = {
        size.date: size.nbytes
        for size in published_sizes()
        if (size.publisher, size.model, size.recipe, size.of) == ("unsloth", "Qwen3.5-397B-A17B", "UD-Q4_K_XL", "file")
    }
    assert dated == {"2026-03-03": 219_216_328_992, "2026-08-21": 245_272_148_448}
    (row,) = fit_rows("Qwen3.5-397B-A17B", "--quant", "unsloth:UD-Q4_K_XL", "--mac", "512")
    assert row["file_bytes"] == pytest.approx(245_272_148_448, abs=4096)


def test_quants_lists_what_exists_smallest_first() -> None:
    done = run("quants", "Qwen3.5-27B", "--format", "json")
    rows = json.loads(done.stdout)["rows"]
    sizes = [row["file_bytes"] for row in rows]
    assert sizes == sorted(sizes)
    by_name = {row["quant"]: row for row in rows}
    assert by_name["unsloth:Q4_K_M"]["published"] == "2026-08-21"
    assert by_name["mlx-community:4bit"]["tensor_bytes"] == 16_054_266_848
    assert by_name["Qwen:FP8"]["basis"] == "derived"
    assert by_name["Q4_K_M"]["basis"] == "exact"
    assert {row["format"] for row in rows} == {"GGUF", "MLX", "safetensors"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fit Qwen3.5-27B --mac 32 --quant nobody:Q4_K_M", "no publisher 'nobody'; known: unsloth"),
        ("fit Qwen3.5-27B --mac 32 --quant unsloth:Q4_K_X", "no unsloth recipe 'Q4_K_X'; did you mean Q4_K_"),
        ("fit Qwen3.5-27B --mac 32 --quant unsloth:", "no recipe 'unsloth:'; known: "),
        ("fit Qwen3.5-4B --mac 32 --quant unsloth:UD-Q8_K_L", "no size of unsloth:UD-Q8_K_L for Qwen3.5-4B is known"),
        ("fit Qwen3.5-27B --mac 32 --quant unsloth:Q4_K_M --imatrix", "leave out --imatrix"),
        ("fit Qwen3.5-27B --mac 32 --quant unsloth:Q4_K_M --mtp", "no MTP layer that is known; leave out --mtp"),
        ("fit Qwen3.5-27B --mac 32 --quant unsloth:Q4_K_M --runtime mlx", "unsloth:Q4_K_M is GGUF, which mlx does"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --runtime llama.cpp", "q4_g64 is MLX, which llama.cpp does not load"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --runtime vllm", "no runtime 'vllm'; known: llama.cpp, mlx"),
        ("fit Qwen3.5-27B --mac 32 --quant FP8", "'FP8' is a checkpoint for servers"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --mtp", "drop the MTP layer; leave out --mtp"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --imatrix", "no importance matrix; leave out --imatrix"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --ubatch 512", "--ubatch is an option of llama.cpp"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --kv-type q8_0", "--kv-type is an option of llama.cpp"),
        ("fit Qwen3.5-27B --mac 32 --quant Q4_K_M --kv-bits 8", "--kv-bits is an option of mlx"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --kv-bits 7", "kv-bits: 7 is not one of 2, 3, 4, 5, 6, 8, 16"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --prefill-step-size 0", "prefill-step-size: 0 tokens; choose from 1"),
        ("fit Qwen3.5-27B --mac 32 --quant 4bit --context 300k", "context: 307,200 tokens; choose from 1 to"),
        ("fit Qwen3.5-27B --mac 32 --quant OptiQ-4bit", "no size of mlx-community:OptiQ-4bit for Qwen3.5-27B is known"),
        ("fit Qwen3.5-27B --mac 32 --quant UD-Q4_K_XL --runtime mlx", "unsloth:UD-Q4_K_XL is GGUF, which mlx"),
        ("fit Qwen3.5-27B --mac 32 --quant q4_g48", "no recipe 'q4_g48'; did you mean q4_g"),
        ("fit Qwen3.5-27B --mac 32 --quant mixed_4_6_g32 --vision", "mlx-vlm has no recipe mixed_4_6_g32"),
        ("quants Qwen3.5-27B --publisher nobody", "no publisher 'nobody'; known: unsloth"),
        ("quants Qwen3.5-28B", "no model 'Qwen3.5-28B'"),
        ("table Qwen3.5-27B --runtime mlx --quant Q4_K_M", "Q4_K_M is GGUF, which mlx does not load"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_line(words: str, said: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("deployfit: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
