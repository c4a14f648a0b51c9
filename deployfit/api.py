"""The library: the commands' answers as Python values, and as pandas DataFrames at the edge.

Arguments are what the command line takes: names as text, numbers as numbers or text. Errors are DeployfitError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from deployfit import catalog
from deployfit.ask import (
    DEFAULT_CONTEXT,
    DEFAULT_MACOS,
    SETTINGS,
    SHELF,
    all_models,
    answers_of,
    check_settings,
    find_model,
    find_place,
    find_publisher,
    known_quants,
    quants_of,
    settings_of,
    speeds_of,
)
from deployfit.errors import InputError, unknown
from deployfit.fit import Answer, Verdict, verdict_at
from deployfit.hardware import Place
from deployfit.quants.find import (
    FORMAT_OF,
    RUNTIME_OF,
    RUNTIMES,
    find_runtime,
    own_quants,
)
from deployfit.quants.weights import FORMATS, Options
from deployfit.runtimes.running import Settings
from deployfit.speed import active_params
from deployfit.units import GIB, parse_tokens

if TYPE_CHECKING:
    import pandas as pd

    from deployfit.checks import Checked
    from deployfit.contexts import Plan
    from deployfit.grid import Swept
    from deployfit.ranking import Candidate, Recommendation
    from deployfit.ranking import Question as UseQuestion

T = TypeVar("T")
Row = Mapping[str, Any]
Text = str | int


class Answers(tuple[T, ...], Generic[T]):
    """Answers in order; `rows()` are those of the command's JSON, `frame()` the same as a DataFrame."""

    to_row: Callable[[T], Row]

    def rows(self) -> list[Row]:
        """Return a mapping per answer."""
        return [type(self).to_row(each) for each in self]

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per answer."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def _texts(values: Text | Iterable[Text] | None) -> list[str]:
    """Return one or several arguments as a list of texts."""
    if values is None:
        return []
    return [str(values)] if isinstance(values, str | int) else [str(value) for value in values]


def _text(value: Text | None) -> str | None:
    return None if value is None else str(value)


def _typed(settings: Mapping[str, Text | None]) -> dict[str, str]:
    """Return the settings that were given, as the command line spells them."""
    return {name.replace("_", "-"): str(value) for name, value in settings.items() if value is not None}


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
            quants_of(_texts(quant), runtime),
            find_place(_text(mac), _text(macos), wired_limit),
            parse_tokens(str(context)),
            _typed(settings),
            Options(imatrix=imatrix, mtp=mtp, vision=vision),
        )
    )


# The KV caches whose contexts a plan compares, as their options.
PLANNED: Mapping[str, Sequence[Mapping[str, str]]] = {
    "llama.cpp": ({}, {"kv-type": "q8_0"}, {"kv-type": "q4_0"}),
    "mlx": ({}, {"kv-bits": "8"}, {"kv-bits": "4"}, {"prefill-step-size": "512"}),
}


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
) -> Plan:
    """Return the largest contexts of a model's recipes by KV cache; `publisher` means all its files of the model.

    >>> plan("Qwen3.5-35B-A3B", "Q4_K_M", mac=32).rows[0].max_context_tokens
    (184832, 262144, 262144)
    """
    from deployfit.contexts import make_plan

    found = find_model(model, catalog_file)
    options = Options(imatrix=imatrix, mtp=mtp, vision=vision)
    asked = quants_of(_texts(quant), runtime)
    if len(asked) > 1:
        raise InputError("a plan compares the settings of one runtime; ask for quants of one at a time")
    ((engine, chosen),) = asked.items()
    if publisher is not None:
        if chosen:
            raise InputError("--publisher means all its files; leave out --quant")
        row = catalog.publishers()[find_publisher(publisher) or ""]
        engine = loader_of(row.row.format)
        chosen = [each for each in row.quants() if each.published(found)]
    elif not chosen:
        chosen = [each for each in own_quants(SHELF, FORMAT_OF[engine]) if each.advisable(found, options)]
    columns = [settings_of(engine, 1, typed) for typed in PLANNED[engine]]
    place = find_place(_text(mac), _text(macos), wired_limit)
    made = make_plan(found, chosen, columns, place, options, catalog.speeds())
    if not made.rows:
        raise InputError(made.refusals[0] if made.refusals else f"nothing of {found.name} is known there")
    return made


