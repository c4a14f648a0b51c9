"""Fit and plan: does it run, and how far does the context reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit import catalog
from deployfit.api.answers import Answers, Row, Text, text_of, texts, typed_of
from deployfit.ask import (
    DEFAULT_CONTEXT,
    SHELF,
    answers_of,
    find_model,
    find_place,
    find_publisher,
    quants_of,
    settings_of,
)
from deployfit.contexts import Plan, make_plan
from deployfit.errors import InputError
from deployfit.quants.find import FORMAT_OF, RUNTIME_OF, find_runtime, own_quants
from deployfit.quants.weights import Options
from deployfit.units import parse_tokens
from deployfit.verdict import Answer

if TYPE_CHECKING:
    import pandas as pd


class FitAnswers(Answers[Answer]):
    """Verdicts, a row per quant."""

    @staticmethod
    def to_row(each: Answer) -> Row:
        """Return the row of `deployfit fit --format json`."""
        from deployfit.report.fit_report import fit_row

        return fit_row(each)


def fit(
    model: str,
    quant: str | Iterable[str] | None = None,
    *,
    mac: Text | None = None,
    macos: Text | None = None,
    wired_limit: str | None = None,
    context: Text = DEFAULT_CONTEXT,
    runtime: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog_file: str | None = None,
    **settings: Text | None,
) -> FitAnswers:
    """Return whether a model fits a Mac, an answer per quant; without one every recipe of the runtime.

    Other keywords are the runtime's settings: kv_type, kv_type_k, kv_type_v, parallel, ubatch; kv_bits,
    prefill_step_size.

    >>> (answer,) = fit("Qwen3.5-27B", "Q4_K_M", mac=32, context="32k")
    >>> answer.verdict.words, answer.estimate.total_bytes, answer.max_context_tokens
    ('fits', 19424860192, 125440)
    """
    return FitAnswers(
        answers_of(
            find_model(model, catalog_file),
            quants_of(texts(quant), runtime),
            find_place(text_of(mac), text_of(macos), wired_limit),
            parse_tokens(str(context)),
            typed_of(settings),
            Options(imatrix=imatrix, mtp=mtp, vision=vision),
        )
    )


# The KV caches whose contexts a plan compares, as their options.
PLANNED: Mapping[str, Sequence[Mapping[str, str]]] = {
    "llama.cpp": ({}, {"kv-type": "q8_0"}, {"kv-type": "q4_0"}),
    "mlx": ({}, {"kv-bits": "8"}, {"kv-bits": "4"}, {"prefill-step-size": "512"}),
}


class Contexts(Plan):
    """A plan, with a DataFrame."""

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per recipe and KV cache."""
        import pandas as pd

        from deployfit.report.plan_report import plan_rows

        return pd.DataFrame(plan_rows(self))


def plan(
    model: str,
    quant: str | Iterable[str] | None = None,
    *,
    mac: Text | None = None,
    macos: Text | None = None,
    wired_limit: str | None = None,
    runtime: str | None = None,
    publisher: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog_file: str | None = None,
) -> Contexts:
    """Return the largest contexts of a model's recipes by KV cache; `publisher` means all its files of the model.

    >>> plan("Qwen3.5-35B-A3B", "Q4_K_M", mac=32).rows[0].max_context_tokens
    (184832, 262144, 262144)
    """
    found = find_model(model, catalog_file)
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    asked = quants_of(texts(quant), runtime)
    if len(asked) > 1:
        raise InputError("a plan compares the settings of one runtime; ask for quants of one at a time")
    ((engine, chosen),) = asked.items()
    if publisher is not None:
        if chosen:
            raise InputError("--publisher means all its files; leave out --quant")
        name = find_publisher(publisher) or ""
        row = catalog.publishers()[name]
        engine = loader_of(row.row.format)
        if runtime is not None and engine != find_runtime(runtime):
            raise InputError(f"{name} publishes {row.row.format}, which {engine} loads; leave out --runtime")
        chosen = [each for each in row.quants() if each.published(found)]
        if not chosen:
            raise InputError(f"no file of {name} is known for {found.name}; name recipes with --quant")
    elif not chosen:
        chosen = [each for each in own_quants(SHELF, FORMAT_OF[engine]) if each.advisable(found, options)]
    columns = [settings_of(engine, 1, typed) for typed in PLANNED[engine]]
    place = find_place(text_of(mac), text_of(macos), wired_limit)
    made = make_plan(found, chosen, columns, place, options, catalog.speeds())
    if not made.rows or not made.columns:
        raise InputError(made.refusals[0])
    return Contexts(*made)


def loader_of(format_name: str) -> str:
    """Return the runtime that loads a format; raise InputError where none does."""
    if format_name not in RUNTIME_OF:
        raise InputError(f"{format_name}: checkpoints for servers; neither llama.cpp nor mlx-lm is known to load them")
    return RUNTIME_OF[format_name]
