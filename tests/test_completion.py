"""What a shell offers: bash's own protocol, as click speaks it, asked of the program."""

from __future__ import annotations

import os

import pytest
from conftest import one_line, run


def offered(*words: str) -> list[str]:
    typed = ["deployfit", *words]
    more = {"_DEPLOYFIT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1)}
    done = run(env=os.environ | more)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (("re",), ["recommend", "refresh"], ["fit"]),
        (("fit", "gpt-oss"), ["gpt-oss-20b", "gpt-oss-120b"], ["Qwen3.5-27B"]),
        (("fit", "Qwen3.5-27B", "--quant", "unsloth:Q4"), ["unsloth:Q4_K_M"], ["Q4_K_M", "unsloth:Q5_K_M"]),
        (("fit", "gpt-oss-20b", "--quant", "ggml"), ["ggml-org:MXFP4"], []),
        (("fit", "Qwen3.5-27B", "--mac", "m4m"), ["m4max-64", "m4max-128"], ["m4max-24", "m4-16"]),
        (("fit", "Qwen3.5-27B", "--app", ""), ["ollama", "llama-server", "lmstudio"], []),
        (("fit", "Qwen3.5-27B", "--publisher", "un"), ["unsloth"], ["bartowski"]),
        (("plan", "Qwen3.5-27B", "--runtime", ""), ["llama.cpp", "mlx"], []),
        (("table", "--format", "c"), ["csv"], ["text"]),
        (("sweep", "Qwen3.5-27B", "--kv-type", "q8"), ["q8_0"], ["f16"]),
        (("fit", "Qwen3.5-27B", "--draft-model", "qwen3.5-0"), ["Qwen3.5-0.8B"], ["Qwen3.5-27B"]),
        (("recommend", "--use", ""), ["coding", "chat"], []),
        (("models", "--family", "gem"), ["Gemma 3", "Gemma 4"], ["GLM"]),
        (("schema", "f"), ["fit"], ["plan"]),
    ],
)
def test_values_are_offered(words: tuple[str, ...], some: list[str], none: list[str]) -> None:
    values = offered(*words)
    assert set(some) <= set(values)
    assert not set(none) & set(values)
    assert len(values) == len(set(values))


def test_what_is_offered_for_a_mac_is_understood() -> None:
    for mac in offered("fit", "Qwen3.5-27B", "--mac", "m3"):
        done = run("fit", "Qwen3.5-0.8B", "--quant", "Q4_K_M", "--mac", mac, "--brief")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str) -> None:
    done = run(env=os.environ | {"_DEPLOYFIT_COMPLETE": f"{shell}_source"})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{shell}_complete" in done.stdout


@pytest.mark.parametrize(
    "asked",
    [
        {"_DEPLOYFIT_COMPLETE": "bash_complete"},
        {"_DEPLOYFIT_COMPLETE": "bash_complete", "COMP_WORDS": "deployfit"},
        {"_DEPLOYFIT_COMPLETE": "zsh_complete", "COMP_WORDS": "deployfit", "COMP_CWORD": "\u00b2"},
        {"_DEPLOYFIT_COMPLETE": "fish_complete"},
        {"_DEPLOYFIT_COMPLETE": "bash_sauce"},
        {"_DEPLOYFIT_COMPLETE": "\x1b[2J"},
        {"_DEPLOYFIT_COMPLETE": "1"},
    ],
)
def test_who_asks_as_no_shell_does_is_told_so(asked: dict[str, str]) -> None:
    done = run("fit", "Qwen3.5-27B", env=os.environ | asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr).startswith("deployfit: _DEPLOYFIT_COMPLETE='")


def test_words_that_are_no_command_complete_to_nothing() -> None:
    asked = {"_DEPLOYFIT_COMPLETE": "bash_complete", "COMP_WORDS": "deployfit fti m", "COMP_CWORD": "2"}
    done = run(env=os.environ | asked)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
