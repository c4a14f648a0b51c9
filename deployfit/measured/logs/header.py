"""Caches and state of a model that the catalogue does not have, from the header that its engine printed.

llama.cpp prints the width of keys and values and the sizes of recurrent layers, and for every cache how many layers and
cells it has; all other layers are recurrent. Source: `llama_hparams::n_embd_r` and `n_embd_s`, `llama_kv_cache`.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.basis import Basis
from deployfit.formats.ggml import TENSOR_TYPES
from deployfit.measured.logs.log import Cache, EngineLog
from deployfit.runtimes.runtime import MemoryPart

FLOAT32_BYTES = 4
HOW = "from the log's own header: the catalogue does not have this model"


def parts_from_header(log: EngineLog) -> list[MemoryPart]:
    """Return the KV cache and the recurrent state; nothing where the header does not say enough."""
    numbers = log.model.numbers
    caches = [_cache_bytes(cache, numbers) for cache in log.caches]
    parts = []
    if caches and all(caches):
        parts.append(_part("kv_cache", "KV cache", sum(caches)))
    state = _state_bytes(log)
    if state:
        parts.append(_part("recurrent_state", "recurrent state", state))
    return parts


def _part(name: str, label: str, nbytes: int) -> MemoryPart:
    return MemoryPart(name, label, nbytes, nbytes, Basis.DERIVED, HOW)


def _one(numbers: Mapping[str, tuple[int, ...]], *names: str) -> int:
    """Return the number of the first name that has one, the same for all layers; 0 where there is none."""
    for name in names:
        values = {value for value in numbers.get(name, ()) if value}
        if len(values) == 1:
            return values.pop()
    return 0


def _width(cache: Cache, numbers: Mapping[str, tuple[int, ...]], letter: str) -> int:
    """Return the width of a layer's keys or values; where layers differ, of those that are as many as the cache's."""
    widths = [width for width in numbers.get(f"n_embd_{letter}_gqa", ()) if width]
    if len(widths) == 1:
        return widths[0]
    counted = {width for width in widths if widths.count(width) == cache.layers}
    return counted.pop() if len(counted) == 1 else _one(numbers, f"n_embd_{letter}_gqa")


def _cache_bytes(cache: Cache, numbers: Mapping[str, tuple[int, ...]]) -> int:
    total = 0
    for letter, kind in (("k", cache.kv_type_k), ("v", cache.kv_type_v)):
        if letter == "v" and not cache.values:
            continue
        width, stored = _width(cache, numbers, letter), TENSOR_TYPES.get(kind.upper())
        if stored is None or not width or width % stored.block_size:
            return 0
        total += stored.nbytes(width)
    return total * cache.cells * cache.streams * cache.layers


def _recurrent_layers(log: EngineLog) -> int:
    """Return the layers without a cache; of models with layers that are feed-forward only, those that are neither.

    Of Nemotron-H, recurrent layers are those with neither heads nor a feed-forward width.
    """
    numbers = log.model.numbers
    heads, widths = numbers.get("n_head_kv", ()), numbers.get("n_ff", ())
    if len(heads) == len(widths) > 1:
        neither = sum(not head and not width for head, width in zip(heads, widths, strict=True))
        if neither:
            return neither
    return _one(numbers, "n_layer") - sum(cache.layers for cache in log.caches)


def _elements(numbers: Mapping[str, tuple[int, ...]]) -> int:
    """Return the numbers that a recurrent layer keeps of a sequence: its convolution's and its state's."""
    short = _one(numbers, "shortconv.l_cache")
    if short:
        return _one(numbers, "n_embd") * (short - 1)
    kernel, head = _one(numbers, "ssm_d_conv", "ssm.conv_kernel"), _one(numbers, "kda.head_dim")
    if head:
        return _one(numbers, "n_head") * head * (3 * (kernel - 1) + head)
    inner, state = _one(numbers, "ssm_d_inner"), _one(numbers, "ssm_d_state")
    return (kernel - 1) * (inner + 2 * _one(numbers, "ssm_n_group") * state) + state * inner if kernel else 0


def _state_bytes(log: EngineLog) -> int:
    settings, layers = log.settings, _recurrent_layers(log)
    if not settings.parallel or layers <= 0:
        return 0
    copies = 1 + (settings.draft_max or 0 if settings.draft == "mtp" else 0)
    return settings.parallel * copies * layers * _elements(log.model.numbers) * FLOAT32_BYTES
