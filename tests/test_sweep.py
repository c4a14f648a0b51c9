"""The sweep equals `fit`, point by point: Python's whole numbers against numpy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.ask import SHELF
from deployfit.catalog import gpu_limits, models
from deployfit.errors import InputError
from deployfit.fit import Answer, Fit, Question
from deployfit.hardware import Mac, Place, default_limit, raised_limit
from deployfit.quants.find import find_quant
from deployfit.quants.weights import Options, Quant
from deployfit.runtimes.llamacpp import LlamaCppSettings
from deployfit.runtimes.mlx import MlxSettings
from deployfit.runtimes.running import Settings
from deployfit.sweep import COLUMNS, MISSING, VERDICTS, Grid, Swept, sweep
from deployfit.units import GIB

MEMORIES = sorted({row.memory_gib for row in gpu_limits()})


def place_of(memory_gib: int, macos: int, raised_percent: int) -> Place:
    mac = Mac("", memory_gib * GIB)
    if raised_percent:
        return Place(mac, macos, raised_limit(mac, mac.memory_bytes * raised_percent // 100), raised=True)
    return Place(mac, macos, default_limit(mac, macos, gpu_limits()))


def few(values: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(values, min_size=1, max_size=most, unique=True)


GGUF_NAMES = ["IQ1_S", "IQ2_XXS", "Q4_K_M", "Q8_0", "BF16", "unsloth:Q4_K_M", "ollama:Q4_K_M", "unsloth:UD-IQ1_M"]
MLX_NAMES = ["3bit", "4bit", "8bit", "mxfp4", "q4_g64_early", "mlx-community:4bit"]

names = few(st.sampled_from(sorted(models())), 2)
places = few(
    st.builds(place_of, st.sampled_from(MEMORIES), st.sampled_from([15, 26]), st.sampled_from([0, 0, 0, 5, 50, 99])), 4
)
contexts = few(st.one_of(st.sampled_from([1, 255, 256, 512, 4096, 262_144, 262_145]), st.integers(1, 262_144)))
llamacpp = few(
    st.builds(
        LlamaCppSettings,
        context_tokens=st.just(1),
        kv_type_k=st.sampled_from(["f16", "q8_0", "f32", "iq4_nl"]),
        kv_type_v=st.sampled_from(["f16", "bf16", "q4_0"]),
        parallel=st.sampled_from([1, 1, 1, 3, 4]),
        ubatch=st.sampled_from([1, 100, 512, 512, 1024, 2048]),
    ),
    2,
)
mlx = few(
    st.builds(
        MlxSettings,
        context_tokens=st.just(1),
        kv_bits=st.sampled_from([16, 8, 4]),
        prefill_step_size=st.sampled_from([1, 512, 2048, 5000, 2**18]),
    ),
    2,
)
options = st.builds(Options, imatrix=st.booleans(), mtp=st.booleans(), vision=st.booleans())


def scalar(grid: Grid, point: tuple[int, ...]) -> Answer | None:
    """Return the answer of `fit` at a point, None where it refuses."""
    m, q, s, c, p = point
    how: Settings = grid.settings[s].with_context(grid.contexts[c])
    try:
        return Fit(Question(grid.models[m], how, grid.places[p], grid.options), [], gpu_limits()).answer(grid.quants[q])
    except InputError:
        return None


def differing(swept: Swept) -> list[tuple[int, ...]]:
    """Return the points at which the sweep does not say what `fit` says."""
    rows = iter(swept.rows())
    wrong = []
    for point in np.ndindex(swept.grid.shape):
        m, q, s, c, p = point
        expected = scalar(swept.grid, point)
        if expected is None:
            same = swept.total_bytes[m, q, s, c] == swept.verdicts[point] == -1
        else:
            same = (
                swept.total_bytes[m, q, s, c] == expected.estimate.total_bytes
                and VERDICTS[swept.verdicts[point]] is expected.verdict
                and swept.max_context_tokens[m, q, s, p] == expected.max_context_tokens
                and row_of(expected) == dict(zip(COLUMNS, next(rows), strict=True))
            )
        if not same:
            wrong.append(point)
    assert next(rows, None) is None
    return wrong


def row_of(answer: Answer) -> dict[str, object]:
    from deployfit.report.fit_report import fit_row

    row = fit_row(answer) | {"weights_basis": answer.weights.basis.value}
    return {name: row[name] for name in COLUMNS}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names, few(st.sampled_from(GGUF_NAMES)), llamacpp, contexts, places, options)
def test_the_sweep_equals_fit_under_llamacpp(
    names: list[str],
    quants: list[str],
    hows: list[LlamaCppSettings],
    contexts: list[int],
    places: list[Place],
    options: Options,
) -> None:
    chosen: list[Quant] = [find_quant(quant, SHELF) for quant in quants]
    assert differing(sweep(Grid([models()[name] for name in names], chosen, hows, contexts, places, options))) == []


@settings(max_examples=40, deadline=None, derandomize=True)
@given(names, few(st.sampled_from(MLX_NAMES), 2), mlx, contexts, places, options)
def test_the_sweep_equals_fit_under_mlx(
    names: list[str],
    quants: list[str],
    hows: list[MlxSettings],
    contexts: list[int],
    places: list[Place],
    options: Options,
) -> None:
    chosen: list[Quant] = [find_quant(quant, SHELF, "mlx") for quant in quants]
    assert differing(sweep(Grid([models()[name] for name in names], chosen, hows, contexts, places, options))) == []


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(models())), llamacpp, st.lists(st.integers(1, 1024), min_size=6, max_size=6), options)
def test_the_largest_context_where_the_budget_is_just_reached_and_just_missed(
    name: str, hows: list[LlamaCppSettings], steps: list[int], options: Options
) -> None:
    """Limits raised to what a context takes, to the byte: there a little more context may need a little less."""
    model, quant, how = models()[name], find_quant("Q4_K_M", SHELF), hows[0]
    mac = Mac("", 1024 * GIB)
    grid = Grid([model], [quant], [how], [min(262_144, step * how.context_step) for step in steps], [], options)
    totals = sweep(grid).total_bytes.ravel().tolist()
    reserve = Place(mac, 26, default_limit(mac, 26, gpu_limits())).reserve_bytes
    edges = [raised_limit(mac, total + reserve + more) for total in totals if total > 0 for more in (-1, 0, 1)]
    places = [Place(mac, 26, edge, raised=True) for edge in edges]
    assert differing(sweep(grid._replace(places=places, contexts=[512]))) == []


def test_what_is_refused_is_missing_and_said() -> None:
    model = models()["Qwen3.5-4B"]
    quants = [find_quant(name, SHELF) for name in ("Q4_K_M", "unsloth:Q4_K_M")]
    hows = [LlamaCppSettings(1), LlamaCppSettings(1, parallel=1000)]
    swept = sweep(Grid([model], quants, hows, [256, 300_000], [place_of(16, 26, 0)]))
    assert swept.answered == len(list(swept.rows())) == 2
    assert swept.refusals == (
        "context: 300,000 tokens; choose from 1 to the trained 262,144",
        "parallel: 1,000 sequences; choose from 1 to 256",
    )
    assert (swept.total_bytes[0, 0] == MISSING).tolist() == [[False, True], [True, True]]


def test_rows_are_pythons_own_numbers_and_words() -> None:
    swept = sweep(
        Grid(
            [models()["Qwen3.5-4B"]], [find_quant("Q4_K_M", SHELF)], [LlamaCppSettings(1)], [512], [place_of(8, 26, 0)]
        )
    )
    (row,) = swept.rows()
    assert {type(value) for value in row} <= {int, str, bool, type(None)}
