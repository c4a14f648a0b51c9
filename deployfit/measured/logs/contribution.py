"""A log as rows of `data/`: speeds, memory, a report that it runs, in the words that the readers there understand."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence

from deployfit.errors import InputError
from deployfit.hardware.gpu_limit import LAST_MACOS, LimitRow
from deployfit.hardware.mac import MacRow
from deployfit.measured.free_text import FindQuant, Rule
from deployfit.measured.logs.compare import LEAST_PROMPT_TOKENS, LEAST_SPEED_TOKENS, longest
from deployfit.measured.logs.log import EngineLog
from deployfit.measured.logs.programs.ollama import STARTS_SERVER
from deployfit.measured.memory import FOOTPRINT, LOGS, MemoryRow, judged_logs
from deployfit.measured.speeds import SPEED_COLUMNS, SPEED_FILES, judged_speeds
from deployfit.measured.subject import engines
from deployfit.measured.verdicts import REPORTS, VERDICT_COLUMNS, judged_reports
from deployfit.models import Model
from deployfit.runtimes.runtime import DEVICE, HOST
from deployfit.units import GB, MIB

SPEEDS, MEMORY, VERDICTS = SPEED_FILES["later"].file, LOGS.file, REPORTS.file

Rows = Sequence[Mapping[str, str]]


def contribution(log: EngineLog, question: Mapping[str, str], source: str) -> Mapping[str, Rows]:
    """Return rows by file of `data/`; raise InputError for a log that says too little to be judged later.

    `source` says where the log is from; nothing of it is sent anywhere.
    """
    missing = [name for name in ("model", "mac") if name not in question]
    if missing:
        known = {"model": "no model of the catalogue", "mac": "neither the Mac's chip nor its memory"}
        raise InputError(f"log: {known[missing[0]]} is in it; recognised: {log.recognised}")
    if log.runtime == "llama.cpp" and log.mac.device not in ("Metal", ""):
        raise InputError(f"log: it ran on {log.mac.device}, not on a Mac's GPU; recognised: {log.recognised}")
    rows = {
        SPEEDS: _speeds(log, question, source),
        MEMORY: _memory(log, question, source),
        VERDICTS: _verdicts(log, question, source),
    }
    if not any(rows.values()):
        raise InputError(f"log: nothing was measured in it, only estimated; recognised: {log.recognised}")
    return {file: found for file, found in rows.items() if found}


def left_out(
    rows: Mapping[str, Rows],
    rules: Sequence[Rule],
    models: Mapping[str, Model],
    macs: Sequence[MacRow],
    limits: Sequence[LimitRow],
    find: FindQuant,
) -> Mapping[str, Sequence[str]]:
    """Return for each file why rows of it would not be judged; nothing where all of them would."""
    reasons: dict[str, Sequence[str]] = {}
    for file, found in rows.items():
        text = csv_text(found)
        if file == SPEEDS:
            _, counted = judged_speeds(SPEED_FILES["later"].rows(text, file), rules, models, macs, find)
        elif file == MEMORY:
            _, counted = judged_logs(LOGS.rows(text, file), rules, models, find)
        else:
            _, counted = judged_reports(REPORTS.rows(text, file), rules, models, limits, LAST_MACOS, find)
        if counted:
            reasons[file] = list(counted)
    return reasons


def csv_text(rows: Rows) -> str:
    """Return rows as CSV, with their header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _runtime(log: EngineLog) -> str:
    """Return program and version in the words of the tables: the engine's name stands in it."""
    if log.runtime == "mlx":
        engine = log.program if "mlx" in log.program.casefold() else f"{log.program} (mlx)"
        return f"{engine} {log.version}".strip()
    engine = f"{log.runtime} {log.mac.device}".strip()
    if log.program == "Ollama":
        started = "llama-server, " if STARTS_SERVER in log.notes else ""
        return f"Ollama {log.version} ({started}{engine})"
    return f"{engine} {log.version}".strip()


def _quant(question: Mapping[str, str]) -> str:
    """Return the quant as the readers know it: MLX's own recipes by their bits."""
    return re.sub(r"^q(\d)_g64$", r"\1bit", question.get("quant", ""))


def _mac(question: Mapping[str, str]) -> tuple[str, str]:
    chip, _, memory = question["mac"].rpartition(" ")
    return chip, memory


