"""What is in a repository of the Hub: `deployfit hub`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deployfit.quants.actual import ActualTensor
from deployfit.quants.weights import Weights
from deployfit.report.tabular import aligned, contents_of, csv_text, markdown
from deployfit.repository import FileGroup, Repository, bytes_by_format
from deployfit.units import gb

SCHEMA = "deployfit/hub/1"
MOST_PRINTED = 80
HEADER = ["file", "role", "shards", "GB", "bytes"]
DETAIL_HEADER = ["type", "tensors", "GB", "bytes"]


class Detail(NamedTuple):
    """One model file whose header was read."""

    group: FileGroup
    weights: Weights
    tensors: Sequence[ActualTensor]

    @property
    def by_type(self) -> Mapping[str, tuple[int, int]]:
        """Number and bytes of the tensors of each type, the largest first."""
        counted: dict[str, tuple[int, int]] = {}
        for tensor in self.tensors:
            count, nbytes = counted.get(tensor.type, (0, 0))
            counted[tensor.type] = (count + 1, nbytes + tensor.nbytes)
        return dict(sorted(counted.items(), key=lambda item: -item[1][1]))


class HubView(NamedTuple):
    """A repository, its model files, and those that were looked into."""

    repository: Repository
    groups: Sequence[FileGroup]
    details: Sequence[Detail]
    from_cache: bool


def printable(name: str) -> str:
    """Return a name with its control characters made visible."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in name)


def shown(name: str) -> str:
    """Return a name for a table: printable, and cut in the middle if it is very long."""
    clean = printable(name)
    return clean if len(clean) <= MOST_PRINTED else clean[: MOST_PRINTED // 2] + "..." + clean[-MOST_PRINTED // 2 :]


def _title(view: HubView) -> str:
    repository = view.repository
    formats = ", ".join(f"{name} {gb(nbytes)}" for name, nbytes in sorted(bytes_by_format(repository).items()))
    cached = "; from the cache, the Hub was not asked" if view.from_cache else ""
    return (
        f"{shown(repository.repo_id)} at {shown(repository.revision)} ({repository.commit[:12]}):"
        f" {gb(repository.nbytes)} GB (10^9 bytes) in {len(repository.files):,} files: {formats or 'none'}{cached}"
    )


def _cells(view: HubView) -> list[list[str]]:
    return [
        [
            shown(group.name),
            group.role,
            f"{len(group.files)} of {len(group.files) + group.missing}" if group.missing else str(len(group.files)),
            gb(group.nbytes),
            f"{group.nbytes:,}",
        ]
        for group in view.groups
    ]


def _params(repository: Repository) -> list[str]:
    if not repository.params:
        return []
    listed = ", ".join(f"{shown(dtype)} {count:,}" for dtype, count in repository.params.items())
    return [f"Parameters of the safetensors files as the Hub counts them: {listed}."]


def _detail_title(detail: Detail) -> str:
    weights = detail.weights
    counted = "numbers" if "I32" in detail.by_type else "parameters"  # GPTQ packs eight into one
    return (
        f"{shown(detail.group.name)}: {len(detail.tensors):,} tensors ({contents_of(weights)}),"
        f" {weights.params:,} {counted}, {weights.bits_per_weight:.2f} bits each,"
        f" {weights.tensor_bytes:,} of {weights.file_bytes:,} bytes"
    )


def _detail_cells(detail: Detail) -> list[list[str]]:
    return [[name, f"{count:,}", gb(nbytes), f"{nbytes:,}"] for name, (count, nbytes) in detail.by_type.items()]


def hub_text(view: HubView) -> str:
    """Return the report for a person."""
    lines = [_title(view), ""]
    if view.groups:
        lines += aligned(HEADER, _cells(view), left=2)
    else:
        lines.append("no model file in it")
    lines += ["", *_params(view.repository)] if view.repository.params else []
    for detail in view.details:
        lines += ["", _detail_title(detail), "", *aligned(DETAIL_HEADER, _detail_cells(detail))]
    return "\n".join(lines)


def hub_markdown(view: HubView) -> str:
    """Return the report as Markdown."""
    blocks = [_title(view), markdown(HEADER, _cells(view), left=2), *_params(view.repository)]
    for detail in view.details:
        blocks += [_detail_title(detail), markdown(DETAIL_HEADER, _detail_cells(detail))]
    return "\n\n".join(blocks)


def _rows(view: HubView) -> list[dict[str, object]]:
    read = {detail.group.name: detail.weights for detail in view.details}
    rows = []
    for group in view.groups:
        weights = read.get(group.name)
        rows.append(
            {
                "repo": view.repository.repo_id,
                "commit": view.repository.commit,
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
        )
    return rows


def hub_csv(view: HubView) -> str:
    """Return a CSV row per model file, in bytes."""
    return csv_text([row | {"file": printable(str(row["file"]))} for row in _rows(view)]) if view.groups else ""


def hub_json(view: HubView) -> str:
    """Return the report as JSON, in bytes."""
    import json

    repository = view.repository
    return json.dumps(
        {
            "schema": SCHEMA,
            "repo": repository.repo_id,
            "revision": repository.revision,
            "commit": repository.commit,
            "from_cache": view.from_cache,
            "total_bytes": repository.nbytes,
            "bytes_by_format": bytes_by_format(repository),
            "params": dict(repository.params),
            "rows": _rows(view),
            "types": {detail.group.name: dict(detail.by_type) for detail in view.details},
        },
        indent=2,
    )
