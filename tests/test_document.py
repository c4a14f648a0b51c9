"""Documents: every format is made of the same blocks and rows, whatever is in them, on every width of screen."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import one_line, run

import deployfit
from deployfit.errors import InputError
from deployfit.parameters import command_line, param, python
from deployfit.report import formats
from deployfit.report.document import (
    Bar,
    Bullets,
    Case,
    Code,
    Column,
    Document,
    Facts,
    Heading,
    Statement,
    Table,
    Tone,
    Verbatim,
    Ways,
    of_rows,
)
from deployfit.report.formats import Screen

EVIL = "a\x1b[31m|<b>\n::error::x\u202e"
ROWS: list[dict[str, Any]] = [
    {"name": EVIL, "size_bytes": 2**40, "share": 0.5, "exact": True, "notes": ["one", EVIL], "of": {"a": 1, "b": None}},
    {"name": "plain", "size_bytes": None, "share": None, "exact": False, "notes": [], "of": {}},
]
BLOCKS = [
    Heading(EVIL, EVIL),
    Statement(f" {EVIL}", EVIL, Tone.GOOD),
    Facts([(EVIL, EVIL)]),
    Bullets(EVIL, [EVIL, f"use {param('kv_type')}"]),
    Bar([(EVIL, 15 * 2**30), ("cache", 2**30)], [("usable", 20 * 2**30), ("limit", 24 * 2**30)], EVIL, Tone.BAD),
    Code(EVIL, f"deployfit fit '{EVIL}'", EVIL),
    Ways(EVIL, [(EVIL, f"deployfit fit '{EVIL}'")]),
    Verbatim([EVIL, "```"]),
    Table(
        [Column("", left=True, shrinks=True), Column("GiB"), Column("known", left=True, rank=1)],
        [[EVIL, "1.00", "exact"], ["plain", "22.00", EVIL]],
        toned=2,
        tones=[Tone.GOOD, Tone.BAD],
    ),
    Table([Column("", left=True), *(Column(f"model {n}") for n in range(9))], [["Q8_0", *"123456789"]], wraps=True),
]
EXAMPLE = of_rows("deployfit/example/1", ROWS, BLOCKS, top={"summary": {"rows": 2}}, cases=[Case(EVIL, "a", EVIL)])


def rendered(document: Document, name: str, width: int = 80, *, colours: bool = False) -> str:
    out = io.StringIO()
    formats.render(document.spelled(command_line), name, out, Screen(width, colours))
    return out.getvalue()


def binary(name: str) -> bool:
    return formats.is_binary(name)


TEXTS = [name for name in formats.names() if not binary(name)]


@pytest.mark.parametrize("name", TEXTS)
def test_whatever_a_text_holds_it_stays_text(name: str) -> None:
    shown = rendered(EXAMPLE, name)
    assert shown.endswith("\n")
    assert all(line.isprintable() for line in shown.split("\n"))
    assert not re.search(r"^\s*::", shown, re.MULTILINE)
    if name != "json":  # where it is escaped as JSON has it
        assert "\\x1b[31m" in shown


@pytest.mark.parametrize("name", TEXTS)
def test_parameters_are_spelled_as_the_door_has_them(name: str) -> None:
    assert "\N{SECTION SIGN}" not in rendered(EXAMPLE, name)


def test_spelling_leaves_all_else_as_it_is() -> None:
    document = of_rows("deployfit/example/1", [{"note": param("kv_type")}], BLOCKS, top={"a": [param("macos")]})
    asked = document.spelled(python)
    assert list(asked.records) == [["kv_type"]]
    assert asked.top == {"a": ["macos"]}
    assert [type(block) for block in asked.blocks] == [type(block) for block in BLOCKS]
    assert asked.blocks[4].tone is Tone.BAD  # type: ignore[union-attr]
    assert asked.blocks[3].items[1] == "use kv_type"  # type: ignore[union-attr]


def test_json_has_the_rows_as_they_are() -> None:
    report = json.loads(rendered(EXAMPLE, "json"))
    assert report == {"schema": "deployfit/example/1", "summary": {"rows": 2}, "rows": ROWS}
    made_on_the_way = EXAMPLE._replace(records=iter(EXAMPLE.records), many=True)
    assert json.loads(rendered(made_on_the_way, "json")) == report


def test_csv_has_a_line_per_row_and_one_cell_per_value() -> None:
    first, second = csv.DictReader(io.StringIO(rendered(EXAMPLE, "csv")))
    assert first["size_bytes"] == str(2**40)
    assert (first["exact"], second["exact"]) == ("true", "false")
    assert first["notes"].startswith("one; a\\x1b")
    assert first["of"] == "a=1; b=None"
    assert (second["size_bytes"], second["notes"], second["of"]) == ("", "", "")


def test_markdown_is_no_other_markup() -> None:
    shown = rendered(EXAMPLE, "markdown")
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert all(re.sub(r"\\\|", "", line).count("|") in (4, 5, 8) for line in rows)
    assert "<b>" not in re.sub(r"```.*?```|`[^`]*`", "", shown, flags=re.DOTALL)
    assert shown.count("```") == 2
    assert "\n| --- | ---: | --- |\n" in shown
    assert shown.count("| model ") == 9  # nine columns in tables of six


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def test_html_is_a_page_without_what_a_name_would_put_in() -> None:
    tags = Tags()
    tags.feed(rendered(EXAMPLE, "html"))
    assert {"html", "table", "svg", "title"} <= set(tags.found)
    assert {"b", "script", "img"} & set(tags.found) == set()


def test_junit_has_a_case_each_and_its_failure() -> None:
    suite = ElementTree.fromstring(rendered(EXAMPLE, "junit"))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "\\x1b" in str(failure.get("message"))
    with pytest.raises(InputError, match="junit is for answers that pass or fail"):
        rendered(EXAMPLE._replace(cases=[]), "junit")


def test_parquet_has_the_rows_with_their_types() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    simple = [{name: row[name] for name in ("name", "size_bytes", "share", "exact")} for row in ROWS]
    formats.render(of_rows("deployfit/example/1", simple, []), "parquet", out)
    assert parquet.read_table(out).to_pylist() == simple


def test_text_has_colours_only_where_they_are_wanted() -> None:
    plain, coloured = (rendered(EXAMPLE, "text", colours=colours) for colours in (False, True))
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    assert {"\x1b[32m", "\x1b[31m", "\x1b[0m"} <= set(re.findall(r"\x1b\[\d+m", coloured))


def test_of_a_narrow_table_names_are_cut_then_columns_go() -> None:
    columns = [Column("", left=True, shrinks=True), Column("GiB"), Column("bits", rank=2), Column("seen", rank=1)]
    document = of_rows("deployfit/example/1", [], [Table(columns, [["x" * 20 + "end", "12.34", "4.85", "2026-11-01"]])])
    widths = (60, 50, 46, 32, 24)
    shown = [rendered(document, "text", width).splitlines() for width in widths]
    assert [lines[0].split() for lines in shown] == [
        ["GiB", "bits", "seen"],
        ["GiB", "bits", "seen"],
        ["GiB", "seen"],
        ["GiB"],
        ["GiB"],
    ]
    assert shown[0][1].startswith("x" * 20 + "end ")
    assert re.match(r"x+~x*end ", shown[-1][1])
    assert all(max(map(len, lines)) <= width for lines, width in zip(shown, widths, strict=True))


def test_columns_without_room_go_on_below() -> None:
    shown = rendered(of_rows("deployfit/example/1", [], BLOCKS[-1:]), "text", 40)
    assert shown.count("Q8_0") == 3
    assert re.findall(r"model \d", shown) == [f"model {number}" for number in range(9)]
    assert max(map(len, shown.splitlines())) <= 40


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((None, None), "text"),
        (("csv", "x.json"), "csv"),
        ((None, "sizes.csv"), "csv"),
        ((None, "a/b.c/SIZES.MD"), "markdown"),
        ((None, "report.xml"), "junit"),
        ((None, "page.htm"), "html"),
        ((None, "rows.parquet"), "parquet"),
        ((None, "-"), "text"),
    ],
)
def test_the_format_is_named_or_follows_from_the_file(words: tuple[str | None, str | None], expected: str) -> None:
    assert formats.format_named(*words) == expected


@pytest.mark.parametrize("output", ["sizes", "sizes.", "sizes.xlsx", "csv"])
def test_a_file_that_says_no_format_is_refused(output: str) -> None:
    with pytest.raises(InputError, match="no format is known by the end of that name"):
        formats.format_named(None, output)


# Real answers

ANSWERS: dict[str, Callable[[], Any]] = {
    "fit": lambda: deployfit.fit("Qwen3.5-397B-A17B", "unsloth:UD-Q4_K_XL", mac="M3 Ultra 256", vision=True),
    "what does not fit": lambda: deployfit.fit("Qwen3.5-27B", "Q5_K_M", mac=16, context="256k"),
    "mlx": lambda: deployfit.fit("Qwen3.5-27B", "4bit", mac="M4 Max 64"),
    "files": lambda: deployfit.fit("Qwen3.5-35B-A3B", mac="M2 Pro 32"),
    "recipes": lambda: deployfit.fit("Qwen3.5-35B-A3B", ["Q8_0", "Q4_K_M", "4bit"], mac="M2 Pro 32"),
    "plan": lambda: deployfit.plan("Qwen3.5-35B-A3B", mac="M2 Pro 32"),
    "plan under mlx": lambda: deployfit.plan("Qwen3.5-35B-A3B", mac="M2 Pro 32", runtime="mlx"),
    "recommend": lambda: deployfit.recommend(mac="M4 Max 128", places=20),
    "quants": lambda: deployfit.list_quants("Qwen3.5-27B"),
    "table": lambda: deployfit.table(quant=["Q8_0", "IQ4_XS", "MXFP4_MOE"]),
    "table of a Mac": lambda: deployfit.table(quant=["Q8_0", "IQ4_XS", "MXFP4_MOE"], mac=64),
    "sweep": lambda: deployfit.sweep(
        ["Qwen3.5-397B-A17B", "Nemotron-3-Super-120B-A12B"],
        ["Q4_K_M", "unsloth:UD-Q4_K_XL", "4bit"],
        mac=["M3 Ultra 512", 64],
        kv_type=["f16", "q8_0"],
        parallel=[1, 2],
    ),
    "models": lambda: deployfit.list_models(),
    "macs": lambda: deployfit.list_macs(),
    "check": lambda: deployfit.check(model="Qwen3.5-397B-A17B"),
    "validate": lambda: deployfit.validate(),
}


@pytest.mark.parametrize("ask", ANSWERS.values(), ids=ANSWERS)
def test_no_line_of_an_answer_is_wider_than_the_screen(ask: Callable[[], Any]) -> None:
    document = ask().document()
    records = list(document.records)
    words: dict[int, list[str]] = {}
    for width in (60, 80, 120):
        shown = rendered(document._replace(records=records), "text", width)
        assert [line for line in shown.splitlines() if len(line) > width] == []
        words[width] = one_line(shown).split()
    assert "GiB" in words[60] or len(words[60]) > 20
    for name in ("markdown", "html", "csv", "json"):
        assert rendered(document._replace(records=records), name)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_as_the_environment_wants_them(environment: dict[str, str], coloured: bool) -> None:
    import os

    done = run("fit", "Qwen3.5-4B", "--quant", "Q8_0", "--mac", "16", env={**os.environ, **environment})
    assert ("\x1b[32m" in done.stdout) is coloured


@pytest.mark.parametrize("columns", ["60", "100", "12", "99999", "no"])
def test_the_width_is_that_of_columns(columns: str) -> None:
    import os

    done = run("fit", "Qwen3.5-4B", "--quant", "Q8_0", "--mac", "16", env={**os.environ, "COLUMNS": columns})
    widest = max(map(len, done.stdout.splitlines()))
    assert widest <= {"60": 60, "100": 100, "12": 40}.get(columns, 80 if columns == "no" else 200)
