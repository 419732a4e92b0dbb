"""Named tuples: their fields are plain data, and what else their class has is asked of the other side."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

__all__ = ["class_of", "fields_of", "has_more", "is_own"]

_MOST = 100
_EXAMPLE = namedtuple("_EXAMPLE", "a")
_KNOWN: dict[tuple[str, tuple[str, ...]], Any] = {}


def fields_of(kind: type) -> tuple[str, ...] | None:
    """The names of the fields, if this is a class of named tuples, or made of one, which compares as tuples do."""
    for one in kind.__mro__[:2]:
        fields = vars(one).get("_fields")
        if one.__bases__ == (tuple,) and isinstance(fields, tuple) and all(type(name) is str for name in fields):
            if "__eq__" in vars(kind):
                return None
            if one is kind and not has_more(kind):
                _KNOWN.setdefault((kind.__name__, fields), kind)  # so that it is of this class when it comes back
            return fields
    return None


def has_more(kind: type) -> bool:
    """Whether a class of named tuples has methods or properties of its own."""
    usual = {
        "__annotations__",
        "__orig_bases__",
        "__dict__",
        "__weakref__",
        "__static_attributes__",
        "__firstlineno__",
    }
    usual |= vars(_EXAMPLE).keys() | set(getattr(kind, "_fields", ()))
    return bool(vars(kind).keys() - usual) or is_own(kind.__repr__)


def is_own(method: Any) -> bool:
    """Whether a method is neither that of tuples nor one that all named tuples have."""
    return method not in (tuple.__str__, tuple.__repr__, object.__str__) and method.__module__ != "collections"


def class_of(name: str, fields: tuple[str, ...], there: Any, *, own_str: bool, own_repr: bool) -> Any:
    """A class of named tuples.

    Args:
        name: Of the class.
        fields: Names.
        there: The stub of the tuple, if its class has more than fields there; or None.
        own_str: Whether its text is its own.
        own_repr: Whether its representation is its own.

    Raises:
        ValueError: There are too many of them.
    """
    if (name, fields) not in _KNOWN:
        if len(fields) > _MOST or len(_KNOWN) > _MOST:
            raise ValueError("too many named tuples")
        _KNOWN[name, fields] = namedtuple(name, fields)
    base = _KNOWN[name, fields]
    if there is None:
        return base
    members: dict[str, Any] = {"_there_": there, "__getattr__": _look_up}
    if own_str or own_repr:
        members["__str__"] = lambda self: str(self._there_)
    if own_repr:
        members["__repr__"] = lambda self: repr(self._there_)
    return type(name, (base,), members)


def _look_up(value: Any, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(value._there_, name)
