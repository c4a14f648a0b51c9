"""The README's console blocks are what deployfit prints; `pytest --update-golden` rewrites them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import run

from deployfit.cli import cli

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n\$ deployfit (.*)\n((?:(?!```).*\n)*)```")


def test_every_console_block_is_what_is_printed(request: pytest.FixtureRequest) -> None:
    text = README.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```console")
    for command, shown in blocks:
        done = run(*shlex.split(command))
        assert done.returncode == 0, done.stderr
        if request.config.getoption("--update-golden"):
            text = text.replace(f"$ deployfit {command}\n{shown}```", f"$ deployfit {command}\n{done.stdout}```")
        else:
            assert shown == done.stdout, command
    if request.config.getoption("--update-golden"):
        README.write_text(text, encoding="utf-8")


def test_the_first_shell_block_shows_the_first_console_block_and_the_second_is_what_ci_runs() -> None:
    text = README.read_text(encoding="utf-8")
    main_job, tests = re.findall(r"```sh\n(.*)\n```", text)
    assert main_job.endswith(".venv/bin/deployfit " + BLOCK.findall(text)[0][0])
    assert tests.endswith("pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["fit", "table"])
def test_every_option_stands_in_the_readme_or_in_help(command: str) -> None:
    text = README.read_text(encoding="utf-8")
    for parameter in cli.commands[command].params:
        for option in parameter.opts:
            assert not option.startswith("--") or option in text, option
    assert CliRunner().invoke(cli, [command, "--help"]).exit_code == 0
