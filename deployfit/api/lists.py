"""What the catalogue holds: models, Macs, and what exists for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployfit import catalog
from deployfit.api.answers import Text
from deployfit.ask import DEFAULT_MACOS, find_model, find_place, find_publisher, known_quants
from deployfit.quants.weights import FORMATS, Options
from deployfit.speed import active_params
from deployfit.units import GIB

if TYPE_CHECKING:
    import pandas as pd


def list_models() -> pd.DataFrame:
    """Return the catalogue's models as a DataFrame, the largest first.

    >>> list_models().loc["Qwen3.5-35B-A3B", ["total_params", "full_attention_layers"]].tolist()
    [35951822704, 10]
    """
    import pandas as pd

    rows = [
        {
            "model": model.name,
            "total_params": model.total_params,
            "active_params": active_params(model.config),
            "layers": model.config.num_hidden_layers,
            "full_attention_layers": model.config.full_attention_layers,
            "trained_context_tokens": model.config.max_position_embeddings,
            "checkpoint_bytes": model.checkpoint_bytes,
            "hub_repo": model.hub_repo,
        }
        for model in catalog.models().values()
    ]
    return pd.DataFrame(rows).set_index("model").sort_values("total_params", ascending=False, kind="stable")


def list_macs(macos: Text = DEFAULT_MACOS) -> pd.DataFrame:
    """Return the Macs with Apple silicon as a DataFrame: bandwidth, arithmetic, and what they lend to their GPU.

    >>> int(list_macs().query("chip == 'M4 Max'").set_index("memory_gib").loc[64, "gpu_limit_bytes"])
    55662788608
    """
    import pandas as pd

    places = [
        (row, find_place(f"{row.chip} {size}", str(macos), None)) for row in catalog.macs() for size in row.memory_gib
    ]
    return pd.DataFrame(
        [
            {
                "chip": row.chip,
                "memory_gib": place.mac.memory_bytes // GIB,
                "bandwidth_gb_s": row.bandwidth_gb_s or None,
                "fp16_tflops": row.fp16_tflops or None,
                "gpu_limit_bytes": place.limit.limit_bytes,
                "gpu_limit_basis": place.limit.basis.value,
            }
            for row, place in places
        ]
    )


def list_quants(model: str, *, publisher: str | None = None, catalog_file: str | None = None) -> pd.DataFrame:
    """Return what exists for a model as a DataFrame, smallest first: the tools' recipes and publishers' files.

    >>> int(list_quants("Qwen3.5-27B").set_index("quant").loc["Q4_K_M", "tensor_bytes"])
    16536406016
    """
    import pandas as pd

    from deployfit.report.quant_list import quant_rows

    found = find_model(model, catalog_file)
    known = known_quants(found, FORMATS, find_publisher(publisher), Options())
    return pd.DataFrame(quant_rows(found, known))
