"""Bad input: one line on stderr that names the thing and the way out, exit code 2, nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from conftest import inside, one_line, run, without_rights
from test_catalogue import config_of

from deployfit.exit_codes import EXIT_CODES
from deployfit.tables import parse_table

FIT = ("fit", "Qwen3.5-27B", "--quant", "Q4_K_M", "--mac", "32")
ESCAPE = "\x1b[31mred\x07"
LONG = "x" * 100_000


def complaints(*words: str) -> list[str]:
    """Run deployfit with bad input in this process; return its complaints after checking what holds for all."""
    return checked(inside(*words))


def checked(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr, done.stderr[-500:]
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    lines = done.stderr.removesuffix("\n").split("\n")
    for line in lines:
        assert line.startswith("deployfit: "), line
        assert line.isprintable(), line
        assert len(line) < 1000
    return lines


def complaint(*words: str) -> str:
    (line,) = complaints(*words)
    return line


WORDS = [
    # names
    (("fit", "Qwen3.5-28B", "--mac", "32"), "no model 'Qwen3.5-28B' in the catalogue, which has Qwen3.5-397B-A17B, "),
    (("fit", "qwen", "--mac", "32"), "'qwen' may be Qwen3.5-397B-A17B, "),
    *(
        ((command, text, "--mac", "32"), f"expected the name of a model, got {text!a}")
        for command in ("fit", "table", "plan")
        for text in ("", ESCAPE, "\u202eevil")
    ),
    (("fit", "two\nlines", "--mac", "32"), r"no model 'two\nlines' in the catalogue"),
    (
        ("fit", "/etc/passwd", "--mac", "32"),
        "'passwd': no model; give a .gguf file, a folder of safetensors, or a",
    ),
    (("fit", LONG, "--mac", "32"), "expected the name of a model, got 'xxxxxx"),
    (("table", "Qwen3.5-28B"), "no model 'Qwen3.5-28B' in the catalogue, which has "),
    (("table", "--quant", "Q4_K_X"), "no recipe 'Q4_K_X'; did you mean Q4_K_"),
    (("table", "--format", "yaml"), "no format 'yaml'; known: text, csv, html, json, "),
    ((*FIT, "--quant", "Q4_K_X"), "no recipe 'Q4_K_X'; did you mean Q4_K_"),
    ((*FIT, "--quant", ""), "no recipe ''; known: "),
    ((*FIT, "--quant", ESCAPE), r"no recipe '\x1b[31mred\x07'; known: "),
    ((*FIT, "--quant", "../../etc/passwd"), "no publisher '..'; known: unsloth, "),
    ((*FIT, "--runtime", "vllm"), "no runtime 'vllm'; known: llama.cpp"),
    ((*FIT, "--runtime", ESCAPE), r"no runtime '\x1b[31mred\x07'; known: llama.cpp"),
    ((*FIT, "--format", "yaml"), "no format 'yaml'; known: text, csv, html, json, "),
    ((*FIT, "--format", "jsn"), "no format 'jsn'; did you mean json?"),
    ((*FIT, "--format", ""), "no format ''; known: "),
    ((*FIT, "--kv-type", "q8"), "no KV type 'q8'; did you mean q8_0"),
    ((*FIT, "--kv-type", ""), "no KV type ''; known: f16"),
    ((*FIT, "--kv-type-k", "q3_k"), "no KV type 'q3_k'; "),
    ((*FIT, "--kv-type-k", ""), "no KV type ''; known: f16"),
    ((*FIT, "--kv-type-v", ""), "no KV type ''; known: f16"),
    ((*FIT, "--kv-type-v", ESCAPE), r"no KV type '\x1b[31mred\x07'; known: f16"),
    ((*FIT, "--kv-type", "bogus", "--kv-type-k", "f16", "--kv-type-v", "f16"), "no KV type 'bogus'; known: f16"),
    # what one command takes and others do not
    *(
        ((command, "hub:unsloth/Qwen3.5-4B-GGUF", "--mac", "32"), "is a file of the Hub; name a model of the catalogue")
        for command in ("plan", "sweep", "table")
    ),
    (
        ("plan", "Qwen3.5-4B", "--mac", "32", "--publisher", "Unsloth", "--runtime", "mlx"),
        "unsloth publishes GGUF, which llama.cpp loads; leave out --runtime",
    ),
    (
        ("plan", "Qwen3.8-27B", "--mac", "32", "--publisher", "ollama"),
        "no file of ollama is known for Qwen3.8-27B; name recipes with --quant",
    ),
    # macOS
    *(
        ((*FIT, "--macos", text), f"--macos: expected a version such as 15 or 26.3, got {text!a}")
        for text in ("12x", "abc", "26.x.y", "", "26.", "-1", "1e1", "\uff12\uff16", ESCAPE)
    ),
    *(((*FIT, "--macos", text), f"no macOS {text} for Apple silicon is known; known: ") for text in ("10", "16", "99")),
    ((*FIT, "--macos", "9" * 5000), "999...'"),
    # Macs
    ((*FIT, "--mac", "33"), "no Mac with 33 GB; Macs were sold with 8, 16, "),
    ((*FIT, "--mac", "0"), "no Mac with 0 GB; Macs were sold with 8, 16, "),
    ((*FIT, "--mac", "M4 Max 24"), "no M4 Max with 24 GB; it was sold with 36, 48, 64, 128 GB"),
    ((*FIT, "--mac", "M4 Max"), "--mac 'M4 Max': memory size missing; it was sold with 36, 48, 64, 128 GB"),
    ((*FIT, "--mac", "M4"), "--mac 'M4': memory size missing; it was sold with 16, 24, 32 GB"),
    ((*FIT, "--mac", "M9 32"), "no Mac chip 'M9'; "),
    ((*FIT, "--mac", "M9"), "no Mac chip 'M9'; "),
    ((*FIT, "--mac", "M4 Ultra 64"), "no Mac chip 'M4 Ultra'; of M4 there are M4, M4 Pro, M4 Max"),
    *(
        (
            (*FIT, "--mac", text),
            f"--mac: expected a memory size or a chip with one, such as 32 or 'M4 Max 64', got {text!a}",
        )
        for text in ("", " ", "-32", "32.5", "99999", "\uff13\uff12", "M4\x1b[31m 32", "../../etc/passwd")
    ),
    ((*FIT, "--mac", LONG), "xxx...'"),
    ((*FIT, "--mac", "1" * 100_000), "111...'"),
    # wired limit
    ((*FIT, "--wired-limit", "33g"), "33.00 GiB is more than the 32.00 GiB of memory; choose less"),
    ((*FIT, "--wired-limit", "32769m"), "choose less"),
    ((*FIT, "--wired-limit", "0g"), "--wired-limit: expected more than 0, such as 28g"),
    *(
        (
            (*FIT, "--wired-limit", text),
            f"--wired-limit: expected a size with its unit such as 28g or 28672m, got {text!a}",
        )
        for text in ("-1g", "", "1e3g", "nang", "28t", "28g28g", "\uff12\uff18g", "\x1b28g")
    ),
    ((*FIT, "--wired-limit", "28"), "--wired-limit '28' is 28 MiB; for GiB type 28g"),
    # counts
    *(
        (
            (*FIT, "--context", text),
            f"--context: expected a whole number of tokens such as 32768, 32k or max, got {text!a}",
        )
        for text in ("0", "-1", "abc", "", "1e5", "1.5", "\uff13\uff12", "32kk", ESCAPE)
    ),
    *(
        ((*FIT, option, text), f"{option}: expected a whole number such as 1 or 512, got {text!a}")
        for option in ("--parallel", "--ubatch")
        for text in ("-1", "abc", "", "1e5", "1.5", "\uff13\uff12", "²")
    ),
    (
        (*FIT, "--app", "llama-bench", "--context", "262145"),
        "--context: 262,145 tokens; choose from 1 to the trained 262,144",
    ),
    ((*FIT, "--context", "1025k"), "--context: 1,049,600 tokens; choose from 1 to"),
    ((*FIT, "--context", "999999999999m"), "tokens; choose from 1 to the trained 262,144"),
    ((*FIT, "--parallel", "0"), "--parallel: 0 sequences; choose from 1 to 256"),
    ((*FIT, "--parallel", "262145"), "--parallel: 262,145 sequences; choose from 1 to 256"),
    ((*FIT, "--ubatch", "0"), "--ubatch: 0 tokens; choose from 1 to 262,144"),
    ((*FIT, "--ubatch", "262145"), "--ubatch: 262,145 tokens; choose from 1 to 262,144"),
    # the command line itself
    (("fit",), "Missing argument 'MODEL'; see deployfit fit --help"),
    (("fit", "--mac"), "Option '--mac' requires an argument; see deployfit fit --help"),
    ((*FIT, "--context"), "Option '--context' requires an argument; see deployfit fit --help"),
    (("table", "--quant"), "Option '--quant' requires an argument; see deployfit table --help"),
    ((*FIT, "--mtp=3"), "Option '--mtp' does not take a value; see deployfit fit --help"),
    ((*FIT, "--contxt", "4"), "'--context'"),
    ((*FIT, "--nope"), "--nope"),
    ((*FIT, "--" + ESCAPE), "see deployfit fit --help"),
    ((*FIT, "--two\nlines"), "see deployfit fit --help"),
    ((*FIT, "--" + LONG), "see deployfit fit --help"),
    ((*FIT, "more"), "unexpected extra argument (more); see deployfit fit --help"),
    ((*FIT, ESCAPE), "see deployfit fit --help"),
    ((*FIT, "two\nlines"), "see deployfit fit --help"),
    (("fti",), "no command 'fti'; did you mean fit?"),
    (("qwen3.5:27b", "--mac", "32"), "no command 'qwen3.5:27b'; did you mean deployfit fit qwen3.5:27b?"),
    (
        ("fit", "Qwen", "3.5", "27B", "--mac", "32"),
        "a name with spaces needs quotes: deployfit fit 'Qwen 3.5 27B'; see",
    ),
    (
        ("fit", "hf.co/unsloth/GLM-4.7-GGUF:UD-Q2_K_XL", "--mac", "32"),
        "GLM-4.7-355B is known; the file itself: deployfit fit hub:unsloth/GLM-4.7-GGUF --file '*UD-Q2_K_XL*'",
    ),
    (("fit", "Qwen3.5-27B", "--quant", "DWQ", "--mac", "32"), "no recipe 'DWQ'; there is mlx-community:4bit-DWQ"),
    (("no\x1b\npe",), r"no command 'no\x1b\npe'; known: fit, plan, "),
    (("--nope",), "see deployfit --help"),
    # the catalogue's path
    ((*FIT, "--catalog", ""), "--catalog '': "),
    (
        (*FIT, "--catalog", "nowhere.csv"),
        "--catalog 'nowhere.csv': No such file or directory; give a config.json, or a CSV",
    ),
    (
        (*FIT, "--catalog", "no\x1b\nwhere.csv"),
        r"--catalog 'no\x1b\nwhere.csv': No such file or directory; give a config.json, or a CSV",
    ),
    ((*FIT, "--catalog", "."), "--catalog '.': not a file; give a config.json, or a CSV"),
]


def short(words: tuple[str, ...]) -> str:
    return (
        " ".join(word if len(word) < 30 else word[:9] for word in (words[6:] or words))
        .encode("unicode_escape")
        .decode()
    )


@pytest.mark.parametrize(("words", "expected"), WORDS, ids=[short(words) for words, _ in WORDS])
def test_bad_words(words: tuple[str, ...], expected: str) -> None:
    assert expected in complaint(*words)


@pytest.mark.parametrize("words", [words for words, _ in WORDS[:: len(WORDS) // 8] if LONG not in words], ids=short)
def test_a_process_of_its_own_says_the_same(words: tuple[str, ...]) -> None:
    assert checked(run(*words, timeout=10)) == complaints(*words)


def test_bytes_that_are_not_text_are_echoed_visibly() -> None:
    command = [sys.executable, "-m", "deployfit", "fit", b"\xff\xfe", "--mac", "32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert checked(done) == [r"deployfit: expected the name of a model, got '\udcff\udcfe'"]


@pytest.mark.skipif(sys.platform == "darwin", reason="this machine is a Mac")
@pytest.mark.parametrize("path", [None, "empty"])
def test_a_machine_that_is_not_a_mac_needs_the_mac_option(path: str | None, tmp_path: Path) -> None:
    env = {**os.environ, **({"PATH": str(tmp_path)} if path else {})}
    said = "deployfit: this machine is not a Mac; say which Mac is meant with --mac, such as 32 or 'M4 Max 64'"
    assert checked(run(*FIT[:4], timeout=10, env=env)) == [said]


def test_a_fault_of_deployfit_is_one_line_and_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("as if\x1b it were one\nof several lines")

    monkeypatch.setattr("deployfit.questions.macs.machine_of", fail)
    done = inside("macs")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (70, "", 1)
    assert "a fault of deployfit while answering 'macs': RuntimeError: as if\\x1b it were one" in done.stderr
    assert "please report it with what --debug shows" in done.stderr
    done = inside("macs", "--debug")
    assert done.returncode == 70
    assert "Traceback" in done.stderr


def test_every_exit_code_has_one_meaning_that_the_help_says() -> None:
    shown = one_line(run("--help").stdout)
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 4, 70, 130, 141]


# A user's own CSV: rows as in data/models.csv, the configurations beside it

with open(Path(__file__).parent.parent / "data" / "models.csv", encoding="utf-8", newline="") as _file:
    DENSE = next(row for row in csv.DictReader(_file) if row["model"] == "Qwen3.5-9B") | {"model": "Mine"}
CONFIG = config_of("Qwen3.5-9B")
HEADER = ",".join(DENSE)


def csv_text(*changes: dict[str, str]) -> str:
    """A catalogue of the 9B's row, once for each of the changes to it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(DENSE), lineterminator="\n")
    writer.writeheader()
    writer.writerows(DENSE | change for change in changes)
    return text.getvalue()


