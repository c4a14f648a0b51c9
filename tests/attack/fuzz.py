"""Fuzzing: seeded hostile input for everything that reads, held against what must be true of every answer.

`python -m tests.attack.fuzz 1000000` runs so many inputs, shared out among the targets, and prints the figures.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from deployfit.errors import DataError, DeployfitError

from . import mutate, oracle, whole

MOST_BYTES = 100 * 2**20  # for one input, and what the process may grow by over all of them
MEASURED = 100  # of so many inputs the memory of one is measured
PLACE = "a.gguf"


class Target(NamedTuple):
    """Something that reads: what it is fed with, and a try that says how it ended within `seconds` of the processor.

    `share` of all inputs.
    """

    name: str
    build: Callable[[random.Random], Any]
    attempt: Callable[[Any], str]
    share: int
    seconds: float = 1.0


class Figures(NamedTuple):
    """What a run came to."""

    name: str
    inputs: int
    accepted: int
    refused: int
    slowest: float
    most: int  # bytes that one input took
    growth: int  # of the process, over all of them
    wrong: list[str]


def refusal(error: DeployfitError, *, one_line: bool = True) -> str:
    """Check that an error is what it should be."""
    lines = error.faults if isinstance(error, DataError) else (str(error),)
    assert lines
    assert not one_line or len(lines) == 1, f"{len(lines)} lines"
    for line in lines:
        assert line.isprintable(), f"not printable: {line!r}"
        assert len(line) < 1200, f"{len(line)} characters"
    return "refused"


# Headers


def _header(read: Callable[[bytes, int, str], Any], sums: Callable[[bytes], tuple[int, int, int]], data: bytes) -> str:
    from deployfit.formats.untrusted import NeedMore

    file_bytes = len(data) + zlib.crc32(data) % 5 * 7000
    try:
        found = read(data, file_bytes, PLACE)
    except NeedMore as more:
        assert len(data) < more.nbytes <= file_bytes, "it asks for what it has"
        return "accepted"
    except DeployfitError as error:
        return refusal(error)
    tensors = getattr(found, "tensors", found)
    params = 0
    for tensor in tensors:
        count = 1
        for size in tensor.shape:
            count *= size
        params += count
    total = sum(tensor.nbytes for tensor in tensors)
    assert (len(tensors), total, params) == sums(data), "another reader sums up otherwise"
    assert total <= file_bytes
    _weighed(tensors, total, hasattr(found, "tensors"))
    return "accepted"


def _weighed(tensors: Sequence[Any], total: int, is_gguf: bool) -> None:
    """Weights out of the table: all bytes are in some class."""
    from deployfit.quants.real_file import RealTensor, weigh

    table = [
        RealTensor(each.name, each.shape, getattr(each, "type", None) or each.dtype, each.nbytes) for each in tensors
    ]
    roles = _gguf_roles() if is_gguf else _checkpoint_roles()
    weights = weigh("x", "GGUF", table, total, roles)
    assert weights.tensor_bytes == total, "bytes were lost"
    assert all(note.isprintable() for note in weights.notes)


@cache
def _gguf_roles() -> Any:
    from deployfit.formats.file_roles import GgufRoles

    return GgufRoles(4)


@cache
def _checkpoint_roles() -> Any:
    from deployfit.catalogue import rows
    from deployfit.formats.checkpoint_names import CHECKPOINT_NAMES
    from deployfit.formats.file_roles import CheckpointRoles

    return CheckpointRoles(rows(CHECKPOINT_NAMES), "", (), 2)


def gguf_bytes(chance: random.Random) -> bytes:
    data = mutate.gguf(chance)
    return mutate.bytes_changed(data, chance, [data]) if chance.random() < 0.2 else data


def try_gguf(data: bytes) -> str:
    from deployfit.formats.gguf_reader import read_header

    return _header(read_header, oracle.gguf_sums, data)


def try_safetensors(data: bytes) -> str:
    from deployfit.formats.safetensors_reader import read_header

    return _header(read_header, oracle.safetensors_sums, data)


# Configurations


@cache
def configs() -> list[dict[str, Any]]:
    folder = Path(__file__).parent.parent.parent / "data" / "configs"
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def config_text(chance: random.Random) -> bytes:
    value = chance.choice(configs())
    block: dict[str, Any] = {"group_size": 64, "bits": 4, "mode": "affine", "lm_head": {"bits": 8, "group_size": 64}}
    value = {**value, "quantization": block} if chance.random() < 0.3 else value
    if chance.random() < 0.3:  # each number may be as large as it likes, but not all of them together
        return json.dumps(mutate.numbers_enlarged(value, chance, chance.random())).encode()
    return mutate.json_text(value, chance, [json.dumps(value).encode()])


def try_config(text: bytes) -> str:
    from deployfit import catalogue
    from deployfit.architectures.registry import read_blueprint
    from deployfit.formats.untrusted import read_object
    from deployfit.models import own_model
    from deployfit.quants.configured import ConfiguredQuant
    from deployfit.quants.quantization import read_quantization
    from deployfit.quants.weights import Options

    try:
        config = read_object(text, "'config.json'")
        blueprint = read_blueprint(config, "config.json", catalogue.architectures())
        weights = ConfiguredQuant("x", read_quantization(config)).weights(own_model("x", blueprint, ""), Options())
    except DeployfitError as error:
        return refusal(error, one_line=False)
    assert weights.tensor_bytes > 0
    return "accepted"


def key_values(chance: random.Random) -> Any:
    value = {**whole.all_key_values(chance.choice(whole.small_models())), "new.block_count": 4}
    for _ in range(chance.randrange(1, 4)):
        value = mutate.json_changed(value, chance)
    return value


def try_key_values(value: Any) -> str:
    from deployfit import catalogue
    from deployfit.architectures.registry import blueprint_of_gguf
    from deployfit.sources.plain_attention import plain_attention

    if not isinstance(value, dict):
        return "refused"
    kept = {key: each for key, each in value.items() if isinstance(each, int | float | str) and _fits(each)}
    arrays = {key: tuple(each) for key, each in value.items() if isinstance(each, list) and all(map(_fits, each))}
    shapes = {"token_embd.weight": (512, 1000)}
    plain_attention(kept, arrays, shapes)
    try:
        blueprint_of_gguf(kept, arrays, shapes, "'a.gguf'", catalogue.architectures())
    except DeployfitError as error:
        return refusal(error, one_line=False)
    return "accepted"


def _fits(value: Any) -> bool:
    """Whether a GGUF file can hold it."""
    return isinstance(value, bool | float | str) or (isinstance(value, int) and -(2**63) <= value < 2**64)


# Tables


@cache
def tables() -> list[tuple[Any, str]]:
    from deployfit.catalogue import data_text
    from deployfit.models import MODELS
    from deployfit.quants.published_sizes import PUBLISHED_SIZES

    found = []
    for table in (MODELS, PUBLISHED_SIZES):
        lines = data_text(table.file).split("\n")
        found.append((table, "\n".join(lines[:12]) + "\n"))
    return found


def table_text(chance: random.Random) -> tuple[Any, str]:
    table, honest = chance.choice(tables())
    return table, mutate.csv_text(honest, chance)


def try_table(given: tuple[Any, str]) -> str:
    table, text = given
    try:
        table.rows(text, "x.csv")
    except DeployfitError as error:
        return refusal(error, one_line=False)
    return "accepted"


# The Hub's answers


@cache
def answers() -> list[tuple[str, Any]]:
    rows = [
        {
            "rfilename": f"m-0000{number}-of-00002.gguf",
            "size": 10**9,
            "blobId": "0" * 40,
            "lfs": {"sha256": "1" * 64, "size": 10**9},
        }
        for number in (1, 2)
    ]
    rows.append({"rfilename": "config.json", "size": 1000, "blobId": "2" * 40})
    info = {"sha": "c" * 40, "siblings": rows, "safetensors": {"parameters": {"BF16": 10**9}}}
    tree = [
        {"type": "file", "path": row["rfilename"], "oid": "0" * 40, "size": 5, "lfs": {"oid": "1" * 64}} for row in rows
    ]
    kept = {"repo_id": "a/b", "revision": "main", "commit": "c" * 40, "files": [["m.gguf", 5, "x"]], "params": {"F": 1}}
    return [("info", info), ("info", info), ("tree", tree), ("kept", kept)]


def answer_text(chance: random.Random) -> tuple[str, bytes]:
    kind, value = chance.choice(answers())
    return kind, mutate.json_text(value, chance, [json.dumps(value).encode()])


def try_answer(given: tuple[str, bytes]) -> str:
    from deployfit.repository import Repository, choose_group, group_files
    from deployfit.sources.hub.answers import from_json, read_model_info, read_tree, to_json

    kind, body = given
    try:
        if kind == "kept":
            kept = from_json(body)
            if kept is None:
                return "refused"
            found = kept
        elif kind == "tree":
            found = Repository("a/b", "main", "c" * 40, read_tree(body, "a/b"), {})
        else:
            found = read_model_info(body, "a/b", "main")
        groups = group_files(found.files)
        assert sum(group.nbytes for group in groups) <= found.nbytes
        assert all(float(file.nbytes) >= 0 for file in found.files)
        assert from_json(to_json(found)) == found, "the cache gives back something else"
        choose_group(groups, None, "a/b")
    except DeployfitError as error:
        return refusal(error)
    return "accepted"


# Command lines


@cache
def commands() -> dict[str, Sequence[str]]:
    from deployfit.cli.command import command_of
    from deployfit.questions import MODULES

    found = {}
    for name in MODULES:
        options = [
            option for parameter in command_of(name).params for option in parameter.opts if option.startswith("-")
        ]
        found[name] = options
    return found


@cache
def own_files() -> list[str]:
    folder = tempfile.mkdtemp()
    paths = {
        "config.json": json.dumps(configs()[0]).encode(),
        "bad.json": b"{",
        "m.gguf": b"GGUF\3\0\0\0",
        "empty.csv": b"",
    }
    for name, content in paths.items():
        Path(folder, name).write_bytes(content)
    return [str(Path(folder, name)) for name in paths] + [folder, str(Path(folder, "out.csv"))]


VALUES = (
    *(
        "Qwen3.5-27B",
        "Qwen3.5-9B",
        "qwen3.5:27b",
        "gpt-oss-20b",
        "Q4_K_M",
        "4bit",
        "unsloth:Q4_K_M",
        "32",
        "M4 Max 64",
        "8k",
    ),
    *(
        "max",
        "32768",
        "json",
        "csv",
        "markdown",
        "text",
        "junit",
        "q8_0",
        "28g",
        "26",
        "unsloth",
        "llama.cpp",
        "mlx",
        "1",
        "512",
    ),
)


def words(chance: random.Random) -> list[str]:
    cheap = {name: options for name, options in commands().items() if name not in ("refresh", "hub", "mcp", "page")}
    line = mutate.command_line(cheap, [*VALUES, *own_files()], chance)
    if line[:1] == ["sweep"]:  # of every model, a million rows: that takes seconds, and should
        line.insert(1, "Qwen3.5-27B")
    return [word for word in line if word not in ("--online", "--debug")]


def try_words(line: list[str]) -> str:
    from deployfit.cli.app import run
    from deployfit.exit_codes import EXIT_CODES, FAULT

    out, error = _Stream(), _Stream()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = run(line)
    shown = error.text()
    assert code in EXIT_CODES, f"exit code {code}"
    assert code != FAULT, shown
    assert "Traceback" not in shown
    if code:
        assert all(each.isprintable() for each in shown.split("\n")), "control characters"
    assert shown.count("\n") <= 25, f"{shown.count(chr(10))} lines"
    return "refused" if code else "accepted"


class _Stream(io.TextIOWrapper):
    """A stream as the program has them: UTF-8, with bytes below."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)

    def text(self) -> str:
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode()


