"""Reading a log: each program takes its lines, and what they say is put together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from importlib import import_module
from itertools import pairwise
from typing import Any

from deployfit.errors import InputError, quoted
from deployfit.measured.logs.lines import Wanted, sift
from deployfit.measured.logs.log import EngineLog, LoggedModel, merged
from deployfit.measured.naming import named_model


@cache
def programs() -> Mapping[str, Any]:
    """Return the modules of `programs` by name, engines first."""
    folder = os.path.join(os.path.dirname(__file__), "programs")
    names = sorted(file[:-3] for file in os.listdir(folder) if file.endswith(".py") and file != "__init__.py")
    modules = {name: import_module(f"deployfit.measured.logs.programs.{name}") for name in names}
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def known_programs() -> str:
    """Return which programs' logs are read, for a message."""
    return "llama-server, llama-cli, llama-bench, llama-fit-params, Ollama, LM Studio, mlx_lm, mlx-vlm or oMLX"


def read_log(lines: Iterable[str]) -> EngineLog:
    """Return what the lines of a log say; raise InputError if they are no log that is known, or say too little.

    >>> log = read_log(["Prompt: 2048 tokens, 512.000 tokens-per-sec", "Peak memory: 9.02 GB"])
    >>> log.program, log.part("peak").figure.nbytes
    ('mlx_lm', 9020000000)
    """
    wanted = {
        name: Wanted(frozenset(module.WORDS), tuple(module.STARTS), tuple(module.MARKS))
        for name, module in programs().items()
    }
    sifted = sift(lines, wanted)
    if not sifted.seen:
        raise InputError(f"log: empty; give what {known_programs()} printed")
    read = (module.read(sifted.lines[name]) for name, module in programs().items())
    found: list[EngineLog] = [log for log in read if log is not None]
    if not found:
        raise InputError(f"log: nothing in it that {known_programs()} prints; give what one of them printed")
    for first, second in pairwise(found):
        if first.runtime != second.runtime and (first.parts or first.speeds) and (second.parts or second.speeds):
            raise InputError(f"log: of {first.program} and of {second.program}; give the lines of one")
        if _differ(first.model, second.model):
            shown = " and ".join(quoted(each.model.title or "another") for each in (first, second))
            raise InputError(f"log: 2 models in it, {shown}; give the lines of one")
    log = reduce(merged, found)
    if sifted.cut_short:
        log = log._replace(notes=(*log.notes, f"only the first {sifted.seen - 1:,} lines were read"))
    _check_whole(log)
    return log


def _differ(first: LoggedModel, second: LoggedModel) -> bool:
    """Return whether an engine and an application speak of two models; the same is written in many ways."""
    names = {name for model in (first, second) if (name := named_model(model.called))}
    most = max(first.params, second.params)
    apart = abs(first.params - second.params) * APART > most if first.params and second.params else False
    return len(names) > 1 or apart


APART = 10  # of one model, what is printed of its parameters differs by no tenth
WITHOUT_CACHES = ("llama-bench", "llama-fit-params")  # they say weights and speeds, or whole tables


def _check_whole(log: EngineLog) -> None:
    """Raise InputError if a log breaks off before it says anything that can be compared."""
    early = ("weights", "file_tensors", "vision", "output")
    parts = [part for part in log.parts if log.runtime == "mlx" or part.name not in early]
    if parts or log.speeds or (log.parts and log.program in WITHOUT_CACHES):
        return
    ways = {
        "llama-fit-params": "it prints what it counts with --fit-print on, or --verbose",
        "llama-cli": "it prints its memory with --verbose",
    }
    way = ways.get(log.program, "give the log from the start until the model answers")
    raise InputError(f"log: it ends before the caches are made; recognised so far: {log.recognised}; {way}")