def loader_of(format_name: str) -> str:
    """Return the runtime that loads a format; raise InputError where none does."""
    if format_name not in RUNTIME_OF:
        raise InputError(f"{format_name}: checkpoints for servers; neither llama.cpp nor mlx-lm is known to load them")
    return RUNTIME_OF[format_name]


DEFAULT_USE = "coding"


class Recommendations(Answers["Recommendation"]):
    """Places, a row each."""

    @staticmethod
    def to_row(each: Recommendation) -> Row:
        """Return the row of `deployfit recommend --format json`."""
        from deployfit.report.recommend_report import recommend_row

        return recommend_row(each)


def recommend(
    mac: Text | None = None,
    *,
    macos: Text | None = None,
    wired_limit: str | None = None,
    context: Text = DEFAULT_CONTEXT,
    use: str = DEFAULT_USE,
    min_speed: float = 0.0,
    runtime: str | None = None,
) -> Recommendations:
    """Return what to run on a Mac, best first: one published file per model, each place with its reasons.

    >>> best = recommend("M2 Pro 32", context="64k", min_speed=10)[0]
    >>> best.candidate.model.name, best.candidate.headroom_bytes >= 0
    ('Qwen3.6-35B-A3B', True)
    """
    place = find_place(_text(mac), _text(macos), wired_limit)
    question = recommend_question(use, min_speed, parse_tokens(str(context)), place)
    return Recommendations(recommended(question, place, None if runtime is None else find_runtime(runtime)))


def recommend_question(use: str, min_speed: float, context_tokens: int, place: Place) -> UseQuestion:
    """Return what decides; raise InputError for a use that is not known, or a speed where none can be said."""
    from deployfit.ranking import Question as UseQuestion

    uses = catalog.quality_uses()
    if use not in uses:
        raise unknown("use", use, uses)
    if min_speed and catalog.speeds().chip(place.mac) is None:
        raise InputError(f"min-speed: {catalog.speeds().why_not(place.mac)}")
    trained = max(model.config.max_position_embeddings for model in catalog.models().values())
    if not 1 <= context_tokens <= trained:
        raise InputError(f"context: {context_tokens:,} tokens; choose from 1 to the trained {trained:,}")
    return UseQuestion(uses[use], min_speed, context_tokens)


def recommended(question: UseQuestion, place: Place, runtime: str | None) -> list[Recommendation]:
    """Return the places, best first."""
    from deployfit import ranking

    candidates = _candidates(place, question.context_tokens, runtime)
    return ranking.recommend(candidates, question, catalog.quality())


VISION_AND_MTP_BYTES = 4 * 10**9  # no file holds more of both: what a file has beside the text


def _candidates(place: Place, context_tokens: int, runtime: str | None) -> Iterable[Candidate]:
    """Yield every published file of the catalogue's models that fits with this context."""
    from deployfit.grid import Grid, sweep
    from deployfit.ranking import Candidate

    speeds = catalog.speeds()
    for model in catalog.models().values():
        if context_tokens > model.config.max_position_embeddings:
            continue
        for engine in RUNTIMES if runtime is None else (runtime,):
            settings = settings_of(engine, context_tokens, {})
            files = [
                quant
                for publisher in catalog.publishers().values()
                if publisher.row.format == FORMAT_OF[engine] and not publisher.row.joined
                for quant in publisher.quants()
                if 0 < quant.published_bytes(model) <= place.budget_bytes + VISION_AND_MTP_BYTES
            ]
            swept = sweep(Grid([model], files, [settings], [context_tokens], [place]))
            for weights, total, largest in zip(
                swept.weights[0],
                swept.total_bytes[0, :, 0, 0].tolist(),
                swept.max_context_tokens[0, :, 0, 0].tolist(),
                strict=True,
            ):
                if weights is not None and verdict_at(place, total) is Verdict.FITS:
                    yield Candidate(
                        model=model,
                        weights=weights,
                        runtime=engine,
                        total_bytes=total,
                        headroom_bytes=place.budget_bytes - total,
                        max_context_tokens=largest,
                        speed=speeds.speed(place.mac, model.config, weights, settings),
                    )


