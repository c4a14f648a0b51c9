"""`mcp`: the other questions as tools of an agent, until it goes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from deployfit.errors import InputError
from deployfit.questions.question import Answered, Question

if TYPE_CHECKING:
    from deployfit.report.document import Document

SCHEMA = "deployfit/mcp/1"


class Served(Answered):
    """What is left to say when the agent has gone: nothing."""

    def document(self) -> Document:
        """Return nothing."""
        from deployfit.report.document import Document

        return Document(SCHEMA, [], [], [])


def mcp() -> Served:
    """Serve the questions as tools of the Model Context Protocol, on standard input and output."""
    try:
        from deployfit.mcp.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("deployfit"):
            raise
        raise InputError("agents are served by an extra that is not installed: pip install 'deployfit[mcp]'") from None
    serve()
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (what is no message may not follow the last one)
    return Served()


QUESTION = Question(
    name="mcp",
    summary="Serve agents over the Model Context Protocol.\n\nThey get fit, recommend, plan, ... as tools. It speaks"
    " on standard input and output: have an agent start it as 'deployfit mcp'. Needs pip install 'deployfit[mcp]'.",
    ask=mcp,
    parameters=(),
)
