"""A log beside the prediction: part by part, with the difference and its cause where one is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.basis import Basis
from deployfit.measured.logs.causes import Cause, reason_for
from deployfit.measured.logs.log import EngineLog, Figure, LoggedPart, LoggedSpeed, added, size
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart
from deployfit.speed import Rate
from deployfit.values import NamedTuple

# Which parts of a prediction a logged figure is the sum of.
SUMS: Mapping[str, Sequence[str]] = {
    "weights": ("weights",),
    "kv_cache": ("kv_cache",),
    "recurrent_state": ("recurrent_state", "draft_state"),
    "context": ("kv_cache", "recurrent_state", "draft_state"),
    "compute": ("compute",),
    "output": ("output",),
    "vision": ("vision",),
    "image": ("image",),
    "draft_weights": ("draft_weights",),
    "draft_kv_cache": ("draft_kv_cache",),
    "draft_compute": ("draft_compute",),
    "draft_output": ("draft_output",),
}
WHOLE = ("peak", "footprint")  # all that is there at the start, with the working memory
SPLIT = ("compute", "draft_compute")  # device and host are figures of their own
LEAST_SPEED_TOKENS = 16  # a shorter answer says nothing of speed
LEAST_PROMPT_TOKENS = 400  # as for the measurements that the rule for speed is held against


class Row(NamedTuple):
    """A figure of the log and the predicted one, in bytes; None where there is none of it.

    `agrees`: they are equal to the digits that were printed; None where nothing was predicted.
    """

    name: str
    where: str
    predicted_bytes: int | None
    logged_bytes: int
    difference_bytes: int | None
    basis: str
    agrees: bool | None
    reason: str


class SpeedRow(NamedTuple):
    """A logged speed in tokens per second, and the interval that four of five should fall into."""

    name: str
    tokens: int
    predicted_tps: float
    low_tps: float
    high_tps: float
    logged_tps: float
    agrees: bool


def compare(
    log: EngineLog, parts: Sequence[MemoryPart], causes: Sequence[Cause] = (), known: Mapping[str, int] | None = None
) -> list[Row]:
    """Return a row per figure of the log; `known` are predicted bytes beside the parts: `file_tensors`, `gpu_limit`."""
    rows = []
    for (name, where), (figure, said) in _logged(log).items():
        predicted, basis = _predicted(log, name, where, parts, known or {})
        if name == "weights" and predicted and overlap(log, predicted):
            device = log.part("weights", DEVICE)
            figure = device.figure if device else figure
        rows.append(_row(log, name, where, figure, said, predicted, basis, parts, causes))
    return rows


def disagreements(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of parts that are called exact, differ, and have no known cause."""
    return [row for row in rows if row.agrees is False and row.basis == Basis.EXACT.value and not row.reason]


def _logged(log: EngineLog) -> dict[tuple[str, str], tuple[Figure, bool]]:
    """Return the log's figures by name and where; of most parts device and host are one."""
    grouped: dict[tuple[str, str], list[LoggedPart]] = {}
    for part in log.parts:
        split = part.name in SPLIT and log.mac.device not in ("CPU", "")
        grouped.setdefault((part.name, part.where if split else ""), []).append(part)
    figures = {
        key: (added([part.figure for part in found]), any(part.said for part in found))
        for key, found in grouped.items()
    }
    if log.mac.limit:
        figures["gpu_limit", ""] = (log.mac.limit, False)
    return figures


def overlap(log: EngineLog, predicted: int = 0) -> bool:
    """Return whether the CPU holds weights that the GPU has too: together they are more than the file.

    The GPU's mapping reaches from the first to the last tensor that it needs, and the token embedding may stand
    between; a tied embedding is on the device as the output as well. Where the log does not say how large the file is,
    the prediction is taken for it.
    """
    file = log.part("file_tensors")
    device, host = log.part("weights", DEVICE), log.part("weights", HOST)
    whole = file.figure.nbytes if file else predicted
    if not (whole and device and host and host.mapped):
        return False
    return device.figure.nbytes + host.figure.nbytes // 2 > whole