def list_models() -> pd.DataFrame:
    """Return the catalogue's models as a DataFrame, the largest first.

    >>> list_models().loc["Qwen3.5-35B-A3B", ["total_params", "full_attention_layers"]].tolist()
    [35951822704, 10]
    """
    import pandas as pd

    rows = [
        {
            "model": model.name,
            "total_params": model.total_params,
            "active_params": active_params(model.config),
            "layers": model.config.num_hidden_layers,
            "full_attention_layers": model.config.full_attention_layers,
            "trained_context_tokens": model.config.max_position_embeddings,
            "checkpoint_bytes": model.checkpoint_bytes,
            "hub_repo": model.hub_repo,
        }
        for model in catalog.models().values()
    ]
    return pd.DataFrame(rows).set_index("model").sort_values("total_params", ascending=False, kind="stable")


def list_macs(macos: Text = DEFAULT_MACOS) -> pd.DataFrame:
    """Return the Macs with Apple silicon as a DataFrame: bandwidth, arithmetic, and what they lend to their GPU.

    >>> int(list_macs().query("chip == 'M4 Max'").set_index("memory_gib").loc[64, "gpu_limit_bytes"])
    55662788608
    """
    import pandas as pd

    places = [
        (row, find_place(f"{row.chip} {size}", str(macos), None)) for row in catalog.macs() for size in row.memory_gib
    ]
    return pd.DataFrame(
        [
            {
                "chip": row.chip,
                "memory_gib": place.mac.memory_bytes // GIB,
                "bandwidth_gb_s": row.bandwidth_gb_s or None,
                "fp16_tflops": row.fp16_tflops or None,
                "gpu_limit_bytes": place.limit.limit_bytes,
                "gpu_limit_basis": place.limit.basis.value,
            }
            for row, place in places
        ]
    )


def list_quants(model: str, *, publisher: str | None = None, catalog_file: str | None = None) -> pd.DataFrame:
    """Return what exists for a model as a DataFrame, smallest first: the tools' recipes and publishers' files.

    >>> int(list_quants("Qwen3.5-27B").set_index("quant").loc["Q4_K_M", "tensor_bytes"])
    16536406016
    """
    import pandas as pd

    from deployfit.report.quant_list import quant_rows

    found = find_model(model, catalog_file)
    known = known_quants(found, FORMATS, find_publisher(publisher), Options())
    return pd.DataFrame(quant_rows(found, known))


class CheckedSizes(Answers["Checked"]):
    """Estimates held against published sizes, a row each."""

    @staticmethod
    def to_row(each: Checked) -> Row:
        """Return published and estimated bytes, and whether it is within its tolerance."""
        return {
            "model": each.size.model,
            "file": f"{each.size.publisher}:{each.size.recipe}",
            "published_bytes": each.size.nbytes,
            "plus_minus_bytes": each.size.plus_minus_bytes,
            "estimated_bytes": each.estimated_bytes,
            "error_bytes": each.error_bytes,
            "basis": each.basis.value,
            "passes": each.passes,
            "date": each.size.date,
            "source": each.size.source,
        }


def check(model: str | None = None, publisher: str | None = None) -> CheckedSizes:
    """Return every estimate that can be held against a published size, offline.

    >>> checked = check("Qwen3.5-27B", "unsloth")
    >>> all(each.passes for each in checked)
    True
    """
    from deployfit.checks import check_sizes

    name = None if model is None else find_model(model).name
    publisher = find_publisher(publisher)
    sizes = [
        size for size in catalog.published_sizes() if name in (None, size.model) and publisher in (None, size.publisher)
    ]
    return CheckedSizes(check_sizes(sizes, catalog.publishers(), catalog.models(), catalog.tolerances()))


