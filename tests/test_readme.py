"""Documents say what deployfit prints, and where each other are; `pytest --update-golden` rewrites what is made."""

from __future__ import annotations

import csv
import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import pytest
from conftest import engine_rows, run

from deployfit.cli.app import cli
from deployfit.cli.command import command_of
from deployfit.questions import MODULES
from deployfit.questions.fit import fit
from deployfit.report.glossary import explanations, terms

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
WITH_SCREENS = [README, *DOCS, ROOT / "seeds" / "README.md"]
DOCUMENTS = [*WITH_SCREENS, *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
DOCUMENTS += [ROOT / "data" / "README.md", ROOT / "benchmarks" / "README.md", ROOT / "tests" / "data" / "README.md"]

BLOCK = re.compile(r"```console\n\$ deployfit (.*)\n((?:(?!```).*\n)*)```")
FENCED = re.compile(r"```(?:text|console|sh)\n(.*?)```", re.DOTALL)
TYPED = re.compile(r"^(?:\$ )?deployfit ([a-z].*?)(?: +#.*)?$", re.MULTILINE)
INLINE = re.compile(r"`deployfit ([a-z][^`]*)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]+\b|\.\.\.")  # MODEL, FILE: a command that is told, not typed


@cache
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks_of(path: Path) -> list[tuple[str, str]]:
    text = text_of(path)
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```console")
    return blocks


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in WITH_SCREENS if blocks_of(path)], ids=name_of)
def test_every_console_block_is_what_is_printed(path: Path, request: pytest.FixtureRequest) -> None:
    text = text_of(path)
    for command, shown in blocks_of(path):
        done = run(*shlex.split(command), cwd=ROOT)
        assert done.returncode == 0, done.stderr
        text = text.replace(f"$ deployfit {command}\n{shown}```", f"$ deployfit {command}\n{done.stdout}```")
        if not request.config.getoption("--update-golden"):
            assert shown == done.stdout, command
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")


MADE = ["options.md", "families.md", "python.md", "json.md", "glossary.md", "screen.svg", "bar.svg"]


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_the_program_is_todays(name: str, request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs" / name
    made = generate().PAGES[name]()
    if request.config.getoption("--update-golden"):
        path.write_text(made, encoding="utf-8")
    assert text_of(path) == made


def test_the_picture_shows_the_first_screen() -> None:
    drawn = re.sub(r"<[^>]*>", "", text_of(ROOT / "docs" / "screen.svg"))
    ((command, shown), *_) = blocks_of(README)
    for line in [f"$ deployfit {command}", *shown.splitlines()]:
        assert line in drawn


def test_the_first_shell_block_runs_the_first_console_block_and_the_second_is_what_ci_runs() -> None:
    main_job, tests = re.findall(r"```sh\n(.*)\n```", text_of(README))
    assert main_job.endswith(".venv/bin/deployfit " + blocks_of(README)[0][0])
    assert tests.endswith("pytest")
    assert "README.md" in text_of(ROOT / ".ci" / "run")


@pytest.mark.parametrize("name", MODULES)
def test_every_option_stands_in_the_documents(name: str) -> None:
    text = text_of(ROOT / "docs" / "options.md")
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert found.help
    options = [option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)]
    assert [option for option in options if option.startswith("--") and f"`{option}" not in text] == []
    assert f"\n## {name}\n" in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_that_is_named_can_be_typed(path: Path) -> None:
    text = text_of(path)
    for command in [*INLINE.findall(text), *(each for block in FENCED.findall(text) for each in TYPED.findall(block))]:
        words = shlex.split(PLACEHOLDER.sub("1", command))
        name = words[0]
        assert name in MODULES, command
        if len(words) > 1:
            found = command_of(name)
            with found.make_context(name, words[1:], help_option_names=["-h", "--help"]):
                pass


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(text_of(path)):
        if link.startswith("https://"):
            continue
        address, _, anchor = link.partition("#")
        target = path.parent / address if address else path
        assert target.exists(), link
        if anchor:
            assert anchor in {anchor_of(heading) for heading in HEADING.findall(text_of(target))}, link


def anchor_of(heading: str) -> str:
    """Return what GitHub calls a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_table_of_data_is_described() -> None:
    described = set(re.findall(r"^\| `([^`]+)`", text_of(ROOT / "data" / "README.md"), re.MULTILINE))
    there = {path.name for path in (ROOT / "data").glob("*.csv")} | {"configs/"}
    assert (there - described, described - there) == (set(), set())


COUNTED = re.compile(r"^\|[^|]*\| ([\d,]+) \| ((?:\[`[^`]+`\]\([^)]+\)(?:, )?)+) \|", re.MULTILINE)


def test_rows_that_exactness_counts_are_there() -> None:
    rows = COUNTED.findall(text_of(ROOT / "docs" / "exactness.md"))
    for count, files in rows:
        names = re.findall(r"`([^`]+)`", files)
        assert sum(len(engine_rows(name)) for name in names) == int(count.replace(",", "")), files
    assert len(rows) > 12


@pytest.mark.parametrize(
    "settings",
    [
        {"app": "llama-server", "mtp": True, "vision": True, "image": "1920x1080"},
        {"app": "llama-bench"},
        {"app": "llama-server", "gpu_layers": "20"},
        {"app": "llama-server", "draft_model": "Qwen3.5-0.8B:Q8_0"},
        {"app": "ollama"},
        {"app": "lmstudio"},
        {"quant": "4bit", "vision": True, "image": "1920x1080"},
        {"quant": "4bit", "app": "mlx_lm.server"},
        {"mac": "2x M3 Ultra 256"},
        {"mac": "2x M3 Ultra 256", "quant": "4bit"},
    ],
    ids=str,
)
def test_every_part_of_memory_is_explained(settings: dict[str, object]) -> None:
    answers = fit("Qwen3.5-27B", **{"quant": "Q4_K_M", "mac": "M4 Max 128"} | settings)  # type: ignore[arg-type]
    labels = {part.label for answer in answers for part in parts_of(answer)}
    assert labels
    named = {label for label in labels if label.startswith("drafting with ")}  # and the name of the model that drafts
    assert labels - named - set(explanations()) == set()


def parts_of(answer: object) -> list[object]:
    estimate = getattr(answer, "estimate", None)
    found = estimate.parts if estimate is not None else [part for each in answer.machines for part in each.parts]  # type: ignore[attr-defined]
    return list(found)


def test_a_term_is_explained_once_in_a_sentence_or_two() -> None:
    assert len(explanations()) == len(terms())
    for term in terms():
        assert term.sentence.endswith(".")
        assert 1 <= len(re.findall(r"[.](?: |$)", term.sentence)) <= 3, term


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 175


def test_tables_read_as_csv() -> None:
    with open(ROOT / "deployfit" / "report" / "glossary.csv", encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["about", "term", "sentence"]
