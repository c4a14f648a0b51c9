"""llama-bench: its table of speeds as Markdown, CSV, JSON or lines of JSON, with the size of the file's tensors."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from deployfit.errors import InputError, quoted
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.log import (
    EngineLog,
    Figure,
    LoggedMac,
    LoggedModel,
    LoggedPart,
    LoggedSettings,
    LoggedSpeed,
    rounded,
)
from deployfit.measured.logs.names import file_of, public_name, recipe_of
from deployfit.units import GIB, MIB

FIELDS = (
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "type_k",
    "type_v",
    "flash_attn",
    "n_prompt",
    "n_gen",
    "n_depth",
    "avg_ts",
)
WORDS = frozenset([*(f'"{field}"' for field in FIELDS), '{"build_commit"', "build"])
STARTS = ("| ", "build_commit,", '"')
MARKS = ()
ORDER = 1

MOST_ROWS = 1_000
_CHIP = re.compile(r"Apple (A\d{2} Pro|M\d{1,2}(?: (?:Pro|Max|Ultra))?)\b")
_TEST = re.compile(r"(?:pp ?(\d{1,9}))?\+?(?:tg ?(\d{1,9}))?(?: @ d(\d{1,9}))?")
_BUILD = re.compile(r"[0-9a-f]{7,12} \((\d{1,6})\)")
_FILE_TYPES = r"(?:(?:all )?[A-Z]?I?[QTMNBF]\w*(?: MoE| mix)?(?: - (?:Small|Medium|Large|[\d.]+ bpw(?: ternary)?))?)"
_MODEL = re.compile(rf"(?P<name>\S+(?: \S+)?) (?P<type>{_FILE_TYPES})")


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what a table of llama-bench says; None if there is none."""
    rows = [*_markdown(lines), *_comma_separated(lines), *_json(lines)][:MOST_ROWS]
    if not rows:
        return None
    models = list(dict.fromkeys(row.get("model_filename") or row.get("model_type", "") for row in rows))
    if len(models) > 1:
        shown = [quoted(public_name(file_of(name) or name) or "another") for name in models[:2]]
        raise InputError(f"log: {len(models)} models in it, {shown[0]} and {shown[1]}; give the rows of one")
    row = rows[0]
    build = int(row["build_number"]) if row.get("build_number", "").isdecimal() else _build(lines)
    chip = _CHIP.search(f"{row.get('gpu_info', '')} {row.get('cpu_info', '')}")
    return EngineLog(
        program="llama-bench",
        runtime="llama.cpp",
        version=f"b{build}" if build else "",
        build=build,
        model=_model(row),
        settings=_settings(rows),
        mac=LoggedMac(chip[1] if chip else "", 0, None, _device(row)),
        parts=tuple(_parts(row)),
        speeds=tuple(speed for row in rows for speed in _speeds(row)),
    )


def _markdown(lines: Sequence[Line]) -> Iterator[Mapping[str, str]]:
    """Yield rows of Markdown tables; columns have the names of the other formats."""
    names = {"model": "model_type", "size": "model_size", "params": "model_n_params", "backend": "backends"}
    names |= {"fa": "flash_attn", "threads": "n_threads", "t/s": "avg_ts"}
    header: list[str] = []
    for line in lines:
        if not line.text.startswith("| "):
            continue
        cells = [cell.strip() for cell in line.text.strip().strip("|").split("|")]
        if "t/s" in cells and "model" in cells:
            header = [names.get(cell, cell) for cell in cells]
        elif len(cells) == len(header) and not set(cells[0]) <= set("-: "):
            row = dict(zip(header, cells, strict=True))
            test = _TEST.fullmatch(row.get("test", ""))
            if test and test[0]:
                row |= {"n_prompt": test[1] or "0", "n_gen": test[2] or "0", "n_depth": test[3] or "0"}
                yield row


def _comma_separated(lines: Sequence[Line]) -> Iterator[Mapping[str, str]]:
    header: list[str] = []
    for line in lines:
        if line.text.startswith("build_commit,"):
            header = line.text.split(",")
        elif header and line.text.startswith('"'):
            try:
                cells = next(csv.reader([line.text]), [])
            except csv.Error:
                continue
            if len(cells) == len(header):
                yield dict(zip(header, cells, strict=True))


