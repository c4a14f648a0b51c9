"""What a log says, whichever program printed it: model, settings, Mac, memory by part, speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from deployfit.measured.logs.names import public_name
from deployfit.runtimes.runtime import DEVICE
from deployfit.units import GB, GIB, KIB, MIB
from deployfit.values import NamedTuple

UNITS: Mapping[str, int] = {
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": 1024 * GIB,
    "KB": 1000,
    "MB": 10**6,
    "GB": GB,
}


class Figure(NamedTuple):
    """Bytes as they were printed, and what rounding may hide on either side."""

    nbytes: int
    below_bytes: int = 0
    above_bytes: int = 0

    def holds(self, nbytes: int, more: int = 0) -> bool:
        """Whether the exact number, printed the same way, would read so; or one that is up to so much larger."""
        return self.nbytes - self.below_bytes - more <= nbytes <= self.nbytes + self.above_bytes

    def like(self, other: Figure) -> bool:
        """Whether one number may have been printed as both."""
        apart = other.nbytes - self.nbytes
        return -(self.below_bytes + other.above_bytes) <= apart <= self.above_bytes + other.below_bytes


def rounded(number: str, unit: int) -> Figure:
    """Return the bytes of a printed number; half of its last digit may be missing or too much.

    >>> rounded("77.06", MIB)
    Figure(nbytes=80803267, below_bytes=5243, above_bytes=5243)
    """
    half = -(-unit // (2 * 10 ** len(number.partition(".")[2])))
    return Figure(round(float(number) * unit), half, half)


def cut_off(number: str, unit: int) -> Figure:
    """Return the bytes of a whole number of units that was printed without its remainder.

    >>> cut_off("5294", MIB).holds(5294 * MIB + MIB - 1)
    True
    """
    return Figure(int(number) * unit, 0, unit - 1)


def added(figures: Sequence[Figure]) -> Figure:
    """Return the sum, with all that rounding may hide."""
    return Figure(*(sum(figure[index] for figure in figures) for index in range(3)))


class LoggedPart(NamedTuple):
    """A figure of the log. `name` and `where` are those of a `MemoryPart`, or a whole: `context`, `peak`, `gpu_limit`.

    `mapped`: it is a file's mapping, which another mapping of the same file may overlap. `repacked`: it is a second
    copy of weights, in the order of the CPU's kernels. `said`: it is the program's own estimate. `again`: what other
    lines say of it, where that is something else. `tokens`: of a context checkpoint, the tokens so far.
    `stored`: of a KV cache, the types of keys and values.
    """

    name: str
    figure: Figure
    where: str = DEVICE
    mapped: bool = False
    repacked: bool = False
    said: bool = False
    again: Figure | None = None
    tokens: int = 0
    stored: tuple[str, str] | None = None


class LoggedSpeed(NamedTuple):
    """A speed: `what` is decode or prefill, over so many tokens, with so many in the context before (None: unknown)."""

    what: str
    tokens: int
    context_tokens: int | None
    tps: float


class Cache(NamedTuple):
    """One of the KV caches that llama.cpp made: cells of each stream, layers, types.

    `window`: it is that of layers with a window. `values`: it has values, which a latent cache has not.
    """

    cells: int
    layers: int
    streams: int
    kv_type_k: str
    kv_type_v: str
    window: bool = False
    values: bool = True


class LoggedModel(NamedTuple):
    """What a log says of the model. Paths are not kept: `file` is a base name, `repository` a public one.

    `file_type` is llama.cpp's name of the recipe ("Q4_K - Medium"), `quant` a recipe's name as users type it, where a
    file, a repository or the program gives one. `numbers` are those of the header, by llama.cpp's words; `types` count
    tensors by their type.
    """

    file: str = ""
    repository: str = ""
    name: str = ""
    architecture: str = ""
    file_type: str = ""
    quant: str = ""
    params: int = 0
    numbers: Mapping[str, tuple[int, ...]] = {}
    types: Mapping[str, int] = {}

    @property
    def title(self) -> str:
        """What to call it in a message, "" where none of its names is a public one."""
        return next(filter(None, map(public_name, self._names)), "")

    @property
    def called(self) -> str:
        """What tells it from other models; it may be anything, and is not for a message."""
        return next(filter(None, self._names), "")

    @property
    def _names(self) -> tuple[str, ...]:
        return self.name, self.file, self.repository.rpartition("/")[2], self.architecture


class LoggedSettings(NamedTuple):
    """How the program was started, as far as the log says; None where it does not.

    `context_tokens` are all sequences together. `draft`: "mtp", "model" or "" for none. `offloaded`: layers on the GPU,
    of `layers`. `fitted_from`: the context before the program made it smaller or larger by itself. `outputs_max`: how
    many tokens of a batch get logits.
    """

    context_tokens: int | None = None
    parallel: int | None = None
    kv_unified: bool | None = None
    batch: int | None = None
    ubatch: int | None = None
    kv_type_k: str | None = None
    kv_type_v: str | None = None
    flash_attention: bool | None = None
    mmap: bool | None = None
    draft: str | None = None
    draft_max: int | None = None
    vision: bool | None = None
    offloaded: int | None = None
    layers: int | None = None
    checkpoints: int | None = None
    prompt_cache_mib: int | None = None
    kv_bits: int | None = None
    prefill_step_size: int | None = None
    prompt_tokens: int | None = None
    fitted_from: int | None = None
    swa_full: bool | None = None
    outputs_max: int | None = None
    cpu_moe: bool | None = None
    n_cpu_moe: int | None = None


class LoggedMac(NamedTuple):
    """The Mac: chip, memory in bytes and what it lends to the GPU, as far as the log says.

    `device` is what computed: Metal, CPU or another backend.
    """

    chip: str = ""
    memory_bytes: int = 0
    limit: Figure | None = None
    device: str = ""


class EngineLog(NamedTuple):
    """A log. `notes` are sentences of ours about what was seen; nothing of a user is repeated in them.

    `drafter`: the model that drafts, where that is one of its own.
    """

    program: str
    runtime: str
    version: str = ""
    build: int = 0  # llama.cpp's number, 0 where it is not said
    model: LoggedModel = LoggedModel()
    settings: LoggedSettings = LoggedSettings()
    mac: LoggedMac = LoggedMac()
    parts: tuple[LoggedPart, ...] = ()
    caches: tuple[Cache, ...] = ()
    speeds: tuple[LoggedSpeed, ...] = ()
    notes: tuple[str, ...] = ()
    drafter: LoggedModel = LoggedModel()

    def part(self, name: str, where: str = "") -> LoggedPart | None:
        """Return the part of a name, with the figures of device and host added unless one is asked for."""
        found = [part for part in self.parts if part.name == name and where in ("", part.where)]
        return found[0]._replace(figure=added([part.figure for part in found])) if found else None

    @property
    def recognised(self) -> str:
        """What was understood, in a line."""
        seen = [f"{self.program} {self.version}".strip(), self.model.title]
        seen += [f"{name} {size(figure.nbytes)}" for name, figure in self._sums().items()]
        return ", ".join(part for part in seen if part)

    def _sums(self) -> Mapping[str, Figure]:
        names = dict.fromkeys(part.name for part in self.parts)
        return {name: found.figure for name in names if (found := self.part(name))}


def size(nbytes: int) -> str:
    """Return bytes as MiB, for a message.

    >>> size(80803267)
    '77.06 MiB'
    """
    return f"{nbytes / MIB:.2f} MiB"


T = TypeVar("T", LoggedModel, LoggedSettings, LoggedMac)


def completed(found: T, other: T) -> T:
    """Return what was found, with what only the other knows."""
    kind: Any = type(found)
    pairs = zip(found, other, kind(), strict=True)
    filled: T = kind(*(theirs if mine == default else mine for mine, theirs, default in pairs))
    return filled


def merged(engine: EngineLog, application: EngineLog) -> EngineLog:
    """Return one log of an engine's lines and those of the application that started it.

    The application has the name; what both say is taken from the engine.
    """
    engine_parts = {part.name for part in engine.parts}
    own = engine_parts & {"weights", "kv_cache", "compute"}
    parts = [part for part in application.parts if part.name not in engine_parts and not (own and part.said)]
    return application._replace(
        runtime=engine.runtime,
        version=application.version or engine.version,
        build=engine.build,
        model=completed(engine.model, application.model),
        settings=completed(engine.settings, application.settings),
        mac=completed(engine.mac, application.mac),
        parts=(*engine.parts, *parts),
        caches=engine.caches,
        drafter=engine.drafter,
        speeds=engine.speeds or application.speeds,
        notes=(*engine.notes, *application.notes),
    )
