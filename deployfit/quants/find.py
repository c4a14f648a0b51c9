"""Finding a quant by what a user types: `Q4_K_M`, `4bit`, `FP8`, `unsloth:UD-Q4_K_XL`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from deployfit.errors import InputError, quoted, unknown
from deployfit.formats.gguf_recipes import Recipe, find_recipe
from deployfit.quants.gguf import GgufQuant
from deployfit.quants.weights import GGUF, MLX, SAFETENSORS, Quant

if TYPE_CHECKING:
    from deployfit.formats.checkpoint import CheckpointRecipe
    from deployfit.formats.mlx import MlxRecipe
    from deployfit.quants.publishers import Publisher

LLAMACPP = "llama.cpp"
MLX_RUNTIME = "mlx"
RUNTIMES = (LLAMACPP, MLX_RUNTIME)
FORMAT_OF: Mapping[str, str] = {LLAMACPP: GGUF, MLX_RUNTIME: MLX}
RUNTIME_OF: Mapping[str, str] = {GGUF: LLAMACPP, MLX: MLX_RUNTIME}


class Shelf(NamedTuple):
    """Where the recipes are; each is read when it is needed."""

    recipes: Callable[[], Mapping[str, Recipe]]
    mlx_recipes: Callable[[], Mapping[str, MlxRecipe]]
    checkpoint_recipes: Callable[[], Mapping[str, CheckpointRecipe]]
    publishers: Callable[[], Mapping[str, Publisher]]


def own_quants(shelf: Shelf, format_name: str) -> list[Quant]:
    """Return what the tools themselves make in this format."""
    if format_name == GGUF:
        return [GgufQuant(recipe) for recipe in shelf.recipes().values()]
    if format_name == MLX:
        from deployfit.quants.mlx import MlxQuant

        return [MlxQuant(recipe) for recipe in shelf.mlx_recipes().values()]
    from deployfit.quants.checkpoint import CheckpointQuant

    return [CheckpointQuant(recipe) for recipe in shelf.checkpoint_recipes().values()]


def find_quant(text: str, shelf: Shelf, runtime: str | None = None) -> Quant:
    """Return what a text names; raise InputError if nothing is, or if the runtime does not load it.

    Names that several tools have (BF16) mean llama.cpp's unless the runtime says otherwise.
    """
    publisher, colon, name = text.strip().partition(":")
    if colon:
        known = shelf.publishers()
        folded = {each.casefold(): each for each in known}
        if publisher.casefold() not in folded:
            raise unknown("publisher", publisher, known)
        quant: Quant = known[folded[publisher.casefold()]].quant(name)
    else:
        quant = _own_quant(text, shelf, runtime)
    if runtime is not None and quant.format != FORMAT_OF[runtime]:
        raise InputError(not_loaded(quant, runtime))
    return quant


def not_loaded(quant: Quant, runtime: str) -> str:
    """Return the sentence that says that a runtime does not load a quant, and what does."""
    loader = RUNTIME_OF.get(quant.format)
    way_out = f"leave out --runtime, or choose --runtime {loader}" if loader else "see deployfit quants for others"
    return f"{quant.name} is {quant.format}, which {runtime} does not load; {way_out}"


def _own_quant(text: str, shelf: Shelf, runtime: str | None) -> Quant:
    order = sorted((GGUF, MLX, SAFETENSORS), key=lambda each: runtime is None or each != FORMAT_OF[runtime])
    for format_name in order:
        found = _named(text, shelf, format_name)
        if found is not None:
            return found
    formats = (FORMAT_OF[runtime],) if runtime else (GGUF, MLX)
    published = [
        each.quant(name)
        for each in shelf.publishers().values()
        for name in each.names
        if name.casefold() == text.strip().casefold()
    ]
    if published:
        loaded = [quant.name for quant in published if runtime is None or quant.format == FORMAT_OF[runtime]]
        if runtime is not None and not loaded:
            raise InputError(not_loaded(published[0], runtime))
        raise InputError(f"{quoted(text)} is a publisher's recipe; say whose: {' or '.join(loaded)}")
    names = [quant.name for each in formats for quant in own_quants(shelf, each)]
    raise unknown("recipe", text, names)


def _named(text: str, shelf: Shelf, format_name: str) -> Quant | None:
    try:
        if format_name == GGUF:
            return GgufQuant(find_recipe(text, shelf.recipes()))
        if format_name == MLX:
            from deployfit.formats.mlx import find_mlx_recipe
            from deployfit.quants.mlx import MlxQuant

            return MlxQuant(find_mlx_recipe(text, shelf.mlx_recipes()))
        from deployfit.formats.checkpoint import find_checkpoint_recipe
        from deployfit.quants.checkpoint import CheckpointQuant

        return CheckpointQuant(find_checkpoint_recipe(text, shelf.checkpoint_recipes()))
    except InputError:
        return None


def find_runtime(text: str) -> str:
    """Return the runtime of that name, whatever its case."""
    for runtime in RUNTIMES:
        if text.strip().casefold() in (runtime.casefold(), runtime.replace(".", "")):
            return runtime
    raise unknown("runtime", text, RUNTIMES)


def by_runtime(quants: Sequence[Quant]) -> Mapping[str, list[Quant]]:
    """Return the quants grouped by the runtime that loads them; raise InputError for one that none does."""
    grouped: dict[str, list[Quant]] = {}
    for quant in quants:
        if quant.format not in RUNTIME_OF:
            raise InputError(
                f"{quoted(quant.name)} is a checkpoint for servers; neither llama.cpp nor mlx-lm is known to load it"
                " as it is; its size: deployfit quants MODEL"
            )
        grouped.setdefault(RUNTIME_OF[quant.format], []).append(quant)
    return grouped
