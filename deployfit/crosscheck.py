"""Cross-check: what the Hub has today, set against the catalogue and the published sizes that are written down."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from deployfit.architectures.registry import ArchitectureRow, read_blueprint
from deployfit.errors import DeployfitError, quoted
from deployfit.models import Model
from deployfit.quants.published_sizes import PublishedSize, is_model
from deployfit.quants.publishers import Publisher, matches
from deployfit.quants.weights import GGUF
from deployfit.repository import MODEL, FileGroup, Repository, group_files
from deployfit.values import NamedTuple


class RepositoryToAsk(NamedTuple):
    """A repository that should be asked about: whose, of which model, and of which recipe if it holds only one."""

    repo_id: str
    publisher: str
    model: str
    recipe: str
    format: str


def repositories(
    sizes: Sequence[PublishedSize], publishers: Mapping[str, Publisher], models: Mapping[str, Model]
) -> list[RepositoryToAsk]:
    """Return the repositories that published sizes are about, and those where publishers keep GGUF files."""
    found = {}
    for size in sizes:
        publisher = publishers.get(size.publisher)
        row = publisher.rows.get(size.format) if publisher else None
        if row is None or row.joined or size.model not in models or "-MTP-" in size.repo:
            continue
        recipe = "" if row.format == GGUF else size.recipe
        found[size.repo] = RepositoryToAsk(size.repo, size.publisher, size.model, recipe, row.format)
    for publisher in publishers.values():
        gguf = publisher.rows.get(GGUF)
        if gguf is not None and not gguf.joined:
            for model in (each for each in models if matches(each, gguf.models)):
                repo_id = gguf.repo.format(model=model)
                found.setdefault(repo_id, RepositoryToAsk(repo_id, publisher.name, model, "", GGUF))
    return sorted(found.values())


def recipe_of(group: FileGroup, model: str) -> str:
    """Return the recipe that a GGUF file's name tells, "" if it tells none.

    >>> from deployfit.repository import RepoFile
    >>> file = RepoFile("UD-Q4_K_XL/Qwen3.5-397B-A17B-UD-Q4_K_XL.gguf", 1, "")
    >>> recipe_of(FileGroup(file.name, "GGUF", "model", (file,), 0), "Qwen3.5-397B-A17B")
    'UD-Q4_K_XL'
    """
    stem = group.plain_name.rpartition("/")[2].rpartition(".")[0]
    _, found, rest = stem.partition(model)
    recipe = rest.lstrip("-.") if found else ""
    if not PLAIN.fullmatch(recipe):  # it goes into tables and onto the terminal, and anybody may name a file
        return ""
    return "BF16" if recipe.casefold() == "bf16" else recipe


def sizes_of(
    repository: Repository, asked: RepositoryToAsk, publisher: Publisher, date: str
) -> Iterator[PublishedSize]:
    """Yield the sizes that a repository publishes today: its model files, or all of them together.

    What is empty, or there twice under one recipe in different sizes, is no size that one can go by.
    """
    groups = [group for group in group_files(repository.files) if group.role == MODEL and not group.missing]
    parts = publisher.contents(asked.format, asked.model)

    def row(recipe: str, nbytes: int) -> PublishedSize:
        return PublishedSize(
            publisher=asked.publisher,
            repo=asked.repo_id,
            model=asked.model,
            recipe=recipe,
            format=asked.format,
            nbytes=nbytes,
            plus_minus_bytes=0,
            of="file",
            contains=parts,
            date=date,
            confidence="high",
            source=f"the Hub's list of files at {repository.commit[:12]}",
            note="",
        )

    if asked.format == GGUF:
        found: dict[str, set[int]] = {}
        for group in groups:
            recipe = recipe_of(group, asked.model)
            if group.format == GGUF and recipe:
                found.setdefault(recipe, set()).add(group.nbytes)
        for recipe, nbytes in found.items():
            if len(nbytes) == 1 and 0 not in nbytes:
                yield row(recipe, *nbytes)
    else:
        total = sum(group.nbytes for group in groups if group.format != GGUF)
        if total:
            yield row(asked.recipe, total)


PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,60}")


def changes(today: Sequence[PublishedSize], known: Sequence[PublishedSize]) -> list[PublishedSize]:
    """Return today's sizes that are not written down as the latest exact ones."""
    latest: dict[tuple[str, str, str], PublishedSize] = {}
    for size in sorted(known, key=lambda each: each.date):
        if size.is_exact and size.of == "file":
            latest[size.publisher, size.model, size.recipe] = size
    return [
        size
        for size in today
        if (size.publisher, size.model, size.recipe) not in latest
        or latest[size.publisher, size.model, size.recipe].nbytes != size.nbytes
    ]


def gone(
    today: Sequence[PublishedSize], known: Sequence[PublishedSize], repo_ids: Collection[str]
) -> list[PublishedSize]:
    """Return the GGUF files that are written down and that their repository, one of these, does not have any more."""
    there = {(size.repo, size.recipe) for size in today}
    return [
        size
        for size in {(size.repo, size.recipe): size for size in sorted(known, key=lambda each: each.date)}.values()
        if size.repo in repo_ids and size.format == GGUF and is_model(size) and (size.repo, size.recipe) not in there
    ]


def model_differences(
    model: Model,
    repository: Repository,
    known: Mapping[str, object],
    config: Mapping[str, object],
    rows: Mapping[str, ArchitectureRow],
) -> list[str]:
    """Return how a catalogue model differs from its repository: parameters and configuration.

    `known` is the config.json of the catalogue, `config` that of the repository.
    """
    differences = []
    counted = sum(repository.params.values())
    published = model.row.total_params
    if counted and published and counted != published:
        differences.append(f"{model.name}: {counted:,} parameters on the Hub, {published:,} in the catalogue")
    try:
        there = read_blueprint(config, f"{model.name}: config.json", rows)
    except DeployfitError as error:
        return [*differences, *str(error).splitlines()]
    if there != model.blueprint:
        differing = list(_differing("", known, config)) or ["config.json describes other layers than the catalogue has"]
        differences += [f"{model.name}: {each}" for each in differing]
    return differences


def _differing(place: str, known: Mapping[str, object], config: Mapping[str, object]) -> Iterator[str]:
    """Yield the numbers of a configuration that are others on the Hub."""
    for key, mine in known.items():
        there = config.get(key)
        if isinstance(mine, Mapping) and isinstance(there, Mapping):
            yield from _differing("" if key == "text_config" else f"{place}{key}.", mine, there)
        elif mine != there:
            yield f"{place}{key} is {_shown(there)} on the Hub, {_shown(mine)} in the catalogue"


def _shown(value: object) -> str:
    """Return a value of a configuration for a message."""
    return str(value) if isinstance(value, bool | int | float | None) else quoted(value)
