"""One rank of mlx-lm, a process of its own: splits models that are never read, and says what it holds.

Started with MLX_RANK and MLX_HOSTFILE set; takes lines of model, recipe and split, answers each with a line of JSON.
"""

from __future__ import annotations

import json
import sys

import mlx.core as mx
import mlx_engine as engine
from mlx.utils import tree_flatten

from deployfit.catalogue import models
from deployfit.clusters.engine import TENSOR
from deployfit.quants.shelf import mlx_recipes


def held(name: str, recipe: str, split: str, group: mx.distributed.Group) -> dict[str, object]:
    """Return the bytes that this rank holds, and its layers; or the fault that the library raises."""
    made = engine.quantized(models()[name], mlx_recipes()[recipe])
    try:
        if split == TENSOR:
            made.shard(group)
            layers = [0, len(made.layers)]
        else:
            made.model.pipeline(group)
            layers = [made.model.start_idx, made.model.end_idx]
    except (AttributeError, ValueError, AssertionError) as error:
        return {"fault": f"{type(error).__name__}: {error}"}
    arrays = [array for _, array in tree_flatten(made.parameters()) if isinstance(array, mx.array)]
    return {"bytes": sum(array.nbytes for array in arrays), "layers": layers}


def main() -> None:
    """Answer line by line."""
    group = mx.distributed.init(backend="ring", strict=True)
    for line in sys.stdin:
        print(json.dumps(held(*line.split(), group)), flush=True)


if __name__ == "__main__":
    main()
