"""The document of `hub`: model files, and the tensors of the one that was looked into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deployfit.report.document import Block, Column, Document, Heading, Statement, Table, of_rows
from deployfit.report.table import contents_of
from deployfit.repository import FileGroup, bytes_by_format
from deployfit.sources.hub.model import Found, Looked
from deployfit.units import gb

SCHEMA = "deployfit/hub/1"
MOST_PRINTED = 80  # characters of a name


def hub_document(found: Found) -> Document:
    """Return a row per model file, in bytes; None for what was not looked into."""
    repository = found.repository
    read = {looked.group.name: looked for looked in found.looked}
    top = {
        "repo": repository.repo_id,
        "revision": repository.revision,
        "commit": repository.commit,
        "from_cache": found.from_cache,
        "total_bytes": repository.nbytes,
        "bytes_by_format": bytes_by_format(repository),
        "params": dict(repository.params),
        "types": {looked.group.name: dict(by_type(looked)) for looked in found.looked},
    }
    rows = [_row(found, group, read.get(group.name)) for group in found.groups]
    return of_rows(SCHEMA, rows, list(_blocks(found)), top=top)


def _row(found: Found, group: FileGroup, looked: Looked | None) -> dict[str, Any]:
    weights = looked.weights if looked else None
    return {
        "repo": found.repository.repo_id,
        "commit": found.repository.commit,
        "file": group.name,
        "format": group.format,
        "role": group.role,
        "shards": len(group.files),
        "missing_shards": group.missing,
        "file_bytes": group.nbytes,
        "tensor_bytes": weights.tensor_bytes if weights else None,
        "text_bytes": weights.text_bytes if weights else None,
        "vision_bytes": weights.vision_bytes if weights else None,
        "mtp_bytes": weights.mtp_bytes if weights else None,
        "params": weights.params if weights else None,
    }


def by_type(looked: Looked) -> Mapping[str, tuple[int, int]]:
    """Return number and bytes of the tensors of each type, the largest first."""
    counted: dict[str, tuple[int, int]] = {}
    for tensor in looked.tensors:
        count, nbytes = counted.get(tensor.type, (0, 0))
        counted[tensor.type] = (count + 1, nbytes + tensor.nbytes)
    return dict(sorted(counted.items(), key=lambda item: -item[1][1]))


def _shown(name: str) -> str:
    return name if len(name) <= MOST_PRINTED else name[: MOST_PRINTED // 2] + "..." + name[-MOST_PRINTED // 2 :]


def _blocks(found: Found) -> Iterable[Block]:
    repository = found.repository
    formats = ", ".join(f"{name} {gb(nbytes)}" for name, nbytes in sorted(bytes_by_format(repository).items()))
    count = f"{len(repository.files):,} file{'s' * (len(repository.files) != 1)}"
    yield Heading(
        f"{_shown(repository.repo_id)} at {_shown(repository.revision)} ({repository.commit[:12]})",
        f"{gb(repository.nbytes)} GB in {count}",
    )
    cached = "; from the cache, the Hub was not asked" if found.from_cache else ""
    yield Statement(f"GB (10^9 bytes) by format: {formats or 'none'}{cached}.")
    if found.groups:
        columns = [
            Column("file", left=True, shrinks=True),
            Column("GB"),
            Column("role", left=True, rank=2),
            Column("shards", rank=1),
            Column("bytes", rank=3),
        ]
        yield Table(columns, [_cells(group) for group in found.groups])
    else:
        yield Statement("No model file is in it.")
    if repository.params:
        listed = ", ".join(f"{_shown(dtype)} {count:,}" for dtype, count in repository.params.items())
        yield Statement(f"Parameters of the safetensors files as the Hub counts them: {listed}.")
    for looked in found.looked:
        yield from _detail(looked)


def _cells(group: FileGroup) -> list[str]:
    shards = f"{len(group.files)} of {len(group.files) + group.missing}" if group.missing else str(len(group.files))
    return [_shown(group.name), gb(group.nbytes), group.role, shards, f"{group.nbytes:,}"]


def _detail(looked: Looked) -> Iterable[Block]:
    weights, types = looked.weights, by_type(looked)
    counted = "numbers" if "I32" in types else "parameters"  # GPTQ packs eight into one
    yield Heading(_shown(looked.group.name), contents_of(weights))
    yield Statement(
        f"{len(looked.tensors):,} tensors, {weights.params:,} {counted}, {weights.bits_per_weight:.2f} bits each,"
        f" {weights.tensor_bytes:,} of {weights.file_bytes:,} bytes."
    )
    yield Table(
        [Column("type", left=True), Column("tensors"), Column("GB"), Column("bytes", rank=1)],
        [[name, f"{count:,}", gb(nbytes), f"{nbytes:,}"] for name, (count, nbytes) in types.items()],
    )
