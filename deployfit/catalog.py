"""The data files, from the installed package or from a checkout, and a user's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from deployfit.errors import DataError, InputError, quoted
from deployfit.formats.gguf_recipes import (
    LayerLists,
    Recipe,
    Rule,
    parse_generations,
    parse_layer_lists,
    parse_overrides,
    parse_recipes,
)
from deployfit.hardware import LimitRow, MacRow, parse_limits, parse_macs
from deployfit.models import Model, model_from_config, parse_models

if TYPE_CHECKING:  # what most answers do not need is imported where it is
    from deployfit.checks import Tolerance
    from deployfit.formats.checkpoint import CheckpointRecipe
    from deployfit.formats.mlx import MlxRecipe
    from deployfit.measured.memory import MemoryRow
    from deployfit.measured.speeds import SpeedRow
    from deployfit.measured.verdicts import VerdictRow
    from deployfit.measured.words import Rule as MeasurementRule
    from deployfit.quants.publishers import PublishedSize, Publisher
    from deployfit.ranking import Cited, Use
    from deployfit.speed import Speeds
    from deployfit.validation import Bar

T = TypeVar("T")
MOST_CATALOG_BYTES = 16 * 2**20


def _data_text(name: str) -> str:
    """Return a data file's text: `deployfit.data` once installed, `data/` beside the package in a checkout.

    importlib.resources would do the same for a zip file too, for 20 ms of a 70 ms answer.
    """
    try:
        import deployfit.data as package
    except ModuleNotFoundError:
        folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
    else:
        folder = os.path.dirname(package.__file__ or "")
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


@cache
def models() -> dict[str, Model]:
    """Return the catalogue: models by name.

    >>> models()["Qwen3.5-27B"].config.full_attention_layers
    16
    """
    return {model.name: model for model in parse_models(_data_text("models.csv"), "data/models.csv")}


@cache
def recipes() -> dict[str, Recipe]:
    """Return llama.cpp's recipes by name.

    >>> recipes()["Q4_K_M"].default.name
    'Q4_K'
    """
    return parse_recipes(_data_text("gguf_recipes.csv"), "data/gguf_recipes.csv")


@cache
def mlx_recipes() -> dict[str, MlxRecipe]:
    """Return the recipes of mlx-lm and mlx-vlm by name.

    >>> mlx_recipes()["q4_g64"].aliases
    ('4bit', 'q4')
    """
    from deployfit.formats.mlx import parse_mlx_recipes

    return parse_mlx_recipes(_data_text("mlx_recipes.csv"), "data/mlx_recipes.csv")


@cache
def checkpoint_recipes() -> dict[str, CheckpointRecipe]:
    """Return the recipes of checkpoints for servers by name.

    >>> list(checkpoint_recipes())
    ['BF16', 'FP8', 'GPTQ-Int4', 'NVFP4']
    """
    from deployfit.formats.checkpoint import parse_checkpoint_recipes

    return parse_checkpoint_recipes(_data_text("checkpoint_recipes.csv"), "data/checkpoint_recipes.csv")


@cache
def publishers() -> dict[str, Publisher]:
    """Return the publishers by name.

    >>> publishers()["unsloth"].row.format
    'GGUF'
    """
    from deployfit.quants.publishers import Bases, Publisher, parse_publisher_recipes, parse_publishers

    rows = parse_publishers(_data_text("publishers.csv"), "data/publishers.csv")
    rules = parse_publisher_recipes(_data_text("publisher_recipes.csv"), "data/publisher_recipes.csv")
    bases = Bases(recipes, mlx_recipes, checkpoint_recipes, _overrides, _generations, _layer_lists)
    return {row.name: Publisher(row, rules, published_sizes(), bases) for row in rows}


@cache
def published_sizes() -> list[PublishedSize]:
    """Return the published sizes.

    >>> published_sizes()[0].publisher
    'Qwen'
    """
    from deployfit.quants.publishers import parse_published_sizes

    return parse_published_sizes(_data_text("published_sizes.csv"), "data/published_sizes.csv")


@cache
def tolerances() -> list[Tolerance]:
    """Return how far estimates may be off published sizes.

    >>> tolerances()[0].publisher
    'unsloth'
    """
    from deployfit.checks import parse_tolerances

    return parse_tolerances(_data_text("tolerances.csv"), "data/tolerances.csv")


@cache
def _overrides() -> dict[tuple[str, str, str], tuple[Rule, ...]]:
    return parse_overrides(_data_text("publisher_overrides.csv"), "data/publisher_overrides.csv")


@cache
def _layer_lists() -> dict[tuple[str, str], LayerLists]:
    return parse_layer_lists(_data_text("publisher_layers.csv"), "data/publisher_layers.csv")


@cache
def _generations() -> dict[str, dict[str, str]]:
    return parse_generations(_data_text("gguf_generations.csv"), "data/gguf_generations.csv")


@cache
def macs() -> list[MacRow]:
    """Return the chips and the memory sizes that they were sold with.

    >>> macs()[0].chip
    'A18 Pro'
    """
    return parse_macs(_data_text("macs.csv"), "data/macs.csv")


@cache
def gpu_limits() -> list[LimitRow]:
    """Return what Macs lend to the GPU, by macOS generation and memory.

    >>> gpu_limits()[0].memory_gib
    8
    """
    return parse_limits(_data_text("gpu_limits.csv"), "data/gpu_limits.csv")


@cache
def speeds() -> Speeds:
    """Return what is known of speed.

    >>> sorted(speeds().coefficients)
    ['llama.cpp', 'mlx']
    """
    from deployfit.speed import Speeds, parse_coefficients, parse_drafting

    return Speeds(
        parse_coefficients(_data_text("speed_coefficients.csv"), "data/speed_coefficients.csv"),
        parse_drafting(_data_text("mtp_speedups.csv"), "data/mtp_speedups.csv"),
        macs(),
    )


@cache
def quality() -> Cited:
    """Return the cited evidence of quality: of models, and of what quantization costs them.

    >>> quality().scores[0].benchmark, quality().bits[0].evidence
    ('Artificial Analysis Intelligence Index', 'no loss beyond noise in the cited tests')
    """
    from deployfit.ranking import Cited, parse_bits, parse_evidence, parse_tested

    return Cited(
        scores=parse_evidence(_data_text("quality_models.csv"), "data/quality_models.csv"),
        bits=parse_bits(_data_text("quality_bits.csv"), "data/quality_bits.csv"),
        tested=parse_tested(_data_text("quality_quants.csv"), "data/quality_quants.csv"),
    )


@cache
def quality_uses() -> dict[str, Use]:
    """Return which benchmark orders models for a use.

    >>> list(quality_uses())
    ['coding', 'chat']
    """
    from deployfit.ranking import parse_uses

    return parse_uses(_data_text("quality_uses.csv"), "data/quality_uses.csv")


@cache
def measurement_rules() -> list[MeasurementRule]:
    """Return what makes a measurement useless.

    >>> measurement_rules()[0].reason
    'drafts several tokens at once'
    """
    from deployfit.measured.words import parse_measurement_rules

    return parse_measurement_rules(_data_text("measurement_rules.csv"), "data/measurement_rules.csv")


@cache
def speed_rows() -> dict[str, list[SpeedRow]]:
    """Return the measured speeds: those that the rule was made with, and those that were collected afterwards.

    >>> {name: rows[0].chip for name, rows in speed_rows().items()}
    {'first': 'M1 Max', 'later': 'M1 Max'}
    """
    from deployfit.measured.speeds import parse_speed_rows

    files = {"first": "mac_speeds.csv", "later": "mac_speeds_later.csv"}
    return {name: parse_speed_rows(_data_text(file), f"data/{file}") for name, file in files.items()}


@cache
def memory_rows() -> list[MemoryRow]:
    """Return what engines logged of their memory.

    >>> memory_rows()[0].kv_mib
    '68.0'
    """
    from deployfit.measured.memory import parse_memory_rows

    return parse_memory_rows(_data_text("memory_logs.csv"), "data/memory_logs.csv")


@cache
def verdict_rows() -> list[VerdictRow]:
    """Return users' reports of what runs and what does not.

    >>> verdict_rows()[0].verdict
    'RUNS'
    """
    from deployfit.measured.verdicts import parse_verdict_rows

    return parse_verdict_rows(_data_text("mac_verdicts.csv"), "data/mac_verdicts.csv")


@cache
def bars() -> list[Bar]:
    """Return how far off measurements deployfit may be.

    >>> bars()[0].figure
    'median_percent'
    """
    from deployfit.validation import parse_bars

    return parse_bars(_data_text("bars.csv"), "data/bars.csv")


def load_measurements(path: str, like: str, parse: Callable[[str, str], list[T]]) -> list[T]:
    """Return the rows of a user's file with the columns of one of those in data/; `parse` takes its text and place."""
    rows = parse(_file_text(path, "measurements", f"a CSV with the columns of {like}"), os.path.basename(path))
    if not rows:
        raise InputError(f"measurements {quoted(path)}: no row in it; give a CSV with the columns of {like}")
    return rows


