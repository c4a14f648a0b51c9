"""Imports point one way, and an answer does not pay for what it does not need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deployfit"

# Each layer may import from those before it, and from its own.
LAYERS = [
    {"errors", "units", "basis", "tables"},
    {"architectures"},
    {"models", "hardware", "formats"},
    {"runtimes", "quants"},
    {"estimate"},
    {"speed"},
    {"verdict", "checks"},
    {"grid"},
    {"contexts", "ranking", "measured"},
    {"validation"},
    {"repository"},
    {"crosscheck"},
    {"catalog", "this_mac", "report", "hub"},
    {"ask"},
    {"api"},
    {"cli"},
    {"__main__"},
]
KNOW_EDGES = {"ask", "api", "cli", "__main__"}
EDGES = {"catalog", "this_mac", "report", "hub"} | KNOW_EDGES
IMPURE = {"os", "sys", "subprocess", "pathlib", "socket", "time", "random", "click", "io", "urllib"}
HEAVY = (
    "numpy",
    "pandas",
    "huggingface_hub",
    "rich",
    "json",
    "importlib.resources",
    "difflib",
    "subprocess",
    "dataclasses",
)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at the top or within a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    here = next(index for index, layer in enumerate(LAYERS) if room(path) in layer)
    allowed = set().union(*LAYERS[: here + 1])
    inner = {name.split(".")[1] for name in imported(path) if name.startswith("deployfit.")} - {"data", "__version__"}
    assert inner <= allowed
    if room(path) in EDGES - KNOW_EDGES:
        assert inner & EDGES <= {room(path)}
    outer = {name.split(".")[0] for name in imported(path)}
    if room(path) != "cli":
        assert "click" not in outer
    if room(path) != "hub":
        assert "huggingface_hub" not in outer
    if room(path) not in EDGES:
        assert outer & IMPURE == set()


def test_one_answer_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['deployfit', 'fit', 'Qwen3.5-27B', '--quant', 'Q4_K_M', '--mac', '32']\n"
        "from deployfit.cli import main\n"
        "try: main()\n"
        f"finally: print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "fits" in done.stdout
    assert done.stderr.split() == ["loaded:"]
