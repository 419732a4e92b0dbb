"""What came of one test, and of all of them together: whose fault is what.

A failure of the tests themselves is never booked as the program's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .peer import EndedError, HungUpError
from .stubs import SpoiledError
from .tests_end import TestsEnd
from .watching import Watch

__all__ = ["Finding", "explain", "sum_up"]

_LETTERS = 1000
_OUTSIDE = ("multiprocessing", "subprocess", "socket")
"""Modules whose functions fail here, whatever the program."""


class Finding(NamedTuple):
    """What came of one test."""

    status: str
    """As that of an Outcome."""
    reason: str
    counts: bool = True
    """False for what is no test: there was nothing to count."""


def explain(run: Callable[[], object], end: TestsEnd, watch: Watch, bound: set[str]) -> Finding | None:
    """Run something and say what came of it.

    Args:
        run: The test.
        end: The line to the program.
        watch: What the last assert looked at.
        bound: Names that the tests define: if one of them is missing, it is not the program's fault.

    Returns:
        What went wrong, or None.
    """
    before = len(EndedError.all)
    watch.forget()
    error: BaseException | None = None
    try:
        run()
    except BaseException as raised:
        error = raised
    if len(EndedError.all) > before:
        error = EndedError.all[before]  # also where the tests caught it
    if error is None:
        return None
    status, reason = _blame(error, end, watch, bound)
    return Finding(status, reason)


def sum_up(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the verdict: the first thing that went wrong, a wrong program before tests that cannot tell."""
    counted, passed = 0, 0
    wrong: Finding | None = None
    unclear: Finding | None = None
    for found in findings:
        counted += found.counts
        passed += found.counts and found.status == "passed"
        if found.status == "unverifiable":
            unclear = unclear or found
        elif found.status != "passed":
            wrong = wrong or found
    final = wrong or unclear or (Finding("passed", "") if counted else Finding("unverifiable", "there are no tests"))
    return {"status": final.status, "reason": final.reason[:_LETTERS], "passed": passed, "tests": counted}


def _blame(error: BaseException, end: TestsEnd, watch: Watch, bound: set[str]) -> tuple[str, str]:
    if isinstance(error, SpoiledError):
        return error.status, error.reason
    if isinstance(error, HungUpError):
        return "exited", "the program ended before its tests"
    if id(error) in end.received:
        return _of_program(error)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, AssertionError):
        seen, own = watch.last(), str(error)
        return "failed", f"{seen} ({own})" if seen and own else seen or own or "an assertion failed"
    if isinstance(error, NameError) and error.name and error.name not in bound:
        return "error", f"the program does not define {error.name}"
    if isinstance(error, ImportError):
        if error.name == "solution":
            return "error", f"the program does not define what the tests import: {error}"
        return "unverifiable", f"the tests need what the sandbox does not have: {error}"
    if isinstance(error, TypeError) and ("Stub" in str(error) or "class" in str(error)):
        return "unverifiable", f"the tests use an object of the program as only plain data can be used: {error}"
    if isinstance(error, MemoryError):
        return "output_limit", "the tests ran out of memory with what the program gave them"
    if not end.asked:
        return "unverifiable", f"the tests fail by themselves: {text}"
    return "error", f"{text}, in the tests, with what the program gave them"


def _of_program(error: BaseException) -> tuple[str, str]:
    """What an exception that came from the program means."""
    more = vars(error)
    line = f" (line {more['_line_']})" if isinstance(more.get("_line_"), int) else ""
    if isinstance(error, SystemExit):
        return "exited", f"the program left with status {error.code!r}{line}"
    if isinstance(error, ModuleNotFoundError):
        return "unverifiable", f"the program needs what the sandbox does not have: {more.get('_text_')}"
    if isinstance(error, OSError) and more.get("_from_") in _OUTSIDE:
        reason = f"{type(error).__name__} in {more['_from_']}"
        return "unverifiable", f"the program needs what the sandbox does not have: {reason}"
    module = "" if type(error).__module__ not in sys.stdlib_module_names else type(error).__module__
    name = type(error).__qualname__ if module in ("", "builtins") else f"{module}.{type(error).__qualname__}"
    return "error", f"{name}: {more.get('_text_', '')}"[:_LETTERS] + line
