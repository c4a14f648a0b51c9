"""Which fields each document has: the names of `words`, a question mark after those that may be null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_type_hints

from deployfit.checks import Review, Summary
from deployfit.runtimes import registry
from deployfit.schema.kinds import (
    COUNT,
    FLAG,
    NUMBER,
    SIZE,
    TEXT,
    TEXTS,
    Schema,
    list_of,
    map_of,
    object_of,
    or_null,
)
from deployfit.schema.words import BASIS, WORDS
from deployfit.values import NamedTuple

SIZES = (
    "weights_bytes kv_cache_bytes recurrent_state_bytes compute_buffer_bytes metal_scratch_bytes output_bytes"
    " vision_bytes mtp_bytes compute_buffer_upper_bytes total_bytes gpu_limit_bytes reserve_bytes headroom_bytes"
    " verdict"
)
SPEEDS = (
    "decode_tps? decode_low_tps? decode_high_tps? decode_full_tps? decode_full_low_tps? decode_full_high_tps?"
    " prefill_tps? prefill_low_tps? prefill_high_tps? mtp_speedup_low? mtp_speedup_high?"
)


class Shape(NamedTuple):
    """A document: what it is, the kind of its rows, and its fields beside them."""

    means: str
    row: Schema
    top: Mapping[str, Schema] = {}


def fields(names: str, **own: Schema) -> dict[str, Schema]:
    """Return fields by name; `own` are those that are no word, or one of another kind here.

    >>> fields("macos decode_tps?")["decode_tps"]["type"]
    ['number', 'null']
    """
    found: dict[str, Schema] = {}
    for name in names.split():
        word = WORDS[name.removesuffix("?")]
        kind = or_null(word.kind) if name.endswith("?") else word.kind
        found[name.removesuffix("?")] = {**kind, "description": word.means}
    return {**found, **own}


def row(names: str, **own: Schema) -> Schema:
    """Return the kind of a row with these fields."""
    return object_of(fields(names, **own))


PART = row(
    "name where bytes upper_bytes basis",
    bytes={**COUNT, "description": "its size; Metal's scratch is a difference and may be negative"},
    machine={**COUNT, "minimum": 0, "description": "which of the Macs, from 0"},
    basis={**BASIS, "description": "how it is known"},
)


def settings() -> dict[str, Schema]:
    """Return the columns of every runtime's settings; those of another runtime are null.

    >>> settings()["kv_bits"]["type"]
    ['integer', 'null']
    """
    found: dict[str, Schema] = {}
    for name in registry.names():
        helps = {each.name: each.help for each in registry.parameters()[name]}
        made = registry.runtime(name).settings(1, {})
        kinds = _annotated(type(made))
        for column in registry.columns(name):
            found[column] = {**or_null(kinds.get(column, TEXT)), "description": helps.get(column, column)}
    return found


def _annotated(settings_type: type) -> dict[str, Schema]:
    plain: Mapping[str, Schema] = {"bool": FLAG, "int": COUNT, "str": TEXT}
    written = {
        name: str(getattr(kind, "__forward_arg__", kind)) for name, kind in settings_type.__annotations__.items()
    }
    return {name: plain.get(kind, TEXT) for name, kind in written.items()}


CHECKPOINT = {
    "checkpoint_bytes": {**or_null(SIZE), "description": "one context checkpoint of llama-server; 0: it makes none"},
    "checkpoint_bytes_per_token": {**or_null(SIZE), "description": "what it has besides for each token so far"},
}


def _fit() -> Shape:
    machine = row(
        "mac layers weights_bytes total_bytes load_peak_bytes gpu_limit_bytes headroom_bytes verdict",
        parts=list_of(PART),
    )
    always = {
        **fields("model recipe runtime app? app_version? format mac macos memory_bytes context_tokens"),
        **settings(),
        **fields(f"imatrix image_tokens? image_width? image_height? tensor_bytes file_bytes {SIZES} {SPEEDS}"),
        **CHECKPOINT,
        **fields("max_context_tokens? choice basis notes not_counted advice", parts=list_of(PART)),
    }
    of_several_macs = {
        **fields("split? load_peak_bytes"),
        "machines": list_of(machine),
        "speedups": list_of(row("transport low high", rows=TEXTS)),
        "macs_needed": list_of(row("mac memory_bytes chips split?", machines=COUNT)),
        "commands": list_of(row("command", machine=TEXT)),
    }
    return Shape("Verdicts, one per Mac and quant", object_of({**always, **of_several_macs}, of_several_macs))


def _plan() -> Shape:
    made = {
        **fields("model recipe runtime app app_version format mac macos"),
        **settings(),
        **fields("tensor_bytes file_bytes weights_basis gpu_limit_bytes reserve_bytes max_context_tokens? decode_tps?"),
    }
    return Shape("The largest context that fits, per recipe and KV cache", object_of(made))


def _sweep() -> Shape:
    from deployfit.grid import COLUMNS, SPEED_COLUMNS

    nullable = ("max_context_tokens", *SPEED_COLUMNS)
    words = fields(" ".join(f"{each}?" if each in nullable else each for each in COLUMNS if each in WORDS))
    known = {**words, **settings()}
    return Shape("Every combination", object_of({each: known[each] for each in COLUMNS}))


def _validate() -> Shape:
    figures = row("what runtime batch", rows=COUNT, agreeing=COUNT, **dict.fromkeys(_figures(), NUMBER))
    bar = row("what runtime reason", figure=TEXT, least=NUMBER, most=NUMBER, value=or_null(NUMBER), holds=or_null(FLAG))
    judged = row(
        "section what runtime batch? model recipe? chip memory_gib? context_tokens? measured_tps? predicted_tps?"
        " low_tps? high_tps? measured_bytes? plus_minus_bytes? estimated_bytes? upper_bytes? reported_runs? verdict?"
        " total_bytes? gpu_limit_bytes? error_percent? agrees source"
    )
    top = {"spreads": list_of(figures), "bars": list_of(bar), "left_out": map_of(map_of(COUNT))}
    return Shape("What others measured beside what deployfit says", judged, top)


def _figures() -> Sequence[str]:
    from deployfit.validation import FIGURES

    return tuple(FIGURES)


def _check() -> Shape:
    kinds: Mapping[Any, Schema] = {int: COUNT, float: NUMBER}
    summary = {name: kinds[kind] for name, kind in get_type_hints(Summary).items()}
    checked = row(
        "model file of date published_bytes plus_minus_bytes estimated_bytes error_bytes excess_bytes error_percent"
        " tolerance_bytes basis exact passes reason source",
        basis={**BASIS, "description": "how the estimate is known"},
    )
    top = {"summary": object_of(summary), "review": object_of(dict.fromkeys(Review._fields, TEXTS))}
    return Shape("Estimates beside published sizes, worst first", checked, top)


def _verify() -> Shape:
    part = row(
        "name where predicted_bytes? logged_bytes difference_bytes? agrees? reason",
        basis={**TEXT, "description": "how the prediction is known, empty where there is none"},
    )
    speed = row("name tokens predicted_tps low_tps high_tps logged_tps agrees")
    logged = row(
        "model? recipe? runtime? program version? mac? context_tokens? agrees asked notes",
        parts=list_of(part),
        speeds=list_of(speed),
    )
    return Shape("A log beside what deployfit predicts for the same question", logged)


def _hub() -> Shape:
    top = fields(
        "repo revision commit from_cache total_bytes bytes_by_format types",
        total_bytes={**COUNT, "description": "all files of the repository"},
        params={**map_of(COUNT), "description": "parameters by type, as the Hub counts them"},
    )
    listed = row(
        "repo commit file format role shards missing_shards file_bytes tensor_bytes? text_bytes? vision_bytes?"
        " mtp_bytes? params?"
    )
    return Shape("The model files of a repository of the Hub", listed, top)


SHAPES: Mapping[str, Callable[[], Shape]] = {
    "fit": _fit,
    "plan": _plan,
    "recommend": lambda: Shape(
        "What to run, best first",
        row(
            "model recipe runtime format mac macos context_tokens use app weights_basis file_bytes total_bytes"
            " headroom_bytes max_context_tokens? decode_tps? decode_full_tps? speed_basis? benchmark? score?"
            " score_publisher? score_source? bits_evidence bits_source reasons"
        ),
    ),
    "quants": lambda: Shape(
        "What exists for a model, smallest first",
        row(
            "model quant format params tensor_bytes vision_bytes mtp_bytes file_bytes bits_per_weight published",
            basis={**BASIS, "description": "how the sizes are known"},
            notes={**TEXT, "description": "what should be known of it"},
        ),
    ),
    "table": lambda: Shape(
        "Sizes of files (with a Mac or a context: the document sweep)",
        row(
            "model recipe params tensor_bytes file_bytes format vision_bytes mtp_bytes",
            basis={**BASIS, "description": "how the sizes are known"},
        ),
    ),
    "sweep": _sweep,
    "here": lambda: Shape(
        "The models on this machine",
        row(
            "name store path file_bytes mac macos runtime? context_tokens? total_bytes? headroom_bytes? verdict?"
            " max_context_tokens? fault?"
        ),
    ),
    "page": lambda: Shape("The models of a page", row("model family trained_context_tokens vision mtp")),
    "models": lambda: Shape(
        "The catalogue",
        row(
            "model family total_params active_params layers layers_with_cache layers_with_state"
            " trained_context_tokens architecture gguf_architecture vision mtp checkpoint_bytes? numbers hub_repo"
            " aliases"
        ),
    ),
    "macs": lambda: Shape(
        "Chips and the memory sizes that they were sold with",
        row("chip memory_gib bandwidth_gb_s? fp16_tflops? macos gpu_limit_bytes gpu_limit_basis"),
    ),
    "check": _check,
    "validate": _validate,
    "verify": _verify,
    "contribute": lambda: Shape("Rows of measurements for data/", row("file row left_out")),
    "hub": _hub,
    "refresh": lambda: Shape("Sizes that are new on the Hub", row("model file bytes of date"), fields("not_asked")),
    "schema": lambda: Shape(
        "A JSON Schema: its keywords, and beside them its fields as rows",
        row("", field=TEXT, kind=TEXT, null=FLAG, means=TEXT),
    ),
}


@cache
def shape_of(name: str) -> Shape:
    """Return the shape of a document by its name."""
    return SHAPES[name]()
