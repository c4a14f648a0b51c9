"""Imports point one way, and an answer does not pay for what it does not need."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deployfit"

# The rooms, from the ground up; a module is in the room with the longest name that fits. A room may import from those
# before it, and its modules from each other without a circle.
ROOMS = [
    *("basis", "kept", "printable", "exit_codes", "values", "parameters", "errors", "units", "tables"),
    *("layers", "architectures", "models", "catalogue"),
    *("hardware", "apps", "notes", "formats", "vision"),
    *("quants", "runtimes", "words", "lookup"),
    *("estimate", "work", "speed", "verdict", "unknown", "app_context", "advice"),
    *("grid", "context_plan", "ranking", "clusters"),
    *("measured", "validation", "checks", "repository", "crosscheck"),
    *("sources", "writing", "schema"),
    *("answers", "commands", "report", "questions", "page", "mcp"),
    *("cli", "__main__"),
]

# `deployfit` itself is outside of the order: it lends its names, and its version, to whoever asks.
LIBRARY = ""
# A question may start a door: the only ways up, and no module goes them as it is imported.
LATE = {("questions", "page"), ("questions", "mcp")}

NOW, LATER, TYPES = "now", "later", "types"  # as a module is imported, as a function runs, for annotations only

ONLY = {  # who imports what comes from outside
    "click": {"cli"},
    "huggingface_hub": {"sources"},
    "numpy": {"grid"},
    "pandas": {"questions", "report"},
    "pyarrow": {"report"},
}
TOUCHES_THE_MACHINE = {"sources", "writing", "questions", "report", "cli", "page", "crosscheck", "__main__"}
THE_MACHINE = {"http", "pathlib", "random", "shutil", "socket", "ssl", "subprocess", "tempfile", "time"}

ENGINES = {"llama.cpp", "mlx"}
KNOW_ENGINES = {
    *("runtimes", "formats", "vision", "measured", "words", "clusters", "apps", "notes", "sources", "page", "schema"),
}
# How several Macs run one model, and what a program's log says, is an engine's own.
ABOUT_ENGINES = {"questions.cluster", "questions.several", "questions.verify"}

HEAVY = (  # what one answer about one recipe does not import
    *("numpy", "pandas", "huggingface_hub", "rich", "importlib.resources", "importlib.metadata", "difflib"),
    *("dataclasses", "fnmatch", "html", "http.client", "subprocess", "tempfile", "textwrap", "urllib.request"),
    *("deployfit.grid", "deployfit.quants.publishers", "deployfit.ranking", "deployfit.sources.open"),
    *("deployfit.words.quants", "deployfit.words.reader", "deployfit.writing", "deployfit.formats.mlx"),
    *("deployfit.advice", "deployfit.speed", "deployfit.questions.choices", "deployfit.sources", "locale"),
)


@cache
def modules() -> Mapping[str, Path]:
    """The package's modules by name, without `deployfit.` before it."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in ROOMS), parts[0])


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def import_nodes(node: ast.AST, when: str = NOW) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from import_nodes(child, TYPES)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and when == NOW:
            yield from import_nodes(child, LATER)
        else:
            yield from import_nodes(child, when)


def names_of(node: ast.Import | ast.ImportFrom) -> Sequence[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, f"line {node.lineno}: relative import"
    return [f"{node.module}.{alias.name}" for alias in node.names]


def inside(name: str) -> str | None:
    """The module of the package that an imported name is of, None if it is of none or of `deployfit` itself."""
    top, _, inner = name.partition(".")
    if top != "deployfit" or inner.startswith("data"):
        return None
    module = inner if inner in modules() else inner.rpartition(".")[0]
    return module or None


@cache
def known(module: str) -> Sequence[tuple[str, str]]:
    """The modules of the package that a module imports, and when."""
    found = [(inside(name), when) for node, when in import_nodes(tree(module)) for name in names_of(node)]
    return [(target, when) for target, when in found if target is not None and target != module]


def goes_up(module: str, target: str, when: str) -> bool:
    if module == LIBRARY or (when != NOW and (room(module), room(target)) in LATE):
        return False
    return ROOMS.index(room(target)) > ROOMS.index(room(module))


EVERY = pytest.mark.parametrize("module", [name for name in modules() if name])


@EVERY
def test_every_module_is_in_a_room(module: str) -> None:
    assert room(module) in ROOMS, "add the room to ROOMS, above all that it imports"


@EVERY
def test_imports_point_one_way(module: str) -> None:
    assert [target for target, when in known(module) if goes_up(module, target, when)] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module: {target for target, _ in known(module) if (room(module), room(target)) not in LATE}
        for module in modules()
        if module != LIBRARY
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@EVERY
def test_only_some_import_what_comes_from_outside(module: str) -> None:
    outer = {
        name.split(".")[0] for node, when in import_nodes(tree(module)) if when != TYPES for name in names_of(node)
    }
    for package, rooms in ONLY.items():
        assert package not in outer or room(module) in rooms, package
    if room(module) not in TOUCHES_THE_MACHINE:
        assert outer & THE_MACHINE == set()


@EVERY
def test_named_tuples_are_those_that_are_made_fast(module: str) -> None:
    named = {name for node, when in import_nodes(tree(module)) if when != TYPES for name in names_of(node)}
    assert "typing.NamedTuple" not in named, "import it of values"


@EVERY
def test_doctests_import_nothing_from_above(module: str) -> None:
    found = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            for example in doctest.DocTestParser().get_examples(text):
                for each, _ in import_nodes(ast.parse(example.source)):
                    found += [target for name in names_of(each) if (target := inside(name))]
    assert [target for target in found if goes_up(module, target, NOW)] == []


@EVERY
def test_engines_are_named_where_they_are_known(module: str) -> None:
    """Everywhere else they come from the registry, so that another one needs no other file."""
    if room(module) not in KNOW_ENGINES and module not in ABOUT_ENGINES:
        named = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Constant) and node.value in ENGINES]
        assert [f"line {node.lineno}: {node.value}" for node in named] == []


def test_one_answer_imports_nothing_heavy() -> None:
    code = (
        "import os, sys\n"
        "before = set(sys.modules)\n"  # what the interpreter has anyway
        "os._exit = sys.exit\n"
        "sys.argv = ['deployfit', 'fit', 'Qwen3.5-27B', '--quant', 'Q4_K_M', '--mac', '32']\n"
        "from deployfit.__main__ import main\n"
        "try: main()\n"
        f"finally: print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Fits" in done.stdout
    assert done.stderr.split() == ["loaded:"]