def about_catalog(content: str | bytes, folder: Path, name: str = "mine.csv", *words: str) -> list[str]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "configs").mkdir()
    (folder / "configs" / "Mine.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return complaints("fit", "Mine", "--quant", "Q4_K_M", "--mac", "64", "--catalog", str(path), *words)


WHOLE = "expected a whole number from 1 to 1,000,000,000,000,000,000, got"
CELLS = [
    *(
        ({"total_params": text}, f"mine.csv:2: total_params: {WHOLE} {text!a}")
        for text in ("4.0", "-4096", "0", "\uff14", "9" * 30)
    ),
    ({"model": ""}, "mine.csv:2: model: expected a printable text, got ''"),
    ({"model": ESCAPE}, r"mine.csv:2: model: expected a printable text, got '\x1b[31mred\x07'"),
    ({"model": "../Mine"}, "mine.csv: model: '../Mine' is no name of a file in configs/"),
    ({"model": ".Mine"}, "mine.csv: model: '.Mine' is no name of a file in configs/"),
    (
        {"model": "Yours"},
        "mine.csv: 'configs/Yours.json': No such file or directory; give a config.json, or a CSV",
    ),
    (
        {"total_params": "9000000000"},
        "mine.csv: Mine: total_params: 9000000000 published, but the configuration gives ",
    ),
    ({"checkpoint_bytes": "1"}, "mine.csv: Mine: checkpoint_bytes: 1 published, but the configuration gives "),
]


@pytest.mark.parametrize(
    ("change", "expected"),
    CELLS,
    ids=["=".join(list(change.items())[-1])[:40].encode("unicode_escape").decode() for change, _ in CELLS],
)
def test_bad_cells(change: dict[str, str], expected: str, tmp_path: Path) -> None:
    faults = about_catalog(csv_text(change), tmp_path)
    assert expected in faults[0]
    assert len(set(faults)) == len(faults)


def test_every_fault_of_a_csv_is_a_line(tmp_path: Path) -> None:
    changes = {"total_params": "x", "checkpoint_bytes": "4.0"}, {}, {"model": ""}
    faults = about_catalog(csv_text(*changes), tmp_path)
    assert [fault.split(": ")[1:3] for fault in faults] == [
        ["mine.csv:2", "total_params"],
        ["mine.csv:2", "checkpoint_bytes"],
        ["mine.csv:4", "model"],
    ]


ROW = csv_text({}).splitlines()[1]
CSV_TEXTS = {
    "missing column": (csv_text({}).replace("tokenizer", "tokeniser", 1), "mine.csv:1: no column tokenizer"),
    "missing cell": (
        csv_text({}).rstrip("\n").rpartition(",")[0],
        f"mine.csv:2: expected {len(DENSE)} cells as in the header, got {len(DENSE) - 1}",
    ),
    "extra cell": (
        csv_text({}).rstrip("\n") + ",more",
        f"mine.csv:2: expected {len(DENSE)} cells as in the header, got {len(DENSE) + 1}",
    ),
    "open quote": (csv_text({}) + '"open', "mine.csv:3: "),
    "column twice": (f"{HEADER},source\n{ROW},x\n", "mine.csv:1: column source is there twice"),
    "model twice": (csv_text({}, {}), "mine.csv: model 'Mine' is defined twice"),
    "no rows": (HEADER + "\n", "no model 'Mine'"),
    "empty": ("", "mine.csv"),
    "one huge cell": ("a" * 200_000, "mine.csv:1: "),
    "bytes": (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a text file; give a config.json, or a CSV"),
    "NUL": (b"\0\1\2\n\0", "mine.csv"),
}


@pytest.mark.parametrize(("content", "expected"), CSV_TEXTS.values(), ids=CSV_TEXTS)
def test_bad_csv(content: str | bytes, expected: str, tmp_path: Path) -> None:
    (fault,) = about_catalog(content, tmp_path)
    assert expected in fault


def test_more_than_4_mib_are_no_catalogue(tmp_path: Path) -> None:
    (fault,) = about_catalog(b" " * (4 * 2**20 + 1), tmp_path)
    assert ": more than 4 MiB; give a config.json, or a CSV" in fault


def test_a_catalogue_of_far_too_many_layers_is_refused(tmp_path: Path) -> None:
    text = {**CONFIG["text_config"], "num_hidden_layers": 1000}
    del text["layer_types"]
    long = {**CONFIG, "text_config": text}
    (fault,) = about_catalog(json.dumps({f"m{number}": long for number in range(11)}), tmp_path)
    assert "its models have more than 10,000 layers; give fewer at once" in fault


ABSURD: dict[str, tuple[dict[str, object], str]] = {
    "experts": (
        {"num_experts": 20_000_000, "moe_intermediate_size": 20_000_000},
        "parameters, where 1,000,000,000,000,000 is more than any model has",
    ),
    "heads": (
        {"num_attention_heads": 20_000_000, "num_key_value_heads": 2, "head_dim": 1},
        "20,000,000 heads, where 16,384 is more than any model has",
    ),
    "experts per token": (
        {"num_experts": 1000, "num_experts_per_tok": 1000},
        "1,000 experts per token, where 128 is more than any model has",
    ),
    "cache": ({"num_key_value_heads": 16, "head_dim": 20_000}, "640,000 numbers cached per layer, where 200,000 is"),
}


@pytest.mark.parametrize("case", ABSURD)
def test_what_no_model_has_is_refused_alike(case: str, tmp_path: Path) -> None:
    """Whatever is asked about it: what `fit` could count would not fit into the 64 bits of `sweep`."""
    change, said = ABSURD[case]
    config = {**config_of("Qwen3-30B-A3B"), **change}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    catalogue = ("--catalog", str(tmp_path / "config.json"), "--mac", "512", "--context", "20000000")
    (fitted,) = complaints("fit", "x", *catalogue)
    assert said in fitted
    assert complaints("sweep", "x", *catalogue, "--parallel", "256") == [fitted]
    (opened,) = complaints("fit", str(tmp_path / "config.json"), "--mac", "512")
    assert said in opened


def test_a_byte_order_mark_as_spreadsheets_write_it_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(csv_text({}), encoding="utf-8-sig")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "Mine.json").write_text(json.dumps(CONFIG), encoding="utf-8-sig")
    done = run("fit", "Mine", "--quant", "Q4_K_M", "--mac", "64", "--catalog", str(path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_name_with_control_characters_stays_on_one_line(tmp_path: Path) -> None:
    (fault,) = about_catalog(csv_text({"total_params": "4.0"}), tmp_path, "two\nlines\x1b.csv")
    assert f"total_params: {WHOLE} '4.0'" in fault


# A user's own config.json


def with_text(**changes: Any) -> str:
    return json.dumps({**CONFIG, "text_config": {**CONFIG["text_config"], **changes}})


def test_mtp_of_a_model_that_has_none(tmp_path: Path) -> None:
    (fault,) = about_catalog(with_text(mtp_num_hidden_layers=0), tmp_path, "config.json", "--mtp")
    assert "Mine has no MTP layer; leave out --mtp" in fault


HEADS = "config.json: text_config.num_attention_heads: expected a whole number from 1 to 20,000,000, got"
JSON_TEXTS = {
    "cut off": ('{"model_type": ', "config.json: not JSON"),
    "list": ("[1]", "config.json: expected a config.json"),
    "null": ("null", "config.json: "),
    "no models": ("{}", "no model in it"),
    "no config": ('{"a": 1}', "config.json: expected a config.json, or an object of such objects by model name"),
    "unknown model_type": ('{"model_type": "gpt-9"}', "config.json: "),
    "model_type a list": ('{"model_type": ["\\u001b"]}', "config.json: model_type: expected a text, got "),
    "model_type with control characters": ('{"model_type": "a\\u001b[31m"}', r"'a\x1b[31m'"),
    "no model_type": ('{"text_config": {}}', "config.json: no model_type in it, so its architecture is not known"),
    "deep": ('{"a":' * 100_000, "config.json: not JSON"),
    "deep list": ('{"a":' + "[" * 100_000, "config.json: not JSON"),
    "long number": ('{"a":' + "9" * 5000 + "}", "config.json: not JSON"),
    "heads 0": (with_text(num_attention_heads=0), f"{HEADS} '0'"),
    "heads true": (with_text(num_attention_heads=True), f"{HEADS} 'True'"),
    "heads text": (with_text(num_attention_heads="8"), f"{HEADS} '8'"),
    "heads 1.5": (with_text(num_attention_heads=1.5), f"{HEADS} '1.5'"),
    "heads NaN": (with_text(num_attention_heads=float("nan")), f"{HEADS} 'nan'"),
    "heads 3": (with_text(num_attention_heads=3), "num_attention_heads"),
    "hidden_size huge": (with_text(hidden_size=10**17), "hidden_size"),
    "layers huge": (with_text(num_hidden_layers=10**9), "num_hidden_layers"),
    "drafts huge": (with_text(mtp_num_hidden_layers=10**9), "mtp_num_hidden_layers"),
    "tower huge": (
        json.dumps({**CONFIG, "vision_config": {**CONFIG["vision_config"], "depth": 10**9}}),
        "vision_config.depth",
    ),
    "experts -1": (with_text(num_experts=-1), "text_config.num_experts: expected a whole number"),
    "escape as name": (json.dumps({ESCAPE: {"model_type": "x"}}), r"got '\x1b[31mred\x07'"),
    "escape as another name": (json.dumps({"Mine\x1b": CONFIG}), r"Mine\x1b"),
}


@pytest.mark.parametrize(("content", "expected"), JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_bad_json(content: str, expected: str, tmp_path: Path) -> None:
    faults = about_catalog(content, tmp_path, "config.json")
    assert expected in faults[0]
    assert len(set(faults)) == len(faults)


def test_every_missing_key_of_a_config_json_is_a_line(tmp_path: Path) -> None:
    text = {key: value for key, value in CONFIG["text_config"].items() if key not in ("hidden_size", "vocab_size")}
    faults = about_catalog(json.dumps({**CONFIG, "text_config": text}), tmp_path, "config.json")
    names = [fault.split(": ")[2].removeprefix("text_config.") for fault in faults]
    assert names == ["hidden_size", "vocab_size"]


@pytest.mark.parametrize("name", ["", ESCAPE, "two\nlines"])
def test_a_config_json_does_not_lend_itself_to_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    assert "model" in complaint("fit", name, "--quant", "Q4_K_M", "--mac", "64", "--catalog", str(path))


@pytest.mark.parametrize(
    ("words", "shown", "reason"),
    [
        (("BF16",), "KV f16", "KV type q8_0: heads of 80 do not divide into its blocks; choose f16; 1 more reason"),
        (
            ("bf16", "--runtime", "mlx"),
            "KV 16 bits",
            "--kv-bits: heads of 80 do not divide into groups of 64; choose 16",
        ),
    ],
)
def test_a_plan_leaves_out_the_caches_that_a_model_does_not_run_with(
    words: tuple[str, ...], shown: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(with_text(head_dim=80, num_key_value_heads=1), encoding="utf-8")
    done = run("plan", "Mine", "--mac", "64", "--quant", *words, "--catalog", str(path))
    (header,) = [line for line in done.stdout.splitlines() if "bits" in line and "file GB" in line]
    assert header.partition("file GB")[2].strip() == shown
    assert " -1" not in done.stdout
    assert f"left out: {reason}" in one_line(done.stdout)


def test_what_unicode_calls_the_end_of_a_line_stays_within_a_cell() -> None:
    text = "name,note\r\none,left\u2028right\r\ntwo,a\x0bb\x1cc\n"
    cells = parse_table(text, "t.csv", ["name", "note"], lambda row: (row.text("name"), row.text("note", blank=True)))
    assert cells == [("one", "left\u2028right"), ("two", "a\x0bb\x1cc")]


def unreadable(folder: str) -> list[tuple[tuple[str, ...], str]]:
    """Commands about files and folders that may not be read or written, and what is said."""
    return [
        (("fit", f"{folder}/shut.gguf", "--mac", "32"), "Permission denied"),
        (("fit", f"{folder}/shut", "--mac", "32"), "Permission denied"),
        (("fit", f"{folder}/model", "--mac", "32"), "Permission denied"),  # its config.json
        (("fit", "x", "--catalog", f"{folder}/shut.json", "--mac", "32"), "Permission denied; give a config.json"),
        (("verify", f"{folder}/shut.log"), "Permission denied; give a file"),
        (("contribute", f"{folder}/shut.log"), "Permission denied; give a file"),
        (
            ("refresh", f"{folder}/shut.csv", "--model", "Qwen3.5-4B"),
            "Permission denied; give data/published_sizes.csv",
        ),
        (("models", "--output", f"{folder}/closed/out.csv"), "Permission denied; choose a file that can be written"),
    ]


def test_what_may_not_be_read_or_written_is_said(public: Path) -> None:
    for name in ("shut.gguf", "shut.json", "shut.log", "shut.csv"):
        (public / name).write_bytes(b"GGUF")
        (public / name).chmod(0)
    (public / "shut").mkdir(mode=0)
    (public / "closed").mkdir(mode=0o555)
    model = public / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (model / "config.json").write_bytes(b"{}")
    (model / "config.json").chmod(0)
    for words, _ in unreadable(str(public)):
        inside(*words)  # which imports, with the rights to
    for words, said in unreadable(str(public)):
        with without_rights():
            line = complaint(*words)
        assert said in line, line
    (public / "shut").chmod(0o755)
    (public / "closed").chmod(0o755)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux that cannot be read")
@pytest.mark.parametrize(
    "words",
    [
        ("fit", "/proc/self/mem", "--mac", "32"),
        ("fit", "x", "--catalog", "/proc/self/mem", "--mac", "32"),
        ("verify", "/proc/self/mem"),
        ("contribute", "/proc/self/mem"),
        ("refresh", "/proc/self/mem"),
    ],
)
def test_a_disk_that_fails_is_said(words: tuple[str, ...]) -> None:
    assert "'/proc/self/mem': Input/output error" in complaint(*words)


@pytest.mark.parametrize("command", ["verify", "contribute"])
def test_a_log_of_one_line_is_not_held_in_memory(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole of a disk, or a device that never ends."""
    path = tmp_path / "zeros.log"
    with open(path, "wb") as file:
        file.truncate(40_000_000)
    assert "nothing in it that llama-server" in complaint(command, str(path))
    tracemalloc.start()
    complaint(command, str(path))
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    monkeypatch.setattr("deployfit.measured.logs.text.MOST_SKIPPED", 30_000_000)
    assert "log: lines without an end" in complaint(command, str(path))


def test_the_beginning_of_a_long_line_is_read(tmp_path: Path) -> None:
    shown = []
    for blanks in (0, 10_000):
        path = tmp_path / f"{blanks}.log"
        path.write_text("Prompt: 2048 tokens, 512.000 tokens-per-sec" + " " * blanks + "\nPeak memory: 9.02 GB\n")
        shown.append(inside("verify", str(path)).stdout)
    assert shown[0] == shown[1] != ""


def test_a_file_of_sizes_is_not_read_without_end(tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    with open(path, "wb") as file:
        file.truncate(2**34)
    assert "not a text file" in complaint("refresh", str(path))
