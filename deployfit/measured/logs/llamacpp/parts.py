"""The parts of memory that a load allocated, its contexts', and those of the program around it."""

from __future__ import annotations

import re

from deployfit.measured.logs.llamacpp.loads import Context, Load
from deployfit.measured.logs.llamacpp.reader import Reader
from deployfit.measured.logs.log import LoggedPart, added, rounded
from deployfit.runtimes.runtime import DEVICE, HOST
from deployfit.units import MIB


def target_of(load: Load) -> Context | None:
    """Return the model's own context: the last that was made without drafting, as it is now."""
    own = [context for context in load.contexts if not context.draft]
    with_memory = [context for context in own if context.cache_sizes or context.buffers["KV"] or context.states]
    candidates = with_memory or own
    return candidates[-1] if candidates else None


def is_host(device: str) -> bool:
    """Return whether a buffer of this name is in ordinary memory (CPU_Mapped, CUDA_Host)."""
    return device.startswith(("CPU", "Host")) or device.endswith("_Host")


def load_parts(load: Load, prefix: str = "") -> list[LoggedPart]:
    """Return the weights of a load, the size of its file, and what its context and its MTP layers' allocated."""
    parts = [
        LoggedPart(f"{prefix}weights", figure, HOST if is_host(device) else DEVICE, "_Mapped" in device)
        for device, figure in load.buffers
        if figure.nbytes
    ]
    size = re.match(r"(\d{1,9}\.\d{1,4}) ([MG]iB)", load.header.get("file size", load.header.get("model size", "")))
    if size and not prefix:
        parts.append(LoggedPart("file_tensors", rounded(size[1], MIB if size[2] == "MiB" else 1024 * MIB)))
    target = target_of(load) if not prefix else load.contexts[-1] if load.contexts else None
    if target:
        parts += _context_parts(target, prefix)
    drafts = [context for context in load.contexts if context.draft == "mtp"]
    if drafts and not prefix:
        parts += _context_parts(drafts[-1], "draft_")
    return parts


def _context_parts(context: Context, prefix: str) -> list[LoggedPart]:
    parts = []
    caches = context.cache_sizes or list(context.buffers["KV"].values())
    if caches:
        where = HOST if context.buffers["KV"] and all(map(is_host, context.buffers["KV"])) else DEVICE
        parts.append(LoggedPart(f"{prefix}kv_cache", added(caches), where))
    states = context.states or list(context.buffers["RS"].values())
    if states:
        where = HOST if context.buffers["RS"] and all(map(is_host, context.buffers["RS"])) else DEVICE
        parts.append(LoggedPart(f"{prefix}recurrent_state", added(states), where))
    for device, figure in context.buffers["compute"].items():
        parts.append(LoggedPart(f"{prefix}compute", figure, HOST if is_host(device) else DEVICE))
    for figure in context.buffers["output"].values():
        parts.append(LoggedPart(f"{prefix}output", figure, HOST))
    return parts


def other_parts(reader: Reader, draft: Load | None) -> list[LoggedPart]:
    """Return what is beside the model: a draft model, a vision tower, the smallest context checkpoint."""
    parts = load_parts(draft, "draft_") if draft else []
    for name, figure in reader.vision.items():
        kind, _, device = name.partition(" ")
        parts.append(LoggedPart(kind, figure, HOST if is_host(device) else DEVICE))
    if reader.checkpoints:
        smallest = min(reader.checkpoints)
        parts.append(LoggedPart("checkpoint", smallest[1], HOST))
    return parts
