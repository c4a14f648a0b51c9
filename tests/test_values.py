"""Named tuples of our own maker against those of typing."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing

import pytest

from deployfit.hardware.mac import MacRow
from deployfit.values import NamedTuple


class Ours(NamedTuple):
    """Three fields."""

    name: str
    count: int = 2
    others: tuple[str, ...] = ()

    @property
    def twice(self) -> int:
        """Twice the count."""
        return 2 * self.count


class Theirs(typing.NamedTuple):
    """Three fields."""

    name: str
    count: int = 2
    others: tuple[str, ...] = ()

    @property
    def twice(self) -> int:
        """Twice the count."""
        return 2 * self.count


def test_they_are_made_and_read_alike() -> None:
    for ours, theirs in ((Ours("a"), Theirs("a")), (Ours(others=("b",), name="c"), Theirs(others=("b",), name="c"))):
        assert tuple(ours) == tuple(theirs)
        assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
        assert (ours.name, ours.count, ours.others, ours.twice) == (theirs.name, 2, theirs.others, 4)
        assert tuple(ours._replace(count=5)) == tuple(theirs._replace(count=5))
        assert ours._asdict() == theirs._asdict()
        assert pickle.loads(pickle.dumps(ours)) == copy.copy(ours) == ours
        assert type(ours._replace(count=5)) is type(Ours._make(("a", 1, ()))) is type(pickle.loads(pickle.dumps(ours)))
    match Ours("a", 3):
        case Ours(name, count):
            assert (name, count) == ("a", 3)


def test_their_classes_tell_the_same() -> None:
    for told in ("_fields", "_field_defaults", "__doc__", "__module__", "__match_args__"):
        assert getattr(Ours, told) == getattr(Theirs, told)
    assert list(inspect.signature(Ours).parameters) == list(inspect.signature(Theirs).parameters)
    assert typing.get_type_hints(Ours) == typing.get_type_hints(Theirs)
    assert issubclass(Ours, tuple)
    assert not hasattr(Ours("a"), "__dict__")


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_what_is_no_field_is_refused(kind: type[Ours]) -> None:
    for given in ({}, {"nam": "a"}, {"name": "a", "more": 1}):
        with pytest.raises(TypeError, match=r"argument"):
            kind(**given)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kind("a", 1, (), 4)  # type: ignore[call-arg]
    with pytest.raises((TypeError, ValueError)):
        kind("a")._replace(more=1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        kind("a").name = "b"  # type: ignore[misc]


def test_classes_of_as_many_fields_do_not_share_names() -> None:
    class Other(NamedTuple):
        left: int
        middle: int
        right: int = 0

    assert (Other(left=1, middle=2), Ours("a").count) == ((1, 2, 0), 2)
    with pytest.raises(TypeError, match="name"):
        Other(name="a")  # type: ignore[call-arg]


def test_a_row_of_data_is_one() -> None:
    assert repr(MacRow("M4 Max", 546, (48, 64))).startswith("MacRow(chip='M4 Max', bandwidth_gb_s=546, memory_gib=(48,")
