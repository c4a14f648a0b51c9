"""Kinds of values, as fragments of JSON Schema (2020-12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer"}
SIZE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}


def one_of(values: type[Enum]) -> Schema:
    """Return the kind of a closed list of words.

    >>> from deployfit.basis import Basis
    >>> one_of(Basis)["enum"]
    ['exact', 'derived', 'measured', 'assumed']
    """
    return {"type": "string", "enum": [each.value for each in values]}


def map_of(kind: Schema) -> Schema:
    """Return the kind of objects whose values are all of a kind, whatever their names."""
    return {"type": "object", "additionalProperties": kind}


def list_of(kind: Schema) -> Schema:
    """Return the kind of lists."""
    return {"type": "array", "items": kind}


def object_of(fields: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Return the kind of objects with these fields; later versions may have more, which are no fault."""
    left_out = set(optional)
    return {
        "type": "object",
        "properties": dict(fields),
        "required": [name for name in fields if name not in left_out],
    }


def or_null(kind: Schema) -> Schema:
    """Return a kind, or null: not known, or not of this row.

    >>> or_null(COUNT)
    {'type': ['integer', 'null']}
    """
    found = {**kind, "type": [kind["type"], "null"]}
    return {**found, "enum": [*found["enum"], None]} if "enum" in found else found
