"""plan and recommend: every cell and place held against `fit`, the order against the cited scores."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import one_line, run

import deployfit
from deployfit import catalogue
from deployfit.catalogue import models
from deployfit.lookup import find_quant
from deployfit.quants.shelf import publishers
from deployfit.quants.weights import GGUF, MLX, Options, nominal_bits
from deployfit.ranking import BITS, EVIDENCE, USES

DATA = Path(__file__).parent.parent / "data"


def rows(*words: str) -> list[dict[str, Any]]:
    done = run(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def verdict(row: dict[str, Any], mac: str, context: int) -> str:
    """The verdict of `fit` on a cell of a plan with a context."""
    names = ("kv_type_k", "kv_type_v") if row["kv_type_k"] else ("kv_bits", "prefill_step_size")
    settings = {name: row[name] for name in names}
    (answer,) = deployfit.fit(row["model"], row["recipe"], mac=mac, context=context, **settings)
    return str(answer.verdict.value)


@pytest.mark.parametrize(
    ("model", "mac", "words"),
    [
        ("Qwen3.5-35B-A3B", "32", ("--quant", "Q4_K_M", "--quant", "Q5_K_M")),
        ("Qwen3.5-27B", "M4 Max 36", ("--quant", "4bit", "--quant", "6bit")),
        ("Qwen3.5-9B", "16", ("--publisher", "bartowski")),
    ],
)
def test_a_plan_s_context_fits_and_one_step_more_does_not(model: str, mac: str, words: tuple[str, ...]) -> None:
    found = rows("plan", model, "--mac", mac, *words)
    assert len(found) >= 6
    for row in found:
        context = row["max_context_tokens"] or 0
        if context:
            assert verdict(row, mac, context) == "fits"
        if context < 262_144:
            assert verdict(row, mac, context + 256) != "fits"


def test_a_plan_has_the_contexts_that_fit_says() -> None:
    planned = rows("plan", "Qwen3.5-27B", "--mac", "24")
    words = ("--mac", "24", "--own", "--runtime", "llama.cpp")
    fitted = {row["recipe"]: row["max_context_tokens"] for row in rows("fit", "Qwen3.5-27B", *words)}
    shown = {row["recipe"]: row["max_context_tokens"] for row in planned if row["kv_type_k"] == "f16"}
    assert len(shown) > 20
    assert None in shown.values()
    assert shown == {recipe: fitted[recipe] for recipe in shown}


def test_a_plan_in_text_names_what_fits_nowhere() -> None:
    text = run("plan", "Qwen3.5-35B-A3B", "--mac", "32", "--app", "llama-bench").stdout
    (line,) = [line for line in text.splitlines() if line.startswith("Q4_K_M ")]
    assert line.split() == ["Q4_K_M", "4.88", "21.17", "184,832", "262,144", "262,144"]
    assert "do not fit at all: Q5_1, Q6_K, Q8_0, BF16, F16 " in one_line(text)
    assert "\nIQ2_XXS" not in text  # needs an importance matrix that was not said to be there
    assert "\nIQ2_XXS" in run("plan", "Qwen3.5-35B-A3B", "--mac", "32", "--imatrix").stdout


@pytest.mark.parametrize("use", ["coding", "chat"])
def test_places_follow_the_cited_scores_but_for_ties(use: str) -> None:
    benchmark = {"coding": "LiveCodeBench v6", "chat": "GPQA Diamond"}[use]
    with open(DATA / "quality_models.csv", encoding="utf-8", newline="") as file:
        cited = [row for row in csv.DictReader(file) if row["benchmark"] == benchmark]
    scores = {row["model"]: float(row["score"]) for row in cited}
    scores |= {row["model"]: float(row["score"]) for row in cited if row["publisher"] == "Qwen"}
    found = rows("recommend", "--mac", "M4 Max 128", "--use", use, "--places", "20")
    assert {row["model"]: row["score"] for row in found} == {row["model"]: scores.get(row["model"]) for row in found}
    lossless = [row for row in found if "loss in the cited tests" not in row["bits_evidence"]]
    order = [row["score"] for row in lossless if row["score"] is not None]
    assert all(later - earlier < 2.5 for i, earlier in enumerate(order) for later in order[i + 1 :])
    assert [row["score"] is None for row in lossless] == sorted(row["score"] is None for row in lossless)


def test_of_a_tie_the_faster_model_stands_first() -> None:
    found = rows("recommend", "--mac", "M4 Max 128", "--use", "chat", "--places", "20")
    speeds = {row["model"]: row["decode_tps"] for row in found}
    order = list(speeds)
    most = 0
    for number, row in enumerate(found):
        match = re.search(r"no clear difference to (.+) \(under", row["reasons"][0])
        if match:
            slower = match[1].split(", ")
            most = max(most, len(slower))
            assert set(slower) <= set(order[number + 1 :])
            assert all(speeds[name] <= row["decode_tps"] for name in slower)
    assert most > 1


@pytest.mark.parametrize(
    ("mac", "words"), [("M2 Pro 32", ("--context", "64k", "--min-speed", "10")), ("16", ()), ("M3 Ultra 512", ())]
)
def test_every_place_fits_as_it_says(mac: str, words: tuple[str, ...]) -> None:
    found = rows("recommend", "--mac", mac, *words, "--places", "20")
    assert len({row["model"] for row in found}) == len(found) > 2
    context = 65536 if "64k" in words else 32768
    for row in found:
        (fitted,) = deployfit.fit(row["model"], row["recipe"], mac=mac, context=context).rows()
        assert fitted["verdict"] == "fits"
        for name in ("total_bytes", "headroom_bytes", "max_context_tokens", "decode_tps", "file_bytes"):
            assert row[name] == fitted[name], (row["model"], name)
        assert row["max_context_tokens"] >= context
        assert row["headroom_bytes"] >= 2**30
        assert "--context" not in words or row["decode_tps"] >= 10
        assert row["reasons"]


def test_faster_files_are_faster_and_say_at_what_evidence() -> None:
    found = rows("recommend", "--mac", "M2 Pro 32", "--min-speed", "0")
    named = [
        (row, re.search(r"^faster, (.+): (\S+) on (\S+), ([\d.]+) tokens/s$", reason))
        for row in found
        for reason in row["reasons"][2:]
    ]
    assert {match[3] for _, match in named if match} == {"llama.cpp", "mlx"}
    for row, match in named:
        assert match is not None
        (fitted,) = deployfit.fit(row["model"], match[2], mac="M2 Pro 32").rows()
        assert fitted["runtime"] == match[3]
        assert fitted["decode_tps"] == pytest.approx(float(match[4]), rel=0.05)
        assert fitted["decode_tps"] > 1.1 * row["decode_tps"]
        assert (match[1] == "with the same evidence") == (match[3] == "llama.cpp")


def test_the_same_question_has_the_same_answer() -> None:
    words = ("recommend", "--mac", "M4 Pro 48", "--use", "chat")
    assert run(*words).stdout == run(*words).stdout


def test_files_with_evidence_of_loss_come_last() -> None:
    loss = {row.evidence: row.is_lossy for row in catalogue.rows(BITS)}
    words = ("--mac", "M4 16", "--places", "99", "--min-speed", "0", "--min-headroom", "0g")
    found = [loss[row["bits_evidence"]] for row in rows("recommend", *words)]
    assert found == sorted(found)
    assert True in found
    assert False in found


def test_evidence_is_about_the_catalogue_and_says_where_from() -> None:
    scores = catalogue.rows(EVIDENCE)
    assert {row.model for row in scores} <= set(models())
    assert {name for name in models() if name.startswith("Qwen3.")} <= {row.model for row in scores}
    assert all(row.source.startswith("https://") for row in scores)
    assert {use.benchmark for use in catalogue.rows(USES)} <= {row.benchmark for row in scores}


@pytest.mark.parametrize("format_name", [GGUF, MLX])
def test_bits_are_ranked_once_each(format_name: str) -> None:
    bits = [b for row in catalogue.rows(BITS) if row.format == format_name for b in range(row.least, row.most + 1)]
    assert sorted(bits) == list(range(1, 33))


@pytest.mark.parametrize(
    ("recipe", "bits"),
    [
        ("Q1_0 TQ1_0", 1),
        ("TQ2_0 unsloth:UD-Q2_K_XL", 2),
        ("mixed_3_6 IQ3_XXS", 3),
        ("mxfp4 nvfp4 IQ4_XS", 4),
        ("mlx-community:5bit", 5),
        ("q8_g64 mxfp8 Q8_0", 8),
        ("bf16", 16),
    ],
)
def test_nominal_bits(recipe: str, bits: int) -> None:
    quants = [find_quant(each) for each in recipe.split()]
    options = [Options(imatrix=quant.format == GGUF and not quant.publisher) for quant in quants]
    model = models()["Qwen3.5-27B"]
    assert {nominal_bits(quant.weights(model, asked)) for quant, asked in zip(quants, options, strict=True)} == {bits}


@pytest.mark.parametrize(("model", "bits"), [("Qwen3.5-35B-A3B", 4), ("Qwen3.5-27B", 8)])
def test_bits_are_those_of_the_weights_and_not_of_the_name(model: str, bits: int) -> None:
    """MXFP4_MOE keeps MXFP4 for experts; a dense model has none, and its file is one of Q8_0."""
    assert nominal_bits(find_quant("MXFP4_MOE").weights(models()[model], Options())) == bits


def test_every_published_name_is_found_as_it_is_written() -> None:
    names = [each.name for publisher in publishers().values() for each in publisher.quants()]
    assert [find_quant(name.upper()).name for name in names] == [find_quant(name).name for name in names] == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mac", "M2 Pro 32", "--min-speed", "500"), "nothing that fits reaches 500 tokens/s; the fastest is"),
        (("--mac", "32", "--min-speed", "5"), "--min-speed: the chip decides: say it with --mac, such as 'M4 Max 64'"),
        (("--mac", "M4 Max 24"), "no M4 Max with 24 GB; it was sold with 36, 48, 64, 128 GB"),
        (("--mac", "32", "--context", "99m"), "--context: 103,809,024 tokens; choose from 1 to the trained "),
        (("--mac", "32", "--use", "poetry"), "no use 'poetry'; known: coding, chat"),
        (
            ("--mac", "M4 32", "--min-speed", "fast"),
            "--min-speed: expected tokens per second such as 10 or 7.5, got 'fast'",
        ),
        (("--mac", "M4 32", "--min-headroom", "40g"), "--min-headroom: nothing that fits leaves 40.0 GiB beside"),
        (("--mac", "M4 32", "--places", "0"), "--places: expected a whole number from 1"),
        (("--mac", "32", "--wired-limit", "1m"), "no file of any model fits with 32,768 tokens"),
    ],
)
def test_bad_questions_get_one_line(words: tuple[str, ...], said: str) -> None:
    done = run("recommend", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Qwen3.5-27B", "--mac", "32", "--quant", "Q4_K_M", "--quant", "4bit"), "a plan compares the settings of one"),
        (("Qwen3.5-27B", "--mac", "32", "--publisher", "nobody"), "no publisher 'nobody'"),
        (("Qwen3.5-27B", "--mac", "32", "--publisher", "unsloth", "--quant", "Q4_K_M"), "leave out --quant"),
        (("Qwen3.5-27B", "--mac", "32", "--publisher", "nvidia"), "checkpoints for servers"),
        (("Qwen3.5-27B", "--mac", "M9 Max 64"), "no Mac chip 'M9 Max'"),
        (("Qwen3.5-27B", "--mac", "32", "--runtime", "mlx", "--mtp"), "drop the MTP layer"),
    ],
)
def test_bad_plans_get_one_line(words: tuple[str, ...], said: str) -> None:
    done = run("plan", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


@pytest.mark.parametrize("command", [("plan", "Qwen3.5-9B"), ("recommend",)])
@pytest.mark.parametrize("format_name", ["csv", "markdown"])
def test_other_formats(command: tuple[str, ...], format_name: str) -> None:
    done = run(*command, "--mac", "M2 Pro 16", "--format", format_name)
    assert done.returncode == 0, done.stderr
    if format_name == "csv":
        assert len(list(csv.DictReader(done.stdout.splitlines()))) >= 2
    else:
        assert done.stdout.count("\n| ---") == 1


def test_a_chip_that_nobody_measured_is_said_to_be_one() -> None:
    said = "speed is assumed: no measurement of llama.cpp on an M2: from"
    assert said in one_line(run("recommend", "--mac", "M2 24", "--min-speed", "0").stdout)
    assert "speed is assumed" not in one_line(run("recommend", "--mac", "M4 Max 64").stdout)
    known = one_line(run("recommend", "--mac", "A18 Pro 8", "--min-headroom", "0g").stdout)
    assert "speed is not known: bandwidth and arithmetic of the A18 Pro" in known


@pytest.mark.parametrize(("mac", "least"), [("M2 Pro 32", 10.0), ("32", 0.0)])
def test_what_is_too_slow_to_use_or_leaves_too_little_is_left_out(mac: str, least: float) -> None:
    usual = rows("recommend", "--mac", mac, "--places", "99")
    everything = rows("recommend", "--mac", mac, "--places", "99", "--min-speed", "0", "--min-headroom", "0g")
    assert all((row["decode_tps"] or 0.0) >= least and row["headroom_bytes"] >= 2**30 for row in usual)
    assert any((row["decode_tps"] or 0.0) < 10.0 or row["headroom_bytes"] < 2**30 for row in everything)
    assert len(everything) >= len(usual)


def test_own_recipes_are_added_on_demand() -> None:
    published, own = (rows("recommend", "--mac", "M2 Max 32", *words) for words in ((), ("--own",)))
    assert all(":" in row["recipe"] for row in published)
    assert any(":" not in row["recipe"] for row in own)
    by_model = {row["model"]: row for row in published}
    for row in own:  # more to choose from: never a worse class of evidence
        if row["model"] in by_model and row["bits_evidence"] == by_model[row["model"]]["bits_evidence"]:
            assert row["total_bytes"] >= by_model[row["model"]]["total_bytes"]


def test_a_mac_of_unknown_chip_still_gets_a_list() -> None:
    text = one_line(run("recommend", "--mac", "32").stdout)
    assert "32 GB" in text
    assert "speed is not known: the chip decides: say it with --mac" in text
