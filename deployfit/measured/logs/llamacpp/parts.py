"""The parts of memory that a load allocated, its contexts', and those of the program around it."""

from __future__ import annotations

import re

from deployfit.measured.logs.breakdown import REPACKED, is_host
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


def load_parts(load: Load, prefix: str = "") -> list[LoggedPart]:
    """Return the weights of a load, the size of its file, and what its context and its MTP layers' allocated."""
    parts = [
        LoggedPart(
            f"{prefix}weights",
            figure,
            HOST if is_host(device) else DEVICE,
            mapped="_Mapped" in device,
            repacked=device in REPACKED,
        )
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
    for name, sizes, kind in (("kv_cache", context.cache_sizes, "KV"), ("recurrent_state", context.states, "RS")):
        buffers = context.buffers[kind]
        if not (sizes or buffers) or not context.is_whole(kind):
            continue
        allocated = added([each for each in buffers.values() if each.nbytes])  # 0.00 MiB: only planned
        figure = added(sizes) if sizes else allocated
        where = HOST if buffers and all(map(is_host, buffers)) else DEVICE
        again = allocated if allocated.nbytes and not figure.like(allocated) else None
        stored = context.cache_types if kind == "KV" else None
        parts.append(LoggedPart(f"{prefix}{name}", figure, where, again=again, stored=stored))
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
        tokens, figure = min(reader.checkpoints)
        parts.append(LoggedPart("checkpoint", figure, HOST, tokens=tokens))
    return parts