def _speeds(log: EngineLog, question: Mapping[str, str], source: str) -> list[Mapping[str, str]]:
    chip, memory = _mac(question)
    if not chip or "quant" not in question:
        return []
    rows: list[Mapping[str, str]] = []
    for what, column, least in (("decode", "tg_tps", LEAST_SPEED_TOKENS), ("prefill", "pp_tps", LEAST_PROMPT_TOKENS)):
        speed = longest(log, what, least)
        if speed is None:
            continue
        benchmark = log.program == "llama-bench"
        context = speed.tokens if what == "prefill" and not benchmark else speed.context_tokens
        note = f"{speed.tokens} tokens; {log.program}" + ("; MTP drafting" if log.settings.draft == "mtp" else "")
        row = dict.fromkeys(SPEED_COLUMNS, "") | {
            "chip": chip,
            "ram_gb": memory,
            "model": question["model"],
            "quant": _quant(question),
            "runtime": _runtime(log),
            "context": "" if context is None else str(context),
            column: f"{speed.tps:.2f}",
            "source": source,
            "note": note,
        }
        rows.append(row)
    return rows


def _memory(log: EngineLog, question: Mapping[str, str], source: str) -> list[Mapping[str, str]]:
    def mib(name: str, where: str = "") -> str:
        part = log.part(name, where)
        return f"{part.figure.nbytes / MIB:.2f}" if part and not part.said else ""

    settings = log.settings
    chip, memory = _mac(question)
    types = (settings.kv_type_k or "", settings.kv_type_v or "")
    state = mib("recurrent_state")
    if state and settings.draft == "mtp":
        state += f" (n_rs_seq={settings.draft_max or 0})"
    peak = log.part("peak") or log.part("footprint")
    cells = {
        "kv_mib": mib("kv_cache"),
        "rs_mib": state,
        "compute_mib": mib("compute", DEVICE) if log.mac.device == "Metal" else "",
        "peak_gb": f"{peak.figure.nbytes / GB:.3f}" if peak and not peak.said else "",
    }
    logged = engines()[log.runtime].FIGURE_PARTS
    columns = {"kv_cache": "kv_mib", "recurrent_state": "rs_mib", "compute_buffer": "compute_mib", "peak": "peak_gb"}
    cells = {column: cells[column] if part in logged else "" for part, column in columns.items()}
    if not any(cells.values()):
        return []
    weights = mib("weights", DEVICE)
    beside = mib("weights", HOST)
    prompt = settings.prompt_tokens
    context = f"{prompt} prompt" if log.runtime == "mlx" and prompt else str(settings.context_tokens or "")
    notes = [log.program, FOOTPRINT if log.part("footprint") and not log.part("peak") else ""]
    row = dict.fromkeys(MemoryRow._fields, "") | {
        "runtime": _runtime(log),
        "model": question["model"],
        "quant": _quant(question),
        "context": context,
        "kv_type": types[0] if types[0] == types[1] else f"K {types[0]} / V {types[1]}",
        "batch": str(settings.batch or "") if log.runtime != "mlx" else _step(settings.prefill_step_size),
        "ubatch": str(settings.ubatch or ""),
        "weights_mib": f"{weights} (+{beside} on the host)" if beside and weights else weights,
        **cells,
        "source": source,
        "n_parallel": str(settings.parallel or "") if log.runtime != "mlx" else "",
        "chip": f"{chip} {memory}".strip(),
        "note": "; ".join(filter(None, notes)),
    }
    return [row]


def _step(size: int | None) -> str:
    return f"step {size}" if size else ""


def _verdicts(log: EngineLog, question: Mapping[str, str], source: str) -> list[Mapping[str, str]]:
    """Return the report that it runs, where it answered."""
    chip, memory = _mac(question)
    settings = log.settings
    if not log.speeds or "quant" not in question or settings.context_tokens is None:
        return []
    flags = [f"-c {settings.context_tokens}"]
    if settings.kv_type_k:
        flags.append(f"-ctk {settings.kv_type_k} -ctv {settings.kv_type_v}")
    if settings.parallel and log.runtime != "mlx":
        flags.append(f"-np {settings.parallel}")
    if settings.kv_bits:
        flags.append(f"kv bits {settings.kv_bits}")
    raised = f"wired_limit_mb={question['wired_limit'].removesuffix('m')}" if "wired_limit" in question else ""
    macos = f"macos {question['macos']}" if "macos" in question else ""
    return [
        dict.fromkeys(VERDICT_COLUMNS, "")
        | {
            "ram_gb": memory,
            "chip": chip,
            "model": question["model"],
            "quant_or_size": _quant(question),
            "runtime": _runtime(log),
            "context_flags": ", ".join(flags),
            "verdict": "RUNS",
            "detail": ", ".join(filter(None, (macos, raised))),
            "source": source,
        }
    ]
