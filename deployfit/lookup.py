"""Finding a quant by what a user types: `Q4_K_M`, `4bit`, `FP8`, `unsloth:UD-Q4_K_XL`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted, unknown
from deployfit.parameters import param
from deployfit.quants import shelf
from deployfit.quants.weights import GGUF, MLX, SAFETENSORS, Quant
from deployfit.runtimes import registry

if TYPE_CHECKING:
    from deployfit.words.quants import QuantWords


def find_quant(text: str, runtime: str | None = None) -> Quant:
    """Return what a text names; raise InputError if nothing is, or if the runtime does not load it.

    Names that several tools have (BF16) mean llama.cpp's unless the runtime says otherwise.

    >>> find_quant("4-bit").name, find_quant("unsloth:q4_k_m").name, find_quant("Q4").name
    ('q4_g64', 'unsloth:Q4_K_M', 'Q4_K_M')
    """
    quant = _plain_recipe(text, runtime) or _as_written(text) or _as_meant(text, runtime)
    if runtime is not None and registry.formats().get(quant.format) != runtime:
        raise InputError(not_loaded(quant, runtime))
    return quant


def _plain_recipe(text: str, runtime: str | None) -> Quant | None:
    """Return llama.cpp's recipe whose name a text is, letter by letter; None for any other text."""
    if runtime not in (None, registry.formats()[GGUF]) or text not in shelf.recipes():
        return None
    from deployfit.quants.gguf import GgufQuant

    return GgufQuant(shelf.recipes()[text])


def _as_written(text: str) -> Quant | None:
    """Return the publisher's recipe whose full name a text is, whatever its case."""
    publisher, colon, name = text.strip().casefold().partition(":")
    for each in shelf.publishers() if colon else ():
        if each.casefold() == publisher:
            known = shelf.publishers()[each]
            return next((known.quant(own) for own in known.names if own.casefold() == name), None)
    return None


def _as_meant(text: str, runtime: str | None) -> Quant:
    from deployfit.words.quants import quant_words

    meant = quant_words(text, None if runtime is None else registry.format_of(runtime))
    return published_quant(meant.publisher, meant.name) if meant.publisher else _own_quant(text, meant, runtime)


def find_publisher(name: str) -> str:
    """Return the publisher of that name, whatever its case."""
    typed = name.strip().casefold()
    for each in shelf.publishers():
        if each.casefold() == typed:
            return each
    begun = [each for each in shelf.publishers() if each.casefold().startswith(f"{typed}-")]
    if len(begun) == 1:  # "lmstudio" as LM Studio's own store has it
        return begun[0]
    raise unknown("publisher", name, shelf.publishers())


def published_quant(publisher: str, name: str) -> Quant:
    """Return a publisher's recipe."""
    return shelf.publishers()[find_publisher(publisher)].quant(name)


def not_loaded(quant: Quant, runtime: str) -> str:
    """Return the sentence that says that a runtime does not load a quant, and what does."""
    loader = registry.formats().get(quant.format)
    chosen = f"{param('runtime')} or {param('app')}"
    way_out = f"leave out {chosen}, or choose one of {loader}" if loader else "see deployfit quants for others"
    return f"{quant.name} is {quant.format}, which {runtime} does not load; {way_out}"


def _own_quant(typed: str, meant: QuantWords, runtime: str | None) -> Quant:
    from deployfit.words.quants import folded

    wanted = meant.format or (None if runtime is None else registry.format_of(runtime))
    for format_name in sorted((GGUF, MLX, SAFETENSORS), key=lambda each: wanted is None or each != wanted):
        if meant.format in (None, format_name) and (found := _named(meant.name, format_name)):
            return found
    published = [
        each.quant(name)
        for each in shelf.publishers().values()
        for name in each.names
        if folded(name) == folded(meant.name)
    ]
    loaded = [each for each in published if wanted is None or each.format == wanted]
    if apart := [each for each in loaded if not each.owner.row_of(each.recipe).joined]:
        loaded = apart  # a file of Ollama's library is for Ollama alone
    if len(loaded) == 1:
        return loaded[0]
    if published:
        if runtime is not None and not loaded:
            raise InputError(not_loaded(published[0], runtime))
        names = " or ".join(each.name for each in loaded)
        raise InputError(f"{quoted(typed)} is a publisher's recipe; say whose: {names}")
    kin = [each.quant(name).name for each in shelf.publishers().values() for name in each.names if _has(name, typed)]
    if kin:
        raise InputError(f"no recipe {quoted(typed)}; there {'is' if len(kin) == 1 else 'are'} {', '.join(kin)}")
    formats = (wanted,) if wanted else (GGUF, MLX)
    raise unknown("recipe", typed, [quant.name for each in formats for quant in shelf.own_quants(each)])


def _has(name: str, typed: str) -> bool:
    """Whether a publisher's recipe has what was typed as a word in its name: DWQ in 4bit-DWQ."""
    from deployfit.words.quants import folded

    return folded(typed) in folded(name).split("_")


def _named(text: str, format_name: str) -> Quant | None:
    try:
        if format_name == GGUF:
            from deployfit.formats.gguf_recipes import find_recipe
            from deployfit.quants.gguf import GgufQuant

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


def by_runtime(quants: Sequence[Quant]) -> Mapping[str, list[Quant]]:
    """Return the quants grouped by the runtime that loads them; raise InputError for one that none does."""
    grouped: dict[str, list[Quant]] = {}
    for quant in quants:
        runtime = registry.formats().get(quant.format)
        if runtime is None:
            raise InputError(
                f"{quoted(quant.name)} is a checkpoint for servers; neither {' nor '.join(registry.names())} is known"
                " to load it as it is; its size: deployfit quants MODEL"
            )
        grouped.setdefault(runtime, []).append(quant)
    return grouped
