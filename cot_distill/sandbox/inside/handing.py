"""Which functions of the tests a program may call: what can do no more than the tests mean it to.

A program that is handed ``eval`` or ``getattr`` would run code where the verdict is made.
"""

from __future__ import annotations

import cmath
import functools
import math
import operator
import statistics
import types
from typing import Any

from .wire import PLAIN

__all__ = ["may_be_called"]

_PURE = {id(print)} | {
    id(function)
    for module in (math, cmath, operator, statistics)
    for name, function in vars(module).items()
    if name in getattr(module, "__all__", [name]) and name[0] != "_" and not isinstance(function, type)
}
_UNSAFE = {"format", "format_map"}
"""Methods of text that read attributes of what they are given."""
_ADDING = {"append", "appendleft", "add", "extend", "update", "get", "count", "index", "__getitem__", "__contains__"}
"""Methods of a value of the tests that the program may call: none of them takes anything away."""
_UNCHANGING = (str, bytes, int, float, complex, bool, tuple, frozenset, range)


def may_be_called(value: Any) -> bool:
    """Whether a callable of the tests may be handed to the program.

    Args:
        value: The callable.

    Returns:
        True for functions and classes that the tests define, what is made of them, methods of plain data, and
        functions of the standard library that only compute.
    """
    kind = type(value)
    if kind is types.FunctionType:
        if "__wrapped__" in vars(value):
            return may_be_called(value.__wrapped__)
        return value.__globals__.get("__name__") == "tests" or id(value) in _PURE
    if kind is types.MethodType:
        return may_be_called(value.__func__)
    if kind is functools.partial:
        return may_be_called(value.func)
    if kind is functools._lru_cache_wrapper:
        return may_be_called(value.__wrapped__)
    if kind is types.BuiltinMethodType:  # also the type of functions that are written in C
        return id(value) in _PURE or _is_method_of_data(value.__self__, value.__name__)
    if kind in (types.MethodDescriptorType, types.WrapperDescriptorType):
        return value.__objclass__ in PLAIN and value.__name__ not in _UNSAFE and value.__name__[0] != "_"
    if kind is types.MethodWrapperType:
        return _is_method_of_data(value.__self__, value.__name__)
    if isinstance(value, type):
        return value.__module__ == "tests" or value in PLAIN
    return kind.__module__ == "tests" or _is_harmless_mock(value)


def _is_harmless_mock(value: Any) -> bool:
    if type(value).__module__ != "unittest.mock" or "_mock_children" not in vars(value):
        return False
    inner = (value.side_effect, vars(value).get("_mock_wraps"))
    return all(not callable(one) or _is_exception(one) or may_be_called(one) for one in inner)


def _is_exception(value: Any) -> bool:
    return isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException))


def _is_method_of_data(owner: Any, name: str) -> bool:
    if type(owner) in _UNCHANGING:
        return name not in _UNSAFE and (name[0] != "_" or name in _ADDING)
    return type(owner) in PLAIN and name in _ADDING
