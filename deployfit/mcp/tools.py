"""The questions as tools: with which words an agent asks, and what it gets back. Nothing here knows the protocol."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from deployfit.errors import DataError, DeployfitError, InputError, quoted, unknown
from deployfit.parameters import Parameter, param, python
from deployfit.questions import MODULES
from deployfit.questions.question import Question
from deployfit.report.document import Document
from deployfit.schema.kinds import FLAG, TEXT, TEXTS, Schema
from deployfit.schema.schema import schema_of
from deployfit.values import NamedTuple

TOOLS: Sequence[str] = ("fit", "recommend", "plan", "quants", "models", "macs", "verify", "here")
OF_SCREENS = ("brief", "explain", "exit_code")  # what an agent has no use for
ROWS = Parameter("rows", "The most rows of the structured result.", "N", "as many as an agent reads")
LOG = Parameter("log", "What an engine printed: the text itself, or a file's path.", "LOG")
STANDARD_INPUT = "-"
WIDTH = 100  # characters of the text
MOST_BYTES = 24_000  # of the structured result's rows, unless their number is said
MOST_FAULTS = 5


class Tool(NamedTuple):
    """A question as an agent sees it."""

    name: str
    summary: str
    inputs: Schema
    outputs: Schema


class Result(NamedTuple):
    """An answer: a text, and the rows as the command's JSON has them; an error has none."""

    text: str
    report: dict[str, Any] | None


def question_of(name: str) -> Question:
    """Return the question behind a tool."""
    found: Question = import_module(f"deployfit.questions.{MODULES[name]}").QUESTION
    return found


def tool_of(name: str) -> Tool:
    """Return a question as a tool.

    >>> sorted(tool_of("macs").inputs["properties"])
    ['macos', 'rows']
    """
    question = question_of(name)
    asked = parameters_of(question)
    inputs = {
        "type": "object",
        "properties": {each.name: _kind(each) for each in asked},
        "required": [each.name for each in asked if each.name in question.arguments and not each.many],
        "additionalProperties": False,
    }
    return Tool(name, question.summary.replace("\n\n", " "), inputs, schema_of(name))


def parameters_of(question: Question) -> list[Parameter]:
    """Return what an agent may say: the question's own parameters, those of runtimes, and how many rows."""
    from deployfit.runtimes import registry

    asked = {each.name: each for each in question.parameters if each.name not in OF_SCREENS}
    if question.runtimes:
        asked |= {each.name: each for own in registry.parameters().values() for each in own}
    return [*(LOG if each.name == LOG.name else each for each in asked.values()), ROWS]


def _kind(asked: Parameter) -> Schema:
    kind = FLAG if not asked.takes else TEXTS if asked.many else TEXT
    default = f" Default: {asked.default}." if asked.default else ""
    return {**kind, "description": python(asked.help) + default}


def call(name: str, arguments: Mapping[str, Any]) -> Result:
    """Return the answer to a tool's question; every error is one line.

    >>> call("fit", {"model": "Qwen3.5-27B", "quant": ["Q4_K_M"], "mac": "32"}).report["rows"][0]["verdict"]
    'fits'
    >>> call("fit", {"model": "Qwen3.5-27B", "mac": "33"}).report is None
    True
    """
    try:
        return _answered(name, arguments)
    except DataError as error:
        more = len(error.faults) - MOST_FAULTS
        lines = [*error.faults[:MOST_FAULTS], *([f"{more} more like these"] if more > 0 else [])]
        return Result(_one_line("; ".join(lines)), None)
    except DeployfitError as error:
        return Result(_one_line(error.marked), None)
    except Exception as error:  # the outermost boundary: an agent's session goes on
        said = f"{type(error).__name__}: {error}"
        return Result(_one_line(f"a fault of deployfit while answering {name!r}: {said}; please report it"), None)


def _one_line(marked: str) -> str:
    from deployfit.printable import printable

    return printable(" ".join(python(marked).split()))


def _answered(name: str, arguments: Mapping[str, Any]) -> Result:
    from deployfit.report.formats import Screen, render

    if name not in TOOLS:
        raise unknown("tool", name, TOOLS)
    question = question_of(name)
    given = _given(question, arguments)
    rows = _most_rows(given.pop(ROWS.name, None))
    with _pasted(given):
        document = question.ask(**given).document().spelled(python)
    out = io.StringIO()
    render(document, "text", out, Screen(WIDTH))
    report, left_out = _report(document, rows)
    text = out.getvalue().rstrip("\n")
    if left_out:
        count = len(report["rows"])
        text += f"\n\nStructured result: {count} of {count + left_out} rows; rows={count + left_out} gives all."
    return Result(text, report)


def _given(question: Question, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as the question takes them; what is null was not given."""
    known = {each.name: each for each in parameters_of(question)}
    given: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in known:
            raise unknown("parameter", name, known)
        if value is not None:
            given[name] = _read(known[name], value)
    for name in question.arguments:
        if name not in given and not known[name].many:
            raise InputError(f"{param(name)} is missing: {known[name].help}")
    return given


def _read(asked: Parameter, value: Any) -> Any:
    if not asked.takes:
        flags = {"true": True, "false": False}
        if str(value).lower() not in flags:
            raise InputError(f"{param(asked.name)}: expected true or false, got {quoted(value)}")
        return flags[str(value).lower()]
    values = value if isinstance(value, list) and asked.many else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise InputError(f"{param(asked.name)}: expected a text, got {quoted(json.dumps(each))}")
    texts = [str(each) for each in values]
    return texts if asked.many else texts[0]


def _most_rows(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 7):
        raise InputError(f"{param(ROWS.name)}: expected a whole number such as 20, got {quoted(text)}")
    return int(text)


@contextmanager
def _pasted(given: dict[str, Any]) -> Iterator[None]:
    """Let a log that was pasted be read as standard input, which is the agent's own and may not be read."""
    text = given.get(LOG.name, "")
    if "\n" not in text and text != STANDARD_INPUT:
        yield
        return
    given[LOG.name] = STANDARD_INPUT
    before, sys.stdin = sys.stdin, io.StringIO("" if text == STANDARD_INPUT else text)
    try:
        yield
    finally:
        sys.stdin = before


def _report(document: Document, most: int | None) -> tuple[dict[str, Any], int]:
    """Return the rows as the command's JSON has them, the choice first, and how many are left out."""
    rows = [dict(zip(document.columns, record, strict=True)) for record in document.records]
    shown = sorted(rows, key=lambda row: not row.get("choice"))
    if most is None:
        used, most = 0, 0
        for row in shown:
            used += len(json.dumps(row))
            if used > MOST_BYTES and most:
                break
            most += 1
    return {"schema": document.schema, **document.top, "rows": shown[:most]}, max(0, len(rows) - most)
