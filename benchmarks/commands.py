"""What each command costs beside `import click`, and whether a change made one slower: a Markdown table.

`python benchmarks/commands.py [BASE] [--runs N]`. Copies of this checkout and of the commit BASE (such as main) are
installed into folders of their own; their cold processes take turns, and the processor's time is compared, which other
programs disturb least. More than a tenth of a cold start above BASE is said. Nothing is failed by it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cold_start import COMMANDS, seconds

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "tests" / "data" / "logs" / "metal-b8999-qwen3.5-9b.log"
RUNS = 11
SLOWER = 1.10

ASKED: Mapping[str, Sequence[str]] = {
    **{name: words for name, (words, _) in COMMANDS.items()},
    "macs": ["macs"],
    "here": ["here", "--mac", "32"],
    "verify": ["verify", str(LOG)],
    "contribute": ["contribute", str(LOG)],
    "schema": ["schema", "fit"],
    "--help": ["--help"],
}


def installed(commit: str, folder: Path) -> Path:
    """Install a commit, or this checkout as it is ("") without what it needs; return where its modules are."""
    source = folder / "source"
    source.mkdir(parents=True)
    command = ["git", "-C", str(ROOT), "archive", commit] if commit else ["tar", "-C", str(ROOT), "-c", *_files()]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    target = folder / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    return target


def _files() -> list[str]:
    """Return what git would take of the checkout, new files among it, lost ones not."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in dict.fromkeys(names) if (ROOT / name).exists()]


def measured(places: Mapping[str, Path], runs: int, folder: str) -> dict[tuple[str, str], float]:
    """Return the median seconds of each command by place, those of `import click` among them."""
    times: dict[tuple[str, str], list[float]] = {}
    home = {**os.environ, "HOME": folder, "DEPLOYFIT_CACHE": folder}
    for _ in range(runs):
        for place, path in places.items():
            os.environ.update(home | {"PYTHONPATH": str(path)})
            commands = {"import click": [sys.executable, "-c", "import click"]}
            commands |= {name: [sys.executable, "-m", "deployfit", *words] for name, words in ASKED.items()}
            for name, command in commands.items():
                try:
                    took = seconds(command, folder, cpu=True)
                except subprocess.CalledProcessError:  # a command that BASE did not have
                    continue
                times.setdefault((place, name), []).append(took)
    return {key: statistics.median(each) for key, each in times.items()}


def table(medians: Mapping[tuple[str, str], float], base: str) -> list[str]:
    """Return the table, and a line for each command that became slower."""
    lines = ["| command | ms | times `import click` |" + (f" against {base} |" if base else "")]
    lines += ["| --- | ---: | ---: |" + (" ---: |" if base else "")]
    slower = []
    for name in ("import click", *ASKED):
        if ("here", name) not in medians:
            continue
        ours = medians["here", name]
        cells = [name, f"{1000 * ours:.0f}", f"{ours / medians['here', 'import click']:.2f}"]
        if base:
            theirs = medians.get((base, name))
            cells.append(f"{ours / theirs:.2f}" if theirs else "new")
            if theirs and ours > SLOWER * theirs:
                slower.append(f"{name}: {100 * (ours / theirs - 1):.0f} % slower than {base}")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, *(["", *slower] if slower else [])]


def main() -> None:
    words = sys.argv[1:]
    runs = int(words[words.index("--runs") + 1]) if "--runs" in words else RUNS
    base = next((word for index, word in enumerate(words) if word[0] != "-" and words[index - 1] != "--runs"), "")
    with tempfile.TemporaryDirectory() as folder:
        places = {"here": installed("", Path(folder, "here"))}
        if base:
            places[base] = installed(base, Path(folder, "base"))
        print("\n".join(table(measured(places, runs, folder), base)))


if __name__ == "__main__":
    main()
