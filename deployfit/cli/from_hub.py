"""Models out of a repository of the Hub, for `deployfit hub` and `deployfit fit hub:OWNER/NAME`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from deployfit import catalog
from deployfit.errors import DataError, InputError, quoted
from deployfit.hub.cache import Cache, default_folder
from deployfit.hub.client import HubClient
from deployfit.hub.headers import Headers, read_headers
from deployfit.models import Model, model_from_config
from deployfit.quants.actual import ActualQuant, actual_model, actual_weights, check_whole, config_of_gguf
from deployfit.quants.weights import MLX, SAFETENSORS, Weights
from deployfit.repository import MMPROJ, FileGroup, Repository, choose_group, group_files

MOST_CONFIG_BYTES = 16 * 2**20
FEW_SHARDS = 4


def client(*, offline: bool) -> HubClient:
    """Return a client with the user's cache."""
    return HubClient(Cache(default_folder()), offline=offline)


@contextmanager
def progress(group: FileGroup) -> Iterator[Callable[[], object]]:
    """Show a bar on a terminal while the headers of many shards are read."""
    if len(group.files) < FEW_SHARDS or not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=len(group.files), label="reading headers", file=sys.stderr) as bar:
        yield lambda: bar.update(1)


def read_group(hub: HubClient, repository: Repository, group: FileGroup) -> tuple[Headers, Weights]:
    """Return the headers of a model file and the weights that they list."""
    with progress(group) as on_done:
        headers = read_headers(hub, repository, group, on_done)
    architecture = headers.metadata.get("general.architecture")
    blocks = headers.metadata.get(f"{architecture}.block_count")
    extra = headers.metadata.get(f"{architecture}.nextn_predict_layers", 0)
    trunk = blocks - extra if isinstance(blocks, int) and isinstance(extra, int) else sys.maxsize
    packed = any(tensor.type == "U32" for tensor in headers.tensors)
    quantization = _quantization(hub, repository) if packed else {}
    name = f"hub:{repository.repo_id}/{group.name}"
    return headers, actual_weights(name, group.format, headers.tensors, group.nbytes, trunk, quantization)


def model_from_hub(
    repo_id: str, revision: str | None, pattern: str | None, *, offline: bool
) -> tuple[Model, ActualQuant]:
    """Return the model that a repository's file is of, and the file itself as a quant."""
    hub = client(offline=offline)
    repository = hub.repository(repo_id, revision)
    groups = group_files(repository.files)
    group = choose_group(_as_one(groups) if pattern is None else groups, pattern, repo_id)
    headers, weights = read_group(hub, repository, group)
    if group.format == SAFETENSORS:
        place = f"{quoted(repository.repo_id)}: config.json"
        model = model_from_config(config_of(hub, repository), repository.repo_id, place)
        weights = weights._replace(format=MLX)  # mlx-lm loads its own repositories and plain BF16 checkpoints
        _check_loadable(headers, group)
    else:
        config = config_of_gguf(headers.metadata, headers.tensors, quoted(group.name))
        model = actual_model(config, repo_id, catalog.models())
    check_whole(headers.tensors, model.config, quoted(group.name))
    mmproj = [each.nbytes for each in groups if each.role == MMPROJ]
    note = f"weights: the tensor table of {quoted(group.name)} at {repository.commit[:12]}"
    note += "; from the cache, the Hub was not asked" if hub.from_cache else ""
    return model, ActualQuant(weights._replace(notes=(note,)), min(mmproj, default=0))


def _as_one(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Return the groups with all safetensors that mlx-lm loads as one model: model*.safetensors, no folders."""
    tops = [group for group in groups if group.format == SAFETENSORS and "/" not in group.name]
    models = [group for group in tops if group.name.startswith("model")]
    if not models:
        return list(groups)
    others = [group for group in groups if group not in tops]
    files = tuple(file for group in models for file in group.files)
    missing = sum(group.missing for group in models)
    return [*others, FileGroup("model.safetensors", SAFETENSORS, models[0].role, files, missing)]


MLX_TYPES = ("BF16", "F16", "F32", "U32", "U8")


def _check_loadable(headers: Headers, group: FileGroup) -> None:
    """Raise InputError for a checkpoint whose types mlx-lm is not known to load as they are."""
    odd = sorted({tensor.type for tensor in headers.tensors} - set(MLX_TYPES))
    if odd:
        raise InputError(
            f"{quoted(group.name)} holds {', '.join(odd)}; neither llama.cpp nor mlx-lm is known to load that as it is"
            " (deployfit hub shows the sizes)"
        )


def _quantization(hub: HubClient, repository: Repository) -> Mapping[str, Any]:
    """Return how config.json says that an MLX repository is quantized, nothing if it does not say it."""
    try:
        found = config_of(hub, repository).get("quantization")
    except (InputError, DataError):
        return {}
    return found if isinstance(found, dict) else {}


def config_of(hub: HubClient, repository: Repository) -> dict[str, Any]:
    """Return what config.json of a repository says."""
    content = hub.content(repository, "config.json", MOST_CONFIG_BYTES)
    if content is None:
        raise InputError(f"{quoted(repository.repo_id)}: no config.json in it, so its architecture is not known")
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError([f"{quoted(repository.repo_id)}: config.json is not JSON"]) from None
    if not isinstance(config, dict):
        raise DataError([f"{quoted(repository.repo_id)}: config.json is not an object"])
    return config
