"""The server of the Model Context Protocol on standard input and output, by its own SDK."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import mcp.types as protocol
from mcp.server import Server
from mcp.server.stdio import stdio_server

from deployfit import __version__
from deployfit.mcp.tools import TOOLS, Result, call, tool_of

INSTRUCTIONS = """deployfit says offline whether a language model fits a Mac with Apple silicon and how it runs:
memory under llama.cpp and MLX to the byte, speed with a measured interval.
One file: fit with model, quant, mac and context. What to run: recommend. Which files exist: quants. How long a context:
plan. What is on this machine: here. A log beside the prediction: verify.
mac is memory in GB or chip and memory ("M4 Max 64"); without it this machine is meant. Sizes in results are bytes.
basis says how a figure is known: exact, derived, measured or assumed; say so when it is assumed."""


def serve() -> None:
    """Answer an agent's questions until it closes standard input."""
    anyio.run(_serve)


def made() -> Server[Any]:
    """Return the server."""
    one_at_a_time = anyio.CapacityLimiter(1)  # catalogues are filled when they are first read
    tools = [_shown(name) for name in TOOLS]

    async def list_tools(context: Any, asked: protocol.PaginatedRequestParams | None) -> protocol.ListToolsResult:
        return protocol.ListToolsResult(tools=tools)

    async def call_tool(context: Any, asked: protocol.CallToolRequestParams) -> protocol.CallToolResult:
        found = await anyio.to_thread.run_sync(call, asked.name, asked.arguments or {}, limiter=one_at_a_time)
        return _result(found)

    return Server(
        "deployfit",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _shown(name: str) -> protocol.Tool:
    tool = tool_of(name)
    return protocol.Tool(
        name=tool.name,
        description=tool.summary,
        input_schema=tool.inputs,
        output_schema=tool.outputs,
        annotations=protocol.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=name == "fit"),
    )


def _result(found: Result) -> protocol.CallToolResult:
    return protocol.CallToolResult(
        content=[protocol.TextContent(text=found.text)],
        structured_content=found.report,
        is_error=found.report is None,
    )


async def _serve() -> None:
    server = made()
    async with stdio_server() as (received, sent):
        await server.run(received, sent, server.create_initialization_options())
