"""Headers of model files: only the bytes needed, and of all shards together no more than of any honest model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock

from deployfit.errors import DataError, HubError, InputError, quoted
from deployfit.formats.gguf_reader import Scalar
from deployfit.formats.gguf_reader import read_header as read_gguf
from deployfit.formats.safetensors_reader import read_header as read_safetensors
from deployfit.formats.untrusted import MOST_HEADER_BYTES, MOST_TENSORS, NeedMore, read_object
from deployfit.quants.real_file import RealTensor
from deployfit.repository import GGUF, FileGroup, RepoFile
from deployfit.sources.listing import Listing, Progress, silent
from deployfit.sources.parallel import in_parallel
from deployfit.values import NamedTuple

FIRST_BYTES = 64 * 1024
FIRST_GGUF_BYTES = 256 * 1024  # of the shard that holds the vocabulary
NEXT_GGUF_BYTES = 12 * 2**20  # a header with a vocabulary of 248,320 tokens has 10.9 MB
MOST_REQUESTS = 12
MOST_SECONDS = 600.0  # for the headers of all shards
FEW_SHARDS = 4  # which are read without a bar
MOST_CONFIG_BYTES = 4 * 2**20


class Headers(NamedTuple):
    """What the headers of all shards say together; key-values are the first shard's, empty for safetensors."""

    tensors: tuple[RealTensor, ...]
    metadata: Mapping[str, Scalar]
    arrays: Mapping[str, tuple[int | float | bool, ...]]
    header_bytes: int


class _Budget:
    """How many bytes of header may still be read, by all shards together, and for how long."""

    def __init__(self, nbytes: int, seconds: float) -> None:
        self._left = nbytes
        self._deadline = time.monotonic() + seconds
        self._lock = Lock()

    def spend(self, nbytes: int, place: str) -> None:
        """Take bytes off; raise DataError if there are not so many left, HubError after that time."""
        with self._lock:
            self._left -= nbytes
        if self._left < 0:
            raise DataError([f"{place}: the headers of its shards have more than {MOST_HEADER_BYTES:,} bytes"])
        if time.monotonic() > self._deadline:
            raise HubError(f"{place}: the headers of its shards come far too slowly; try again later")


def read_headers(listing: Listing, group: FileGroup, progress: Progress = silent) -> Headers:
    """Return the tensor table of a model file, or of all its shards, several at a time.

    Raise InputError for shards that are not all there or that are not of one model, DataError for what is no header;
    both name the file.
    """
    place = f"{quoted(listing.place)}: {quoted(group.name)}"
    if group.missing:
        raise InputError(f"{place}: {group.missing} of {group.missing + len(group.files)} shards are missing")
    budget = _Budget(MOST_HEADER_BYTES, MOST_SECONDS)
    show = progress if len(group.files) >= FEW_SHARDS else silent
    with show("reading headers", len(group.files)) as step:

        def read(file: RepoFile) -> Headers:
            found = _read(listing, file, group, budget)
            step()
            return found

        shards = list(in_parallel(read, group.files))
    tensors = tuple(tensor for shard in shards for tensor in shard.tensors)
    if len(tensors) > MOST_TENSORS:
        raise InputError(f"{place}: its shards hold more than {MOST_TENSORS:,} tensors")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise InputError(f"{place}: its shards hold the same tensor twice")
    said = shards[0].metadata.get("split.count", 0)
    if isinstance(said, int) and said > 1 and said != len(group.files):
        raise InputError(f"{place}: it says that it is one of {said} shards, and {len(group.files)} are there")
    return shards[0]._replace(tensors=tensors, header_bytes=sum(shard.header_bytes for shard in shards))


def _read(listing: Listing, file: RepoFile, group: FileGroup, budget: _Budget) -> Headers:
    is_vocabulary = group.format == GGUF and file == group.files[0]
    wanted = FIRST_GGUF_BYTES if is_vocabulary else FIRST_BYTES
    place = quoted(file.name)
    data = b""
    for _ in range(MOST_REQUESTS):
        before, data = len(data), listing.prefix(file, wanted, data)
        budget.spend(len(data) - before, place)
        try:
            found = _parsed(data, file, group.format, place)
        except NeedMore as more:
            wanted = max(more.nbytes, min(2 * len(data), MOST_HEADER_BYTES))
            if is_vocabulary:
                wanted = max(wanted, NEXT_GGUF_BYTES)
        except DataError:
            listing.forget(file)
            raise
        else:
            listing.keep(file, data)
            return found
    raise InputError(f"{place}: its header is longer than what is read of one")


def _parsed(data: bytes, file: RepoFile, format_name: str, place: str) -> Headers:
    if format_name == GGUF:
        header = read_gguf(data, file.nbytes, place)
        tensors = [RealTensor(each.name, each.shape, each.type, each.nbytes) for each in header.tensors]
        return Headers(tuple(tensors), header.metadata, header.arrays, header.data_start)
    entries = read_safetensors(data, file.nbytes, place)
    tensors = [RealTensor(each.name, each.shape, each.dtype, each.nbytes) for each in entries]
    return Headers(tuple(tensors), {}, {}, file.nbytes - sum(tensor.nbytes for tensor in tensors))


def read_config(listing: Listing, folder: str = "") -> dict[str, object] | None:
    """Return what the config.json in a folder of the place says, None if there is none.

    Raise InputError or DataError for what is no configuration; it is not kept then.
    """
    name = f"{folder}/config.json" if folder else "config.json"
    file = next((each for each in listing.files if each.name == name), None)
    if file is None:
        return None
    place = f"{quoted(listing.place)}: config.json"
    if file.nbytes > MOST_CONFIG_BYTES:
        raise InputError(f"{place} has {file.nbytes:,} bytes; that is no config.json")
    content = listing.prefix(file, file.nbytes, b"")
    try:
        config = read_object(content, place)
    except DataError:
        listing.forget(file)
        raise
    listing.keep(file, content)
    return config