MOST_POINTS = 50_000_000  # about a GB of memory, and 10 GB of CSV


class Sweeps(tuple["Swept", ...]):
    """Sweeps, one per runtime that was asked for."""

    def rows(self) -> Iterator[Row]:
        """Yield a mapping per estimate: those of `deployfit sweep --format json`."""
        from deployfit.grid import COLUMNS

        for each in self:
            for row in each.rows():
                yield dict(zip(COLUMNS, row, strict=True))

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per estimate."""
        from deployfit.report.sweep_report import frame

        return frame(self)


def sweep(
    models: str | Iterable[str] | None = None,
    quants: str | Iterable[str] | None = None,
    *,
    contexts: Text | Iterable[Text] = DEFAULT_CONTEXT,
    macs: Text | Iterable[Text] | None = None,
    macos: Text | Iterable[Text] = DEFAULT_MACOS,
    runtime: str | None = None,
    imatrix: bool = False,
    mtp: bool = False,
    vision: bool = False,
    catalog_file: str | None = None,
    **settings: Text | Iterable[Text] | None,
) -> Sweeps:
    """Return every combination; what is left out means all: models, a runtime's recipes, sizes of memory.

    Other keywords are the runtime's settings, one or several values each: kv_type, parallel, ubatch; kv_bits,
    prefill_step_size.

    >>> frame = sweep("Qwen3.5-27B", ["Q4_K_M", "Q8_0"], contexts=["32k", "128k"], macs=[32, 64]).frame()
    >>> frame.groupby("recipe", observed=True).headroom_bytes.min().tolist()
    [-358553632, -12406917152]
    """
    return swept(
        _texts(models),
        _texts(quants),
        runtime=runtime,
        contexts=_texts(contexts),
        macs=_texts(macs),
        versions=_texts(macos),
        settings={name.replace("_", "-"): _texts(values) for name, values in settings.items()},
        options=Options(imatrix=imatrix, mtp=mtp, vision=vision),
        catalog_file=catalog_file,
    )


def swept(
    models: Sequence[str],
    quants: Sequence[str],
    *,
    runtime: str | None,
    contexts: Sequence[str],
    macs: Sequence[str],
    versions: Sequence[str],
    settings: Mapping[str, Sequence[str]],
    options: Options,
    catalog_file: str | None,
) -> Sweeps:
    """Return the sweeps that words ask for, a runtime each; raise InputError where none has an answer."""
    from deployfit import grid

    asked = {
        name: list(dict.fromkeys(chosen)) or own_quants(SHELF, FORMAT_OF[name])
        for name, chosen in quants_of(quants, runtime).items()
    }
    check_settings({option: "" for option, texts in settings.items() if texts}, list(asked))
    sizes = sorted({size for row in catalog.macs() for size in row.memory_gib})
    places = [
        find_place(mac, macos, None)
        for mac, macos in product(_once(macs) or map(str, sizes), _once(versions) or [DEFAULT_MACOS])
    ]
    found = [find_model(name, catalog_file) for name in _once(models) or all_models(catalog_file)]
    tokens = [parse_tokens(text) for text in _once(contexts) or [DEFAULT_CONTEXT]]
    grids = [
        grid.Grid(found, chosen, list(_combined(name, settings)), tokens, places, options, speeds_of(places))
        for name, chosen in asked.items()
    ]
    for each in grids:
        if each.points > MOST_POINTS:
            raise InputError(
                f"{each.points:,} combinations are too many at once; name fewer models, recipes, settings, contexts or"
                f" Macs, for up to {MOST_POINTS:,}"
            )
    answers = Sweeps(map(grid.sweep, grids))
    grid.require_answers(answers)
    return answers


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _combined(runtime: str, settings: Mapping[str, Sequence[str]]) -> Iterator[Settings]:
    """Yield every combination of the settings of a runtime."""
    own = {option: _once(settings[option]) for option in SETTINGS[runtime] if settings.get(option)}
    for texts in product(*own.values()):
        yield settings_of(runtime, 1, dict(zip(own, texts, strict=True)))
