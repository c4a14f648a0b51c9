"""The console blocks of the READMEs are what deployfit prints; `pytest --update-golden` rewrites them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from conftest import run

from deployfit.cli.app import COMMANDS, cli

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SEEDS = ROOT / "seeds" / "README.md"
BLOCK = re.compile(r"```console\n\$ deployfit (.*)\n((?:(?!```).*\n)*)```")


def blocks_of(path: Path) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```console")
    return blocks


@pytest.mark.parametrize("path", [README, SEEDS], ids=["README", "seeds"])
def test_every_console_block_is_what_is_printed(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text(encoding="utf-8")
    for command, shown in blocks_of(path):
        done = run(*shlex.split(command))
        assert done.returncode == 0, done.stderr
        text = text.replace(f"$ deployfit {command}\n{shown}```", f"$ deployfit {command}\n{done.stdout}```")
        if not request.config.getoption("--update-golden"):
            assert shown == done.stdout, command
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")


def test_the_first_shell_block_runs_the_first_console_block_and_the_second_is_what_ci_runs() -> None:
    main_job, tests = re.findall(r"```sh\n(.*)\n```", README.read_text(encoding="utf-8"))
    assert main_job.endswith(".venv/bin/deployfit " + blocks_of(README)[0][0])
    assert tests.endswith("pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_in_the_readme(command: str) -> None:
    text = README.read_text(encoding="utf-8")
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    options = [option for parameter in found.params for option in parameter.opts]
    assert [option for option in options if option.startswith("--") and option not in text] == []
