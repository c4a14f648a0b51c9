"""The numbers of a configuration, read by the names of config.json, every fault noted at its place.

A GGUF file says the same numbers under other names; `GgufNumbers` looks them up, so that an architecture reads either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deployfit.errors import quoted

MOST_LAYERS = 1_000  # of any kind: what a hostile file could otherwise keep us busy with
MOST_ELSE = 20_000_000
LAYER_COUNTS = ("num_hidden_layers", "mtp_num_hidden_layers", "num_nextn_predict_layers", "depth")


def most_of(name: str) -> int:
    """Return the largest number that is believed."""
    return MOST_LAYERS if name in LAYER_COUNTS else MOST_ELSE


class Numbers:
    """A section of a config.json; what cannot be read is noted in `faults` and yields a stand-in."""

    def __init__(self, values: Mapping[str, Any], place: str, faults: list[str]) -> None:
        self._values = values
        self.place = place
        self.faults = faults

    def with_defaults(self, defaults: Mapping[str, Any]) -> Numbers:
        """Return the same section with what is left out of it filled in."""
        given = {name: value for name, value in self._values.items() if value is not None}
        return Numbers({**defaults, **given}, self.place, self.faults)

    def empty(self) -> Numbers:
        """Return a section without anything in it, for what may be left out."""
        return Numbers({}, self.place, self.faults)

    def value(self, name: str) -> Any:
        """Return the value under a name as it is there, None where there is none."""
        return self._values.get(name)

    def label(self, name: str) -> str:
        """Return what messages call a value."""
        return name

    def get(self, *names: str) -> Any:
        """Return the value under the first of these names that is there and not null, else None."""
        return next((value for value in map(self.value, names) if value is not None), None)

    def fault(self, name: str, expected: str, got: object) -> None:
        """Note that a value is not what was expected."""
        sentence = f"{self.place}{self.label(name)}: expected {expected}, got {quoted(got)}"
        if sentence not in self.faults:  # a value may be read twice
            self.faults.append(sentence)

    def contradiction(self, name: str, expected: str, got: object) -> None:
        """Note that a value does not go with others, unless something was wrong by itself and is said already."""
        if not self.faults:
            self.fault(name, expected, got)

    def count(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number; the first name that is there counts, and is the one in messages."""
        name = next((each for each in names if self.value(each) is not None), names[0])
        value = self.value(name)
        if value is None and default is not None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most_of(name):
            self.fault(name, f"a whole number from {least} to {most_of(name):,}", value)
            return max(least, 1)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a truth value."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(name, "true or false", value)
            return default
        return value

    def share(self, name: str, default: float) -> float:
        """Return a number above 0, at most 1."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            self.fault(name, "a number above 0 and at most 1", value)
            return default
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fault(name, "a text", value)
            return default
        return value

    def choice(self, name: str, known: Sequence[str], default: str) -> str:
        """Return a text that must be one of the known ones."""
        value = self.text(name, default)
        if value not in known:
            self.fault(name, " or ".join(known), value)
            return default
        return value

    def items(self, name: str, length: int) -> list[Any] | None:
        """Return a list with an entry per layer, None where there is none."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != length:
            self.fault(name, f"a list with an entry for each of {length} layers", value)
            return None
        return list(value)

    def indices(self, name: str, layers: int, first: int = 0) -> set[int]:
        """Return the layers that a list names, counted from 0 whatever the list begins with; empty without a list."""
        value = self.get(name)
        if value is None:
            return set()
        if not isinstance(value, Sequence) or not all(
            type(each) is int and first <= each < layers + first for each in value
        ):
            self.fault(name, f"a list of layers from {first} to {layers + first - 1}", value)
            return set()
        return {each - first for each in value}

    def section(self, name: str) -> Numbers | None:
        """Return a section, None where there is none."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.fault(name, "an object", value)
            return None
        return Numbers(value, f"{self.place}{name}.", self.faults)

    def layer_types(self, layers: int, known: Collection[str], name: str = "layer_types") -> list[str] | None:
        """Return the type of each layer, each one of the known ones; None where there is no such list."""
        types = self.items(name, layers)
        odd = next((each for each in types or () if not isinstance(each, str) or each not in known), None)
        if odd is not None:
            self.fault(name, f"layers of types {', '.join(known)}", odd)
            return None
        return types
