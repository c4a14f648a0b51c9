"""The page in a real browser: its figures are those of `fit`, it asks nobody for anything, and everybody can use it."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asked import ASK, Asked, difference, questions, shown_for
from chromium import Chromium, Tab, find_browser
from conftest import run

from deployfit import catalogue
from deployfit.cli.command import command_of
from deployfit.errors import InputError
from deployfit.hardware.mac import MACS
from deployfit.quants.weights import Options
from deployfit.questions.choices import best_fitting, published_files
from deployfit.questions.fit import fit
from deployfit.questions.page import FitPage
from deployfit.questions.resolve import judge_of, machine_of, run_of, start_of

pytestmark = pytest.mark.browser

QUESTIONS = 2_000  # that must be answered alike
DOCUMENT = "fit Qwen3.5-27B --mac 32"
ROOT = Path(__file__).parents[2]
AXE = ROOT / "page" / "node_modules" / "axe-core" / "axe.min.js"
MOST_BYTES = 1_500_000
SHOWN = "Number(document.documentElement.dataset.shown)"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    binary = find_browser()
    if binary is None:
        pytest.fail("no Chromium on this machine (apt-get install chromium): the page was not tried in a browser")
    with Chromium(binary, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of every model, on disk."""
    path = tmp_path_factory.mktemp("page") / "fit.html"
    path.write_text(FitPage(list(catalogue.models().values())).html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def tab(browser: Chromium, address: str) -> Iterator[Tab]:
    with browser.tab() as opened:
        opened.open(address)
        yield opened
        assert opened.happened("Runtime.exceptionThrown") == []
        assert [each["entry"]["text"] for each in opened.happened("Log.entryAdded")] == []
        asked = {each["request"]["url"].partition("#")[0] for each in opened.happened("Network.requestWillBeSent")}
        assert asked == {address}


def test_two_thousand_questions_are_answered_as_fit_answers_them(tab: Tab) -> None:
    faults: list[str] = []
    verdicts: dict[str, int] = {}
    answered = refused = 0
    source = questions(seed=15)
    while answered < QUESTIONS:
        batch = list(itertools.islice(source, 100))
        for asked, shown in zip(batch, shown_for(tab, batch), strict=True):
            try:
                answer = asked.answer()
            except InputError:
                refused += 1
                if not shown["changes"] and shown["verdict"] is not None:
                    faults.append(f"{asked.link}: fit refuses it, the page answers and says nothing")
                continue
            answered += 1
            verdicts[answer.verdict.value] = verdicts.get(answer.verdict.value, 0) + 1
            if fault := difference(asked, shown, answer):
                faults.append(fault)
    print(f"{answered:,} answered alike, {refused:,} refused alike; {verdicts}")
    assert faults[:10] == []
    assert set(verdicts) == {"fits", "tight", "needs_raised_limit", "does_not_fit"}


def test_the_commands_that_are_copied_ask_the_same_question(tab: Tab) -> None:
    command = command_of("fit")
    batch = list(itertools.islice(questions(seed=16), 60))
    tried = 0
    for asked, shown in zip(batch, shown_for(tab, batch), strict=True):
        try:
            answer = asked.answer()
        except InputError:
            continue
        words = shlex.split(shown["command"])
        assert words[:2] == ["deployfit", "fit"]
        with command.make_context("fit", words[2:]) as context:
            given = {name: value for name, value in context.params.items() if value not in (None, ())}
        (again,) = fit(**given)
        assert (again.estimate.total_bytes, again.verdict) == (answer.estimate.total_bytes, answer.verdict)
        tried += 1
    assert tried > 30


def test_the_grid_shows_the_file_that_deployfit_would_choose(tab: Tab) -> None:
    (shown,) = shown_for(
        tab, [Asked("Qwen3.5-27B", "Q4_K_M", "32", "26", "llama-server", "llama.cpp", 32768, {}, False, False)]
    )
    assert shown["verdict"] == "fits"
    rows = tab.run(
        "[...document.querySelectorAll('#grid tbody tr')].map((row) =>"
        " [row.querySelector('button').textContent, [...row.querySelectorAll('td')].map((cell) => [cell.dataset.file ?? '', cell.className.split(' ')[0]])])"
    )
    assert [name for name, _ in rows] == list(catalogue.models())
    sizes = sorted({size for row in catalogue.rows(MACS) for size in row.memory_gib})
    compared = 0
    for name, cells in rows:
        model = catalogue.models()[name]
        files = published_files(model, "GGUF")
        if not files or model.blueprint.trained_context < 32768:
            continue
        start = start_of("llama-server", "llama.cpp", "32768", {})
        for size, (file, verdict) in zip(sizes, cells, strict=True):
            best = best_fitting(judge_of(run_of(model, start, machine_of(str(size)), Options())), files)
            assert (verdict == "fits") is (best is not None), (name, size)
            if best is not None:
                assert file == best[0].name, (name, size)
            compared += 1
    assert compared > 300


HOSTILE = [
    "<script>hacked=1</script>",
    "<img src=x onerror=hacked=1>",
    '"><svg onload=hacked=1>',
    "javascript:hacked=1",
    "'};hacked=1;//",
    "{{constructor.constructor('hacked=1')()}}",
    "__proto__",
    "constructor",
    "toString",
    "99999999999999999999999999999999",
    "1e999",
    "-1",
    "0x10",
    "NaN",
    "\x00\x1b[2J",
    "\u202egpj.exe\u202c",
    "\N{FOX FACE}" * 30,
    "A" * 5000,
    "%",
    "%E0%A4%A",
    "../../../etc/passwd",
    "file:///etc/passwd",
    "",
    " ",
]
NAMES = (
    "model",
    "quant",
    "mac",
    "macos",
    "app",
    "runtime",
    "context",
    "kv_type",
    "parallel",
    "mtp",
    "vision",
    "compare",
    "v",
)


def test_nothing_in_a_link_becomes_markup_and_every_change_is_said(tab: Tab) -> None:
    before = tab.run("document.querySelectorAll('script, img, svg, iframe, object, embed, style, link').length")
    links = [f"#{name}=" + urlencode({"": text})[1:] for name in NAMES for text in HOSTILE]
    links += [
        f"#{name}={text}" for name in ("model", "context") for text in HOSTILE if text.isascii() and "\x00" not in text
    ]
    links += ["#" + urlencode({text: "1"}) for text in HOSTILE]
    links += [
        "#" + "&".join(f"x{number}=1" for number in range(400)),
        "#&&&===&",
        "#model=Qwen3.5-27B&model=<b>",
        "#v=99&model=Qwen3.5-9B",
    ]
    found = tab.run(
        f"(async () => {{ {ASK} const found = []; for (const link of {json.dumps(links)}) {{ await ask('#v=1&model=gpt-oss-20b&context=4096'); found.push(await ask(link)); }} return found; }})()"
    )
    for link, shown in zip(links, found, strict=True):
        assert shown["verdict"] is not None, link
        assert shown["parts"]["total"] > 0, link
        for line in shown["changes"]:
            assert line.isprintable(), link
            assert len(line) < 400, link
    said = {link: " ".join(shown["changes"]) for link, shown in zip(links, found, strict=True)}
    assert "“<script>hacked=1</script>”" in said["#model=%3Cscript%3Ehacked%3D1%3C%2Fscript%3E"]
    assert "another version" in said["#v=99&model=Qwen3.5-9B"]
    for name in ("model", "quant", "mac", "macos", "app", "runtime", "context", "parallel"):
        for text in HOSTILE[:10]:
            link = f"#{name}=" + urlencode({"": text})[1:]
            assert said[link], link
    assert tab.run("typeof hacked") == "undefined"
    assert tab.run("document.querySelectorAll('script, img, svg, iframe, object, embed, style, link').length") == before


def test_markup_from_texts_is_refused_by_the_page_s_own_policy(browser: Chromium, address: str) -> None:
    with browser.tab() as tab:
        tab.open(address)
        for attempt in (
            "document.body.innerHTML = '<p>'",
            "document.body.insertAdjacentHTML('beforeend', '<p>')",
            "new Function('1')()",
        ):
            assert (
                tab.run(f"(() => {{ try {{ {attempt}; return 'done'; }} catch (error) {{ return error.name; }} }})()")
                != "done"
            )
        for request in ("fetch('https://example.com/')", "fetch('./fit.html')"):
            assert tab.run(f"{request}.then(() => 'done', () => 'refused')") == "refused"
        tab.run(
            "document.body.append(Object.assign(document.createElement('img'), {src: 'https://example.com/a.png'}))"
        )
        sent = {each["request"]["url"].partition("#")[0] for each in tab.happened("Network.requestWillBeSent")}
        failed = tab.happened("Network.loadingFailed")
        assert sent == {address} or all(each.get("blockedReason") == "csp" for each in failed)


STATES = [
    "",
    "#model=Qwen3.5-397B-A17B&mac=32&context=131072",
    "#model=gpt-oss-20b&app=mlx_lm.generate&mac=M4+16&compare=q4_g64",
    "#model=%3Cb%3E&mac=tiny&context=many&v=7",
    "#model=Qwen3.5-9B&app=ollama&mac=M2+Pro+32&macos=15",
]


def violations(tab: Tab) -> list[Any]:
    """What axe finds on the page that is shown."""
    if not AXE.exists():
        pytest.skip("axe-core is not there: npm ci in the folder page installs it")
    tab.run(AXE.read_text(encoding="utf-8") + "\n;0")
    rules = "{resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
    found: list[Any] = tab.run(
        f"axe.run(document, {rules}).then((all) => all.violations.map((each) => [each.id, each.nodes.map((node) => node.target + ' ' + node.failureSummary).slice(0, 3)]))"
    )
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing(browser: Chromium, address: str, width: int, dark: bool) -> None:
    with browser.tab(width, dark=dark) as tab:
        tab.send("Page.setBypassCSP", enabled=True)  # for axe itself, which is not part of the page
        for state in STATES:
            tab.send("Page.navigate", url="about:blank")
            tab.open(address + state)
            tab.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
            tab.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
            assert violations(tab) == [], state


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("command", [DOCUMENT, f"{DOCUMENT} --quant unsloth:BF16", "recommend --mac 32"])
def test_documents_are_for_everybody_too(browser: Chromium, tmp_path: Path, command: str, dark: bool) -> None:
    made = run(*command.split(), "--format", "html")
    path = tmp_path / "document.html"
    path.write_text(made.stdout, encoding="utf-8")
    for width in (360, 1400):
        with browser.tab(width, dark=dark) as tab:
            tab.send("Page.navigate", url=path.as_uri())
            tab.until("document.readyState === 'complete' && document.querySelector('h1') !== null")
            assert tab.run("document.documentElement.scrollWidth") <= width
            assert violations(tab) == []


def test_the_picture_is_made(browser: Chromium, tmp_path: Path) -> None:
    found = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert len(module.picture(browser, tmp_path)) > 100_000


def test_a_keyboard_is_enough(tab: Tab) -> None:
    reached: list[str] = []
    for _ in range(400):
        tab.key("Tab", 9)
        where = tab.run(
            "document.activeElement.id || document.activeElement.textContent.slice(0, 40) || document.activeElement.ariaLabel"
        )
        if where in reached[:1] and len(reached) > 5:
            break
        reached.append(str(where))
    for needed in (
        "model",
        "app",
        "file",
        "mac",
        "macos",
        "kv",
        "slots",
        "tokens",
        "context",
        "vision",
        "Copy command",
        "Copy numbers",
        "Copy link",
    ):
        assert needed in reached, needed
    assert reached[0].startswith("Skip")
    tab.run("document.getElementById('context').focus()")
    before = tab.run("document.querySelector('[data-part=total]').value")
    count = tab.run(SHOWN)
    tab.key("ArrowRight", 39)
    tab.until(f"{SHOWN} > {count}")
    assert int(tab.run("document.querySelector('[data-part=total]').value")) > int(before)
    assert tab.run("document.getElementById('context').getAttribute('aria-valuetext')").endswith(" tokens")
    outline = tab.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


@pytest.mark.parametrize("width", [320, 360, 800, 1400, 2200])
def test_nothing_is_wider_than_the_screen(browser: Chromium, address: str, width: int) -> None:
    with browser.tab(width) as tab:
        for state in STATES:
            tab.send("Page.navigate", url="about:blank")
            tab.open(address + state)
            tab.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
            assert tab.run("document.documentElement.scrollWidth") <= width, state


def test_dark_light_and_print_differ_as_they_should(tab: Tab) -> None:
    back = "getComputedStyle(document.documentElement).backgroundColor"
    light = tab.run(back)
    tab.look(dark=True)
    assert tab.run(back) != light
    tab.look(dark=True, media="print")
    assert tab.run(back) == light
    assert tab.run("getComputedStyle(document.getElementById('form')).display") == "none"
    assert len(tab.send("Page.printToPDF")["data"]) > 20_000


def test_what_is_typed_and_clicked_leads_to_answers(tab: Tab) -> None:
    def choose(name: str, value: str) -> None:
        count = tab.run(SHOWN)
        tab.run(
            f"(() => {{ const it = document.getElementById('{name}'); it.value = {json.dumps(value)}; it.dispatchEvent(new Event('change')); }})()"
        )
        tab.until(f"{SHOWN} > {count}")

    for name, value in (
        ("model", "gpt-oss-20b"),
        ("mac", "M2 Pro 32"),
        ("macos", "15"),
        ("tokens", "64k"),
        ("kv", "1"),
        ("slots", "2"),
    ):
        choose(name, value)
    tab.until("location.hash.includes('parallel=2')")
    link = tab.run("location.hash")
    for part in ("model=gpt-oss-20b", "mac=M2+Pro+32", "macos=15", "context=65536", "kv_type=q8_0"):
        assert part in link
    first = tab.run("document.querySelector('#verdict').textContent")
    with_link = tab.run(
        f"(async () => {{ {ASK} await ask('#model=Qwen3.5-9B'); return (await ask({json.dumps(link)})).said; }})()"
    )
    assert with_link == first
    choose("model", "Qwen3.5-397B-A17B")
    assert tab.run("document.querySelectorAll('.ways button').length") > 0
    tab.run("document.querySelector('.ways button').click()")
    assert tab.run("document.querySelector('[data-verdict]').dataset.verdict") == "fits"
    rows = tab.run("document.querySelectorAll('#files input[type=checkbox]').length")
    tab.run(
        "[...document.querySelectorAll('#files input[type=checkbox]:not(:disabled)')].slice(0, 2).forEach((box) => box.click())"
    )
    assert rows > 2
    assert tab.run("document.querySelectorAll('#memory .legend li').length") > 3


def test_numbers_and_commands_are_copied(tab: Tab) -> None:
    tab.run("document.execCommand = () => { window.copied = document.activeElement.value; return true; }")
    tab.run("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")

    def copied(label: str) -> str:
        tab.run(
            f"(() => {{ window.copied = ''; [...document.querySelectorAll('button.copy')].find((each) => each.textContent === {json.dumps(label)}).click(); }})()"
        )
        tab.until("window.copied !== ''")
        return str(tab.run("window.copied"))

    total = tab.run("document.querySelector('[data-part=total]').value")
    assert f"total bytes\t{total}" in copied("Copy numbers")
    assert copied("Copy command").startswith("deployfit fit ")
    assert "#v=1&model=" in copied("Copy link")


def test_it_is_small(address: str) -> None:
    assert Path(address.removeprefix("file://")).stat().st_size < MOST_BYTES
