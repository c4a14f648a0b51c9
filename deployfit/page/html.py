"""One file: the skeleton, the bundle and the figures, under a policy that lets it ask nobody and run nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from importlib.resources import files
from typing import Any

from deployfit.errors import DataError

# What the page may do: its own style sheet and script, known by their digests. No request, no markup from texts.
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}';"
    " require-trusted-types-for 'script'"
)


def bundled(name: str) -> str:
    """Return a file of the bundle, which `npm run build` in the folder `page` makes."""
    text = files(__package__).joinpath(f"bundle.{name}").read_text(encoding="utf-8")
    if "</script" in text.lower() and name == "js":
        raise DataError(["the page's bundle cannot stand within a script; build it again"])
    return text


def packed(figures: dict[str, Any]) -> str:
    """Return figures as the page reads them: JSON, deflated, base64."""
    text = json.dumps(figures, separators=(",", ":"), ensure_ascii=True)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def page_of(figures: dict[str, Any]) -> str:
    """Return the page."""
    style, script = bundled("css"), bundled("js")
    blanks = {
        "policy": POLICY.format(style=_digest(style), script=_digest(script)),
        "style": style,
        "figures": packed(figures),
        "script": script,
    }
    first, *rest = bundled("html").split("{{")
    parts = [first]
    for piece in rest:
        name, _, text = piece.partition("}}")
        parts += [blanks[name], text]
    return "".join(parts)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
