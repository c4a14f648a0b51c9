"""What a config.json says of how weights are packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployfit.formats.mlx import GROUP_BYTES, Scheme
from deployfit.values import NamedTuple

MLX_BITS = (1, 2, 3, 4, 5, 6, 8)
MLX_GROUPS = (16, 32, 64, 128)


class Quantization(NamedTuple):
    """How a config.json says that MLX's matrices are packed: all alike but for some modules; None is as they are."""

    default: Scheme | None
    modules: Mapping[str, Scheme | None]

    def __hash__(self) -> int:
        return hash((self.default, len(self.modules)))

    def scheme(self, module: str) -> Scheme | None:
        """Return how a module is packed."""
        return self.modules.get(module, self.default)


NOT_SAID = Quantization(None, {})


def read_quantization(config: Mapping[str, Any]) -> Quantization:
    """Return what the `quantization` block of a config.json says; what it does not say, it does not say.

    >>> block = {"bits": 4, "group_size": 64, "lm_head": {"bits": 6, "group_size": 64}, "model.embed_tokens": False}
    >>> found = read_quantization({"quantization": block})
    >>> found.scheme("lm_head").name, found.scheme("model.embed_tokens"), found.scheme("a").name
    ('affine6g64', None, 'affine4g64')
    """
    block = config.get("quantization")
    if not isinstance(block, Mapping):
        block = config.get("quantization_config")
    if not isinstance(block, Mapping) or "quant_method" in block:
        return NOT_SAID
    default = _scheme(block, {})
    modules = {
        name: _scheme(said, block) if isinstance(said, Mapping) else None
        for name, said in block.items()
        if isinstance(said, Mapping) or said is False
    }
    return Quantization(default, modules)


def _scheme(said: Mapping[str, Any], otherwise: Mapping[str, Any]) -> Scheme | None:
    bits, group = (said.get(name, otherwise.get(name)) for name in ("bits", "group_size"))
    mode = said.get("mode", otherwise.get("mode", "affine"))
    if type(bits) is not int or bits not in MLX_BITS or type(group) is not int or group not in MLX_GROUPS:
        return None
    return Scheme(mode, bits, group) if isinstance(mode, str) and mode in GROUP_BYTES else None


def quantized_by(config: Mapping[str, Any]) -> str:
    """Return which method of another tool a config.json names (gptq, fp8, ...), "" for none."""
    block = config.get("quantization_config")
    method = block.get("quant_method") if isinstance(block, Mapping) else None
    return method if isinstance(method, str) and method.isprintable() else ""
