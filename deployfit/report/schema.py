"""The document of `schema`: a JSON Schema as text, and its fields as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deployfit.report.document import Document, Verbatim
from deployfit.schema.kinds import Schema

SCHEMA = "deployfit/schema/1"
COLUMNS = ("field", "kind", "null", "means")


def schema_document(found: Schema) -> Document:
    """Return the schema to be saved; its JSON is the schema too, with its fields as rows beside its keywords."""
    lines = json.dumps(found, indent=2).splitlines()
    return Document(SCHEMA, COLUMNS, list(_fields(found["properties"]["rows"]["items"])), [Verbatim(lines)], top=found)


def _fields(kind: Schema) -> Iterable[list[Any]]:
    """Yield the fields of rows: name, kind, whether it may be null, meaning."""
    for name, field in kind["properties"].items():
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        yield [name, kinds[0], "null" in kinds, field.get("description", "")]
