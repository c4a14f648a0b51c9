"""Names of models that are more than a name: taken apart, and put together as the model and file that they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from deployfit.errors import InputError, quoted
from deployfit.quants.weights import GGUF
from deployfit.words.aliases import TAG, AliasRow
from deployfit.words.named import Named, PublishedName
from deployfit.words.quants import FORMAT_WORDS, recognized
from deployfit.words.references import OLLAMA, Reference, is_path, reference
from deployfit.words.spellings import Ending, Known, Spellings, endings, is_size, without_maker
from deployfit.words.text import cleaned, words

if TYPE_CHECKING:
    from deployfit.models import ModelRow
    from deployfit.quants.publishers import PublisherRow

MOST_LISTED = 24  # models in a message
QAT_RECIPE = "Q4_0"  # of Ollama's -qat tags: what quantization-aware training aims at
LATEST = "latest"  # what Ollama takes where there is no tag
_REVISIONS = ("main", LATEST)


@lru_cache(maxsize=2)
def _spellings(models: tuple[ModelRow, ...], aliases: tuple[AliasRow, ...]) -> Spellings:
    return Spellings(models, aliases)


class Reader:
    """Reads one text that is not plainly the name of a model."""

    def __init__(
        self,
        text: str,
        models: Sequence[ModelRow],
        publishers: Sequence[PublisherRow],
        aliases: Sequence[AliasRow],
        recipes: Callable[[], Iterable[PublishedName]],
    ) -> None:
        self.text = text
        self.models = models
        self.publishers = publishers
        self.aliases = aliases
        self.recipes = recipes
        self.reference = _without_revision(reference(text))
        self.spellings = _spellings(tuple(models), tuple(aliases))

    def named(self) -> Named:
        """Return what the text means; a publisher's name may stand before or behind what is his."""
        try:
            return self._named_whole()
        except InputError:
            for text in self._as_publishers():
                try:
                    return Reader(text, self.models, self.publishers, self.aliases, self.recipes)._named_whole()
                except InputError:
                    continue
            raise

    def _as_publishers(self) -> Iterator[str]:
        """Yield the text with the publisher that is named in it written as an owner: unsloth/Qwen3.5 27B Q4_K_M."""
        typed = cleaned(self.text).split(" ")
        if len(typed) > 1 and not (self.reference.owner or self.reference.host):
            known = {each.name.casefold() for each in self.publishers}
            for whose, rest in ((typed[0], typed[1:]), (typed[-1], typed[:-1])):
                if whose.casefold() in known:
                    yield f"{whose}/{' '.join(rest)}"

    def _named_whole(self) -> Named:
        name, tag, file = self._words()
        if self.reference.host == OLLAMA and not tag and self._found((*name, LATEST)):
            tag = (LATEST,)
        found = self._named(name, tag)
        if found is None:
            return self._beginning((*name, *tag))
        if not file:
            return self._as_named(*found)
        of_file = self._found(file)
        if of_file is None or of_file[0].model != found[0].model:
            raise self._unknown(file)
        return self._as_named(found[0], of_file[1] if of_file[1].quant or of_file[1].published else found[1])

    def _words(self) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        """Return the words of name, tag and file; a file without a repository is the name."""
        name, tag, file = self.reference.name, self.reference.tag, self.reference.file
        of_file = (*words(_stem(file)), *(["gguf"] if _is_gguf(file) else []))
        if not (words(name) or of_file):
            raise InputError(f"expected the name of a model, got {quoted(self.text)}")
        if of_file[:1] == ("mmproj",):
            raise InputError(f"{quoted(self.text)} is a vision tower without its model; name the model's own file")
        if words(tag)[-1:] == ("cloud",):
            raise InputError(f"{quoted(self.text)} runs on Ollama's own servers, not on a Mac")
        if not words(name):
            return of_file, (), ()
        if _is_gguf(file) or not recognized("_".join(of_file)):
            return words(name), words(tag), of_file if _is_gguf(file) else ()
        return words(name), (*words(tag), *of_file), ()  # a folder called by its recipe

    def _named(self, name: Sequence[str], tag: Sequence[str]) -> tuple[Known, Ending] | None:
        """Return the model that name and tag mean; a tag of no known kind may be a recipe that its publisher knows."""
        found = self._found((*name, *tag))
        if found is not None or not tag:
            return found
        if any(map(is_size, tag)):  # "qwen3.5-instruct:4b" of a user of Ollama's
            sized = (self._found((*rest, *tag)) for rest, _ in endings(name))
            return next(filter(None, sized), None)
        alone = None if self._is_ollama else self._whole(name)
        return alone and (alone[0], alone[1]._replace(quant=self.reference.tag))

    def _found(self, name: Sequence[str]) -> tuple[Known, Ending] | None:
        """Return the model that a name is, with what stands behind it: a publisher's own recipe before any other."""
        found = self._whole(name)
        return found if found and not any(found[1]) else self._published(name) or found

    def _published(self, name: Sequence[str]) -> tuple[Known, Ending] | None:
        """Return what a name means by one of its publisher's own recipes, None if by none of them.

        The longest name of a recipe counts, QAT-Q4_0 before Q4_0; a format's word in it counts nothing.
        """
        fitting: list[tuple[tuple[int, int], tuple[Known, Ending]]] = []
        stated = {FORMAT_WORDS[word] for word in name if word in FORMAT_WORDS}
        typed = _without_format(name)
        for recipe in self._recipes:
            own = _without_format(words(recipe.recipe))
            found = self._whole(typed[: -len(own)]) if typed[-len(own) :] == own else None
            if found is None or found[1].quant or not stated <= {recipe.format}:
                continue
            if recipe.format == GGUF and not stated and self._is_maker(found[0].model):
                continue  # "qwen/qwen3.5-27b@q4_k_m" is LM Studio's word for a file that is not Qwen's
            fitting.append(((len(own), -len(recipe.recipe)), (found[0], found[1]._replace(published=recipe))))
        return max(fitting, key=lambda fit: fit[0])[1] if fitting else None

    def _whole(self, name: Sequence[str]) -> tuple[Known, Ending] | None:
        """Return the model that a name is, with what stands behind it; raise InputError if that is several."""
        for meant in self._meanings:
            for rest, ending in endings(name):
                for spelled in dict.fromkeys((tuple(rest), tuple(without_maker(rest)))):
                    found = meant(spelled)
                    if len(found) > 1:
                        raise self._ambiguous(found)
                    if found:
                        return found[0], ending
        return None

    @property
    def _meanings(self) -> Sequence[Callable[[Sequence[str]], list[Known]]]:
        """How a name is found, one way after the other; Ollama's tags have the size before what parts the models."""
        ways = (self.spellings.models, self.spellings.sized)
        return (*ways, self.spellings.reordered) if self._is_ollama else ways

    def _beginning(self, name: Sequence[str]) -> Named:
        """Return the one model whose name begins so, its size included; raise InputError for several or none."""
        for rest, ending in endings(name):
            found = self.spellings.beginning(rest)
            if len(found) == 1 and any(map(is_size, rest)):
                return self._as_named(found[0], ending)
            candidates = found or self.spellings.containing(rest) or self.spellings.continued(rest)
            if candidates and not self.reference.repository:  # a repository's name is whole: it is another model
                raise self._ambiguous(candidates)
        raise self._unknown(name)

    def _as_named(self, found: Known, ending: Ending) -> Named:
        """Return the model, its recipe by the spelling of the format, and whose file it is."""
        if ending.published:
            publisher, format_name, recipe = ending.published
            return Named(found.model, recipe, format_name, publisher, None, ending.mtp, found.alias or None)
        stated = ending.format or (GGUF if _is_gguf(self.reference.file) else None)
        formats = {publisher.format for publisher in self._known}
        usual = stated or (next(iter(formats)) if len(formats) == 1 else None)
        quant = recognized(ending.quant, usual) if ending.quant else None
        if quant and stated and quant.format not in (None, stated):
            raise InputError(f"{quoted(self.text)}: {quant.name} is {quant.format}'s, not {stated}'s")
        own_format = (quant and quant.format) or (usual if quant else stated)
        if self._is_ollama and own_format is None and self._known:
            own_format = GGUF
        name = quant.name if quant else ending.quant or None
        whose = next((each.name for each in self._known if each.format == own_format), None)
        if whose and self._is_ollama and name is None:
            name = QAT_RECIPE if ending.qat else self._ollamas_own(found.model)
        maker = self._is_maker(found.model)
        if whose and quant and (self._unseen(quant.name, own_format) or (maker and not stated)):
            whose = None  # its own file is not known; what the tools make of the model is
        owner = self.reference.owner or (OLLAMA if self._is_ollama else None)
        if whose or (maker and not (name or own_format)):
            owner = None
        return Named(found.model, name, own_format, whose, owner, ending.mtp, found.alias or None)

    def _is_maker(self, model: str) -> bool:
        """Whether the repository is one of the model's maker, who may have files of several formats."""
        row = next(row for row in self.models if row.name == model)
        return self.reference.owner.casefold() == row.hub_repo.partition("/")[0].casefold()

    def _unseen(self, recipe: str, format_name: str | None) -> bool:
        """Whether the publisher has recipes of that format, and this is none of them."""
        own = [each.recipe.casefold() for each in self._recipes if each.format == format_name]
        return bool(own) and recipe.casefold() not in own

    @cached_property
    def _known(self) -> list[PublisherRow]:
        """The publishers whose repository is named; one publisher may have a row per format."""
        owner = OLLAMA if self._is_ollama else self.reference.owner.casefold()
        return [
            each
            for each in self.publishers
            if owner and owner in (each.name.casefold(), each.repo.partition("/")[0].casefold())
        ]

    @cached_property
    def _recipes(self) -> list[PublishedName]:
        names = {publisher.name for publisher in self._known}
        return [recipe for recipe in dict.fromkeys(self.recipes()) if recipe.publisher in names] if names else []

    @cached_property
    def _is_ollama(self) -> bool:
        """Whether the name is one of Ollama's library: those have the size in the tag and no capitals."""
        name, tag = self.reference.name, self.reference.tag
        if self.reference.host or self.reference.owner:
            return self.reference.host == OLLAMA and not self.reference.owner
        return bool(tag) and name == name.lower() and not any(map(is_size, words(name)))

    def _ollamas_own(self, model: str) -> str | None:
        """Return the recipe of the file that a tag without a recipe means."""
        return next((row.quant for row in self.aliases if (row.kind, row.model) == (TAG, model) and row.quant), None)

    def _ambiguous(self, found: Sequence[Known]) -> InputError:
        names = [known.model for known in found]
        if len(names) == 1:
            return InputError(f"{quoted(self.text)} is not a whole name; is {names[0]} meant? {self._way_out()}")
        return InputError(f"{quoted(self.text)} may be {_listed(names)}; say which")

    def _unknown(self, name: Sequence[str]) -> InputError:
        """Return the error for a name that is no model's: what comes near it, and how to ask about it all the same."""
        from deployfit.words.near import near

        hint = near(name, self.spellings)
        end = "" if hint.endswith("?") else "."
        return InputError(f"no model {quoted(self.text)} in the catalogue{hint}{end} {self._way_out()}")

    def _way_out(self) -> str:
        if is_path(self.text):
            return "Only fit looks into files"
        return f"For another model ask with hub:{self.reference.repository or 'OWNER/NAME'}, or give its file"


def _without_revision(found: Reference) -> Reference:
    return found._replace(tag="") if found.owner and found.tag.casefold() in _REVISIONS else found


def _without_format(name: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in name if word not in FORMAT_WORDS)


def _is_gguf(file: str) -> bool:
    return file.casefold().endswith(".gguf")


def _stem(file: str) -> str:
    """Return a file's name without its ending and the number of its part.

    >>> _stem("Qwen3.5-397B-A17B-Q4_K_M-00001-of-00006.gguf")
    'Qwen3.5-397B-A17B-Q4_K_M'
    """
    part = r"(?:[-.][0-9]{5}-of-[0-9]{5})?(?: ?\([0-9]{1,2}\))?"  # browsers number what is downloaded again
    return re.sub(rf"{part}\.(?:gguf|safetensors)$", "", file, flags=re.IGNORECASE)


def _listed(names: Sequence[str]) -> str:
    if len(names) > MOST_LISTED:
        return ", ".join(names[:MOST_LISTED]) + f" or one of {len(names) - MOST_LISTED} others"
    return f"{', '.join(names[:-1])} or {names[-1]}"
