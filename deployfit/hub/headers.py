"""Headers of model files, read through ranges: only the bytes needed, in at most a few requests each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from deployfit.errors import DataError, InputError, quoted
from deployfit.formats.gguf_reader import GgufHeader, NeedMore
from deployfit.formats.gguf_reader import read_header as read_gguf
from deployfit.formats.prefix import MOST_HEADER_BYTES
from deployfit.formats.safetensors_reader import read_header as read_safetensors
from deployfit.hub.client import HubClient
from deployfit.hub.parallel import in_parallel
from deployfit.quants.actual import ActualTensor
from deployfit.repository import FileGroup, RepoFile, Repository

FIRST_BYTES: Mapping[str, int] = {"GGUF": 256 * 1024, "safetensors": 64 * 1024}
NEXT_BYTES = 12 * 2**20  # a header with a vocabulary of 248,320 tokens has 10.9 MB
MOST_REQUESTS = 8

Metadata = Mapping[str, int | float | bool | str]


class Headers(NamedTuple):
    """What the headers of all shards say together; `metadata` is the first shard's, empty for safetensors."""

    tensors: tuple[ActualTensor, ...]
    metadata: Metadata


def read_headers(
    client: HubClient, repository: Repository, group: FileGroup, on_done: Callable[[], object] = lambda: None
) -> Headers:
    """Return the tensor table of a model file, or of all its shards, several at a time."""
    if group.missing:
        raise InputError(
            f"{quoted(repository.repo_id)}: {quoted(group.name)}: {group.missing} of"
            f" {group.missing + len(group.files)} shards are missing"
        )

    def read(file: RepoFile) -> Headers:
        found = _read(client, repository, file, group.format)
        on_done()
        return found

    shards = list(in_parallel(read, group.files))
    tensors = tuple(tensor for shard in shards for tensor in shard.tensors)
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors):
        raise InputError(f"{quoted(repository.repo_id)}: {quoted(group.name)}: its shards hold the same tensor twice")
    return Headers(tensors, shards[0].metadata)


def _read(client: HubClient, repository: Repository, file: RepoFile, format_name: str) -> Headers:
    wanted = FIRST_BYTES[format_name]
    place = quoted(file.name)
    for _ in range(MOST_REQUESTS):
        data = client.prefix(repository, file, wanted)
        try:
            return _parsed(data, file, format_name, place)
        except NeedMore as more:
            wanted = max(more.nbytes, NEXT_BYTES if format_name == "GGUF" else 0)
            if len(data) >= NEXT_BYTES:
                wanted = max(wanted, min(2 * len(data), MOST_HEADER_BYTES))
        except DataError:
            client.forget(repository, file)
            raise
    raise InputError(f"{place}: its header is longer than what is read of one")


def _parsed(data: bytes, file: RepoFile, format_name: str, place: str) -> Headers:
    if format_name == "GGUF":
        header: GgufHeader = read_gguf(data, file.nbytes, place)
        tensors = [ActualTensor(each.name, each.shape, each.type, each.nbytes) for each in header.tensors]
        return Headers(tuple(tensors), header.metadata)
    entries = read_safetensors(data, file.nbytes, place)
    return Headers(tuple(ActualTensor(each.name, each.shape, each.dtype, each.nbytes) for each in entries), {})
