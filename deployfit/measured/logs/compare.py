"""A log beside the prediction: part by part, with the difference and its cause where one is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployfit.basis import Basis
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.measured.logs.causes import Cause, reason_for
from deployfit.measured.logs.log import EngineLog, Figure, LoggedPart, LoggedSpeed, added
from deployfit.measured.logs.placement import Stored, held
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart
from deployfit.speed import Rate
from deployfit.values import NamedTuple

# Which parts of a prediction a logged figure is the sum of.
SUMS: Mapping[str, Sequence[str]] = {
    "weights": ("weights",),
    "kv_cache": ("kv_cache",),
    "recurrent_state": ("recurrent_state", "draft_state"),
    "context": ("kv_cache", "recurrent_state", "draft_state"),
    "compute": ("compute", "metal_scratch"),
    "output": ("output",),
    "vision": ("vision",),
    "image": ("image",),
    "draft_weights": ("draft_weights",),
    "draft_kv_cache": ("draft_kv_cache",),
    "draft_compute": ("draft_compute", "draft_metal_scratch"),
    "draft_output": ("draft_output",),
}
WHOLE = ("peak", "footprint")  # all that is there at the start, with the working memory
SPLIT = ("compute", "draft_compute")  # device and host are figures of their own
F16_BYTES = 2
LEAST_MICRO_BATCH = 512  # fewer rows of logits are those of slots and drafts
ALIKE = 10  # a tower of the same type is no tenth larger or smaller
HEADERS_BYTES, HEADERS_BYTES_PER_TOKEN = 2048, 24  # of a checkpoint: what is in it, and of which tokens
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


class Beside(NamedTuple):
    """What is known beside the predicted parts: bytes of `file_tensors`, `checkpoint`, `gpu_limit`, and the files."""

    known: Mapping[str, int] = {}
    stored: Stored = Stored()
    drafter: Stored = Stored()

    def file_of(self, name: str) -> Stored:
        """Return the file that a part is of: the model's, or that of the one that drafts."""
        return self.drafter if name == "draft_weights" else self.stored


NOTHING = Beside()


def compare(
    log: EngineLog, parts: Sequence[MemoryPart], causes: Sequence[Cause] = (), beside: Beside = NOTHING
) -> list[Row]:
    """Return a row per figure of the log."""
    rows = []
    for (name, where), logged in _logged(log).items():
        predicted, basis = _predicted(log, name, where, parts, beside.known)
        if name in ("weights", "draft_weights") and predicted is not None:
            found = held(log, name, _chosen(log, name, where, parts), beside.file_of(name))
            logged = logged._replace(figure=found.figure, agrees=found.agrees, reason=found.reason)
        rows.append(_row(log, name, where, logged, predicted, basis, parts, causes, beside.file_of(name).mixture))
    return rows


def explained(
    rows: Sequence[Row], log: EngineLog, parts: Sequence[MemoryPart], names: Sequence[str], reason: str
) -> list[Row]:
    """Return the rows, with a reason for those of some names that differ, if all of them are as other parts are."""
    figures = _logged(log)
    different = [row for row in rows if row.agrees is False and row.name in names]
    for row in different:
        other, _ = _predicted(log, row.name, row.where, parts, {})
        if other in (None, row.predicted_bytes) or not figures[row.name, row.where].figure.holds(other):
            return list(rows)
    return [row._replace(reason=reason) if row in different else row for row in rows]


