"""Adding something is adding a file or a row: a dummy of each kind is answered by a copy of the package."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
Files = dict[str, bytes]


class Copy:
    """A copy of the package, with its data inside as they are once installed."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "deployfit"
        shutil.copytree(ROOT / "deployfit", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "data", self.package / "data", ignore=shutil.ignore_patterns("__pycache__"))
        self._before = self._files()

    def _files(self) -> Files:
        return {
            str(path.relative_to(self.package)): path.read_bytes()
            for path in self.package.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    @property
    def changed(self) -> list[str]:
        """The files that are new or not as they were."""
        return sorted(name for name, content in self._files().items() if self._before.get(name) != content)

    def add(self, name: str, text: str) -> None:
        assert not (self.package / name).exists()
        (self.package / name).write_text(text, encoding="utf-8")

    def append_row(self, name: str, like: dict[str, str], **cells: str) -> None:
        """Append a row to a table that is like another one but for some cells."""
        path = self.package / "data" / name
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            row = next(each for each in reader if like.items() <= each.items())
        with open(path, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, columns, lineterminator="\n").writerow(row | cells)

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.package / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the copy's command."""
        command = [sys.executable, "-m", "deployfit", *words]
        return subprocess.run(command, cwd=self.package.parent, capture_output=True, text=True, encoding="utf-8")

    def rows(self, *words: str) -> list[dict[str, Any]]:
        done = self.run(*words, "--format", "json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
        return found


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def config_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "data" / "configs" / f"{name}.json").read_text(encoding="utf-8"))
    return found


UNPUBLISHED = {"total_params": "", "checkpoint_bytes": "", "aliases": ""}


def test_a_model_is_a_row_and_its_configuration(copy: Copy) -> None:
    copy.append_row("models.csv", {"model": "Qwen3-8B"}, model="Dummy-9B", family="Dummy", **UNPUBLISHED)
    config = {**config_of("Qwen3-8B"), "num_hidden_layers": 40}
    copy.add("data/configs/Dummy-9B.json", json.dumps(config))
    assert copy.changed == ["data/configs/Dummy-9B.json", "data/models.csv"]
    (row,) = copy.rows("fit", "dummy 9b", "--quant", "Q4_K_M", "--mac", "16")
    (like,) = copy.rows("fit", "Qwen3-8B", "--quant", "Q4_K_M", "--mac", "16")
    assert row["model"] == "Dummy-9B"
    assert row["kv_cache_bytes"] * 36 == like["kv_cache_bytes"] * 40
    assert [each["model"] for each in copy.rows("models", "--family", "dummy")] == ["Dummy-9B"]
    assert any(each["model"] == "Dummy-9B" for each in copy.rows("table", "--quant", "Q8_0"))


ARCHITECTURE = '''
"""A dummy: plain attention, with a feed-forward in every second layer only."""

from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Layer
from deployfit.layers.feed import Mlp


def blueprint(text, top):
    feed = Mlp(text.count("intermediate_size"))
    layers = [Layer(attention(text), feed if index % 2 else None) for index in range(text.count("num_hidden_layers"))]
    return model(text, top, layers)
'''


def test_an_architecture_is_a_file_and_a_row_where_mlx_loads_it(copy: Copy) -> None:
    copy.add("architectures/dummy_net.py", ARCHITECTURE)
    assert copy.changed == ["architectures/dummy_net.py"]
    path = copy.package.parent / "config.json"
    path.write_text(json.dumps({**config_of("Qwen3-8B"), "model_type": "dummy_net"}), encoding="utf-8")

    def check(quant: str) -> None:
        (row,) = copy.rows("fit", "Mine", "--quant", quant, "--mac", "32", "--catalog", str(path))
        (like,) = copy.rows("fit", "Qwen3-8B", "--quant", quant, "--mac", "32")
        assert row["kv_cache_bytes"] == like["kv_cache_bytes"]
        assert 0.5 < row["weights_bytes"] / like["weights_bytes"] < 0.75

    check("Q8_0")
    copy.append_row("architectures.csv", {"model_type": "qwen3"}, model_type="dummy_net", module="dummy_net")
    check("4bit")
    assert copy.changed == ["architectures/dummy_net.py", "data/architectures.csv"]


