"""Makes the documents that are taken from the program: `python docs/generate.py`.

Options, models, the Python reference, the glossary, and the picture of a screen. A test holds the files against what
this makes.
"""

from __future__ import annotations

import csv
import html
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import deployfit
from deployfit import catalogue
from deployfit.cli.command import EVERY
from deployfit.exit_codes import EXIT_CODES
from deployfit.layers.blueprint import Blueprint
from deployfit.parameters import Parameter, command_line, option
from deployfit.questions import MODULES
from deployfit.questions.question import Answered, Question
from deployfit.report import formats, glossary
from deployfit.runtimes import registry
from deployfit.schema.documents import SHAPES, shape_of

DOCS = Path(__file__).parent
FIGURES = DOCS.parent / "tests" / "data"
README = DOCS.parent / "README.md"
MADE = "<!-- Made by docs/generate.py; change what it is made from. -->"
MODULE = re.compile(r"\b[a-z]\w*(?:\.[a-z]\w*)*\.(?=[A-Z])")
CONSOLE = re.compile(r"```console\n\$ deployfit (.*)\n")


# Options


def options() -> str:
    """Return every command with every option."""
    parts = [
        "# Commands and options",
        MADE,
        "`deployfit COMMAND --help` says the same. A setting of one engine is refused for the other's files.",
        "| command | |\n| --- | --- |\n"
        + "\n".join(f"| [`{name}`](#{name}) | {first_sentence(question(name).summary)} |" for name in MODULES),
    ]
    parts += [command(question(name)) for name in MODULES]
    parts += ["## Settings of the engines", "Of `fit` and `sweep`; in `sweep` they may be repeated."]
    for name, parameters in registry.parameters().items():
        parts += [f"### {name}", table_of(parameters)]
    parts += [
        "## Of every command",
        table_of([*EVERY, Parameter("help", "Show the command's help."), Parameter("debug", "Show where a fault is.")]),
        f"Formats: {', '.join(f'`{name}`' for name in formats.names())}. The end of `--output`'s name chooses one too.",
        "## Exit codes",
        "| code | means |\n| ---: | --- |\n" + "\n".join(f"| {code} | {text} |" for code, text in EXIT_CODES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def question(name: str) -> Question:
    """Return a question by its command's name."""
    found: Question = importlib.import_module(f"deployfit.questions.{MODULES[name]}").QUESTION
    return found


def first_sentence(text: str) -> str:
    """Return a text up to its first full stop."""
    lead = flat(text.split("\n\n")[0])
    return lead if lead.endswith("...") else lead.partition(". ")[0].removesuffix(".") + "."


def flat(text: str) -> str:
    """Return a text as one line of a table."""
    return " ".join(command_line(text).split()).replace("|", "\\|")


def command(asked: Question) -> str:
    """Return the section of one command."""
    words = {each.name: f"[{each.takes}]..." if each.many else each.takes for each in asked.parameters}
    usage = " ".join(["deployfit", asked.name, *(words[name] for name in asked.arguments), "[OPTIONS]"])
    text = f"## {asked.name}\n\n    {usage}\n\n" + "\n\n".join(
        flat(each) for each in command_line(asked.summary).split("\n\n")
    )
    own = [each for each in asked.parameters if each.name not in asked.arguments]
    if own:
        text += "\n\n" + table_of(own)
    if asked.runtimes:
        text += "\n\nAnd the [settings of the engines](#settings-of-the-engines)."
    return text


def table_of(parameters: Iterable[Parameter]) -> str:
    """Return options as a table."""
    lines = ["| option | default | |", "| --- | --- | --- |"]
    for each in parameters:
        name = option(each.name)
        spelled = (
            f"`{name}`, `--no-{name[2:]}`" if each.off else f"`{name} {each.takes}`" if each.takes else f"`{name}`"
        )
        again = " May be repeated." if each.many and "repeated" not in each.help else ""
        lines.append(f"| {spelled} | {flat(each.default)} | {flat(each.help)}{again} |")
    return "\n".join(lines)


# Families

HELD = {
    "dry runs of llama.cpp's quantizer": ["llamacpp_quantize.csv", "other_quantize.csv"],
    "rows of llama.cpp's memory": [
        "llamacpp_memory_cpu.csv",
        "llamacpp_memory_device.csv",
        "other_memory_cpu.csv",
        "other_memory_device.csv",
        "other_memory_random.csv",
    ],
    "conversions by MLX's tools": ["mlx_weights.csv", "other_mlx_weights.csv", "other_mlx_vlm_weights.csv"],
    "caches of mlx-lm": ["mlx_cache.csv", "other_mlx_cache.csv"],
}


def families() -> str:
    """Return every model of the catalogue, by family."""
    models = catalogue.models()
    by_family: dict[str, list[str]] = {}
    for name, row in models.rows.items():
        by_family.setdefault(row.family, []).append(name)
    parts = [
        "# Models and families",
        MADE,
        f"{len(models.rows)} models in {len(by_family)} families, of {len(used_architectures())} architectures. A"
        " fine-tune with the same shape is answered under its own name from the Hub (`fit hub:OWNER/NAME`), from its"
        " file or from its `config.json` (`--catalog`).",
        "Parameters are in billions; active are those that a token uses. The published count closes where it says"
        " equal: the layers add up to what the publisher states, to the last digit.",
    ]
    for family, names in by_family.items():
        lines = [
            f"## {family}",
            held(names),
            "| model | parameters | active | layers | published count |\n| --- | ---: | ---: | --- | --- |",
        ]
        for name in names:
            lines[-1] += "\n" + family_row(name)
        parts += lines
    parts += [
        "## Architectures",
        "An architecture of these is read from any `config.json` or GGUF header, whether or not a model of it is listed"
        " above.",
        "| `model_type` | in GGUF | MLX |\n| --- | --- | --- |\n"
        + "\n".join(
            f"| {row.model_type} | {row.gguf or '-'} | {', '.join(row.tools) or '-'} |"
            for row in catalogue.architectures().values()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def held(names: Iterable[str]) -> str:
    """Return how many figures of the engines the tests hold these models against."""
    counts = {what: sum(rows_of(file)[name] for file in files for name in names) for what, files in HELD.items()}
    known = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"Held equal to the engines by tests: {', '.join(known) or 'nothing of its own'}."


@cache
def rows_of(file: str) -> Counter[str]:
    """Return how many rows of a file of the engines' figures each model has."""
    with open(FIGURES / file, encoding="utf-8", newline="") as text:
        named = (row["model"] for row in csv.DictReader(text))
        return Counter(f"Qwen3.5-{name}" if name[0].isdigit() else name for name in named)  # the first files say "27B"


def used_architectures() -> set[str]:
    """Return the architectures of the catalogue's models."""
    return {model.blueprint.model_type for model in catalogue.models().values()}


def family_row(name: str) -> str:
    """Return one model as a row."""
    model = catalogue.models()[name]
    known = next(row for row in question("models").ask(family=model.row.family).rows() if row["model"] == name)
    numbers = [f"{known[key] / 1e9:.1f}" for key in ("total_params", "active_params")]
    return "| " + " | ".join([name, *numbers, layers(model.blueprint), model.row.numbers]) + " |"


def layers(blueprint: Blueprint) -> str:
    """Return how many layers of which kinds a model has."""
    mixers = Counter(layer.mixer.headline for layer in blueprint.layers if layer.mixer)
    experts = sum(1 for layer in blueprint.layers if type(layer.feed).__name__ == "Experts")
    words = [f"{count} x {kind}" for kind, count in mixers.items()]
    if experts:
        words.append(f"{experts} with experts")
    return f"{len(blueprint.layers)}: " + ", ".join(words)


# Python


EXAMPLE = """\
```python
from deployfit import fit, plan, recommend

(answer,) = fit("Qwen3.5-27B", "Q4_K_M", mac=32, context="32k", app="llama-bench")
assert answer.verdict.value == "fits" and answer.estimate.total_bytes == 19_424_860_192
assert plan("Qwen3.5-27B", "Q4_K_M", mac=32, app="llama-bench").plan.rows[0].max_context_tokens[0] == 125_440
frame = recommend(mac="M2 Pro 32", context="64k").frame()  # a pandas DataFrame
```"""


def python_reference() -> str:
    """Return the public names with signatures and docstrings."""
    parts = [
        "# From Python",
        MADE,
        "`from deployfit import fit, recommend, ...`. Parameters are those of the command line, with underscores; sizes"
        " are ints of bytes; errors are `DeployfitError`. What comes back has:",
        "\n".join(
            f"- `{name}`: {docstring(getattr(Answered, name))}" for name in ("rows", "frame", "text", "document")
        ),
        "and shows itself as a table, in a notebook as HTML. `import deployfit` costs nothing; numpy is imported by"
        " `sweep`, pandas by `.frame()`, huggingface_hub by what asks the Hub.",
    ]
    parts.append(EXAMPLE)
    for name in deployfit.__all__:
        found = getattr(deployfit, name)
        parts.append(f"## {name}")
        if inspect.isclass(found):
            parts.append(docstring(found))
            continue
        parts += [f"```text\n{signature(name, found)}\n```", *prose(inspect.getdoc(found) or "")]
    return "\n\n".join(parts) + "\n"


def docstring(thing: object) -> str:
    """Return a docstring's first paragraph on a line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def signature(name: str, function: object) -> str:
    """Return a function's signature, a parameter on each line."""
    found = inspect.signature(function)  # type: ignore[arg-type]
    answer = plain(str(found.return_annotation))
    lines = [f"    {plain(str(each))}," for each in found.parameters.values()]
    starred = next((i for i, each in enumerate(found.parameters.values()) if each.kind is each.KEYWORD_ONLY), None)
    if starred is not None:
        lines.insert(starred, "    *,")
    return f"{name}(\n" + "\n".join(lines) + f"\n) -> {answer}"


def plain(annotated: str) -> str:
    """Return a parameter with its types as they are written in the code."""
    return MODULE.sub("", re.sub(r": '(.*?)'(?= =|$)", r": \1", annotated))


def prose(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring, examples as code."""
    for paragraph in text.split("\n\n"):
        yield f"```pycon\n{paragraph}\n```" if paragraph.startswith(">>>") else " ".join(paragraph.split())


# JSON

FORMATS = """\
`--format json` of every command prints `{"schema": "deployfit/COMMAND/1", "rows": [...]}`; some have more beside the
rows. `--format csv` has the same rows and columns, with lists and objects as JSON in their cells. Sizes are whole bytes
and their names end in `_bytes`; what is not known is null (an empty cell), never 0. Fields may be added within a
schema's version, never changed or taken away. `deployfit schema COMMAND` prints the JSON Schema of what is told here.

`--output FILE` chooses the format by the end of its name: `.csv`, `.json`, `.parquet` (needs pyarrow), `.md`, `.html`,
`.svg`, `.xml` (JUnit). A file is replaced as a whole or not at all.

In a row of `fit` the columns of memory are sums of its `parts`; a part that belongs to no column is in the total and
among the parts only. `total_bytes` is what is taken at the start, and `headroom_bytes = gpu_limit_bytes - reserve_bytes
- total_bytes`. `parts` may come to hold names that are not listed here."""


def json_page() -> str:
    """Return every schema with its columns."""
    parts = ["# JSON, CSV and the other formats", MADE, FORMATS]
    for name in SHAPES:
        lines = ["| field | kind | |", "| --- | --- | --- |"]
        for row in question("schema").ask(document=name).rows():
            kind = row["kind"] + (" or null" if row["null"] else "")
            lines.append(f"| `{row['field']}` | {kind} | {flat(row['means'])} |")
        parts += [f"## deployfit/{name}/1", f"{shape_of(name).means}.", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


# Glossary


def glossary_page() -> str:
    """Return the glossary."""
    text = f"# Glossary\n\n{MADE}\n\nThe words that the screens use."
    about = ""
    for term in glossary.terms():
        if term.about != about:
            about = term.about
            text += f"\n\n## {about}\n"
        text += f"\n- **{term.term}**: {term.sentence}"
    return text + "\n"


# The picture

COLOURS = {"32": "#3fb950", "33": "#d29922", "31": "#f85149"}
ESCAPE = re.compile(r"\x1b\[(\d*)m")
CHARACTER, LINE, EDGE = 8.4, 18, 16


def first_command() -> str:
    """Return the command of README's first screen."""
    found = CONSOLE.search(README.read_text(encoding="utf-8"))
    assert found, "README.md has no console block"
    return found[1]


BAR = ["fit", "Qwen3.5-27B", "--quant", "unsloth:Q4_K_M", "--mac", "M2 Max 32", "--format", "svg"]


def bar() -> str:
    """Return the bar of an answer."""
    command = [sys.executable, "-m", "deployfit", *BAR]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout


def picture() -> str:
    """Return README's first screen in a terminal of 80 columns, as an SVG."""
    asked = first_command()
    plain: Mapping[str, str] = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    printed = subprocess.run(
        [sys.executable, "-m", "deployfit", *shlex.split(asked)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env={**plain, "FORCE_COLOR": "1"},
    ).stdout
    lines = [f"$ deployfit {asked}", *printed.rstrip("\n").split("\n")]
    width, height = round(80 * CHARACTER + 2 * EDGE), len(lines) * LINE + 2 * EDGE
    drawn = "\n".join(
        f'<text xml:space="preserve" x="{EDGE}" y="{EDGE + LINE * number + 13}">{"".join(spans(line))}</text>'
        for number, line in enumerate(lines)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>\n'
        '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#e6edf3">'
        f"\n{drawn}\n</g>\n</svg>\n"
    )


def spans(line: str) -> Iterator[str]:
    """Yield a line's text, coloured as the terminal would."""
    colour, bold = "", False
    for index, piece in enumerate(ESCAPE.split(line)):
        if index % 2:
            colour = COLOURS.get(piece, "" if piece in ("0", "") else colour)
            bold = piece == "1" or (bold and piece not in ("0", ""))
        elif piece:
            text = html.escape(piece, quote=False)
            style = (f' fill="{colour}"' if colour else "") + (' font-weight="bold"' if bold else "")
            yield f"<tspan{style}>{text}</tspan>" if style else text


PAGES: Mapping[str, Callable[[], str]] = {
    "options.md": options,
    "families.md": families,
    "python.md": python_reference,
    "json.md": json_page,
    "glossary.md": glossary_page,
    "screen.svg": picture,
    "bar.svg": bar,
}

if __name__ == "__main__":
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
