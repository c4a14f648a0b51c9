"""What a config.json with a `quantization` block describes: MLX's weights, each module in the bits that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deployfit.basis import Basis
from deployfit.errors import InputError
from deployfit.formats.mlx import BF16_BYTES, F32_BYTES, Loaded
from deployfit.formats.safetensors import Block, Run, Stored
from deployfit.layers.tensor import OUTSIDE
from deployfit.models import Model
from deployfit.parameters import param
from deployfit.quants.mlx import check_options, mlx_source
from deployfit.quants.quantization import Quantization
from deployfit.quants.safetensors import safetensors_weights
from deployfit.quants.weights import MLX, Options, Weights
from deployfit.values import NamedTuple


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
        source = mlx_source(model)
        tower = source.tower if options.vision else Block(())
        if options.vision and not tower.tensors:
            raise InputError(f"{self.name}: no vision_config in it; leave out {param('vision')}")
        parts = [(OUTSIDE, source.first), *enumerate(source.layers), (OUTSIDE, source.last)]
        runs = [Run(layer, Block(self._stored(loaded, layer))) for layer, loaded in parts]
        params = source.text_params + sum(tensor.nbytes // BF16_BYTES for tensor in tower.tensors)
        note = "weights: as the quantization block of config.json describes them"
        return safetensors_weights(self.name, MLX, [*runs, Run(OUTSIDE, tower)], params, Basis.DERIVED, (note,))

    def _stored(self, loaded: Iterable[Loaded], layer: int) -> Iterator[Stored]:
        """Yield tensors as they are packed, what belongs to a matrix together with it."""
        for name, tensor, is_matrix, float32 in loaded:
            module = name.removesuffix(".weight")
            own = module if layer == OUTSIDE else module.replace("*", str(layer), 1)
            scheme = self.quantization.scheme(own) if is_matrix else None
            if scheme and tensor.shape[-1] % scheme.group == 0:
                nbytes = scheme.nbytes(tensor.shape)
                yield Stored(name, tensor.shape, "U32", nbytes, tensor.role, scheme.name, tensor.part)
            else:
                dtype, width = ("F32", F32_BYTES) if float32 else ("BF16", BF16_BYTES)
                yield Stored(name, tensor.shape, dtype, tensor.params * width, tensor.role, dtype, tensor.part)
