"""Whether a question is about Macs that run a model together; what little of it one Mac's answers have to read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from deployfit import catalogue
from deployfit.apps import APPS, find_app
from deployfit.errors import InputError
from deployfit.hardware.mac import names_several
from deployfit.parameters import Parameter, param
from deployfit.questions.question import Text, text_of, texts
from deployfit.questions.resolve import MAC_VARIABLE
from deployfit.values import NamedTuple

EXO, EXO_RUNTIME = "exo", "mlx"  # an engine for several Macs only, and the runtime on each of them

SPLIT = Parameter("split", "Several Macs: a part of every layer on each (tensor), or whole layers (pipeline).", "HOW")
TENSOR_SPLIT = Parameter("tensor_split", "Several Macs with llama.cpp: each one's share, 1,2.", "SHARES")
MACS_NEEDED = Parameter("macs_needed", "Say the fewest Macs that run it.")
SPLITTING_APPS = ("llama-server", "llama-bench", "mlx_lm.server")  # those that start what is split over Macs
PARAMETERS = (SPLIT, TENSOR_SPLIT, MACS_NEEDED)


class Together(NamedTuple):
    """What was typed about several Macs: their names, the engine ("" for the runtime's own), and how it splits.

    `app` is the application, "" where none was typed.
    """

    macs: Sequence[str]
    engine: str
    split: str
    tensor_split: str
    macs_needed: bool
    app: str = ""


def together_of(
    mac: Text | Iterable[Text] | None,
    runtime: str | None,
    split: str | None,
    tensor_split: str | Iterable[float] | None,
    *,
    macs_needed: bool,
) -> Together | None:
    """Return what was typed about several Macs, None where the question is about one.

    >>> together_of("M4 Max 64", None, None, None, macs_needed=False)
    >>> together_of("2x M3 Ultra 256", None, None, "1,2", macs_needed=False).tensor_split
    '1,2'
    """
    named = texts(mac) or texts(os.environ.get(MAC_VARIABLE))
    is_exo = runtime is not None and runtime.strip().casefold() == EXO
    typed = split is not None or tensor_split is not None or macs_needed or is_exo
    if not (typed or any(map(names_several, named))):
        return None
    way = text_of(split)
    shares = text_of(tensor_split) if isinstance(tensor_split, str | None) else ",".join(map(str, tensor_split))
    for parameter, value in ((SPLIT, way), (TENSOR_SPLIT, shares)):
        if value is not None and not value.strip():
            raise InputError(f"{param(parameter.name)} is empty; leave it out, or see its help")
    return Together(named, EXO if is_exo else "", way or "", shares or "", macs_needed)


def splitting_app(app: str | None, together: Together) -> str | None:
    """Return the application that was typed; raise InputError where it does not split a model over Macs.

    >>> splitting_app("llama bench", Together(["2x 64"], "", "", "", False))
    'llama-bench'
    """
    if app is None:
        return None
    found = find_app(app, catalogue.rows(APPS))
    if together.engine == EXO:
        raise InputError(f"{EXO} starts a model by itself; leave out {param('app')}")
    if found not in SPLITTING_APPS:
        raise InputError(
            f"{param('app')}: {found} does not split a model over several Macs; choose {' or '.join(SPLITTING_APPS)},"
            " or leave it out"
        )
    return found
