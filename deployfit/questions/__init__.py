"""The questions: a module each, declared once for every door (command line, Python, page, agents)."""

from __future__ import annotations

from collections.abc import Mapping

# Each question's module, in the order of the help; a module is imported when its question is asked.
MODULES: Mapping[str, str] = {
    "fit": "fit",
    "plan": "plan",
    "recommend": "recommend",
    "quants": "quants",
    "table": "table",
    "sweep": "sweep",
    "here": "here",
    "page": "page",
    "models": "models",
    "macs": "macs",
    "check": "check",
    "validate": "validate",
    "verify": "verify",
    "contribute": "contribute",
    "hub": "hub",
    "refresh": "refresh",
    "schema": "schema",
    "mcp": "mcp",
}
