"""The process of the tests: judges, and writes the verdict.

It never loads the program's code, and is the only process that knows what is expected. The verdict goes to the other
side of the sandbox through a pipe that the program does not hold.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from typing import Any

from .findings import Finding, explain, sum_up
from .peer import EndedError, HungUpError
from .script import judged
from .stubs import SpoiledError
from .tests_end import TestsEnd
from .watching import Watch, cut, short
from .wire import Reader

__all__ = ["HUNG_UP", "judge"]

HUNG_UP = 3
"""The exit status where the program was gone too early."""


def judge(payload: bytes, line: int, verdict: int) -> None:
    """Run tests, write the verdict, and leave the process.

    Args:
        payload: JSON with ``sources`` and ``entry_point``, or ``name``, ``cases`` and ``wrapped``.
        line: Descriptor of the line to the program.
        verdict: Descriptor of the pipe for the verdict.
    """
    end = TestsEnd(line)
    plan = json.loads(payload)
    found = judged(end, **plan) if "sources" in plan else sum_up(_calls(end, **plan))
    os.write(verdict, json.dumps(found).encode())
    os._exit(HUNG_UP if any(isinstance(error, HungUpError) for error in EndedError.all) else 0)


def _calls(end: TestsEnd, name: str, cases: Any, wrapped: bool) -> Iterator[Finding]:
    """Call a function, or the method of a class named Solution, and compare what it returns.

    Args:
        end: The line to the program.
        name: Of the function.
        cases: Arguments and what is expected of them, as :mod:`.wire` writes them.
        wrapped: Whether what is expected may stand in a list of its own.
    """
    watch = Watch(end)
    pairs = Reader(lambda *_: None).read(cases)

    def one(args: list[Any], expected: Any) -> None:
        found = end.names([name, "Solution"])
        if not found:
            raise SpoiledError("error", f"the program does not define {name}")
        function = getattr(found["Solution"](), name) if "Solution" in found else found[name]
        text = cut(f"{name}({', '.join(map(short, args))})")
        wanted = copy.deepcopy(_plain(expected))  # it may hold what the program is given
        got = _plain(function(*args))
        if not (got == wanted or (wrapped and [got] == wanted)):
            raise AssertionError(f"{text} == {short(wanted)}: got {short(got)}")

    for number, (args, expected) in enumerate(pairs, start=1):
        found = explain(lambda args=args, expected=expected: one(args, expected), end, watch, set())  # type: ignore[misc]
        found = found or Finding("passed", "")
        yield found._replace(reason=found.reason and f"test {number} of {len(pairs)}: {found.reason}")


def _plain(value: Any) -> Any:
    """Tuples as lists: the reference was JSON, which has no tuples."""
    if type(value) in (list, tuple):
        return [_plain(item) for item in value]
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return value
