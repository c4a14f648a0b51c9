"""Named tuples, made in a tenth of the time that `typing.NamedTuple` takes: a short answer makes some eighty classes.

They are the same for mypy and for whoever uses them: tuples with names, defaults, methods and annotations. Two things
are left out. typing compiles the text of every annotation, to say where one is no type; mypy says it too. And a
constructor is not compiled for every class: those of as many fields share its code, under names of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple
    from functools import cache
    from types import FunctionType

    @cache
    def _model(count):
        """Return a named tuple with so many fields, for its constructor and for what gets them."""
        return namedtuple("_Model", [f"field{number}" for number in range(count)])

    class _Values(tuple):
        __slots__ = ()

        def __repr__(self):
            fields = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(fields)})"

        def __getnewargs__(self):
            return tuple(self)

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, /, **changed):
            made = tuple.__new__(type(self), map(changed.pop, self._fields, self))
            if changed:
                raise TypeError(f"{type(self).__name__} has no {', '.join(changed)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

    class _NamedTupleMaker(type):
        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = tuple(namespace["__annotations__"])
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            model = _model(len(fields))
            code = model.__new__.__code__.replace(co_varnames=("_cls", *fields))
            constructor = FunctionType(code, model.__new__.__globals__, "__new__", tuple(defaults.values()))
            constructor.__qualname__ = f"{name}.__new__"
            getters = {field: vars(model)[known] for field, known in zip(fields, model._fields, strict=True)}
            own = {"__slots__": (), "__new__": constructor, "_fields": fields, "__match_args__": fields}
            return type(name, (_Values,), {**own, **getters, "_field_defaults": defaults, **namespace})

    class NamedTuple(metaclass=_NamedTupleMaker):
        """A class of values: its annotations are the fields, and what is assigned to them their defaults."""
