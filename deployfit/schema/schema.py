"""The JSON Schema of a document."""

from __future__ import annotations

from typing import Any

from deployfit.errors import unknown
from deployfit.schema.documents import SHAPES, shape_of
from deployfit.schema.kinds import Schema, list_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = 1  # of every document: a field that is added leaves it as it is, one that goes or changes does not


def document_name(name: str) -> str:
    """Return what a document calls its schema.

    >>> document_name("fit")
    'deployfit/fit/1'
    """
    return f"deployfit/{name}/{VERSION}"


def schema_of(name: str) -> Schema:
    """Return the JSON Schema of a document; raise InputError for a name that no document has.

    >>> schema_of("macs")["properties"]["schema"]
    {'const': 'deployfit/macs/1'}
    """
    if name not in SHAPES:
        raise unknown("document", name, SHAPES)
    shape = shape_of(name)
    properties: dict[str, Any] = {"schema": {"const": document_name(name)}, **shape.top, "rows": list_of(shape.row)}
    return {
        "$schema": DIALECT,
        "$id": f"urn:deployfit:{name}:{VERSION}",
        "title": document_name(name),
        "description": f"{shape.means}. Sizes are bytes; what is not known is null.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }
