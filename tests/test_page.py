"""The page without a browser: exact lines, one file, and a bundle that is the build of its sources."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import run

from deployfit import catalogue
from deployfit.errors import InputError
from deployfit.page.counting import count as count_here
from deployfit.page.counting import counted, tasks_of
from deployfit.page.curves import Contexts, Piece, curves_of, kind_of, sizes_of
from deployfit.page.figures import figures_of
from deployfit.page.files import OPTIONS, options_of
from deployfit.page.html import bundled, page_of
from deployfit.page.starts import all_starts
from deployfit.questions.page import FitPage, page
from deployfit.runtimes import registry

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "page"
SOURCES = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"]
MODELS = ["Qwen3.5-0.8B", "gpt-oss-20b", "Gemma-3-4B", "DeepSeek-V2-Lite", "Granite-4.0-H-Tiny", "Phi-4"]


def line_at(pieces: list[Piece], steps: int) -> int:
    piece = [each for each in pieces if each.first <= steps][-1]
    return piece.nbytes + piece.per_step * (steps - piece.first)


@pytest.mark.parametrize("name", MODELS)
def test_lines_are_what_runtimes_say_at_any_context(name: str) -> None:
    model, rng, compared = catalogue.models()[name], random.Random(name), 0
    for runtime_name, settings in rng.sample(list(all_starts().settings), 10):
        runtime = registry.runtime(runtime_name)
        options = OPTIONS[rng.choice(options_of(model))]
        try:
            curves = curves_of(model, runtime, settings, options)
        except InputError:
            continue
        contexts = Contexts(model, runtime, settings, options)
        for steps in {curves.first, contexts.count, *(rng.randint(curves.first, contexts.count) for _ in range(12))}:
            parts = runtime.running(model.blueprint, contexts.at(steps), options)
            said = {kind._replace(detail=""): line_at(list(line), steps) for kind, line in curves.parts.items()}
            assert {kind: size for kind, size in said.items() if size} == {
                kind: size for kind, size in sizes_of(parts).items() if size
            }, (settings, steps)
            for kind in curves.parts:
                told = {part.detail for part in parts if kind_of(part) == kind._replace(detail="")}
                assert not kind.detail or not told or told == {kind.detail}
            compared += 1
    assert compared > 30


def test_other_processes_count_the_same() -> None:
    model = catalogue.models()["Qwen3.5-0.8B"]
    tasks = tasks_of(model, all_starts().settings[:20])
    assert list(counted(tasks)) == list(map(count_here, tasks))


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return figures_of([catalogue.models()["Qwen3.5-0.8B"], catalogue.models()["Llama-3.2-1B"]])


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        given = dict(attrs)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "action", "data", "poster")]
        self.addresses += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])


def test_the_page_is_one_file_that_may_ask_nobody(figures: dict[str, Any]) -> None:
    text = page_of(figures)
    found = Elements()
    found.feed(text)
    assert found.addresses == ["#answer"]
    assert {"link", "img", "iframe", "object", "embed"} & set(found.names) == set()
    assert found.policy.startswith("default-src 'none'")
    assert "unsafe" not in found.policy
    assert "require-trusted-types-for 'script'" in found.policy
    for name in ("js", "css"):
        digest = base64.b64encode(hashlib.sha256(bundled(name).encode()).digest()).decode()
        assert f"'sha256-{digest}'" in found.policy
    packed = re.search(r'id="figures">([^<]*)<', text)
    assert packed is not None
    assert json.loads(zlib.decompress(base64.b64decode(packed[1]))) == json.loads(json.dumps(figures))
    assert len(text) < 1_500_000


def test_figures_name_what_is_there(figures: dict[str, Any]) -> None:
    texts, parts = figures["texts"], figures["parts"]
    assert len(set(texts)) == len(texts)
    assert not any("\N{SECTION SIGN}" in text for text in texts)
    assert [model["name"] for model in figures["models"]] == ["Qwen3.5-0.8B", "Llama-3.2-1B"]
    for model in figures["models"]:
        for _, _, _, _, lines, notes in model["runs"]:
            assert all(kind < len(parts) and curve < len(model["curves"]) for kind, curve in lines)
            assert all(note < len(texts) for note in notes)
        for engine in model["engines"]:
            assert sorted(engine["preferred"]) == sorted(set(engine["preferred"]))
            for file in engine["files"]:
                for app, bits in file[6]:
                    assert bits in model["options"], (texts[file[0]], app)


def test_the_bundle_is_the_build_of_its_sources(tmp_path: Path) -> None:
    found = [path.relative_to(PAGE).as_posix() for path in (PAGE / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for name in sorted([*found, *SOURCES]):
        content = (PAGE / name).read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    assert bundled("sources").strip() == digest.hexdigest(), "npm run build in the folder page"
    node = shutil.which("node")
    if node is None or not (PAGE / "node_modules" / "esbuild").exists():
        return  # the digest says as much, unless somebody changed the bundle itself
    subprocess.run([node, "build.mjs", str(tmp_path)], cwd=PAGE, check=True)
    for built in sorted(tmp_path.iterdir()):
        assert built.read_text(encoding="utf-8") == bundled(built.suffix[1:]), built.name


def test_licences_are_kept_and_versions_pinned() -> None:
    licence = (PAGE / "LICENSE-uPlot").read_text(encoding="utf-8")
    assert "The MIT License (MIT)" in licence
    assert licence.strip() in bundled("js")
    assert "page/LICENSE-uPlot" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    versions = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert all(re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) for version in versions.values())


def test_a_test_run_says_that_the_browser_was_left_out() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/browser"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert re.search(r"^left out: [0-9]+ tests of the group browser \(pytest -m browser\)$", done.stdout, re.MULTILINE)


def test_it_is_counted_only_where_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted_for_nothing(self: FitPage) -> str:
        raise AssertionError("counted for nothing")

    monkeypatch.setattr(FitPage, "html", property(counted_for_nothing))
    answer = page()
    assert len(answer.rows()) == len(catalogue.models())
    assert "deployfit" in answer._repr_html_()
    assert f"A page of {len(answer.rows())} models" in answer.text()


def test_the_command_writes_it_opens_it_and_says_what_is_wrong(tmp_path: Path) -> None:
    written = tmp_path / "fit.html"
    done = run("page", "Qwen3.5-0.8B", "--output", str(written))
    assert (done.returncode, done.stdout) == (0, "")
    assert written.read_text(encoding="utf-8").startswith("<!doctype html>")
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path / "asked"}\n', encoding="utf-8")
    browser.chmod(0o755)
    done = run("page", "Qwen3.5-0.8B", "--open", env={**os.environ, "BROWSER": f"{browser} %s"})
    assert done.returncode == 0, done.stderr
    opened = Path((tmp_path / "asked").read_text(encoding="utf-8").removeprefix("file://"))
    assert opened.read_text(encoding="utf-8") == written.read_text(encoding="utf-8")
    shutil.rmtree(opened.parent)
    done = run("page", "Qwen9.9")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Qwen9.9" in done.stderr
