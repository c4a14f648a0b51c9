"""How a number is known."""

from __future__ import annotations

from enum import Enum


class Basis(Enum):
    """The four ways, from the best to the weakest."""

    EXACT = "exact"
    """Counted as the engine counts it; tests hold it equal to the engine's own figure, to the byte."""
    DERIVED = "derived"
    """Follows from a rule that is tested against measurements, with a stated error."""
    MEASURED = "measured"
    """Observed and written down, with a source."""
    ASSUMED = "assumed"
    """Nobody was seen to observe it; the best guess, said to be one."""
