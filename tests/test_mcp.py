"""Agents are served over standard input and output, asked by the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from jsonschema import Draft202012Validator

import deployfit
from deployfit.mcp.tools import OF_SCREENS, TOOLS, call, parameters_of, question_of, tool_of
from deployfit.questions.verify import verify
from deployfit.runtimes import registry

mcp = pytest.importorskip("mcp", reason="pip install 'deployfit[mcp]'")

LOG = Path(__file__).parent / "data" / "logs" / "cuda-qwen3.6-35b-a3b.log"
SERVER = mcp.StdioServerParameters(command=sys.executable, args=["-m", "deployfit", "mcp"])
T = TypeVar("T")


def asking(ask: Callable[[Any], Awaitable[T]]) -> T:
    """What comes of a session with a server of its own."""

    async def session() -> T:
        async with mcp.Client(SERVER, read_timeout_seconds=120) as client:
            return await ask(client)

    return asyncio.run(session())


def test_tools_are_the_questions_as_they_are_declared() -> None:
    async def ask(client: Any) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asking(ask)}
    assert tuple(tools) == TOOLS
    settings = {each.name for own in registry.parameters().values() for each in own}
    for name, tool in tools.items():
        question = question_of(name)
        declared = {each.name for each in question.parameters} | (settings if question.runtimes else set())
        assert set(tool.input_schema["properties"]) == declared - set(OF_SCREENS) | {"rows"}
        assert all(each["description"] for each in tool.input_schema["properties"].values())
        assert tool.description
        assert tool.annotations.read_only_hint
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)
    assert tools["fit"].input_schema["required"] == ["model"]
    assert tools["fit"].input_schema["properties"]["mtp"]["type"] == "boolean"
    assert tools["fit"].input_schema["properties"]["quant"]["type"] == "array"
    assert not any("\N{SECTION SIGN}" in json.dumps(tool.input_schema) for tool in tools.values())


def test_results_are_those_of_the_library() -> None:
    async def ask(client: Any) -> list[Any]:
        return [
            await client.call_tool(
                "fit", {"model": "Qwen3.5-27B", "quant": ["Q4_K_M"], "mac": "32", "kv_type": "q8_0"}
            ),
            await client.call_tool("plan", {"model": "Qwen3.5-27B", "quant": ["Q4_K_M"], "mac": "32"}),
            await client.call_tool("models", {"family": "Qwen3.5", "rows": "100"}),
            await client.call_tool("macs", {}),
            await client.call_tool("quants", {"model": "gpt-oss-20b", "rows": "500"}),
            await client.call_tool("recommend", {"mac": "M2 Pro 32", "context": "64k"}),
            await client.call_tool("verify", {"log": str(LOG)}),
            await client.call_tool("verify", {"log": LOG.read_text(encoding="utf-8")}),
            await client.call_tool("here", {"mac": "32"}),
        ]

    results = asking(ask)  # the client holds each against the tool's output schema
    assert not any(result.is_error for result in results)
    reports = [result.structured_content for result in results]
    expected = [
        deployfit.fit("Qwen3.5-27B", "Q4_K_M", mac=32, kv_type="q8_0"),
        deployfit.plan("Qwen3.5-27B", "Q4_K_M", mac=32),
        deployfit.list_models(family="Qwen3.5"),
        deployfit.list_macs(),
        deployfit.list_quants("gpt-oss-20b"),
        deployfit.recommend(mac="M2 Pro 32", context="64k"),
        verify(str(LOG)),
        verify(str(LOG)),
    ]
    for report, own in zip(reports, expected, strict=False):
        assert report["schema"] == own.document().schema
        assert report["rows"] == json.loads(json.dumps(own.rows()))
    assert results[0].content[0].text == expected[0].text(100)
    assert all(len(result.content[0].text) < 10_000 for result in results)


def test_long_lists_are_cut_and_say_so_with_the_choice_first() -> None:
    cut = call("fit", {"model": "Qwen3.5-27B", "mac": "M4 Max 64"})
    assert cut.report is not None
    assert len(json.dumps(cut.report)) < 30_000
    assert cut.report["rows"][0]["choice"]
    every = deployfit.fit("Qwen3.5-27B", mac="M4 Max 64").rows()
    assert f"{len(cut.report['rows'])} of {len(every)} rows; rows={len(every)} gives all" in cut.text
    whole = call("fit", {"model": "Qwen3.5-27B", "mac": "M4 Max 64", "rows": len(every)})
    assert whole.report is not None
    assert len(whole.report["rows"]) == len(every)
    assert "gives all" not in whole.text


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fit", {"model": "Qwen3.5-28B"}, "no model 'Qwen3.5-28B'"),
        ("fit", {}, "model is missing"),
        ("fit", {"model": "Qwen3.5-27B", "macc": "32"}, "no parameter 'macc'; did you mean mac"),
        ("fit", {"model": "Qwen3.5-27B", "mac": "33"}, "33"),
        ("fit", {"model": "Qwen3.5-27B", "mac": "32", "mtp": "perhaps"}, "mtp: expected true or false"),
        ("fit", {"model": {"name": "x"}}, "model: expected a text"),
        ("fit", {"model": "Qwen3.5-27B", "mac": "32", "quant": [None]}, "quant: expected a text"),
        (
            "fit",
            {"model": "Qwen3.5-27B", "mac": "32", "quant": ["Q4_K_M"], "kv_bits": "4"},
            "kv_bits is an option of mlx",
        ),
        ("fit", {"model": "Qwen3.5-27B", "mac": "32", "rows": "-1"}, "rows: expected a whole number"),
        ("fit", {"model": "a\x1b[31m\nb"}, "model"),
        ("verify", {"log": "no log\nof an engine\n"}, ""),
        ("verify", {"log": "/nowhere/log"}, "/nowhere/log"),
        ("verify", {"log": "-"}, ""),
        ("refresh", {"path": "x"}, "no tool 'refresh'"),
    ],
)
def test_errors_are_one_line(name: str, arguments: dict[str, Any], said: str) -> None:
    found = call(name, arguments)
    assert found.report is None
    assert said in found.text
    assert found.text.isprintable()
    assert found.text
    assert "a fault of deployfit" not in found.text
    assert "--" not in found.text


def test_a_session_goes_on_after_errors_and_answers_questions_asked_at_once() -> None:
    async def ask(client: Any) -> list[Any]:
        wrong = await client.call_tool("fit", {"model": "Qwen3.5-28B"})
        quants = ("Q4_K_M", "Q8_0", "IQ4_XS", "4bit")
        asked = [client.call_tool("fit", {"model": "Qwen3.5-9B", "quant": [each], "mac": "16"}) for each in quants]
        return [wrong, *await asyncio.gather(*asked)]

    wrong, *others = asking(ask)
    assert wrong.is_error
    assert "\n" not in wrong.content[0].text
    own = [deployfit.fit("Qwen3.5-9B", each, mac=16).rows() for each in ("Q4_K_M", "Q8_0", "IQ4_XS", "4bit")]
    assert [each.structured_content["rows"] for each in others] == json.loads(json.dumps(own))


def test_an_unforeseen_fault_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ZeroDivisionError("of\nthe test")

    monkeypatch.setattr("deployfit.mcp.tools.question_of", broken)
    found = call("fit", {"model": "Qwen3.5-27B"})
    assert found.report is None
    assert found.text == "a fault of deployfit while answering 'fit': ZeroDivisionError: of the test; please report it"


def test_nothing_but_messages_is_on_standard_output() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "macs", "arguments": {}}}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    process = subprocess.Popen(
        [sys.executable, "-m", "deployfit", "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    answers = []
    for message in (hello, asked):
        process.stdin.write(json.dumps(message) + "\n" + (json.dumps(ready) + "\n" if message is hello else ""))
        process.stdin.flush()
        answers.append(json.loads(process.stdout.readline()))
    rest, _ = process.communicate(timeout=30)
    assert [answer["id"] for answer in answers] == [1, 2]
    assert (process.returncode, rest) == (0, "")
    assert answers[0]["result"]["serverInfo"]["version"] == deployfit.__version__
    assert answers[1]["result"]["structuredContent"]["schema"] == "deployfit/macs/1"


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['mcp'] = None; sys.argv = ['deployfit', 'mcp'];"
        " from deployfit.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "deployfit: agents are served by an extra that is not installed: pip install 'deployfit[mcp]'\n"
    )


def test_every_tool_has_few_words() -> None:
    for name in TOOLS:
        tool = tool_of(name)
        assert len(tool.summary) < 300
        assert len(parameters_of(question_of(name))) < 60
