"""The second look: whether tests would also pass if the program could not change their values.

A program that empties a list could make the tests compute what they expect from an empty list. So where a program
changed any value of the tests, and they passed, they are run once more: against the same words of the program, but
with their own values as they were. What is expected is then what it should be.

Only a change that is looked at for its own sake counts in that second run: where one side of a comparison is the
changed value, or a part or a count of it, and the other side is one that the program has no part in and that comes
out the same both times. Whatever else comes out otherwise leaves it open whether the program is right.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from typing import Any

from .influence import Influence
from .wire import Reader, UncrossableError, Writer

__all__ = ["Looks"]

_MOST = 20_000
_SIMPLE = (int, str, float, bool, type(None))
_COUNTS = {"len", "sorted", "set", "list", "tuple", "sum", "min", "max", "dict", "frozenset", "str", "repr"}
_PARTS = {"count", "index", "get", "keys", "values", "items", "copy", "decode"}
_Sides = tuple[ast.expr, ast.expr]


class Looks:
    """Remembers what is compared after the program changed a value, or goes by what was compared the first time.

    Args:
        changed: Whether the program changed any value of the tests so far.
        first: Those of the first run; None in the first run.
    """

    def __init__(self, changed: Callable[[], bool], first: Looks | None = None) -> None:
        self._changed = changed
        self._first = first
        self._counts: Counter[int] = Counter()
        self._kept: dict[tuple[int, int], tuple[Any, Any]] = {}
        self.pairs: list[_Sides] = []
        """The two sides of each comparison in the source."""
        self.influence: Callable[[], Influence]
        """Gives what depends on the program, when that is needed."""

    def sides(self, number: int, left: Callable[[], Any], right: Callable[[], Any]) -> tuple[Any, Any]:
        """The two sides that are to be compared, where the tests compare two.

        Args:
            number: Of the comparison, in ``pairs``.
            left: Evaluates the left side.
            right: Evaluates the right side.
        """
        key = self._key(number)
        if key is None or self._first is None:
            found = left(), right()
            if key is not None:
                self._kept[key] = _kept(found[0]), _kept(found[1])
            return found
        if key not in self._first._kept:
            return left(), right()
        old_left, old_right = self._first._kept[key]
        new_left, left_error = _tried(left)
        new_right, right_error = _tried(right)
        same_left, same_right = _is_same(old_left, new_left), _is_same(old_right, new_right)
        here = self.pairs[number]
        if same_right and not same_left and self._counts_for_itself(here[0], old_left, new_left, here[1]):
            return old_left, new_right
        if same_left and not same_right and self._counts_for_itself(here[1], old_right, new_right, here[0]):
            return new_left, old_right
        for error in (left_error, right_error):
            if error is not None:
                raise error
        return new_left, new_right

    def identity(self, number: int, same: Callable[[], bool]) -> bool:
        """Whether the two sides are one object.

        Args:
            number: As in :meth:`sides`.
            same: Finds out.
        """
        key = self._key(number)
        if key is None:
            return same()
        if self._first is None:
            self._kept[key] = same(), None
            return bool(self._kept[key][0])
        new, error = _tried(same)
        old, _ = self._first._kept.get(key, (new, None))
        here = self.pairs[number]
        if old is not new and _is_view(here[0]) and not any(map(self.influence().on, here)):
            return bool(old)
        if error is not None:
            raise error
        return bool(new)

    def _key(self, number: int) -> tuple[int, int] | None:
        """Which comparison it is since the first change; None before, and where there are too many."""
        if not self._changed() or self._counts.total() >= _MOST:
            return None
        self._counts[number] += 1
        return number, self._counts[number]

    def _counts_for_itself(self, side: ast.expr, old: Any, new: Any, other: ast.expr) -> bool:
        """Whether a side is a changed value that is held against what the program has no part in."""
        if old is _UNKNOWN or (bool in (type(old), type(new)) and not isinstance(side, ast.Subscript)):
            return False
        influence = self.influence()
        return _is_view(side) and not influence.on(side, indices=False) and not influence.on(other)


_UNKNOWN = object()


def _tried(evaluate: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return evaluate(), None
    except Exception as error:
        return _UNKNOWN, error


def _kept(value: Any) -> Any:
    """A copy, if it is plain data."""
    if type(value) in _SIMPLE:
        return value
    try:
        return Reader(_refuse).read(Writer(_refuse).write(value))
    except UncrossableError:
        return _UNKNOWN


def _is_same(old: Any, new: Any) -> bool:
    new = _kept(new)
    return old is not _UNKNOWN and new is not _UNKNOWN and type(old) is type(new) and bool(old == new)


def _refuse(*_: Any) -> Any:
    raise UncrossableError("no plain data")


def _is_view(side: ast.expr) -> bool:
    """Whether an expression shows a value, a part of it or a count, and decides nothing itself."""
    if isinstance(side, ast.Name | ast.Constant):
        return True
    if isinstance(side, ast.Attribute | ast.Starred):
        return _is_view(side.value)
    if isinstance(side, ast.Subscript):
        return _is_view(side.value)
    if isinstance(side, ast.Tuple | ast.List):
        return all(map(_is_view, side.elts))
    if isinstance(side, ast.Call) and not side.keywords and all(map(_is_view, side.args)):
        function = side.func
        if isinstance(function, ast.Name):
            return function.id in _COUNTS
        return isinstance(function, ast.Attribute) and function.attr in _PARTS and _is_view(function.value)
    return False
