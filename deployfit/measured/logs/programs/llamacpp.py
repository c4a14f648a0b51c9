"""llama.cpp: what its library and its programs print while a model is loaded and run, of 2024 to today.

A log may hold several loads (the memory fit's trial, the model, a draft model) and several contexts of each; what
counts is the last load that allocated something, and its last context that does not draft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from deployfit.errors import InputError, quoted
from deployfit.measured.logs.breakdown import breakdown_parts, is_host
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.llamacpp.header import model_of
from deployfit.measured.logs.llamacpp.loads import Context, Load
from deployfit.measured.logs.llamacpp.parts import load_parts, other_parts, target_of
from deployfit.measured.logs.llamacpp.reader import CLI, FIT_PARAMS, Reader
from deployfit.measured.logs.llamacpp.words import WORDS as WORDS
from deployfit.measured.logs.log import EngineLog, Figure, LoggedMac, LoggedModel, LoggedSettings, completed, rounded
from deployfit.measured.logs.names import file_of
from deployfit.units import MIB

NAME = "llama.cpp"
# What devices are called.
BACKENDS = (
    *("MTL", "Metal", "CUDA", "ROCm", "HIP", "Vulkan", "SYCL", "RPC", "CANN", "MUSA", "OpenCL", "GPUOpenCL", "BLAS"),
    *("WebGPU", "HTP", "Kompute", "OPENVINO", "ZDNN", "VirtGPU"),
)
LEAST_BUILD = 1_000  # of August 2023; fewer commits are those of a shallow clone, or of a fork, and say no date
BANNER = ("build      : ", "model      : ", "ftype      : ")  # of llama-cli
STARTS = ("-c ", "MTL0 ", "Metal ", "CPU ", "Host ", "CUDA0 ", "Vulkan0 ", *BANNER)
MARKS = (" eval time =", "llama-", "created context checkpoint")
ORDER = 0


def read(lines: Sequence[Line]) -> EngineLog | None:
    """Return what llama.cpp's lines say; None if there are none of its own."""
    reader = Reader()
    for line in lines:
        reader.read(line)
    return _log(reader)


def _log(reader: Reader) -> EngineLog | None:
    load = _main_load(reader)
    draft = next((each for each in reader.loads if each.draft and each.allocated), None)
    parts = [*load_parts(load), *other_parts(reader, draft)] if load else []
    target = target_of(load) if load else None
    if not parts and all(each.trial for each in reader.loads):  # else they are of a trial, and the load is cut off
        parts = [*breakdown_parts(reader.rows), *breakdown_parts(reader.fit_print)]
    seen = parts or reader.speeds or reader.server or reader.chip or reader.limit or (load and load.header)
    if not (seen or reader.program):
        return None
    return EngineLog(
        program=_program(reader),
        runtime=NAME,
        version=f"b{reader.build}" if reader.build else "",
        build=reader.build if reader.build >= LEAST_BUILD else 0,
        model=model_of(load, reader.model),
        settings=_settings(reader, load, target),
        mac=LoggedMac(reader.chip, 0, _limit(reader), _device(reader, load)),
        parts=tuple(parts),
        caches=tuple(target.caches) if target else (),
        speeds=tuple(reader.speeds),
        notes=_notes(reader, load),
        drafter=model_of(draft, LoggedModel()) if draft else LoggedModel(),
    )


def _main_load(reader: Reader) -> Load | None:
    """Return the load that counts; raise InputError if models of two names were loaded."""
    own = [load for load in reader.loads if not load.draft]
    real = [load for load in own if load.allocated] or own
    models = {model.called: model for load in real if load.contexts if (model := model_of(load, LoggedModel())).called}
    if len(models) > 1:
        first, second = (quoted(model.title or "another") for model in list(models.values())[:2])
        raise InputError(f"log: {len(models)} models in it, {first} and {second}; give the lines of one")
    candidates = [load for load in real if load.contexts] or real
    return candidates[-1] if candidates else None


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isdecimal() and len(value) < 13 else None


_FLASH: Mapping[str, bool] = {"enabled": True, "disabled": False, "1": True, "0": False, "true": True, "false": False}