def _predicted(
    log: EngineLog, name: str, where: str, parts: Sequence[MemoryPart], known: Mapping[str, int]
) -> tuple[int | None, Basis | None]:
    if name in known:
        return known[name], Basis.DERIVED
    start = [part for part in parts if not part.later]
    if name in WHOLE and any(part.name == "weights" for part in start):
        upper = name == "footprint"
        total = sum(part.upper_bytes if upper else part.nbytes for part in start)
        return (total or None), Basis.DERIVED
    if name == "checkpoint":
        return _checkpoint(log, start), Basis.DERIVED
    names = list(SUMS.get(name, (name,)))
    if name == "weights" and log.settings.draft == "mtp":
        names.append("draft_weights")  # they are in the same file
    chosen = [part for part in start if part.name in names and where in ("", part.where)]
    if not chosen:
        return None, None
    order = list(Basis)
    return sum(part.nbytes for part in chosen), max((part.basis for part in chosen), key=order.index)


def _checkpoint(log: EngineLog, parts: Sequence[MemoryPart]) -> int | None:
    """Return what a context checkpoint holds: one state of one sequence, of which drafting keeps more."""
    states = sum(part.nbytes for part in parts if part.name == "recurrent_state")
    drafts = log.settings.draft_max or 0 if log.settings.draft == "mtp" else 0
    return states // log.settings.parallel // (1 + drafts) if states and log.settings.parallel else None


def _row(
    log: EngineLog,
    name: str,
    where: str,
    figure: Figure,
    said: bool,
    predicted: int | None,
    basis: Basis | None,
    parts: Sequence[MemoryPart],
    causes: Sequence[Cause],
) -> Row:
    if predicted is None:
        return Row(name, where, None, figure.nbytes, None, "", None, "not predicted")
    difference = predicted - figure.nbytes
    agrees = figure.holds(predicted)
    reason = ""
    if not agrees:
        reason = _reason(log, name, figure, said, predicted, parts) or reason_for(log, name, where, difference, causes)
        if not reason and name in ("weights", "file_tensors"):
            reason = "another recipe, or another mixture of types, than the one asked for"
    elif name == "weights" and overlap(log, predicted):
        host = log.part("weights", HOST)
        inside = size(host.figure.nbytes) if host else ""
        reason = f"the CPU's mapping of {inside} is of tensors that the GPU's has too"
    return Row(name, where, predicted, figure.nbytes, difference, basis.value if basis else "", agrees, reason)


def _reason(log: EngineLog, name: str, figure: Figure, said: bool, predicted: int, parts: Sequence[MemoryPart]) -> str:
    """Return a cause that the log itself shows, "" if there is none."""
    if said:
        return f"{log.program}'s own estimate, not what was allocated"
    if name == "checkpoint" and figure.nbytes - predicted > 0:
        return "one state of a sequence, some headers, and the draft's cache of the tokens so far"
    one = _checkpoint(log, parts) or 0
    if name == "recurrent_state" and one:
        states = round(figure.nbytes / one)
        if figure.holds(states * one):
            return f"it keeps {states} states of a sequence each"
    if name == "footprint" and figure.nbytes < predicted:
        return "the prediction is an upper bound: MLX gives buffers back when memory is short"
    return ""


def compare_speeds(log: EngineLog, decode: Rate | None, prefill: Rate | None) -> list[SpeedRow]:
    """Return the log's longest answer and longest prompt beside the predicted rates."""
    rows = []
    for name, least, rate in (("decode", LEAST_SPEED_TOKENS, decode), ("prefill", LEAST_PROMPT_TOKENS, prefill)):
        speed = longest(log, name, least)
        if speed and rate:
            inside = rate.low_tps <= speed.tps <= rate.high_tps
            rows.append(SpeedRow(name, speed.tokens, rate.tps, rate.low_tps, rate.high_tps, speed.tps, inside))
    return rows


def longest(log: EngineLog, what: str, least_tokens: int = LEAST_SPEED_TOKENS) -> LoggedSpeed | None:
    """Return the measurement over most tokens; None if all are too short to say anything."""
    found = [speed for speed in log.speeds if speed.what == what and speed.tokens >= least_tokens]
    return max(found, key=lambda speed: speed.tokens, default=None)
