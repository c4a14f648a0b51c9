"""Check and validate: estimates beside what was published and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployfit import catalog
from deployfit.api.answers import Answers, Row
from deployfit.ask import DEFAULT_MACOS, SHELF, find_model, find_publisher
from deployfit.checks import Checked, check_sizes
from deployfit.measured.memory import judged_logs, parse_memory_rows
from deployfit.measured.speeds import judged_speeds, parse_speed_rows
from deployfit.measured.verdicts import judged_reports, parse_verdict_rows
from deployfit.quants.find import find_quant
from deployfit.quants.weights import Quant
from deployfit.validation import Validation, check_logs, check_reports, check_speeds, merged

if TYPE_CHECKING:
    import pandas as pd


class CheckedSizes(Answers[Checked]):
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
    name = None if model is None else find_model(model).name
    publisher = find_publisher(publisher)
    sizes = [
        size for size in catalog.published_sizes() if name in (None, size.model) and publisher in (None, size.publisher)
    ]
    return CheckedSizes(check_sizes(sizes, catalog.publishers(), catalog.models(), catalog.tolerances()))


class Measurements(Validation):
    """What others measured beside what deployfit says, with a DataFrame."""

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row per measurement that was judged."""
        import pandas as pd

        from deployfit.report.validate_report import validate_rows

        return pd.DataFrame(validate_rows(self))


def validate(
    speed_file: str | None = None, memory_file: str | None = None, verdict_file: str | None = None
) -> Measurements:
    """Return what others measured beside what deployfit says; files of your own take the place of those shipped.

    >>> validate().memory_spread("llama.cpp", "kv_cache").worst_percent
    0.0
    """
    models, rules = catalog.models(), catalog.measurement_rules()
    batches, logs, reports = catalog.speed_rows(), catalog.memory_rows(), catalog.verdict_rows()
    if speed_file is not None:
        batches = {"given": catalog.load_measurements(speed_file, "data/mac_speeds.csv", parse_speed_rows)}
    if memory_file is not None:
        logs = catalog.load_measurements(memory_file, "data/memory_logs.csv", parse_memory_rows)
    if verdict_file is not None:
        reports = catalog.load_measurements(verdict_file, "data/mac_verdicts.csv", parse_verdict_rows)

    speeds = {batch: judged_speeds(each, rules, models, catalog.macs(), _find_quant) for batch, each in batches.items()}
    checked, not_said = check_speeds({batch: judged for batch, (judged, _) in speeds.items()}, catalog.speeds())
    logged, no_log = judged_logs(logs, rules, models, _find_quant)
    memory, no_memory = check_logs(logged)
    reported, no_report = judged_reports(reports, rules, models, catalog.gpu_limits(), int(DEFAULT_MACOS), _find_quant)
    verdicts, no_verdict = check_reports(reported)
    return Measurements(
        speeds=checked,
        memory=memory,
        verdicts=verdicts,
        left_out={
            "speed": merged(*(left_out for _, left_out in speeds.values()), not_said),
            "memory": merged(no_log, no_memory),
            "verdict": merged(no_report, no_verdict),
        },
        coefficients=catalog.speeds().coefficients,
        bars=catalog.bars(),
    )


def _find_quant(name: str, runtime: str) -> Quant:
    return find_quant(name, SHELF, runtime)