def _json(lines: Sequence[Line]) -> Iterator[Mapping[str, str]]:
    """Yield the rows of indented JSON, field by field, and of lines of JSON."""
    row: dict[str, str] = {}
    for line in lines:
        if line.word == '{"build_commit"':
            try:
                said = json.loads(f'{{"build_commit": {line.text}')
            except (ValueError, RecursionError):
                continue
            yield {name: _text(value) for name, value in said.items() if name in FIELDS}
        elif line.word.startswith('"'):
            name = line.word.strip('"')
            row[name] = line.text.strip().removesuffix(",").strip('"')
            if name == "avg_ts":
                yield row
                row = {}


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _build(lines: Sequence[Line]) -> int:
    for line in lines:
        found = _BUILD.match(line.text) if line.word == "build" else None
        if found:
            return int(found[1])
    return 0


def _model(row: Mapping[str, str]) -> LoggedModel:
    said = _MODEL.fullmatch(row.get("model_type", ""))
    params = re.fullmatch(r"(\d{1,9}\.\d{1,6}) ([MB])", row.get("model_n_params", ""))
    exact = row.get("model_n_params", "")
    file = file_of(row.get("model_filename", ""))
    return LoggedModel(
        file=file,
        architecture=said["name"].split()[0] if said else "",
        file_type=said["type"] if said else "",
        quant=recipe_of(said["type"]) if said else "",
        params=round(float(params[1]) * {"M": 10**6, "B": 10**9}[params[2]])
        if params
        else int(exact)
        if exact.isdecimal() and len(exact) < 16
        else 0,
    )


def _parts(row: Mapping[str, str]) -> Iterator[LoggedPart]:
    size = row.get("model_size", "")
    words = re.fullmatch(r"(\d{1,9}\.\d{1,6}) ([MG])iB", size)
    if words:
        yield LoggedPart("file_tensors", rounded(words[1], MIB if words[2] == "M" else GIB))
    elif size.isdecimal() and len(size) < 16:
        yield LoggedPart("file_tensors", Figure(int(size)))


def _settings(rows: Sequence[Mapping[str, str]]) -> LoggedSettings:
    """Return the settings that all rows share; what llama-bench does not print is its default."""

    def shared(name: str, default: str) -> str | None:
        values = {row.get(name, default) for row in rows}
        return next(iter(values)) if len(values) == 1 else None

    def count(name: str, default: str) -> int | None:
        value = shared(name, default)
        return int(value) if value and value.isdecimal() and len(value) < 13 else None

    flash = shared("flash_attn", "")
    tokens = [sum(_count(row, name) for name in ("n_prompt", "n_gen", "n_depth")) for row in rows]
    return LoggedSettings(
        context_tokens=max(tokens),
        parallel=1,
        batch=count("n_batch", "2048"),
        ubatch=count("n_ubatch", "512"),
        kv_type_k=shared("type_k", "f16"),
        kv_type_v=shared("type_v", "f16"),
        flash_attention={"1": True, "0": False, "on": True, "off": False}.get(flash or ""),
    )


def _count(row: Mapping[str, str], name: str) -> int:
    value = row.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 10 else 0


def _device(row: Mapping[str, str]) -> str:
    backends = row.get("backends", "")
    return "Metal" if re.search(r"\b(?:MTL|Metal)\b", backends) else backends.partition(",")[0][:20]


def _speeds(row: Mapping[str, str]) -> Iterator[LoggedSpeed]:
    prompt, generated, depth = (_count(row, name) for name in ("n_prompt", "n_gen", "n_depth"))
    tps = re.match(r"\d{1,7}\.\d{1,12}", row.get("avg_ts", ""))
    if tps and float(tps[0]) and (prompt == 0) != (generated == 0):
        yield LoggedSpeed("prefill" if prompt else "decode", prompt or generated, depth, float(tps[0]))
