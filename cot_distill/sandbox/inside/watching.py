"""What rewritten tests call: comparisons that are remembered, so that a failure can say what was compared."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from .rewriting import ASKED, COMPARE, IS, TRUTH, TYPE
from .stubs import SpoiledError, Stub
from .tests_end import TestsEnd

__all__ = ["Watch", "cut", "same_object", "short"]

_LETTERS = 160
_Place = tuple[int, int, int, int]
_OPERATORS = {
    "Eq": (operator.eq, "=="),
    "NotEq": (operator.ne, "!="),
    "Lt": (operator.lt, "<"),
    "LtE": (operator.le, "<="),
    "Gt": (operator.gt, ">"),
    "GtE": (operator.ge, ">="),
    "Is": (lambda left, right: same_object(left, right), "is"),
    "IsNot": (lambda left, right: not same_object(left, right), "is not"),
    "In": (lambda left, right: left in right, "in"),
    "NotIn": (lambda left, right: left not in right, "not in"),
}


class Watch:
    """Remembers what the last assert looked at."""

    def __init__(self, end: TestsEnd) -> None:
        self._end = end
        self.source = ""
        """Of the test that runs."""
        self._last: tuple[_Place, str, Any, Any] | None = None
        self.functions = {
            ASKED: lambda: end.asked,
            COMPARE: self._compare,
            IS: same_object,
            TRUTH: self._truth,
            TYPE: _type_of,
        }

    def forget(self) -> None:
        """Begin anew."""
        self._last = None

    def last(self) -> str:
        """What the last assert looked at, in words."""
        if self._last is None:
            return ""
        place, sign, left, right = self._last
        text = cut(_segment(self.source, *place))
        return f"{text}: {short(left)} {sign} {short(right)} is false" if sign else f"{text} is {short(left)}"

    def _compare(
        self, place: _Place, name: str, left: Any, asked: int, right: Any, again: Callable[[], Any] | None
    ) -> Any:
        function, sign = _OPERATORS[name]
        self._last = place, sign, left, right
        result = function(left, right)
        # As in `assert ordered(items) == sorted(items)`, where a program empties `items` and returns an empty list.
        if again is not None and self._end.has_changed and self._end.asked == asked and result:
            try:
                agrees = function(left, self._end.as_it_was(again))
            except Exception:
                agrees = False
            if not agrees:
                reason = "the program changes an argument that the expected value is computed from"
                raise SpoiledError("unverifiable", reason)
        return result

    def _truth(self, place: _Place, value: Any) -> Any:
        self._last = place, "", value, None
        return value


def same_object(left: Any, right: Any) -> bool:
    """``is``, which for two stubs only the program could answer."""
    if _is_stub(left) and _is_stub(right):
        raise SpoiledError("unverifiable", "the tests ask whether two objects of the program are the same")
    return left is right


def short(value: Any) -> str:
    """A value as it reads in a reason. Never asks the program."""
    if _is_stub(value):
        return f"<{value._stub_[2]}>"
    try:
        return cut(repr(value))
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _type_of(value: Any) -> Any:
    if _is_stub(value):
        raise SpoiledError("unverifiable", f"the tests ask for the type of {short(value)}")
    return type(value)


def _is_stub(value: Any) -> bool:
    return issubclass(type(value), Stub)


def _segment(source: str, line: int, column: int, last_line: int, last_column: int) -> str:
    """The piece of a source between two places; columns count bytes of UTF-8."""
    lines = [text.encode("utf-8", "replace") for text in source.splitlines()[line - 1 : last_line]]
    if not lines:
        return ""
    lines[-1] = lines[-1][:last_column]
    lines[0] = lines[0][column:]
    return " ".join(text.decode("utf-8", "replace").strip() for text in lines)


def cut(text: str) -> str:
    """A text as it reads in a reason."""
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