def load_models(path: str, wanted: str) -> dict[str, Model]:
    """Return the models of a user's file: a CSV like data/models.csv, or a config.json.

    A config.json does not say its model's name; it goes by the wanted one. A JSON object of such objects
    names several.
    """
    place = os.path.basename(path)
    text = _file_text(path)
    is_json = place.lower().endswith(".json") or text.lstrip().startswith("{")
    found = _json_models(text, place, wanted) if is_json else parse_models(text, place)
    faults = [f"{place}: {model.name}: {fault}" for model in found for fault in model.faults()]
    if faults:
        raise DataError(faults)
    return {model.name: model for model in found}


def _file_text(path: str, what: str = "catalog", wanted: str = "a CSV like data/models.csv or a config.json") -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MOST_CATALOG_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{what} {quoted(path)}: {reason}; give {wanted}") from None
    if len(text) > MOST_CATALOG_BYTES:
        raise InputError(f"{what} {quoted(path)}: more than 16 MiB; give {wanted}")
    return text


def _json_models(text: str, place: str, wanted: str) -> list[Model]:
    import json

    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError([f"{place}: not JSON: {quoted(error)}"]) from None
    if not isinstance(content, dict):
        raise DataError([f"{place}: expected a config.json, got {quoted(type(content).__name__)}"])
    if "model_type" in content or "text_config" in content:
        return [model_from_config(content, wanted, place)]
    if not all(isinstance(config, dict) for config in content.values()):
        raise DataError([f"{place}: expected a config.json, or an object of such objects by model name"])
    odd = [f"{place}: expected a printable name, got {quoted(name)}" for name in content if not name.isprintable()]
    if odd or not content:
        raise DataError(odd or [f"{place}: no model in it; expected a config.json"])
    return [model_from_config(config, name, f"{place}: {quoted(name)}") for name, config in content.items()]
