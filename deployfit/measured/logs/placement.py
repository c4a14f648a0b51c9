"""Weights in a log beside the predicted ones: pages that two buffers share, copies, and which types the file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from deployfit.layers.tensor import Part
from deployfit.measured.logs.log import EngineLog, Figure, LoggedModel, added, size
from deployfit.quants.weights import Weights
from deployfit.runtimes.runtime import DEVICE, HOST, MemoryPart
from deployfit.values import NamedTuple

ALIGNMENT = 32  # of tensors in a GGUF file, and in most buffers
ANOTHER_RECIPE = "another recipe, or another mixture of types, than the one asked for"
MOST_TYPES = 3  # that a reason names


class Held(NamedTuple):
    """What a log's buffers hold of the weights, with each page counted once, and what is to be known of it."""

    figure: Figure
    agrees: bool
    reason: str = ""


def padding_bytes(weights: Weights) -> int:
    """Return what a file or a buffer has between its tensors; most have a length that needs none."""
    return sum(-each.nbytes % ALIGNMENT * len(each.layers) for each in weights.classes)


class Stored(NamedTuple):
    """How the file of a log stores the predicted weights, as far as it is known.

    `mixture` says why weights may differ, "" if the file has as many tensors of each type as predicted. `padding_bytes`
    are between the tensors, `unused_bytes` are MTP layers that are not loaded.
    """

    mixture: str = ANOTHER_RECIPE
    padding_bytes: int = 0
    unused_bytes: int = 0


def held(log: EngineLog, name: str, parts: Sequence[MemoryPart], stored: Stored) -> Held:
    """Return the weights that were logged, a model's or those of the one that drafts; `parts` are the predicted ones.

    The GPU's mapping of a file reaches from the first to the last tensor that it needs, and the token embedding may
    stand between; a tied embedding is on the device as the output as well.
    """
    logged, padding = [part for part in log.parts if part.name == name], stored.padding_bytes
    total = added([part.figure for part in logged])
    device_bytes, host_bytes, shared_bytes = _predicted(parts)
    whole = device_bytes + host_bytes
    if total.holds(whole, padding):
        return Held(total, True)
    repacked = added([part.figure for part in logged if part.repacked])
    mapped = added([part.figure for part in logged if part.mapped and part.where == HOST])
    device = added([part.figure for part in logged if part.where == DEVICE])
    if repacked.nbytes:
        least, most = max(mapped.nbytes, repacked.nbytes + device.nbytes), total.nbytes
        copied = f"the CPU keeps {size(repacked.nbytes)} of them once more, in the order of its kernels"
        if device.nbytes and mapped.nbytes + device.nbytes > whole:
            copied += f", and its mapping of {size(mapped.nbytes)} has tensors that are on the GPU"
        return Held(total, False, copied if least - total.below_bytes <= whole <= most else "")
    between, is_mapped = total.nbytes - whole, any(part.mapped for part in logged)
    if is_mapped and not stored.mixture and 0 < between <= stored.unused_bytes + padding:
        return Held(
            total, False, f"{size(between)} of MTP layers that are not loaded lie between in the file's mapping"
        )
    if not (mapped.nbytes and device.nbytes):
        return Held(total, False)
    inside = f"the CPU's mapping of {size(mapped.nbytes)} is of tensors that the GPU's has too"
    tables = mapped.holds(host_bytes + shared_bytes, padding) or _is_partial(log)
    if device.holds(whole, padding) and tables:
        return Held(device, True, inside)
    if device.holds(device_bytes, padding) and tables:
        return Held(Figure(whole, device.below_bytes, device.above_bytes), True, inside)
    file = log.part("file_tensors") if name == "weights" else None
    overlap = device.nbytes + mapped.nbytes // 2 > (file.figure.nbytes if file else whole)
    if overlap and (tables or stored.mixture):
        return Held(device, False)
    return Held(total, False)


def _predicted(parts: Sequence[MemoryPart]) -> tuple[int, int, int]:
    """Return the bytes on the device, in ordinary memory, and of the first those that are mapped there as well."""
    device = sum(part.nbytes for part in parts if part.where == DEVICE)
    host = [part for part in parts if part.where == HOST]
    return device, sum(part.nbytes for part in host), sum(part.upper_bytes - part.nbytes for part in host)


def _is_partial(log: EngineLog) -> bool:
    offloaded, layers = log.settings.offloaded, log.settings.layers
    return offloaded is not None and layers is not None and offloaded < layers


def mixture(model: LoggedModel, weights: Weights) -> str:
    """Return why weights may differ: how the file's types are mixed; "" if as in the recipe, MTP layers or not."""
    logged = {name.upper(): count for name, count in model.types.items()}
    text = _types(weights, (Part.TEXT,))
    if not logged or "" in text:
        return ANOTHER_RECIPE
    if logged in (text, _types(weights, (Part.TEXT, Part.MTP))):
        return ""
    names = [name for name in {**text, **logged} if logged.get(name, 0) != text.get(name, 0)]
    names.sort(key=lambda name: -abs(logged.get(name, 0) - text.get(name, 0)))
    said = [f"{logged.get(name, 0)} tensors of {name} instead of {text.get(name, 0)}" for name in names[:MOST_TYPES]]
    return f"another mixture of types than the recipe's: {', '.join(said)}"


def _types(weights: Weights, parts: Sequence[Part]) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for each in weights.classes:
        if each.part in parts:
            counts[each.type.upper()] += len(each.layers)
    return dict(counts)
