"""The answers of `deployfit fit` as text, JSON, CSV and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.basis import Basis
from deployfit.report.tabular import aligned, csv_text, headline_of, markdown
from deployfit.speed import Rate, Speed
from deployfit.units import four_digits, gb, gib, tps
from deployfit.verdict import RUNS, Answer, Verdict

SCHEMA = "deployfit/fit/1"

COLOURS = {
    Verdict.FITS: "\x1b[32m",
    Verdict.TIGHT: "\x1b[33m",
    Verdict.NEEDS_RAISED_LIMIT: "\x1b[33m",
    Verdict.DOES_NOT_FIT: "\x1b[31m",
}
BOLD = "\x1b[1m"
RESET = "\x1b[0m"

PART_NAMES = {
    "weights": "weights",
    "kv_cache": "KV cache",
    "recurrent_state": "recurrent state",
    "vision": "vision tower",
    "mtp": "MTP drafting",
}

Value = int | float | str | bool | None | list[str] | dict[str, str]


def fit_row(answer: Answer) -> dict[str, Value]:
    """Return one answer as the row of the JSON report; its fields are described in the README."""
    question, weights, needed = answer.question, answer.weights, answer.estimate
    settings = question.settings
    return {
        "model": question.model.name,
        "recipe": weights.recipe,
        "runtime": settings.runtime,
        "format": weights.format,
        "mac": question.place.mac.name,
        "macos": question.place.macos,
        "memory_bytes": question.place.mac.memory_bytes,
        "context_tokens": settings.context_tokens,
        **settings.columns,
        "imatrix": question.options.imatrix,
        "tensor_bytes": weights.tensor_bytes,
        "file_bytes": weights.file_bytes,
        "weights_bytes": needed.weights_bytes,
        "kv_cache_bytes": needed.kv_cache_bytes,
        "recurrent_state_bytes": needed.recurrent_state_bytes,
        "compute_buffer_bytes": needed.compute_buffer_bytes,
        "compute_buffer_upper_bytes": needed.compute_buffer_upper_bytes,
        "vision_bytes": needed.vision_bytes,
        "mtp_bytes": needed.mtp_bytes,
        "total_bytes": needed.total_bytes,
        "gpu_limit_bytes": question.place.limit.limit_bytes,
        "reserve_bytes": answer.question.place.reserve_bytes,
        "headroom_bytes": answer.headroom_bytes,
        "verdict": answer.verdict.value,
        **_speed_columns(answer.speed),
        "max_context_tokens": answer.max_context_tokens,
        "basis": {name: basis.value for name, basis in answer.basis.items()},
        "notes": list(answer.notes),
        "not_counted": list(answer.left_out),
        "advice": list(answer.advice),
    }


BEYOND_THE_LIMIT = "these are speeds within the GPU limit; beyond it the Mac swaps and is far slower, or refuses"
RATES = ("decode", "decode_full", "prefill")


def _speed_columns(speed: Speed | None) -> dict[str, Value]:
    """Return the speeds in tokens per second to four digits, with their intervals; null where they are not known."""
    columns: dict[str, Value] = {}
    for name in RATES:
        for field in ("tps", "low_tps", "high_tps"):
            column = f"{name}_{field}"
            columns[column] = None if speed is None else four_digits(getattr(getattr(speed, name), field))
    drafting = None if speed is None else speed.drafting
    columns["mtp_speedup_low"] = None if drafting is None else round(drafting.low, 2)
    columns["mtp_speedup_high"] = None if drafting is None else round(drafting.high, 2)
    return columns


def fit_json(answers: Sequence[Answer]) -> str:
    """Return the JSON report."""
    import json

    return json.dumps({"schema": SCHEMA, "rows": [fit_row(answer) for answer in answers]}, indent=2)


def fit_csv(answers: Sequence[Answer]) -> str:
    """Return the CSV report: the same fields, lists joined with "; "."""
    return csv_text([{name: _flat(value) for name, value in fit_row(answer).items()} for answer in answers])


def _flat(value: Value) -> object:
    if isinstance(value, dict):
        return "; ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list):
        return "; ".join(value)
    return str(value).lower() if isinstance(value, bool) else value


def fit_markdown(answers: Sequence[Answer]) -> str:
    """Return the Markdown report: per runtime what is asked, a table, the notes that hold for all rows."""
    return "\n\n".join(
        "\n\n".join(
            [_headline(group[0]), markdown(_table_header(group), map(_table_row, group)), *_common_lines(group)]
        )
        for group in _by_runtime(answers)
    )


def fit_text(answers: Sequence[Answer]) -> str:
    """Return the report for a person: the whole breakdown for one recipe, a line each for several."""
    if len(answers) == 1:
        return _one_text(answers[0])
    texts = [_many_text(group) for group in _by_runtime(answers)]
    return "\n\n".join([*texts, "Add --quant RECIPE for the breakdown and what would make it fit."])


def _by_runtime(answers: Sequence[Answer]) -> list[list[Answer]]:
    grouped: dict[str, list[Answer]] = {}
    for answer in answers:
        grouped.setdefault(answer.question.settings.runtime, []).append(answer)
    return list(grouped.values())


def _headline(answer: Answer) -> str:
    question = answer.question
    settings = question.settings
    return f"{headline_of(question.model, question.place)}, {settings.runtime}, {settings.words}"


def _one_text(answer: Answer) -> str:
    question, weights, needed = answer.question, answer.weights, answer.estimate
    known = answer.basis
    config = question.model.config
    details = {
        "weights": f"{weights.recipe}, {weights.bits_per_weight:.2f} bits per weight; file {gb(weights.file_bytes)} GB",
        "kv_cache": f"{config.full_attention_layers} of {config.num_hidden_layers} layers have one",
        "recurrent_state": f"{config.linear_attention_layers} linear-attention layers, fixed per sequence",
        "compute_buffer": question.settings.work_words(gib(needed.compute_buffer_upper_bytes)),
        "vision": "as in the file" if weights.vision_bytes else "mmproj F16",
        "mtp": "its weights, cache, state and buffers",
    }
    names = PART_NAMES | {"compute_buffer": question.settings.work_name}
    rows = [
        [names[name], known[name + "_bytes"].value, details[name], gib(size)]
        for name, size in needed.parts.items()
        if size or name not in ("vision", "mtp")
    ]
    rows.append(["total", "", "", gib(needed.total_bytes)])
    place = question.place
    rows.append(
        [
            "GPU limit",
            question.place.limit.basis.value,
            question.place.limit.note,
            gib(question.place.limit.limit_bytes),
        ]
    )
    rows.append(
        [
            "reserve",
            "",
            "kept free below the limit, for Metal, macOS and other programs",
            gib(place.reserve_bytes),
        ]
    )
    rows.append(["headroom", "", "limit less reserve less total", gib(answer.headroom_bytes)])
    table = aligned(["", "known", "", "GiB"], rows, left=3)
    lines = [
        _headline(answer),
        "",
        f"{_verdict_text(answer)}: {gib(needed.total_bytes)} of {gib(question.place.limit.limit_bytes)} GiB",
        "",
        *table,
        "",
        "largest context that fits: "
        + (f"{answer.max_context_tokens:,} tokens" if answer.max_context_tokens else "none"),
        *_speed_lines(answer),
        *_bullets("what would make it fit", answer.advice),
        *_bullets("note", answer.notes),
        *_bullets("not counted", answer.left_out),
    ]
    return "\n".join(lines)


def _speed_lines(answer: Answer) -> list[str]:
    """Return what is known of the speed: tokens per second, with the interval of four in five measurements."""
    speed = answer.speed
    if speed is None:
        return [f"speed: not known; {answer.no_speed}"]
    context = answer.question.settings.context_tokens
    minutes, seconds = divmod(round(context / speed.prefill.tps), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return [
        "",
        *aligned(
            ["speed", "known", "", "tokens/s", "four in five"],
            [
                ["decode", speed.basis.value, "at the start of the context", *_rate(speed.decode)],
                ["", speed.basis.value, f"with {context:,} tokens in the context", *_rate(speed.decode_full)],
                ["prefill", speed.basis.value, f"{context:,} tokens take about {took}", *_rate(speed.prefill)],
            ],
            left=3,
        ),
        f"speed is a rule fitted to measurements: {speed.note}",
        *_drafting_lines(speed),
        *([] if answer.verdict in RUNS else [BEYOND_THE_LIMIT]),
        "",
    ]


def _drafting_lines(speed: Speed) -> list[str]:
    if speed.drafting is None:
        return []
    low, high, pairs = speed.drafting
    return [
        f"decode is without drafting; with MTP drafting {low:.1f} to {high:.1f} times it were measured ({pairs} pairs)"
    ]


def _rate(rate: Rate) -> list[str]:
    return [tps(rate.tps), f"{tps(rate.low_tps)} to {tps(rate.high_tps)}"]


def _verdict_text(answer: Answer) -> str:
    return f"{BOLD}{COLOURS[answer.verdict]}{answer.verdict.words}{RESET}"


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return (
        [f"{title}: {lines[0]}"]
        if len(lines) == 1
        else [f"{title}:", *(f"  - {line}" for line in lines)]
        if lines
        else []
    )


_TABLE_HEADER = ["recipe", "bits/weight", "file GB", "total GiB", "headroom GiB", "max context", "verdict"]
_SPEED_HEADER = "tokens/s"


def _table_header(answers: Sequence[Answer]) -> list[str]:
    """Return the header; without a chip there is no column of speed."""
    has_speed = answers[0].speed is not None
    return [*_TABLE_HEADER[:-1], *([_SPEED_HEADER] if has_speed else []), _TABLE_HEADER[-1]]


def _table_row(answer: Answer) -> list[str]:
    largest = answer.max_context_tokens
    return [
        answer.weights.recipe,
        f"{answer.weights.bits_per_weight:.2f}",
        gb(answer.weights.file_bytes),
        gib(answer.estimate.total_bytes),
        gib(answer.headroom_bytes),
        f"{largest:,}" if largest else "-",
        *([tps(answer.speed.decode.tps)] if answer.speed else []),
        answer.verdict.words,
    ]


def _many_text(answers: Sequence[Answer]) -> str:
    header, *rows = aligned(_table_header(answers), [_table_row(answer) for answer in answers])
    coloured = [
        line[: len(line) - len(words)] + COLOURS[answer.verdict] + words + RESET
        for line, answer in zip(rows, answers, strict=True)
        for words in [answer.verdict.words]
    ]
    return "\n".join([_headline(answers[0]), "", header, *coloured, "", *_common_lines(answers)])


def _common_lines(answers: Sequence[Answer]) -> list[str]:
    """Return what holds for every row, and where the rows' other generation of macOS disagrees."""
    first = answers[0]
    place = first.question.place
    lines = [
        f"total = weights + KV cache + recurrent state + {first.question.settings.work_name}; headroom = GPU limit"
        f" ({place.limit.basis.value}) - reserve of {gib(place.reserve_bytes)} GiB - total."
    ]
    if first.speed is not None:
        lines.append(
            "tokens/s: decoding at the start of the context"
            f" ({first.speed.basis.value}; four in five measurements lie within"
            f" {first.speed.decode.low_tps / first.speed.decode.tps:.2f} to"
            f" {first.speed.decode.high_tps / first.speed.decode.tps:.2f} times of it)."
        )
        if first.speed.basis is Basis.ASSUMED:
            lines.append(f"Speed is assumed: {first.speed.note}.")
    elif place.mac.chip:
        lines.append(f"Speed is not known: {first.no_speed}.")
    shared = [note for note in first.notes if all(note in answer.notes for answer in answers)]
    lines += [f"Note: {note}." for note in shared]
    others: dict[str, list[str]] = {}
    for answer in answers:
        for note in answer.notes:
            if note not in shared:
                others.setdefault(note, []).append(answer.weights.recipe)
    lines += [f"Note for {', '.join(recipes)}: {note}." for note, recipes in others.items()]
    lines.append(f"Not counted: {'; '.join(first.left_out)}.")
    return lines
