"""Exceptions as JSON, and back: so that tests can expect what a program raises, and the other way round.

A class that both sides have by itself (builtins, the standard library) arrives as that class. For any other one a
stand-in is made that has the same name and the same ancestors, one for each class.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["ancestry", "describe", "resolve", "restore"]

_LONGEST = 32
_MOST_LETTERS = 2000


def ancestry(kind: type, number_of: Callable[[type], int]) -> list[list[Any]]:
    """A class of exceptions and its ancestors, up to the first that both sides have: module, name, number."""
    found: list[list[Any]] = []
    for parent in kind.__mro__:
        if not issubclass(parent, BaseException):
            continue
        known = _shared(parent.__module__, parent.__qualname__) is parent
        found.append([parent.__module__, parent.__qualname__, None if known else number_of(parent)])
        if known:
            break
    return found


def describe(error: BaseException, number_of: Callable[[type], int], write: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the JSON that stands for an exception.

    Args:
        error: The exception.
        number_of: Numbers a class that the other side does not have.
        write: Makes JSON of its arguments and attributes.
    """
    return {
        "kind": ancestry(type(error), number_of),
        "args": [write(arg) for arg in error.args],
        "more": {name: write(value) for name, value in vars(error).items() if not name.startswith("_")},
        "text": str(error.msg if isinstance(error, SyntaxError) else error)[:_MOST_LETTERS],
        "line": _line(error),
    }


def resolve(kinds: list[list[Any]], stand_in: Callable[[int, str, type], type]) -> type[BaseException]:
    """Return the class that an :func:`ancestry` tells of.

    Args:
        kinds: The ancestry.
        stand_in: Makes a class from its number, its name and its ancestor.

    Raises:
        Exception: Of many kinds, where it tells of none.
    """
    *others, (module, name, _) = kinds[:_LONGEST]
    found = _shared(module, name)
    if found is None:
        raise ValueError(f"no exception {name!r}")
    for _, own_name, number in reversed(others):
        found = stand_in(int(number), str(own_name), found)
    return found


def restore(data: dict[str, Any], kind: type[BaseException], read: Callable[[Any], Any]) -> BaseException:
    """Return the exception that :func:`describe` told of.

    Args:
        data: The JSON.
        kind: Its class, as :func:`resolve` gave it.
        read: Makes values of JSON.
    """
    args = [read(arg) for arg in data["args"]]
    try:
        error = kind(*args) if _shared(kind.__module__, kind.__qualname__) is kind else kind.__new__(kind, *args)
    except Exception:
        error = kind.__new__(kind)
    error.args = tuple(args)
    for name, value in data["more"].items():
        error.__dict__[str(name)] = read(value)
    return error


def _shared(module: str, name: str) -> type[BaseException] | None:
    """The class of exceptions that builtins or the standard library has under a name, as far as it is loaded."""
    if module == "builtins":
        found = getattr(builtins, name, None)
    elif str(module).partition(".")[0] in sys.stdlib_module_names:
        found = getattr(sys.modules.get(module), name, None)
    else:
        return None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _line(error: BaseException) -> int | None:
    """The line of the program where it came from."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "solution.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line or (error.lineno if isinstance(error, SyntaxError) else None)
