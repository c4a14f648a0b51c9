"""What the real llama-server says of its memory: started on a file, asked one thing, its log read line by line."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

VARIABLE = "DEPLOYFIT_LLAMA_SERVER"
STARTED, DEVICE = "llama-server", "ggml-rpc-server"
SECONDS = 300  # for a start; most take two
BUFFER = re.compile(r" (\S+?)(?:\[\S+\])? +(model|output|KV|RS|compute) buffer size = +([\d.]+) MiB\n")
CHECKPOINT = re.compile(r"created context checkpoint .*n_tokens = (\d+), size = ([\d.]+) MiB")
ON_DEVICE = "RPC"
COMPUTE = "compute"


def server() -> str | None:
    """Return the program, None where it is not there."""
    return os.environ.get(VARIABLE) or shutil.which(STARTED)


def device() -> str | None:
    """Return the program that gives the server a device: beside it, or on the path."""
    found = server()
    beside = Path(found).with_name(DEVICE) if found else None
    return str(beside) if beside and beside.exists() else shutil.which(DEVICE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Printed(NamedTuple):
    """Sizes as they are printed: their sum in MiB, how many they are, and with how many decimals."""

    mib: float
    count: int
    decimals: int

    def is_of(self, nbytes: int, more: int = 0) -> bool:
        """Return whether bytes are printed like that, or a few more; of several sizes each is rounded."""
        rounded = (0.5 * self.count + 1e-6) * 10**-self.decimals
        return -rounded <= self.mib - nbytes / 2**20 <= rounded + more / 2**20


class Log(NamedTuple):
    """What a log says: sizes by context (0 the model's, 1 the one that drafts), kind and place, and checkpoints.

    Of a checkpoint it says the tokens so far as well.
    """

    sizes: Mapping[tuple[int, str, str], Printed]
    checkpoints: Sequence[tuple[int, Printed]]
    text: str
    ran: bool = False


def read(text: str) -> Log:
    """Return what a log says. A context that is planned again says its compute buffers again; the last holds."""
    found: dict[tuple[int, str, str], dict[str, str]] = {}
    times: dict[tuple[int, str, str], int] = {}
    models = contexts = 0
    for line in text.splitlines(keepends=True):
        if "load_tensors: loading model tensors" in line:
            models += 1
        elif "llama_context: constructing llama_context" in line:
            contexts += 1
        elif match := BUFFER.search(line):
            name, kind, size = match.groups()
            where = "device" if name.startswith(ON_DEVICE) else "host"
            key = ((models if kind == "model" else contexts) - 1, kind, where)
            number = times[key] = times.get(key, 0) + 1
            slot = name if kind == COMPUTE else f"{name} {number}"
            found.setdefault(key, {})[slot] = size
    sizes = {key: printed(each.values()) for key, each in found.items()}
    checkpoints = [(int(tokens), printed([size])) for tokens, size in CHECKPOINT.findall(text)]
    return Log(sizes, checkpoints, text)


def printed(sizes: Collection[str]) -> Printed:
    decimals = {len(size.partition(".")[2]) for size in sizes}
    return Printed(sum(map(float, sizes)), len(sizes), decimals.pop())


@contextmanager
def devices() -> Iterator[str]:
    """Give the address of a device without scratch of its own: the CPU's kernels behind a socket."""
    program, port = device(), free_port()
    assert program
    words = [program, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def started(words: Sequence[str], log: Path, *, prompt: Sequence[int] = (), rpc: str = "") -> Log:
    """Start the server with what a user would type, give it a prompt of tokens, end it, and return what it said."""
    program, port = server(), free_port()
    assert program
    command = [program, *words, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--log-verbosity", "4", "--no-webui", "--offline", "--fit", "off", "--no-warmup"]
    command += ["--rpc", rpc] if rpc else ["--device", "none"]
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    with open(log, "wb") as out:  # files that a command names without a folder lie beside the log
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
        while process.poll() is None and not answers(f"{url}/health"):
            assert time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.05)
        if process.poll() is None and prompt:
            body = {"prompt": list(prompt), "n_predict": 2, "temperature": 0}
            answers(f"{url}/completion", json.dumps(body).encode())
        ran = process.poll() is None
    finally:
        process.kill()
        process.wait()
    return read(log.read_text(errors="replace"))._replace(ran=ran)


def answers(url: str, body: bytes | None = None) -> bool:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS if body else 2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
