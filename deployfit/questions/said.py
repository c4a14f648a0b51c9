"""What names of models say of their files, which is asked where nothing else says which file is meant."""

from __future__ import annotations

from collections.abc import Sequence

from deployfit.errors import InputError
from deployfit.lookup import find_quant
from deployfit.models import Model
from deployfit.parameters import option, param
from deployfit.quants.weights import GGUF, Options
from deployfit.questions.resolve import known_or_alike, own_alike
from deployfit.runtimes import registry
from deployfit.words.named import Named


def said_quant(model: Model, said: Named) -> list[str]:
    """Return the file that a model's name says, if its publisher's recipe is known, else the tool's own recipe.

    Not where what the tool makes of a model is far from what publishers call by that name.
    """
    if not said.quant_text:
        return []
    from deployfit.quants.shipped import not_shipped

    other = bool(not_shipped(model, said.format or GGUF, said.quant or ""))
    if said.owner and other:
        return []
    try:
        found = find_quant(said.quant_text, registry.formats().get(said.format or ""))
        return [] if other and found.publisher and not found.published(model) else [found.name]
    except InputError:
        own = own_alike(said.quant or "", said.format or GGUF)
        return [own.name] if own else []


def check_known(model: Model, names: Sequence[str], text: str) -> None:
    """Raise InputError for a file of a repository of which nothing is known here, with how to ask the Hub about it."""
    from deployfit.words.references import reference

    meant = reference(text)
    for name in names if meant.repository else ():
        quant = known_or_alike(find_quant(name), model)
        try:
            quant.weights(model, Options())
        except InputError as error:
            recipe = name.rpartition(":")[2]
            is_typed = quant.format == GGUF and recipe.casefold() in f"{meant.tag} {meant.file}".casefold()
            file = f" {option('file')} '*{recipe}*'" if is_typed else ""
            raise InputError(
                f"{error.marked.partition(';')[0]}; the file itself: deployfit fit hub:{meant.repository}{file}"
            ) from None


def without_file(said: Named, names: Sequence[str]) -> Named:
    """Return what a name says where the tool's own recipe is answered in place of its publisher's file."""
    if said.publisher is None or any(":" in name for name in names):
        return said
    return said._replace(publisher=None, owner=said.publisher)


def with_files(model: Model, said: Named) -> Named:
    """Return what a name says, its publisher among the others where no file of his is known."""
    if said.publisher is None:
        return said
    from deployfit.questions.choices import published_files

    known = (each.publisher for name in registry.formats() for each in published_files(model, name))
    if said.publisher in known:
        return said
    return said._replace(publisher=None, owner=said.publisher)


def files_said(named: Sequence[tuple[Model, Named]]) -> tuple[list[str], str | None]:
    """Return what the names of models say of their files, which is asked of each: quants, or a publisher.

    Raise InputError where some say a file and others none.
    """
    quants = [said_quant(model, said) for model, said in named]
    if all(quants):
        return [name for names in quants for name in names], None
    publishers = {with_files(model, said).publisher for model, said in named}
    if any(quants) or len(publishers) > 1:
        raise InputError(f"some of these names say a file, others none or another's; say it with {param('quant')}")
    return [], publishers.pop() if publishers else None
