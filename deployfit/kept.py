"""What is made once and kept, but not for ever: a process may live long and be asked about many models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def keep(store: dict[K, V], key: K, value: V, most: int) -> V:
    """Keep a value and return it; the oldest go, so that there are `most` at the end.

    Models are told apart by the identity of their blueprints, for a hash of all their layers takes longer than what is
    kept takes to make. Such a value must hold its blueprint, so that no other gets its identity.

    >>> store = {1: "a", 2: "b"}
    >>> keep(store, 3, "c", 2), store
    ('c', {2: 'b', 3: 'c'})
    """
    while len(store) >= most:
        store.pop(next(iter(tuple(store))), None)  # a copy: other threads keep things too
    store[key] = value
    return value


class OnDemand(Mapping[str, V]):
    """Values by name, each made when it is asked for.

    >>> OnDemand(["Q4_K", "Q6_K"], len)["Q6_K"]
    4
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], V]) -> None:
        self._names = dict.fromkeys(names)
        self._make = make
        self._made: dict[str, V] = {}

    def __getitem__(self, name: str) -> V:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._make(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
