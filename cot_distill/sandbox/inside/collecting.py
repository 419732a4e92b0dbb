"""Finding the tests that a module of tests defines: functions, methods, and ``unittest`` cases."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .stubs import SpoiledError, Stub
from .watching import short

__all__ = ["collected"]


def collected(space: dict[str, Any], same: Callable[[Any, Any], bool]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the tests in a namespace: what each is called, and what runs it.

    Args:
        space: The namespace.
        same: Tells whether two objects are the same.
    """
    for name, value in list(space.items()):
        if issubclass(type(value), Stub):
            continue
        if inspect.isfunction(value) and name.startswith("test"):
            yield name, lambda function=value: _call(function)  # type: ignore[misc]
        elif isinstance(value, type) and value.__module__ == "tests":
            yield from _of_class(name, value, same)


def _of_class(name: str, value: type, same: Callable[[Any, Any], bool]) -> Iterator[tuple[str, Callable[[], object]]]:
    methods = [method for method in dir(value) if method.startswith("test")]
    unittest = sys.modules.get("unittest")
    if unittest is not None and issubclass(value, unittest.TestCase):
        for method in methods:
            yield f"{name}.{method}", lambda method=method: _run_case(value, method, same)  # type: ignore[misc]
    elif name.startswith("Test"):
        for method in methods:
            yield f"{name}.{method}", lambda method=method: _call(getattr(value(), method))  # type: ignore[misc]


def _call(function: Callable[..., Any]) -> None:
    needed = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise SpoiledError("unverifiable", f"{function.__name__} needs fixtures: {', '.join(needed)}")
    result = function()
    if inspect.iscoroutine(result):
        import asyncio  # few tests need it

        asyncio.run(result)


def _run_case(case: Any, method: str, same: Callable[[Any, Any], bool]) -> None:
    """Run a method of a ``unittest`` case, and raise what it raised."""
    import unittest  # loaded already: the tests have imported it

    raised: list[BaseException] = []

    class Result(unittest.TestResult):
        def addError(self, test: Any, err: Any) -> None:  # noqa: N802, ARG002 - the base class's names
            raised.append(err[1])

        def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802, ARG002
            raised.append(err[1])

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802, ARG002
            if err is not None:
                raised.append(err[1])

        def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802, ARG002
            raise SpoiledError("unverifiable", f"{method} is skipped: {reason}")

        def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802, ARG002
            raise SpoiledError("unverifiable", f"{method} is expected to fail")

        def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802, ARG002
            raise SpoiledError("unverifiable", f"{method} is expected to fail")

    def assert_is(self: Any, one: Any, other: Any, msg: Any = None) -> None:
        if not same(one, other):
            self.fail(msg or f"{short(one)} is not {short(other)}")

    def assert_is_not(self: Any, one: Any, other: Any, msg: Any = None) -> None:
        if same(one, other):
            self.fail(msg or f"{short(one)} is {short(other)}")

    case.assertIs, case.assertIsNot = assert_is, assert_is_not
    unittest.TestSuite([case(method)]).run(Result())
    if raised:
        raise raised[0]
