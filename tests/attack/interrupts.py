"""Ctrl-C at chosen moments: at the n-th line that Python runs of a command, counted from the program's first.

`python -m tests.attack.interrupts 300` presses so often, at random lines of each command, and prints the figures. What
the interpreter does before the program's first line is not counted: nothing of ours can mind it.
"""

# The commands run in forks of this process, which therefore imports as little as it can.
from __future__ import annotations

import os
import signal
import sys

COMMANDS = (
    ("fit", "Qwen3.5-27B", "--mac", "32"),
    ("plan", "Qwen3.5-4B", "--mac", "32", "--format", "json"),
    ("hub", "own/repo", "--offline"),
    ("fit", "Qwen3.5-28B", "--mac", "32"),
)
QUIET = (0, 2, 4, 130)
LATEST = 1000  # lines until Ctrl-C is minded, almost all of them Python's, looking for files


def pressed(words: tuple[str, ...], at: int) -> tuple[int, str, int, int]:
    """Run a command and press at a line; return its code, its complaints, and when Ctrl-C was minded, and the end."""
    complaints, told = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.dup2(complaints[1], 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _run(words, at, told[1])
    os.close(complaints[1])
    os.close(told[1])
    error, counts = _all(complaints[0]), _all(told[0]).split()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, error.decode(errors="replace"), *([int(each) for each in counts] or [0, 0])


def _all(end: int) -> bytes:
    with open(end, "rb") as file:
        return file.read()


def _run(words: tuple[str, ...], at: int, told: int) -> None:
    import runpy

    lines = minded = 0

    def trace(frame: object, event: str, _: object) -> object:
        nonlocal lines, minded
        if not lines and not _is_ours(frame.f_code.co_filename):
            return trace
        lines += 1
        if not minded and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            minded = lines
        if lines == at:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    leave = os._exit

    def left(code: int) -> None:
        sys.settrace(None)
        os.write(told, b"%d %d" % (minded, lines))
        leave(code)

    os._exit = left
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["deployfit", *words]
    sys.settrace(trace)
    try:
        runpy.run_module("deployfit", run_name="__main__", alter_sys=True)
    except BaseException as error:
        sys.settrace(None)
        sys.stderr.write(f"Traceback: {error!r}\n")
        sys.stderr.flush()
    leave(99)


def _is_ours(path: str) -> bool:
    return path.endswith((os.path.join("deployfit", "__main__.py"), os.path.join("deployfit", "__init__.py")))


def press(count: int, seed: int = 1) -> list[str]:
    """Press so often, at random lines of the commands; return what was wrong."""
    wrong, number = [], seed
    for words in COMMANDS:
        code, error, minded, lines = pressed(words, 0)
        if not 0 < minded < LATEST or code not in QUIET:
            wrong.append(f"{words}: Ctrl-C is minded from line {minded} on; exit code {code}: {error[-200:]}")
            continue
        for step in range(count // len(COMMANDS)):
            number = number * 6364136223846793005 + 1442695040888963407 & (2**64 - 1)
            share = (number >> 33) / 2**31
            at = minded + 1 + int((lines - minded) * share ** (1 + 3 * (step % 2)))  # half of them soon
            code, error, *_ = pressed(words, at)
            # Who presses after the answer is there gets it; whatever else is written is one line's end.
            if code not in QUIET or "Traceback" in error or "ignored" in error or (code == 130 and error.strip()):
                wrong.append(f"{' '.join(words)}, line {at} of {lines}: exit code {code}: {error[-300:]}")
    return wrong


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    os.environ["HF_HUB_OFFLINE"] = "1"
    wrong = press(count, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for line in wrong:
        print(f"WRONG {line}", file=sys.stderr)
    print(f"{count} presses of Ctrl-C at random lines of {len(COMMANDS)} commands: {len(wrong)} with something wrong.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
