"""The tests' end of the line to the program.

Nothing that comes from there is believed to be more than data. It may be malformed, too large or never end.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .peer import Peer
from .raised import resolve, restore
from .stubs import CallableStub, SpoiledError, Stub, exception_stub, waiting
from .wire import UncrossableError, change

__all__ = ["TestsEnd"]


class TestsEnd(Peer):
    """Asks the program for things, and does for it what functions of the tests do."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.asked = 0
        """How often the program was asked for more than names."""
        self._stdout = sys.stdout
        self._exceptions: dict[int, type] = {}
        self._before: dict[int, tuple[Any, Any]] = {}

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Ask the program, and count it."""
        self.asked += operation not in ("names", "last")
        return super().ask(operation, *args, **kwargs)

    def names(self, wanted: Iterable[str]) -> dict[str, Any]:
        """Those of some names that the program defines, and what they stand for."""
        wanted = list(wanted)
        found = self.ask("names", wanted)
        if type(found) is not dict or not found.keys() <= set(wanted):
            raise self.malformed(TypeError())
        return found

    def perform(self, operation: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function of the tests, or step through an iterator: nothing else, and none but those handed over."""
        function, *rest = args
        if id(function) not in self._numbers:
            raise SpoiledError("error", "the program asks for what the tests did not hand over")
        if operation == "step":
            for value in function:
                return True, value
            return False, None
        try:
            return function(*rest, **kwargs)
        except AssertionError as error:
            # The program could swallow it.
            raise SpoiledError("failed", f"{function.__name__} was not called as expected: {error}") from error

    def foreign(self, value: Any) -> Any:
        """A handle for functions and iterators; the attributes of anything else would tell the program too much."""
        kind = type(value)
        if issubclass(kind, Stub):
            return {"g": value._stub_[1]}
        if isinstance(value, type) and "_stub_" in vars(value):
            return {"g": vars(value)["_stub_"][1]}
        if callable(value):
            return {"h": [self.export(value), getattr(value, "__name__", kind.__name__), "f", None]}
        if isinstance(value, Iterator):
            return {"h": [self.export(value), kind.__name__, "i", None]}
        raise UncrossableError(f"a value of the type {kind.__name__}, which is not plain data, would have to cross")

    def stand_in(self, number: int, name: str, kind: str, more: Any) -> Any:
        """A stub."""
        if not (isinstance(number, int) and isinstance(name, str)):
            raise TypeError("no handle")
        if kind == "e":
            return resolve(more, self._exception)
        stub = CallableStub(self, number, name) if kind == "f" else Stub(self, number, name)
        return waiting(stub) if kind == "c" else stub

    def restore(self, data: dict[str, Any], read: Callable[[Any], Any]) -> BaseException:
        """The exception that the program raised."""
        kind = resolve(data["kind"], self._exception)
        if issubclass(kind, StopIteration | StopAsyncIteration):
            # Raised here it would end a loop of the tests as if all were well.
            return SpoiledError("unverifiable", f"the program raises {kind.__name__}")
        error = restore(data, kind, read)
        error.__dict__["_text_"], error.__dict__["_line_"] = str(data["text"]), data["line"]
        return error

    def malformed(self, error: Exception) -> BaseException:
        """The end: the program wrote to the line itself, or far too much."""
        if isinstance(error, MemoryError):
            return SpoiledError("output_limit", "the tests ran out of memory with what the program hands over")
        return SpoiledError("error", f"what the program sends to its tests is no message: {type(error).__name__}")

    def stopped(self, why: str, reason: str) -> BaseException:
        """The end: there is a value that does not cross."""
        return SpoiledError("output_limit" if why == "large" else "unverifiable", str(reason))

    def show(self, text: str) -> None:
        """Print what the program printed, where the tests look at it."""
        if text and sys.stdout is not self._stdout:  # the tests look at what is printed
            sys.stdout.write(text)

    def before_change(self, value: Any) -> None:
        """Keep what an argument was like before the program changed it first."""
        self._before.setdefault(id(value), (value, copy.copy(value)))

    def as_it_was(self, evaluate: Callable[[], Any]) -> Any:
        """Evaluate something with all arguments as they were before the program changed them."""
        now = [(value, copy.copy(value)) for value, _ in self._before.values()]
        for value, old in self._before.values():
            change(value, old)
        try:
            return evaluate()
        finally:
            for value, new in now:
                change(value, new)

    @property
    def has_changed(self) -> bool:
        """Whether the program changed any argument so far."""
        return bool(self._before)

    def _exception(self, number: int, name: str, base: type) -> type:
        if number not in self._exceptions:
            self._exceptions[number] = exception_stub(self, number, name, base)
        return self._exceptions[number]
