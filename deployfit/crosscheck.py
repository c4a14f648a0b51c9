"""Cross-check: what the Hub has today, set against the catalogue and the published sizes that are written down."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from deployfit.errors import DeployfitError
from deployfit.models import Model, model_from_config
from deployfit.quants.publishers import PublishedSize, Publisher, is_model
from deployfit.quants.weights import GGUF
from deployfit.repository import MODEL, FileGroup, Repository, group_files


class Asked(NamedTuple):
    """A repository that should be asked about: whose, of which model, and of which recipe if it holds only one."""

    repo_id: str
    publisher: str
    model: str
    recipe: str
    format: str


def repositories(
    sizes: Sequence[PublishedSize], publishers: Mapping[str, Publisher], models: Mapping[str, Model]
) -> list[Asked]:
    """Return the repositories that published sizes are about, and those where publishers keep GGUF files."""
    found = {}
    for size in sizes:
        publisher = publishers.get(size.publisher)
        if publisher is None or publisher.row.joined or size.model not in models or "-MTP-" in size.repo:
            continue
        recipe = "" if publisher.row.format == GGUF else size.recipe
        found[size.repo] = Asked(size.repo, size.publisher, size.model, recipe, publisher.row.format)
    for publisher in publishers.values():
        if publisher.row.format == GGUF and not publisher.row.joined:
            for model in models:
                repo_id = publisher.row.repo.format(model=model)
                found.setdefault(repo_id, Asked(repo_id, publisher.row.name, model, "", GGUF))
    return sorted(found.values())


def recipe_of(group: FileGroup, model: str) -> str:
    """Return the recipe that a GGUF file's name tells, "" if it tells none.

    >>> from deployfit.repository import RepoFile
    >>> file = RepoFile("UD-Q4_K_XL/Qwen3.5-397B-A17B-UD-Q4_K_XL.gguf", 1, "")
    >>> recipe_of(FileGroup(file.name, "GGUF", "model", (file,), 0), "Qwen3.5-397B-A17B")
    'UD-Q4_K_XL'
    """
    stem = group.name.rpartition("/")[2].rpartition(".")[0]
    _, found, rest = stem.partition(model)
    recipe = rest.lstrip("-.") if found else ""
    if not PLAIN.fullmatch(recipe):  # it goes into tables and onto the terminal, and anybody may name a file
        return ""
    return "BF16" if recipe.casefold() == "bf16" else recipe


def sizes_of(repository: Repository, asked: Asked, publisher: Publisher, date: str) -> Iterator[PublishedSize]:
    """Yield the sizes that a repository publishes today: its model files, or all of them together."""
    groups = [group for group in group_files(repository.files) if group.role == MODEL and not group.missing]
    parts = publisher.contents(asked.model)

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
        for group in groups:
            recipe = recipe_of(group, asked.model)
            if group.format == GGUF and recipe:
                yield row(recipe, group.nbytes)
    else:
        nbytes = sum(group.nbytes for group in groups if group.format != GGUF)
        if nbytes:
            yield row(asked.recipe, nbytes)


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


def model_differences(model: Model, repository: Repository, config: Mapping[str, object] | None) -> list[str]:
    """Return how a catalogue model differs from its repository: parameters and configuration."""
    differences = []
    counted = sum(repository.params.values())
    if counted and model.total_params and counted != model.total_params:
        differences.append(f"{model.name}: {counted:,} parameters on the Hub, {model.total_params:,} in the catalogue")
    if config is not None:
        try:
            there = model_from_config(config, model.name, f"{model.name}: config.json").config
        except DeployfitError as error:
            return [*differences, *str(error).splitlines()]
        mine = model.config._asdict()
        for field, value in there._asdict().items():
            if mine[field] != value:
                differences.append(f"{model.name}: {field} is {value} on the Hub, {mine[field]} in the catalogue")
    return differences
