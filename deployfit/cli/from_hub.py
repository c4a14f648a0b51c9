"""Models out of a repository of the Hub, for `deployfit hub` and `deployfit fit hub:OWNER/NAME`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from deployfit import catalog
from deployfit.errors import DataError, InputError, quoted
from deployfit.hub.cache import Cache, default_folder
from deployfit.hub.client import HubClient
from deployfit.hub.headers import Headers, read_headers
from deployfit.models import Model, model_from_config
from deployfit.quants.actual import ActualQuant, actual_model, actual_weights, config_of_gguf
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
    blocks = [value for key, value in headers.metadata.items() if key.endswith(".block_count")]
    extra = [value for key, value in headers.metadata.items() if key.endswith(".nextn_predict_layers")]
    trunk = int(blocks[0]) - int(extra[0] if extra else 0) if blocks else sys.maxsize
    name = f"hub:{repository.repo_id}/{group.name}"
    return headers, actual_weights(name, group.format, headers.tensors, group.nbytes, trunk)


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
        model = _model_of_config(hub, repository)
        weights = weights._replace(format=MLX)  # mlx-lm loads its own repositories and plain BF16 checkpoints
        _check_loadable(headers, group)
    else:
        config = config_of_gguf(headers.metadata, headers.tensors, quoted(group.name))
        model = actual_model(config, repo_id, catalog.models())
    mmproj = [each.nbytes for each in groups if each.role == MMPROJ]
    note = f"weights: the tensor table of {quoted(group.name)} at {repository.commit[:12]}"
    note += "; from the cache, the Hub was not asked" if hub.from_cache else ""
    return model, ActualQuant(weights._replace(notes=(note,)), min(mmproj, default=0))


def _as_one(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Return the groups with all safetensors of one repository as one model: that is what they are without an index."""
    models = [group for group in groups if group.format == SAFETENSORS and group.role != MMPROJ]
    others = [group for group in groups if group not in models]
    if len(models) < 2 or any("/" in group.name for group in models):
        return list(groups)
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


def _model_of_config(hub: HubClient, repository: Repository) -> Model:
    content = hub.content(repository, "config.json", MOST_CONFIG_BYTES)
    if content is None:
        raise InputError(f"{quoted(repository.repo_id)}: no config.json in it, so its architecture is not known")
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError([f"{quoted(repository.repo_id)}: config.json is not JSON"]) from None
    if not isinstance(config, dict):
        raise DataError([f"{quoted(repository.repo_id)}: config.json is not an object"])
    return model_from_config(config, repository.repo_id, f"{quoted(repository.repo_id)}: config.json")
