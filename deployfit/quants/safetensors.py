"""Weights in files of safetensors."""

from __future__ import annotations

from collections.abc import Iterable

from deployfit.basis import Basis
from deployfit.formats.safetensors import Block, Run, file_bytes
from deployfit.layers.tensor import Part
from deployfit.quants.weights import WeightClass, Weights


def safetensors_weights(
    name: str, format_name: str, runs: Iterable[Run], params: int, basis: Basis, notes: tuple[str, ...]
) -> Weights:
    """Return the weights that these tensors are, in files of safetensors."""
    listed = list(runs)
    return Weights(
        recipe=name,
        format=format_name,
        classes=weight_classes(listed),
        file_bytes=file_bytes(listed),
        params=params,
        basis=basis,
        notes=notes,
    )


def weight_classes(runs: Iterable[Run]) -> tuple[WeightClass, ...]:
    """Return the classes of equal tensors; what is needed to store one role is one of them."""
    layers: dict[Block, list[int]] = {}
    for layer, block in runs:
        layers.setdefault(block, []).append(layer)
    classes: dict[tuple[str, str, Part, int], list[int]] = {}
    for block, own in layers.items():
        for kind, nbytes in block.kinds.items():
            classes.setdefault((*kind, nbytes), []).extend(own)
    return tuple(
        WeightClass(role, type_name, part, tuple(sorted(alike)), nbytes)
        for (role, type_name, part, nbytes), alike in classes.items()
    )