def _settings(reader: Reader, load: Load | None, context: Context | None) -> LoggedSettings:
    logged = context.settings if context else {}
    server = reader.server
    parallel = _number(logged.get("n_seq_max")) or _number(server.get("n_slots"))
    unified = logged.get("kv_unified") or server.get("kv_unified")
    if unified is None and context and context.caches and parallel and parallel > 1:
        unified = str(all(cache.streams == 1 for cache in context.caches)).lower()  # what builds of 2025 do not say
    tokens = _number(logged.get("n_ctx"))
    slot = _number(server.get("n_ctx_slot"))
    if tokens is None and slot and parallel and unified:
        tokens = slot if unified == "true" else slot * parallel
    flash = context.flash if context and context.flash is not None else _FLASH.get(logged.get("flash_attn", ""))
    types = context.cache_types if context else None
    copies = (context.state_copies or _number(logged.get("n_rs_seq")) or 0) if context else 0
    cache = server.get("prompt_cache", "")
    found = LoggedSettings(
        context_tokens=tokens,
        parallel=parallel,
        kv_unified=None if unified is None else unified == "true",
        batch=_number(logged.get("n_batch")),
        ubatch=_number(logged.get("n_ubatch")),
        kv_type_k=types[0] if types else None,
        kv_type_v=types[1] if types else None,
        flash_attention=flash,
        mmap=load.mmap if load and load.allocated else None,
        draft=_draft(reader, load, copies) if load and load.contexts else None,
        draft_max=reader.draft_max or copies or None,
        vision=True if reader.vision_loaded else None,
        offloaded=load.offloaded[0] if load and load.offloaded else None,
        layers=load.offloaded[1] if load and load.offloaded else None,
        checkpoints=_number(server.get("checkpoints")),
        prompt_cache_mib=_number(cache.removesuffix(" MiB")),
        fitted_from=reader.fitted[0] if reader.fitted else None,
        outputs_max=_number(logged.get("n_outputs_max")),
        swa_full=context.swa_full or None if context else None,
    )
    return completed(found, reader.command)


def _draft(reader: Reader, load: Load, copies: int) -> str:
    """Return what drafts: "mtp", another "model", "" for nothing.

    Older builds do not say so; but states are kept for going back only where something drafts, and a file that has MTP
    layers then drafts with them.
    """
    drafts = [context.draft for context in load.contexts if context.draft]
    if drafts:
        return drafts[-1]
    if any(each.draft for each in reader.loads):
        return "model"
    layers = any(name.endswith("nextn_predict_layers") and value != "0" for name, value in load.keys.items())
    return "mtp" if copies and (layers or "mtp" in file_of(load.path).casefold()) else ""


def _device(reader: Reader, load: Load | None) -> str:
    """Return what computed: Metal, CPU, or another backend by its name."""
    devices = [device for device, figure in (load.buffers if load else []) if figure.nbytes and not is_host(device)]
    if not devices:
        context = target_of(load) if load else None
        used = [name for kind in ("compute", "KV", "RS") for name in (context.buffers[kind] if context else {})]
        devices = [device for device in used if not is_host(device)]
        if used and not devices:
            return "CPU"
    tables = [*reader.rows, *reader.fit_print]
    if tables and not devices:
        devices = [device for device in tables if not is_host(device)]
        if not devices:
            return "CPU"
    name = re.match(r"[A-Za-z]+", devices[0]) if devices else None
    kind = (name[0] if name[0] in BACKENDS else "GPU") if name else ""
    return "Metal" if kind in ("MTL", "Metal") else kind or reader.device


def _limit(reader: Reader) -> Figure | None:
    """Return the GPU limit; in 2023 llama.cpp printed MiB and called them MB."""
    return rounded(reader.limit, MIB if reader.old_megabytes else 10**6) if reader.limit else None


def _program(reader: Reader) -> str:
    if reader.program == CLI:
        return CLI  # today's starts a server of its own
    if reader.server or reader.words & {"load_model", "create_check", "print_timing"}:
        return "llama-server"
    if reader.words & {"generate", "common_perf_print"}:
        return CLI
    if reader.fit_print:
        return FIT_PARAMS
    return reader.program or NAME


def _notes(reader: Reader, load: Load | None) -> tuple[str, ...]:
    notes = []
    if load and not load.allocated and load.contexts:
        notes.append("only the memory fit's trial is in the log; nothing of it was allocated")
    if reader.fitted:
        notes.append(f"--fit made the context smaller: {reader.fitted[1]:,} tokens instead of {reader.fitted[0]:,}")
    return tuple(notes)
