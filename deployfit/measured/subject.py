"""Which runtime, model and quant a measurement is about; runtimes are known by the files in `engines`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from deployfit.measured.free_text import FindQuant, NotJudged, Subject, found_quant, read_model
from deployfit.models import Model
from deployfit.quants.weights import Quant


@cache
def engines() -> Mapping[str, Any]:
    """Return the modules of `engines` by their runtime's name, in the order in which they are asked."""
    folder = os.path.join(os.path.dirname(__file__), "engines")
    names = sorted(file[:-3] for file in os.listdir(folder) if file.endswith(".py") and file != "__init__.py")
    modules = [import_module(f"deployfit.measured.engines.{name}") for name in names]
    return {module.NAME: module for module in sorted(modules, key=lambda module: int(module.ORDER))}


def runtimes() -> Sequence[str]:
    """Return the runtimes that measurements are about.

    >>> runtimes()
    ['llama.cpp', 'mlx']
    """
    return sorted(engines())


def read_runtime(runtime: str, model: str) -> str:
    """Return which runtime a text names.

    >>> read_runtime("rapid-mlx 0.12.7", ""), read_runtime("LM Studio", ""), read_runtime("ollama", "qwen3.5:9b-mlx")
    ('mlx', 'llama.cpp', 'mlx')
    """
    for name, engine in engines().items():
        if engine.is_meant(runtime.casefold(), model.casefold()):
            return name
    raise NotJudged("no runtime that is known")


def read_quant(text: str, model: str, runtime: str, find: FindQuant) -> Quant:
    """Return the quant that a text names, or else the model's name: the runtime's own recipe or a publisher's.

    >>> from deployfit.lookup import find_quant
    >>> read_quant("Q4_K_M (19.91 GiB)", "", "llama.cpp", find_quant).name
    'Q4_K_M'
    >>> read_quant("", "gemma-4-e4b-it-8bit", "mlx", find_quant).name
    'q8_g64'
    """
    quant_name = engines()[runtime].quant_name
    name = quant_name(text) or quant_name(model)
    if not name:
        raise NotJudged("no quant is stated")
    return found_quant(name, runtime, find)


def read_subject(model: str, quant: str, runtime: str, models: Mapping[str, Model], find: FindQuant) -> Subject:
    """Return what a measurement is about; raise NotJudged where it does not say."""
    engine = read_runtime(runtime, model)
    found = read_model(model, models)
    return Subject(found, read_quant(quant, model, engine, find), engine)
