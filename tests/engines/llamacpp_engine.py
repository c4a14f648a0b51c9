"""What the real llama.cpp makes of a header-only file: its quantizer's dry run, a model and a context without memory.

The bindings give the engine's functions; most figures are only in its log, which is read line by line.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp.llama_cpp as llama

from deployfit.runtimes.llamacpp.settings import LlamaCppSettings

BATCH = 2048  # as the programs start
FILE_TYPE = "LLAMA_FTYPE_MOSTLY_"
MIB_WRITTEN = 2**20 / 100  # sizes are logged as MiB with two decimals
TENSOR = re.compile(r"\[ *\d+/ *(\d+)\] (\S+) +- \[([\d, ]+)\], type = +(\w+), size = [^(\n]*(?:\((\w+)\))?\n")
NEEDS_IMATRIX = "will require an imatrix"

_log: list[str] = []


def _keep(_level: int, text: bytes, _data: int | None) -> None:
    _log.append(text.decode(errors="replace"))


_callback = llama.llama_log_callback(_keep)  # the engine keeps a bare pointer to it


def _start_log() -> None:
    llama.llama_log_set(_callback, None)
    _log.clear()


def _ggml(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of ggml, which the bindings load but do not offer."""
    function = getattr(llama._lib, name)
    function.restype, function.argtypes = result, list(arguments)
    return function


_type_name = _ggml("ggml_type_name", ctypes.c_char_p, ctypes.c_int)
_row_size = _ggml("ggml_row_size", ctypes.c_size_t, ctypes.c_int, ctypes.c_int64)
TYPES = {(_type_name(number) or b"").decode(): number for number in range(llama.GGML_TYPE_COUNT)}


def file_types() -> dict[str, int]:
    """Return the engine's recipes by name, those that its quantizer refuses among them."""
    return {name.removeprefix(FILE_TYPE): value for name, value in vars(llama).items() if name.startswith(FILE_TYPE)}


class Quantized(NamedTuple):
    """A tensor after quantization: ggml's name of its type in capitals, and its bytes."""

    type: str
    nbytes: int


class DryRun(NamedTuple):
    """What the quantizer would write."""

    accepted: bool
    tensors: dict[str, Quantized]
    needs_imatrix: bool

    @property
    def tensor_bytes(self) -> int:
        """All tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def dry_run(path: Path, recipe: str, *, imatrix: bool) -> DryRun:
    """Ask the quantizer. Whether there is an importance matrix decides types; for which tensors does not."""
    _start_log()
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.dry_run = file_types()[recipe], True
    if imatrix:
        one = (ctypes.c_float * 1)(1.0)
        entry = llama.llama_model_imatrix_data(name=b"stand-in", data=one, size=1)
        params.imatrix = (llama.llama_model_imatrix_data * 2)(entry)  # the second has no name: the end
    accepted = llama.llama_model_quantize(bytes(path), b"", ctypes.byref(params)) == 0
    log = "".join(_log)
    tensors, count = {}, 0
    for total, name, shape, source, target in TENSOR.findall(log):
        row, *rows = map(int, shape.split(","))
        kind = target or source
        tensors[name] = Quantized(kind.upper(), _row_size(TYPES[kind], row) * prod(rows))
        count = int(total)
    result = DryRun(accepted, tensors, NEEDS_IMATRIX in log)
    if accepted:
        logged = float(re.findall(r"quant size += +([\d.]+) MiB", log)[-1]) * 2**20
        assert len(tensors) == count, "lines of the log were not understood"
        assert abs(result.tensor_bytes - logged) <= MIB_WRITTEN, "sizes of the log were not understood"
    return result


@contextmanager
def loaded(path: Path) -> Iterator[Any]:
    """Give the model, of which only the header is read."""
    _start_log()
    params = llama.llama_model_default_params()
    params.no_alloc, params.load_mode, params.n_gpu_layers = True, llama.LLAMA_LOAD_MODE_NONE, 0
    model = llama.llama_model_load_from_file(bytes(path), params)
    assert model, "".join(_log)[-2000:]
    try:
        yield model
    finally:
        llama.llama_model_free(model)


def model_bytes(model: Any) -> int:
    """Return the bytes of the model's tensors."""
    return int(llama.llama_model_size(model))


class Caches(NamedTuple):
    """What a context keeps, in bytes, each within MIB_WRITTEN."""

    kv: float
    state: float


def caches(model: Any, settings: LlamaCppSettings) -> Caches:
    """Create a context as the command line does, with flash attention, and return what it logs."""
    _start_log()
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_seq_max = settings.context_tokens, settings.parallel
    params.n_ubatch, params.n_batch = settings.ubatch, max(settings.ubatch, BATCH)
    params.type_k, params.type_v = TYPES[settings.kv_type_k], TYPES[settings.kv_type_v]
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
    context = llama.llama_init_from_model(model, params)
    log = "".join(_log)
    assert context, log[-2000:]
    llama.llama_free(context)
    return Caches(_logged_size(log, "llama_kv_cache"), _logged_size(log, "llama_memory_recurrent"))


def _logged_size(log: str, function: str) -> float:
    (size,) = re.findall(rf"^{function}: size = +([\d.]+) MiB", log, re.MULTILINE)
    return float(size) * 2**20
