"""Nothing that a process keeps grows without bound: a server may be asked about any number of models."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployfit.catalogue import models
from deployfit.kept import keep
from deployfit.quants import publishers
from deployfit.quants.weights import Options

PACKAGE = Path(__file__).parent.parent / "deployfit"

# What grows no further than a closed list does.
CLOSED = {
    "catalogue._read",  # the tables of data/
    "clusters.registry.engine",  # this and what follows raise for a name that is not in a list
    "runtimes.registry.columns",
    "runtimes.registry.runtime",
    "schema.documents.shape_of",
    "values._model",  # by how many fields a class has
}
WRITES = {"append", "add", "setdefault", "update", "extend", "insert"}


def kept_for_ever() -> Iterator[str]:
    """Yield what functions write to though it is a module's, and functions whose results are kept without a bound."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for decorator in function.decorator_list:
                bound = next((word.value for word in getattr(decorator, "keywords", []) if word.arg == "maxsize"), None)
                endless = isinstance(decorator, ast.Name) and decorator.id == "cache" and function.args.args
                if endless or (isinstance(bound, ast.Constant) and bound.value is None):
                    yield f"{module}.{function.name}"
            for node in ast.walk(function):
                written = None
                if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                    written = node.value
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
                    written = node.func.value
                if isinstance(written, ast.Name) and written.id in names:
                    yield f"{module}.{written.id}"


def test_what_is_kept_has_a_bound() -> None:
    assert set(kept_for_ever()) == CLOSED


def test_the_oldest_go() -> None:
    store: dict[int, str] = {}
    for number in range(1000):
        assert keep(store, number, str(number), 64) == str(number)
        assert len(store) <= 64
    assert list(store) == list(range(936, 1000))


def test_a_publisher_keeps_no_more_files_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishers, "MOST_FILES", 4)
    unsloth = publishers.all_publishers.__wrapped__()["unsloth"]
    for model in ("Qwen3.5-9B", "Qwen3.5-27B", "Qwen3.5-4B"):
        for recipe in ("Q4_K_M", "UD-Q4_K_XL", "Q8_0"):
            assert unsloth.quant(recipe).weights(models()[model], Options()).file_bytes > 10**9
            assert len(unsloth._counted) <= 4