@pytest.mark.parametrize(
    ("runtime", "quant", "option"), [("llamacpp", "Q4_K_M", " ubatch "), ("mlx", "4bit", " prefill_step_size")]
)
def test_a_runtime_s_setting_stands_in_its_settings_and_in_what_applications_take(
    runtime: str, quant: str, option: str, copy: Copy
) -> None:
    settings = f"runtimes/{runtime}/settings.py"
    method = "\n    def with_context(self, tokens: int)"
    copy.replace(settings, method, f"    dummy: int = 7\n{method}")
    copy.replace(
        settings,
        "PARAMETERS: Sequence[Parameter] = (\n",
        'PARAMETERS: Sequence[Parameter] = (\n    Parameter("dummy", "A dummy of a setting.", "N", "7"),\n',
    )
    with open(copy.package / settings, "a", encoding="utf-8") as file:
        file.write(
            "\n\n_read = settings_of\n\n\n"
            "def settings_of(context_tokens, typed):\n"
            '    return _read(context_tokens, typed)._replace(dummy=int(typed.get("dummy", "7")))\n'
        )
    apps = copy.package / "data" / "apps.csv"
    apps.write_text(apps.read_text(encoding="utf-8").replace(option, f" dummy{option}"), encoding="utf-8")
    assert copy.changed == ["data/apps.csv", settings]
    words = ("Qwen3-8B", "--quant", quant, "--mac", "32")
    assert "--dummy N" in copy.run("fit", "--help").stdout
    assert [row["dummy"] for row in copy.rows("sweep", *words, "--dummy", "1", "--dummy", "2")] == [1, 2]
    assert [copy.rows("fit", *words, *more)[0]["dummy"] for more in ((), ("--dummy", "3"))] == [7, 3]


@pytest.mark.parametrize(("runtime", "quant"), [("llamacpp", "Q4_K_M"), ("mlx", "4bit")])
def test_a_part_of_memory_comes_from_the_runtime_that_makes_it(runtime: str, quant: str, copy: Copy) -> None:
    words = ("Qwen3-8B", "--quant", quant, "--mac", "32")
    (before,) = copy.rows("fit", *words)
    engine = f"runtimes/{runtime}/engine.py"
    with open(copy.package / engine, "a", encoding="utf-8") as file:
        file.write(
            "\n\n_known = type(RUNTIME).running\n\n\n"
            "def _running(self, blueprint, settings, options):\n"
            '    part = MemoryPart("dummy", "dummy buffers", 10**9, 10**9, Basis.ASSUMED, "a dummy of a part")\n'
            "    return [*_known(self, blueprint, settings, options), part]\n\n\n"
            "type(RUNTIME).running = _running\n"
        )
    assert copy.changed == [engine]
    (after,) = copy.rows("fit", *words)
    assert after["total_bytes"] == before["total_bytes"] + 10**9
    assert after["headroom_bytes"] == before["headroom_bytes"] - 10**9
    (part,) = [each for each in after["parts"] if each["name"] == "dummy"]
    assert part == {
        "name": "dummy",
        "machine": 0,
        "where": "device",
        "bytes": 10**9,
        "upper_bytes": 10**9,
        "basis": "assumed",
    }
    (swept,) = copy.rows("sweep", *words)
    assert swept["total_bytes"] == after["total_bytes"]
    assert "dummy buffers 0.9" in copy.run("fit", *words).stdout


FORMAT = '''
"""A dummy of a format: the number of rows."""


def render(document, out, screen):
    out.write(f"{document.schema} has {len(list(document.records))} rows\\n")
'''


def test_an_output_format_is_a_file(copy: Copy) -> None:
    copy.add("report/formats/dummy.py", FORMAT)
    assert copy.changed == ["report/formats/dummy.py"]
    words = ("fit", "Qwen3-8B", "--quant", "Q4_K_M", "--mac", "32")
    assert copy.run(*words, "--format", "dummy").stdout == "deployfit/fit/1 has 1 rows\n"
    done = copy.run("macs", "--output", "all.dummy")
    assert (done.returncode, done.stderr) == (0, "written to all.dummy\n")
    assert (copy.package.parent / "all.dummy").read_text(encoding="utf-8").startswith("deployfit/macs/1 has ")
