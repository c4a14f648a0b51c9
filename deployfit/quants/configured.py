"""What a config.json with a `quantization` block describes: MLX's weights, each module in the bits that it names."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from deployfit.basis import Basis
from deployfit.catalogue import rows
from deployfit.errors import InputError
from deployfit.formats.mlx import MLX_LM, MLX_VLM, NO_MATRICES, RECIPES, mlx_runs
from deployfit.formats.safetensors import Block, Run, Stored
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.mlx import check_options, mlx_source
from deployfit.quants.real_file import Quantization
from deployfit.quants.safetensors import safetensors_weights
from deployfit.quants.weights import MLX, Options, Weights

PLAIN = "bf16"  # the recipe that quantizes nothing


class ConfiguredQuant(NamedTuple):
    """Weights as a configuration describes them, without a file to look into."""

    name: str
    quantization: Quantization
    format: str = MLX
    publisher: str = ""

    def advisable(self, model: Model, options: Options) -> bool:
        """Return False: it is what was asked for, not what could be had instead."""
        return False

    def published(self, model: Model) -> str:
        """Return "": nobody published it that we know of."""
        return ""

    def weights(self, model: Model, options: Options) -> Weights:
        """Return the weights; raise InputError for what MLX's tools do not do."""
        check_options(options)
        blueprint = model.blueprint
        if options.vision and blueprint.vision is None:
            raise InputError(f"{self.name}: no vision_config in it; leave out {param('vision')}")
        source = mlx_source(model)
        unquantized = (*NO_MATRICES, *source.architecture.unquantized)
        recipe = next(each for each in rows(RECIPES) if each.name == PLAIN)
        plain = mlx_runs(source, recipe, MLX_VLM if options.vision else MLX_LM)
        runs = [
            Run(layer, Block(_packed(each, layer, self.quantization, unquantized) for each in block.tensors))
            for layer, block in plain
        ]
        params = sum(prod(each.shape) for _, block in runs for each in block.tensors)
        note = "weights: as the quantization block of config.json describes them"
        return safetensors_weights(self.name, MLX, runs, params, Basis.DERIVED, (note,))


def _packed(stored: Stored, layer: int, quantization: Quantization, unquantized: tuple[str, ...]) -> Stored:
    """Return a tensor as it is packed; its shape stays that of the parameters."""
    name = stored.name if layer == OUTSIDE else stored.name.replace("*", str(layer), 1)
    module, _, kind = name.rpartition(".")
    is_matrix = kind == "weight" and len(stored.shape) > 1 and stored.role not in unquantized
    scheme = quantization.scheme(module) if is_matrix and stored.part is Part.TEXT else None
    if scheme is None or stored.shape[-1] % scheme.group:
        return stored
    return stored._replace(dtype="U32", nbytes=scheme.nbytes(stored.shape), type=scheme.name)
