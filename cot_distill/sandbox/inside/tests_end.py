"""The tests' end of the line to the program.

Nothing that comes from there is believed to be more than data. It may be malformed, too large or never end.
"""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .handing import may_be_called
from .peer import Peer
from .raised import resolve, restore
from .stubs import CallableStub, SpoiledError, Stub, exception_stub, waiting
from .wire import Reader, UncrossableError, change

__all__ = ["TestsEnd"]

_ASIDE = {"names", "last", "put", "seed"}
"""What tests ask for without using the program."""
_MOST_SAID = 64 << 20
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.MethodDescriptorType)


class TestsEnd(Peer):
    """Asks the program for things, and does for it what functions of the tests do.

    Args:
        line: Descriptor of the line to the program.
        first: The end of a first run, for a second one that goes by what the program said then. The program is not
            asked again, and changes nothing of the tests' values.
    """

    def __init__(self, line: int, first: TestsEnd | None = None) -> None:
        super().__init__(line)
        self.said = bytearray()
        """All that came from the program."""
        self.is_lost = False
        """Whether there is no going on, since the program waits for an answer that there is none to."""
        self.has_changed = False
        """Whether the program changed any value of the tests so far."""
        self.classes: set[int] = set()
        """Numbers of those stubs that the tests know by the name of a class."""
        self.made: set[int] = set()
        """Numbers of what the tests made of these."""
        self._operations: list[str] = []
        self._lengths: list[int] = []
        self._first = first
        self._left = None if first is None else memoryview(bytes(first.said))
        self._shells: dict[int, tuple[Any, Any]] = {}
        self.asked = 0
        """How often the program was asked for more than names."""
        self._stdout = sys.stdout
        self._exceptions: dict[tuple[int, type], type] = {}

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Ask the program, and count it."""
        self.asked += operation not in _ASIDE
        if self._first is None:
            self._operations.append(operation)
        elif [operation] != self._first._operations[len(self._operations) : len(self._operations) + 1]:
            raise SpoiledError("unverifiable", "the tests ask for something else when they are run again")
        else:
            self._operations.append(operation)
        return super().ask(operation, *args, **kwargs)

    def names(self, wanted: Iterable[str]) -> dict[str, Any]:
        """Those of some names that the program defines, and what they stand for."""
        wanted = list(wanted)
        found = self.ask("names", wanted)
        if type(found) is not dict or not found.keys() <= set(wanted):
            raise self.malformed(TypeError())
        # What the tests call by the name of a class they take for one. What the program calls it does not count.
        self.classes.update(
            value._stub_[1]
            for name, value in found.items()
            if name.lstrip("_")[:1].isupper() and issubclass(type(value), Stub)
        )
        return found

    def perform(self, operation: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function of the tests, or step through an iterator: nothing else, and none but those handed over."""
        function, *rest = args
        if not self.is_exported(function):
            raise SpoiledError("error", "the program asks for what the tests did not hand over")
        if operation == "missing":
            self.is_lost = True
            raise SpoiledError("unverifiable", f"the program looks for {rest[0]!r} in a {type(function).__name__}")
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
        if issubclass(kind, tuple) and "_there_" in vars(kind):
            return {"g": vars(kind)["_there_"]._stub_[1]}
        if isinstance(value, type) and "_stub_" in vars(value):
            return {"g": vars(value)["_stub_"][1]}
        if callable(value) and may_be_called(value):
            name = getattr(value, "__name__", kind.__name__)
            is_function = kind in _FUNCTIONS or isinstance(value, type)
            return {"h": [self.export(value), name if type(name) is str else "", "f", is_function]}
        if isinstance(value, Iterator):
            return {"h": [self.export(value), kind.__name__, "i", kind is types.GeneratorType]}
        if callable(value):
            raise UncrossableError(f"{getattr(value, '__name__', kind.__name__)} would have to cross to the program")
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
        if issubclass(kind, StopIteration | StopAsyncIteration) or _is_swallowed(kind):
            # Raised here it would end a loop or a task of the tests, or a unittest case, as if all were well.
            return SpoiledError("unverifiable", f"the program raises {kind.__name__}")
        return restore(data, lambda kinds: resolve(kinds, self._exception), read)

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

    def take_changes(self, changes: Any, reader: Reader) -> None:
        """Take over changes of the tests' values; in a second run only as the program sees them."""
        self.has_changed = self.has_changed or bool(changes)
        if self._left is None:
            super().take_changes(changes, reader)
            return
        shells = [(reader.seen[number], copy.copy(reader.seen[number])) for number, _ in changes]
        for (number, _), (value, shell) in zip(changes, shells, strict=True):
            reader.seen[number] = shell
            self._shells[id(shell)] = shell, value
        for (_, content), (_, shell) in zip(changes, shells, strict=True):
            change(shell, reader.content(content))

    def fitting(self, seen: list[Any]) -> list[Any]:
        """In a second run, as many values as in the first, since the program numbered its own after these."""
        number = len(self._lengths)
        self._lengths.append(len(seen))
        if self._first is None:
            return seen
        missing = self._first._lengths[number] - len(seen)
        return [*seen, *([] for _ in range(missing))] if missing >= 0 else seen[:missing]

    def itself(self, value: Any) -> Any:
        """A value of the tests for what stands for it in a second run, and any other value as it is."""
        return self._shells[id(value)][1] if id(value) in self._shells else value

    def _read(self, count: int) -> bytes:
        if self._left is not None:
            if len(self._left) < count:
                raise SpoiledError("unverifiable", "the tests ask for more when they are run again")
            again, self._left = bytes(self._left[:count]), self._left[count:]
            return again
        data = super()._read(count)
        if len(self.said) <= _MOST_SAID:
            self.said += data
        return data

    def _send(self, data: bytes) -> None:
        if self._left is None:
            super()._send(data)

    def _exception(self, number: int, name: str, base: type) -> type:
        if (number, base) not in self._exceptions:
            self._exceptions[number, base] = exception_stub(self, number, name, base)
        return self._exceptions[number, base]


def _is_swallowed(kind: type) -> bool:
    """Whether exceptions of a class are no errors to those who run tests: they end what they run, and that is all."""
    names = {(parent.__module__.partition(".")[0], parent.__name__) for parent in kind.__mro__}
    return ("asyncio", "CancelledError") in names or any(module == "unittest" for module, _ in names)
