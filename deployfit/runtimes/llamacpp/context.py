"""What the layers of a graph share: the model, the micro-batch, and the inputs."""

from __future__ import annotations

from collections.abc import Mapping

from deployfit.layers.blueprint import Blueprint
from deployfit.runtimes.llamacpp.batch import F16_BYTES, Batch
from deployfit.runtimes.llamacpp.inputs import Input, host_inputs
from deployfit.runtimes.llamacpp.tensors import Graph, Shape, Tensor


class ModelGraph(Graph):
    """The graph of one micro-batch of a model."""

    def __init__(self, blueprint: Blueprint, batch: Batch, inputs: Mapping[str, Input] | None = None) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.batch = batch
        self._host = host_inputs(blueprint, batch) if inputs is None else inputs
        self._device: dict[str, Tensor] = {}

    def input(self, name: str) -> Tensor:
        """Return the device's copy of an input."""
        if name not in self._device:
            self._device[name] = self.copied_input(*self._host[name])
        return self._device[name]

    def has_input(self, name: str) -> bool:
        """Return whether the graph has an input."""
        return name in self._host

    def norm(self, tensor: Tensor) -> Tensor:
        """Return a root-mean-square norm."""
        return self.compute("RMS_NORM", tensor.shape, tensor)

    def projected(self, rows: int, tensor: Tensor) -> Tensor:
        """Return the product with a matrix of weights of so many rows."""
        return self.compute("MUL_MAT", (rows, *tensor.shape[1:]), tensor)

    def half_copy(self, shape: Shape) -> Tensor:
        """Return an F16 copy of a cache: flash attention wants one of an F32 cache."""
        return self.compute("CPY", shape, width=F16_BYTES)
