"""The library: the commands' answers as Python values, and as pandas DataFrames at the edge.

Arguments are what the command line takes: names as text, numbers as numbers or text. Errors are DeployfitError. Which
module holds which name stands in `NAMES`, so that one can be looked up without importing the others.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "check": "proofs",
    "fit": "fits",
    "list_macs": "lists",
    "list_models": "lists",
    "list_quants": "lists",
    "plan": "fits",
    "recommend": "recommendations",
    "sweep": "sweeps",
    "validate": "proofs",
}