TARGETS = (
    Target("GGUF headers", gguf_bytes, try_gguf, 300),
    Target("safetensors headers", mutate.safetensors, try_safetensors, 700),
    Target("config.json", config_text, try_config, 24),
    Target("GGUF key-values", key_values, try_key_values, 100),
    Target("tables", table_text, try_table, 200),
    Target("answers of the Hub", answer_text, try_answer, 660),
    Target("files of models", whole.file_of_model, whole.try_file, 2),
    # Two questions, of which a sweep of DeepSeek-V3.2's many kinds of layers takes seconds, whoever asks.
    Target("answers about a config.json", whole.config, whole.try_config, 1, 10.0),
    Target("logs", whole.log_text, whole.try_log, 10),
    Target("questions of agents", whole.question, whole.try_question, 2),
    Target("command lines", words, try_words, 1),
)


def run_target(target: Target, seeds: range) -> Figures:
    """Try a target with the inputs of these seeds; of one in so many the memory is measured as well."""
    ended = {"accepted": 0, "refused": 0}
    wrong: list[str] = []
    slowest, most = 0.0, 0
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    for number, seed in enumerate(seeds):
        given = target.build(random.Random(f"{target.name} {seed}"))
        is_measured = number % MEASURED == MEASURED // 2  # not the first, which imports
        if is_measured:
            tracemalloc.start()
        begin = time.thread_time()
        try:
            ended[target.attempt(given)] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"{target.name}, seed {seed}: {type(error).__name__}: {str(error)[:300]}")
        spent = time.thread_time() - begin
        if is_measured:  # which takes several times as long
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            continue
        slowest = max(slowest, spent)
        if spent > target.seconds:
            wrong.append(f"{target.name}, seed {seed}: {spent:.1f} s")
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    if max(growth, most) > MOST_BYTES:
        wrong.append(f"{target.name}: {most >> 20} MB for one input, {growth >> 20} MB for all")
    return Figures(target.name, len(seeds), ended["accepted"], ended["refused"], slowest, most, growth, wrong)


def run_all(inputs: int, first_seed: int = 0) -> Iterator[Figures]:
    """Yield the figures of each target, for so many inputs in all."""
    shares = sum(target.share for target in TARGETS)
    for target in TARGETS:
        yield run_target(target, range(first_seed, first_seed + max(1, inputs * target.share // shares)))


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    os.environ |= {"HF_HUB_OFFLINE": "1", "DEPLOYFIT_CACHE": tempfile.mkdtemp()}
    print("| fed with | inputs | accepted | refused | slowest | most memory | the process grew by | wrong |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for target in TARGETS:  # whatever they import is no input's memory
        run_target(target, range(30))
    for found in run_all(inputs, first):
        cells = [f"{found.inputs:,}", f"{found.accepted:,}", f"{found.refused:,}", f"{1000 * found.slowest:.0f} ms"]
        cells += [f"{found.most / 2**20:.1f} MB", f"{found.growth >> 20} MB", str(len(found.wrong))]
        print(f"| {found.name} | {' | '.join(cells)} |", flush=True)
        for line in found.wrong[:20]:
            print(f"WRONG {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
