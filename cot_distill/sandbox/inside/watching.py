"""What rewritten tests call: comparisons that are remembered, so that a failure can say what was compared."""

from __future__ import annotations

import operator
from typing import Any

from .looking import Looks
from .rewriting import CHAIN, COMPARE, ID, SIDES, TRUTH, TURN, TYPE
from .stubs import SpoiledError, Stub
from .tests_end import TestsEnd

__all__ = ["Watch", "cut", "short"]

_LETTERS = 160
_Place = tuple[int, int, int, int]
_OPERATORS = {
    "Eq": (operator.eq, "=="),
    "NotEq": (operator.ne, "!="),
    "Lt": (operator.lt, "<"),
    "LtE": (operator.le, "<="),
    "Gt": (operator.gt, ">"),
    "GtE": (operator.ge, ">="),
    "Is": (operator.is_, "is"),
    "IsNot": (operator.is_not, "is not"),
    "In": (lambda left, right: left in right, "in"),
    "NotIn": (lambda left, right: left not in right, "not in"),
}


class Watch:
    """Remembers what the last assert looked at.

    Args:
        end: The line to the program.
        looks: What is compared after the program changed a value.
    """

    def __init__(self, end: TestsEnd, looks: Looks | None = None) -> None:
        self._end = end
        self.looks = looks or Looks(lambda: False)
        self.source = ""
        """Of the test that runs."""
        self.checks = 0
        """How often anything was compared, or passed to an assert or into a loop of asserts."""
        self._last: tuple[_Place, str, Any, Any] | None = None
        self.functions = {
            CHAIN: self._chain,
            COMPARE: self._compare,
            ID: self._id_of,
            SIDES: self._sides,
            TRUTH: self._truth,
            TURN: self._turn,
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

    def same(self, left: Any, right: Any) -> bool:
        """``is``, which for two stubs only the program could answer."""
        if _is_stub(left) and _is_stub(right):
            raise SpoiledError("unverifiable", "the tests ask whether two objects of the program are the same")
        return self._end.itself(left) is self._end.itself(right)

    def _compare(self, place: _Place | None, name: str, number: int, later: bool, left: Any, right: Any) -> Any:
        self.checks += 1
        if name in ("Is", "IsNot"):
            same = self.looks.identity(number, lambda: self._note_same(place, name, *_now(later, left, right)))
            return same is (name == "Is")
        left, right = self.looks.sides(number, *_functions(later, left, right))
        if place is not None:
            self._last = place, _OPERATORS[name][1], left, right
        return self._apply(name, left, right)

    def _apply(self, name: str, left: Any, right: Any) -> Any:
        if name in ("Is", "IsNot"):
            return self.same(left, right) is (name == "Is")
        return _OPERATORS[name][0](left, right)

    def _chain(self, names: tuple[str, ...], *operands: Any) -> Any:
        """A chain of comparisons with ``is`` among them."""
        self.checks += 1
        found: Any = True
        for name, left, right in zip(names, operands, operands[1:], strict=False):
            found = self._apply(name, left, right)
            if not found:
                return found
        return found

    def _note_same(self, place: _Place | None, name: str, left: Any, right: Any) -> bool:
        if place is not None:
            self._last = place, _OPERATORS[name][1], left, right
        return self.same(left, right)

    def _sides(self, number: int, later: bool, left: Any, right: Any) -> tuple[Any, Any]:
        self.checks += 1
        return self.looks.sides(number, *_functions(later, left, right))

    def _truth(
        self, place: _Place, counts: bool, turned: bool, number: int, later: bool, value: Any, nothing: Any
    ) -> Any:
        self.checks += counts
        value, _ = self.looks.sides(number, *_functions(later, value, nothing))
        value = not value if turned else value
        self._last = place, "", value, None
        return value

    def _turn(self, value: Any) -> Any:
        self.checks += 1
        return value

    def _id_of(self, value: Any) -> int:
        if _is_stub(value):
            raise SpoiledError("unverifiable", f"the tests ask which object {short(value)} is")
        return id(self._end.itself(value))


def _functions(later: bool, *sides: Any) -> Any:
    """What evaluates the sides of a comparison."""
    return sides if later else [lambda side=side: side for side in sides]


def _now(later: bool, *sides: Any) -> Any:
    return [side() for side in sides] if later else sides


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
