"""The process of the program: runs code that nobody trusts, and answers its tests.

Nothing that is decided here counts: the program can change all of it. It holds no expected value, and the pipe that
the verdict goes through is closed here.
"""

from __future__ import annotations

import ast
import atexit
import inspect
import io
import linecache
import operator
import os
import random
import sys
import threading
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .peer import HungUpError, Peer
from .raised import ancestry, resolve, restore

__all__ = ["ProgramEnd", "answer_tests", "run_script"]

_FILE = "solution.py"
_NAME = "solution"
_MOST_PRINTED = 1 << 16
_OWN_DEPTH = 12
"""Frames below those of the program, of which a program that runs by itself has but one."""
_IMPORTS = """
import collections, bisect, functools, heapq, itertools, math, operator, random, re, string, sys
from typing import *; from collections import *; from bisect import *; from functools import *; from heapq import *
from itertools import *; from math import *
"""
"""What sites that ask for a class Solution import for their users, whose programs count on it."""


def run_script(source: str) -> None:
    """Run a program from start to end, as ``python solution.py`` would, and leave the process."""
    sys.argv = [_FILE]
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.__dict__.update(__stdin__=sys.stdin, __stdout__=sys.stdout)
    stdout = sys.stdout
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    _place(module, source)
    sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_DEPTH)
    status = 0
    try:
        exec(compile(source, _FILE, "exec", dont_inherit=True), vars(module))  # noqa: S102 - what a sandbox is for
    except BaseException as error:
        status = _exit_status(error)
    # What the interpreter does at its end; files that nobody closed write out what they hold when they go.
    finish: list[Callable[[], Any]] = [threading._shutdown, atexit._run_exitfuncs, _flush]  # type: ignore[attr-defined]
    finish += [vars(module).clear, stdout.flush]
    for step in finish:
        try:
            step()
        except BaseException as error:
            status = status or _exit_status(error)
    os._exit(status)


def answer_tests(source: str, line: int) -> None:
    """Load a program as a module, then do what its tests ask for until they hang up."""
    tee = _Tee()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(tee), encoding="utf-8", errors="replace", line_buffering=True)
    module = sys.modules[_NAME] = types.ModuleType(_NAME)
    _place(module, source)
    sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_DEPTH)
    end = ProgramEnd(line, module, source, tee.taken)
    end.load()
    with suppress(HungUpError):
        end.work()


