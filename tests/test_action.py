"""The GitHub Action and the pre-commit hooks run as they would in a user's repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run

ROOT = Path(__file__).parent.parent
STEPS: dict[str, dict[str, Any]] = {
    step["name"]: step for step in yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
}
INPUTS: dict[str, dict[str, str]] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A runner's temporary folder in which deployfit is installed as it is here."""
    command = tmp_path / "deployfit" / "bin" / "deployfit"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m deployfit "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return tmp_path


def ask(runner: Path, name: str = "Ask deployfit", **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step, that which asks, with inputs put where GitHub puts them."""
    step = STEPS[name]
    given = {name: inputs.get(name, field["default"]) for name, field in INPUTS.items()}
    env = {name: given[value[len("${{ inputs.") : -len(" }}")]] for name, value in step["env"].items()}
    env |= {**os.environ, "RUNNER_TEMP": str(runner), "GITHUB_STEP_SUMMARY": str(runner / "summary.md")}
    return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", step["run"]], capture_output=True, text=True, env=env)


def test_the_action_without_a_model_checks_the_estimates(runner: Path) -> None:
    done = ask(runner, args="--publisher ollama")
    assert done.returncode == 0, done.stderr
    assert "None of 8 published sizes outside their tolerance" in done.stdout
    assert "**deployfit check**" in (runner / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("mac", "code", "verdict"), [("32", 0, "Fits, "), ("16", 3, "Does not fit, ")])
def test_the_action_fails_where_a_model_no_longer_fits(mac: str, code: int, verdict: str, runner: Path) -> None:
    done = ask(runner, model="Qwen3.5-27B", quant="unsloth:Q4_K_M", mac=mac, args="--context 16k --macos 26")
    assert done.returncode == code, done.stderr
    assert verdict in done.stdout


def test_what_is_not_given_is_left_out_and_lines_are_words(runner: Path) -> None:
    (runner / "deployfit" / "bin" / "deployfit").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", encoding="utf-8")
    done = ask(runner, model="Qwen3.5-27B", args="--context 64k\n--macos 15\n")
    assert done.stdout.split() == ["fit", "--exit-code", "--context", "64k", "--macos", "15", "--", "Qwen3.5-27B"]
    done = ask(runner, model="Qwen3.5-27B", mac="M4 Max 64", quant="4bit")
    assert done.stdout.splitlines()[2:] == ["--mac=M4 Max 64", "--quant=4bit", "--", "Qwen3.5-27B"]


def test_words_of_an_input_are_words_and_no_shell(runner: Path) -> None:
    done = ask(runner, model="Qwen3.5-27B; touch hacked", mac="32", args="$(touch hacked)")
    assert done.returncode == 2
    assert not (runner / "hacked").exists()
    assert not Path("hacked").exists()


@pytest.mark.parametrize("name", ["model", "quant", "mac", "python"])
def test_an_input_that_looks_like_an_option_is_refused(name: str, runner: Path) -> None:
    inputs = {"model": "Qwen3.5-27B", "quant": "Q4_K_M", "mac": "32"}
    refuse = "Refuse options where names belong"
    assert next(iter(STEPS)) == refuse
    assert ask(runner, refuse, **inputs).returncode == 0
    done = ask(runner, refuse, **{**inputs, name: "--output=/etc/passwd"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"deployfit: input '{name}' begins with a dash; options belong into args\n"


def test_an_option_in_the_place_of_a_name_is_a_name_all_the_same(runner: Path) -> None:
    done = ask(runner, model=f"--output={runner}/hacked", mac="32")
    assert done.returncode == 2
    assert not (runner / "hacked").exists()


def test_what_is_installed_is_pinned_and_what_others_run_too() -> None:
    for line in STEPS["Install deployfit"]["run"].splitlines():
        if 'pip" install' in line:
            assert "--require-hashes" in line or "--no-index" in line
    for step in STEPS.values():
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + 40 * "0"))


@pytest.mark.parametrize(
    ("hook", "words", "code"),
    [
        ("deployfit-check", "--publisher ollama", 0),
        ("deployfit-fit", "Qwen3.5-27B --quant Q4_K_M --mac 32", 0),
        ("deployfit-fit", "Qwen3.5-27B --quant Q8_0 --mac 32", 3),
    ],
)
def test_hooks_run_what_they_say(hook: str, words: str, code: int) -> None:
    name, *entry = HOOKS[hook]["entry"].split()
    assert name == "deployfit"
    done = subprocess.run([sys.executable, "-m", "deployfit", *entry, *words.split()], capture_output=True, text=True)
    assert done.returncode == code, done.stderr


def test_the_examples_of_the_documents_name_what_exists() -> None:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    action, hooks = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    (step,) = action["jobs"]["fits"]["steps"]
    assert set(step["with"]) <= set(INPUTS)
    assert all(f"`{name}`" in text for name in INPUTS)
    named = hooks["repos"][0]["hooks"]
    assert {hook["id"] for hook in named} == set(HOOKS)
    done = run(*HOOKS[named[0]["id"]]["entry"].split()[1:], *named[0]["args"])
    assert done.returncode == 0, done.stderr
