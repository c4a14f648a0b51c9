"""The runtimes by name: each is a folder here with `settings.py` and `engine.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from deployfit.errors import InputError, quoted, unknown
from deployfit.parameters import Parameter, param
from deployfit.runtimes.runtime import Runtime


@cache
def _folders() -> Sequence[str]:
    here = os.path.dirname(__file__)
    return sorted(name for name in os.listdir(here) if os.path.exists(os.path.join(here, name, "settings.py")))


@cache
def _settings() -> Mapping[str, Any]:
    """Return the modules of settings by runtime."""
    modules = {name: import_module(f"deployfit.runtimes.{name}.settings") for name in _folders()}
    return {module.NAME: module for module in modules.values()}


def names() -> list[str]:
    """Return the runtimes' names.

    >>> names()
    ['llama.cpp', 'mlx']
    """
    return list(_settings())


def parameters() -> Mapping[str, Sequence[Parameter]]:
    """Return each runtime's parameters."""
    return {name: module.PARAMETERS for name, module in _settings().items()}


@cache
def columns(name: str) -> Sequence[str]:
    """Return the columns that a runtime's settings have in a row."""
    found: Sequence[str] = _settings()[name].COLUMNS
    return found


@cache
def runtime(name: str) -> Runtime:
    """Return the runtime of a name."""
    package = _settings()[name].__name__.rpartition(".")[0]
    found: Runtime = import_module(f"{package}.engine").RUNTIME
    return found


def find_runtime(text: str) -> str:
    """Return the name of the runtime that a text means, whatever its case.

    >>> find_runtime("LlamaCpp")
    'llama.cpp'
    """
    for name in names():
        if text.strip().casefold() in (name.casefold(), name.replace(".", "")):
            return name
    raise InputError(f"no runtime {quoted(text)}; known: {', '.join(names())}; applications are {param('app')}'s")


def formats() -> Mapping[str, str]:
    """Return which runtime loads a format."""
    return {each: name for name, module in reversed(list(_settings().items())) for each in module.FORMATS}


def loader_of(format_name: str) -> str:
    """Return the runtime that loads a format; raise InputError where none does."""
    if format_name not in formats():
        raise InputError(
            f"{format_name}: checkpoints for servers; neither {' nor '.join(names())} is known to load them as they are"
        )
    return formats()[format_name]


def format_of(name: str) -> str:
    """Return the format that a runtime's users mean."""
    formats_of: Sequence[str] = _settings()[name].FORMATS
    return formats_of[0]


def check_given(given: Sequence[str], used: Sequence[str], question: Sequence[str] = ()) -> None:
    """Raise InputError for what is no setting, and for one of a runtime that nothing asked for runs on.

    `question` has the names of the question's own parameters, one of which may have been meant.
    """
    every = {each.name: None for own in parameters().values() for each in own}
    for name in given:
        if name not in every:
            raise unknown("setting", name, [*question, *every])
    known = {each.name for own in used for each in parameters()[own]}
    for name, own in parameters().items():
        for each in own:
            if each.name in given and each.name not in known:
                raise InputError(
                    f"{param(each.name)} is an option of {name}, and nothing asked for runs on it; leave it out"
                )