class ProgramEnd(Peer):
    """What tests can ask a program for.

    Args:
        line: Descriptor of the line to the tests.
        module: Where to load the program.
        source: The program.
        printed: Gives what was printed since it was called last.
    """

    def __init__(self, line: int, module: types.ModuleType, source: str, printed: Callable[[], str]) -> None:
        super().__init__(line)
        self._module = module
        self._source = source
        self._printed = printed
        self._failed: BaseException | None = None
        self._theirs: dict[int, tuple[Any, int]] = {}
        self._stand_ins: dict[int, Any] = {}
        self._operations: dict[str, Callable[..., Any]] = {
            **_OPERATIONS,
            "names": self._names,
            "last": self._last,
            "put": lambda name, value: vars(self._module).update({name: value}),
            "of error": lambda number, name: getattr(self.sent[number], name),
        }

    def load(self) -> None:
        """Run the module. What it raises is told to whoever asks for something."""
        try:
            if "class Solution" in self._source:
                exec(_IMPORTS, vars(self._module))  # noqa: S102
            exec(compile(self._source, _FILE, "exec", dont_inherit=True), vars(self._module))  # noqa: S102
        except BaseException as error:
            self._failed = error

    def work(self) -> None:
        """Serve until the tests hang up."""
        while True:
            # Held while waiting, so that a thread which the program left does not take this one's message.
            with self._lock:
                message = self.receive()
            self.serve(message)

    def perform(self, operation: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Do what tests ask for."""
        if self._failed is not None:
            raise self._failed
        return self._operations[operation](*args, **kwargs)

    def foreign(self, value: Any) -> Any:
        """A handle for whatever it is."""
        if id(value) in self._theirs:
            return {"g": self._theirs[id(value)][1]}
        kind, more = "o", None
        if isinstance(value, type) and issubclass(value, BaseException):
            kind, more = "e", ancestry(value, self.export)
        elif inspect.iscoroutine(value):
            kind = "c"
        elif callable(value):
            kind = "f"
        name = getattr(value, "__name__", None) if callable(value) else None
        return {"h": [self.export(value), name if isinstance(name, str) else type(value).__name__, kind, more]}

    def stand_in(self, number: int, name: str, kind: str, more: Any) -> Any:
        """A function or a generator, or what can be called or stepped through, for one of the tests."""
        if number in self._stand_ins:
            return self._stand_ins[number]  # so that the program finds it again among others
        if kind == "f" and more:

            def call(*args: Any, **kwargs: Any) -> Any:
                return self.ask("call", stand_in, *args, **kwargs)

            call.__name__ = call.__qualname__ = name
            stand_in: Any = call
        elif kind == "f":
            stand_in = _Callable(self)
        else:
            stand_in = self._steps(number) if more else _Steps(self)
        self._theirs[id(stand_in)] = (stand_in, number)
        self._stand_ins[number] = stand_in
        return stand_in

    def restore(self, data: dict[str, Any], read: Callable[[Any], Any]) -> BaseException:
        """The exception that a function of the tests raised."""
        return restore(data, lambda kinds: resolve(kinds, lambda _, name, base: type(name, (base,), {})), read)

    def malformed(self, error: Exception) -> BaseException:
        """The error as it is."""
        return error

    def stopped(self, why: str, reason: str) -> BaseException:
        """An error that the program may handle: the tests know already."""
        return TypeError(f"{why}: {reason}")

    def printed(self) -> str:
        """What the program printed."""
        return self._printed()

    def is_live(self, operation: str, *, beside_handles: bool) -> bool:
        """What the tests take hold of; what a function returns only where it comes with functions that may use it."""
        return operation in ("names", "getattr", "getitem") or (operation == "call" and beside_handles)

    def _steps(self, number: int) -> Any:
        there: Any = _Theirs(self)
        self._theirs[id(there)] = (there, number)

        def steps() -> Any:
            while (found := self.ask("step", there))[0]:
                yield found[1]

        return steps()

    def _names(self, names: list[str]) -> dict[str, Any]:
        return {name: vars(self._module)[name] for name in names if name in vars(self._module)}

    def _last(self) -> str | None:
        """The function that the program defines last."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        names = [node.name for node in ast.parse(self._source).body if isinstance(node, kinds)]
        return names[-1] if names else None


class _Theirs:
    """Stands for an object of the tests."""

    def __init__(self, end: ProgramEnd) -> None:
        self._end = end

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_end":
            raise AttributeError(name)
        return self._end.ask("missing", self, name)


class _Callable(_Theirs):
    """Stands for an object that can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._end.ask("call", self, *args, **kwargs)


class _Steps(_Theirs):
    """Stands for an iterator, such as a file."""

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        more, value = self._end.ask("step", self)
        if more:
            return value
        raise StopIteration


class _Tee(io.RawIOBase):
    """Standard output that is also kept, for tests that look at what is printed."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, data: Any) -> int:
        written = os.write(1, data)
        self._kept += bytes(data[:written])[: _MOST_PRINTED - len(self._kept)]
        return written

    def taken(self) -> str:
        """What was printed since the last call."""
        sys.stdout.flush()
        text = self._kept.decode("utf-8", "replace")
        self._kept.clear()
        return text


def _place(module: types.ModuleType, source: str) -> None:
    """Give a module a file, and let tracebacks and ``inspect`` find its source."""
    module.__file__ = f"{os.getcwd()}/{_FILE}"  # noqa: PTH109 - pathlib is not loaded here
    linecache.cache[_FILE] = linecache.cache[module.__file__] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        _FILE,
    )


def _step(iterator: Any) -> tuple[bool, Any]:
    try:
        return True, next(iterator)
    except StopIteration:
        return False, None


def _await(awaitable: Any) -> Any:
    import asyncio  # most programs do without

    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    "step": _step,
    "await": _await,
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager: type(manager).__exit__(manager, None, None, None),
    "seed": random.seed,
    "contains": operator.contains,
    "reversed": reversed,
    **{one.__name__: one for one in (getattr, setattr, delattr, len, iter, isinstance, str, repr, format)},
    **{one.__name__: one for one in (int, float, complex, round, bytes)},
    **{name: getattr(operator, name) for name in ("getitem", "setitem", "delitem", "index", *operator.__all__)},
}


def _flush() -> None:
    sys.stdout.flush()


def _exit_status(error: BaseException) -> int:
    """The exit status of an interpreter that ends with an exception, which is written to standard error."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return int(error.code or 0) & 255
    with suppress(Exception):
        trace = error.__traceback__ and error.__traceback__.tb_next
        leaves = isinstance(error, SystemExit)
        text = str(error) if leaves else "".join(traceback.format_exception(type(error), error, trace))
        os.write(2, text[-4000:].encode("utf-8", "replace"))
    return 1
