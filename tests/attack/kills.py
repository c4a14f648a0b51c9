"""Kills: two processes on one cache die at random points; what the cache says afterwards is right or nothing.

`python -m tests.attack.kills 1000` kills so many, asks after every 20 of them, and prints the figures.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from .hub_faults import QUESTIONS, Ran, environment, run, small_model
from .raw_hub import RawHub

ASKING = tuple([*question, "--format", "json"] for question in QUESTIONS)
LONGEST = 0.9  # seconds until the kill: about as long as an undisturbed run takes
ASKED_AFTER = 20


class Killed(NamedTuple):
    """What a run came to."""

    kills: int
    too_late: int  # of processes that had ended before
    asked: int
    wrong: list[str]
    entries: int
    temporary: int
    nbytes: int


def kill(count: int, seed: int = 1, asked_after: int = ASKED_AFTER) -> Killed:
    """Kill processes, two at a time, and ask the cache they shared every so often."""
    chance = random.Random(seed)
    wrong: list[str] = []
    kills = too_late = asked = 0
    with tempfile.TemporaryDirectory() as folder, RawHub(*small_model(Path(folder))) as hub:
        truth = []
        for question in ASKING:
            with tempfile.TemporaryDirectory() as home:
                truth.append(facts(run(question, environment(hub, home))))
        with tempfile.TemporaryDirectory() as home:
            env = environment(hub, home)
            while kills < count:
                if chance.random() < 0.2:  # from the beginning: nothing is kept yet
                    for path in Path(home, "cache").rglob("*"):
                        if path.is_file() and not path.name.startswith("tmp"):
                            path.unlink()
                processes = [
                    subprocess.Popen(
                        [sys.executable, "-m", "deployfit", *question],
                        env=env,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                    for question in ASKING
                ]
                for process in processes:
                    time.sleep(chance.uniform(0, LONGEST / 2))
                    too_late += process.poll() is not None
                    process.kill()
                    process.wait()
                    kills += 1
                if kills % asked_after < 2:
                    for question, right in zip(ASKING, truth, strict=True):
                        asked += 2
                        offline, online = run([*question, "--offline"], env), run(question, env)
                        if offline.code != 4 and facts(offline) != right:
                            wrong.append(f"offline, after {kills} kills: {offline.error or offline.out}")
                        if facts(online) != right:
                            wrong.append(f"online, after {kills} kills: {online.error or online.out}")
            files = [path for path in Path(home, "cache").rglob("*") if path.is_file()]
            temporary = sum(path.name.startswith("tmp") for path in files)
            nbytes = sum(path.stat().st_size for path in files)
    return Killed(kills, too_late, asked, wrong, len(files) - temporary, temporary, nbytes)


def facts(done: Ran) -> list[dict[str, Any]]:
    """Return the rows of an answer, but for what they say of where it comes from; nothing of a refusal."""
    if done.code:
        return []
    rows = json.loads(done.out)["rows"]
    return [{name: value for name, value in row.items() if name != "notes"} for row in rows]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    found = kill(count, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(
        f"{found.kills:,} kills of two processes on one cache ({found.too_late:,} came too late); asked {found.asked}"
        f" times afterwards, online and offline: {len(found.wrong)} wrong answers. In the cache at the end:"
        f" {found.entries} entries, {found.temporary} unfinished files, {found.nbytes:,} bytes."
    )
    for line in found.wrong[:20]:
        print(f"WRONG {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
