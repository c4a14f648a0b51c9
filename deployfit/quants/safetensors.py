"""Weights in files of safetensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployfit.basis import Basis
from deployfit.formats.safetensors import Run, Stored, file_bytes
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
    same: dict[int, tuple[Sequence[Stored], list[int]]] = {}
    for layer, tensors in runs:
        same.setdefault(id(tensors), (tensors, []))[1].append(layer)
    classes: dict[tuple[str, str, Part, int], list[int]] = {}
    for tensors, layers in same.values():
        sizes: dict[tuple[str, str, Part], int] = {}
        for tensor in tensors:
            kind = tensor.role, tensor.type, tensor.part
            sizes[kind] = sizes.get(kind, 0) + tensor.nbytes
        for (role, type_name, part), nbytes in sizes.items():
            classes.setdefault((role, type_name, part, nbytes), []).extend(layers)
    return tuple(
        WeightClass(role, kind, part, tuple(sorted(at)), size) for (role, kind, part, size), at in classes.items()
    )