def disagreements(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of parts that are called exact, differ, and have no known cause."""
    return [row for row in rows if row.agrees is False and row.basis == Basis.EXACT.value and not row.reason]


class _Logged(NamedTuple):
    """A figure of the log; `agrees` and `reason` where more than its digits decides."""

    figure: Figure
    said: bool = False
    again: Figure | None = None
    agrees: bool | None = None
    reason: str = ""


def _logged(log: EngineLog) -> dict[tuple[str, str], _Logged]:
    """Return the log's figures by name and where; of most parts device and host are one."""
    grouped: dict[tuple[str, str], list[LoggedPart]] = {}
    for part in log.parts:
        split = part.name in SPLIT and log.mac.device not in ("CPU", "")
        grouped.setdefault((part.name, part.where if split else ""), []).append(part)
    figures = {
        key: _Logged(
            added([part.figure for part in found]),
            any(part.said for part in found),
            added([part.again or part.figure for part in found]) if any(part.again for part in found) else None,
        )
        for key, found in grouped.items()
    }
    if log.mac.limit:
        figures["gpu_limit", ""] = _Logged(log.mac.limit)
    return figures


def _chosen(log: EngineLog, name: str, where: str, parts: Sequence[MemoryPart]) -> list[MemoryPart]:
    """Return the predicted parts that a figure is the sum of."""
    names = list(SUMS.get(name, (name,)))
    if name == "weights" and log.settings.draft == "mtp":
        names.append("draft_weights")  # they are in the same file
    return [part for part in parts if not part.later and part.name in names and where in ("", part.where)]


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
    chosen = _chosen(log, name, where, parts)
    if not chosen:
        return None, None
    return sum(part.nbytes for part in chosen), max((part.basis for part in chosen), key=list(Basis).index)


def _checkpoint(log: EngineLog, parts: Sequence[MemoryPart]) -> int | None:
    """Return what a context checkpoint holds: one state of one sequence, of which drafting keeps more."""
    states = sum(part.nbytes for part in parts if part.name == "recurrent_state")
    drafts = log.settings.draft_max or 0 if log.settings.draft == "mtp" else 0
    return states // log.settings.parallel // (1 + drafts) if states and log.settings.parallel else None


def _row(
    log: EngineLog,
    name: str,
    where: str,
    logged: _Logged,
    predicted: int | None,
    basis: Basis | None,
    parts: Sequence[MemoryPart],
    causes: Sequence[Cause],
    mixture: str,
) -> Row:
    figure = logged.figure
    if predicted is None:
        return Row(name, where, None, figure.nbytes, None, "", None, "not predicted")
    if logged.again and figure.holds(predicted):
        figure = logged.again  # the log contradicts itself, and one of the two is not as predicted
    difference = predicted - figure.nbytes
    agrees = figure.holds(predicted) if logged.agrees is None else logged.agrees
    reason = logged.reason
    if not agrees and not reason:
        known = _reason(log, name, figure, logged.said, predicted, parts)
        reason = known or reason_for(log, name, where, difference, causes)
        if not reason and name in ("weights", "file_tensors", "draft_weights"):
            reason = mixture
    return Row(name, where, predicted, figure.nbytes, difference, basis.value if basis else "", agrees, reason)


def _reason(log: EngineLog, name: str, figure: Figure, said: bool, predicted: int, parts: Sequence[MemoryPart]) -> str:
    """Return a cause that the log itself shows, "" if there is none."""
    if said:
        return f"{log.program}'s own estimate, not what was allocated"
    devices = [part for part in log.parts if part.name == name and part.where == DEVICE]
    if name in SPLIT and len(devices) > 1:
        return f"it ran on {len(devices)} devices, each with buffers of its own"
    if name == "compute" and (reason := _other_graph(log)):
        return reason
    if name == "checkpoint" and 0 < figure.nbytes - predicted <= _headers_bytes(log):
        return "it has headers too, and some bytes for each token so far"
    one = _checkpoint(log, parts) or 0
    if name == "recurrent_state" and one:
        states = round(figure.nbytes / one)
        if figure.holds(states * one):
            return f"it keeps {states} states of a sequence each"
    if name == "draft_kv_cache" and (kinds := _other_types(log, figure, predicted)):
        return f"its types are {kinds}, as -ctkd and -ctvd choose them"
    if name == "vision" and abs(figure.nbytes - predicted) > predicted // ALIKE:
        return "the tower's file is in another type than F16 or BF16"
    if name == "footprint" and figure.nbytes < predicted:
        return "the prediction is an upper bound: MLX gives buffers back when memory is short"
    return ""


def _other_graph(log: EngineLog) -> str:
    """Return what of the log's settings is none of ours and makes another graph; "" if nothing does."""
    outputs, slots, cache = log.settings.outputs_max or 0, log.settings.parallel or 0, log.part("kv_cache")
    if slots and slots < outputs < LEAST_MICRO_BATCH and not log.settings.draft:
        return f"it has room for the logits of {outputs} tokens: something drafts that is no model"
    if cache and cache.where == HOST and log.mac.device not in ("CPU", "") and log.settings.offloaded:
        return "its caches are in ordinary memory (--no-kv-offload)"
    return ""


def _other_types(log: EngineLog, figure: Figure, predicted: int) -> str:
    """Return the types of the draft's cache, if it would have the predicted size in F16; "" otherwise."""
    part = log.part("draft_kv_cache")
    types = [TENSOR_TYPES.get(kind.upper()) for kind in (part.stored or ())] if part else []
    if part is None or not types or None in types:
        return ""
    widths = [kind.nbytes(kind.block_size) / kind.block_size / F16_BYTES for kind in types if kind]
    return "/".join(part.stored or ()) if figure.holds(round(predicted * sum(widths) / len(widths))) else ""


def _headers_bytes(log: EngineLog) -> int:
    """Return what a checkpoint holds at most beside states and caches."""
    part = log.part("checkpoint")
    return HEADERS_BYTES + HEADERS_BYTES_PER_TOKEN * part.tokens if part else 0


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
