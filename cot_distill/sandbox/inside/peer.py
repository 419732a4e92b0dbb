"""One end of the line between a program and its tests: asking for something to be done there, and doing it here.

Both ends speak the same way: one asks, the other does it and replies; meanwhile it may ask back. A message is JSON
with its length before it. What an end can be asked for, and what stands there for the other's objects, is said by
the two classes made of this one.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import types
from collections.abc import Callable
from typing import Any, ClassVar

from .raised import describe
from .shared import Shared
from .wire import Reader, UncrossableError, Writer, change

__all__ = ["LARGEST", "EndedError", "HungUpError", "Peer"]

LARGEST = 8 << 20
"""Bytes of a message."""
_HEAD = struct.Struct(">I")
_MOST_LETTERS = 2000
_PARTS = 6
"""Of a message: ask, operation, arguments, named arguments, updates, nothing; or what came of it, printed, changes,
result, updates, how many values of the result are shared from now on."""


class EndedError(BaseException):
    """There is no going on. No `Exception`: neither the program nor its tests are to handle it.

    Where they do so all the same, it is in ``all`` and counts.
    """

    all: ClassVar[list[EndedError]] = []

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.all.append(self)


class HungUpError(EndedError):
    """The other end is gone."""


class Peer:
    """An end of the line.

    Args:
        line: The descriptor of a connected stream socket.
    """

    def __init__(self, line: int) -> None:
        self._line = line
        self._lock = threading.RLock()
        self.exports: list[Any] = []
        """Objects of this end that the other end knows by number."""
        self._numbers: dict[Any, int] = {}
        self.sent: list[BaseException] = []
        self.received: dict[int, tuple[BaseException, int]] = {}
        self.shared = Shared(self.foreign, self._handle)

    # What the two ends do differently.

    def perform(self, operation: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Do what the other end asks for."""
        raise NotImplementedError

    def foreign(self, value: Any) -> Any:
        """The JSON of what is no plain data: ``{"h": …}`` for an object of this end, ``{"g": …}`` of the other."""
        raise NotImplementedError

    def stand_in(self, number: int, name: str, kind: str, more: Any) -> Any:
        """What stands here for an object of the other end."""
        raise NotImplementedError

    def restore(self, data: dict[str, Any], read: Callable[[Any], Any]) -> BaseException:
        """The exception of the other end."""
        raise NotImplementedError

    def malformed(self, error: Exception) -> BaseException:
        """What to raise where a message of the other end is none."""
        raise NotImplementedError

    def stopped(self, why: str, reason: str) -> BaseException:
        """What to raise where the other end has no reply: ``why`` is "large" or "uncrossable"."""
        raise NotImplementedError

    def printed(self) -> str:
        """What was printed here since the last reply."""
        return ""

    def show(self, text: str) -> None:
        """Take what was printed there."""

    def take_changes(self, changes: Any, reader: Reader) -> None:
        """Give arguments the content that they have at the other end now.

        Args:
            changes: The number of each, with its content.
            reader: Knows the arguments by number.
        """
        changed = [(reader.seen[number], reader.content(content)) for number, content in changes]
        for value, new in changed:
            change(value, new)

    def is_live(self, operation: str, *, beside_handles: bool) -> bool:  # noqa: ARG002
        """Whether what comes of an operation stays shared: a change on either side is one on both.

        Args:
            operation: Its name.
            beside_handles: Whether objects that the other end did not know come with it.
        """
        return False

    def fitting(self, seen: list[Any]) -> list[Any]:
        """The values that a reply may refer to by number."""
        return seen

    # What they have in common.

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Have something done by the other end.

        Returns:
            What came of it. Arguments that were changed there are changed here.

        Raises:
            BaseException: What was raised there; :class:`HungUpError`; what :meth:`stopped` makes.
        """
        with self._lock:
            try:
                updates = self.shared.updates()
                writer = Writer(self.foreign, self.shared.values)
                sent = [writer.write(arg) for arg in args], {name: writer.write(arg) for name, arg in kwargs.items()}
            except UncrossableError as error:
                raise self.stopped("uncrossable", str(error)) from None
            seen = self.fitting(writer.seen)
            self._send(self._bytes(["ask", operation, *sent, updates, 0]))
            while (reply := self.receive())[0] == "ask":
                self.serve(reply)
            try:
                done, result = self._settle(reply, seen)
            except Exception as error:
                raise self.malformed(error) from None
            if done:
                return result
            raise result

    def serve(self, message: Any) -> None:
        """Do what a message asks for, and reply."""
        try:
            _, operation, args_json, kwargs_json, updates, _ = message
            self.shared.update(updates)
            reader = Reader(self._handle, self.shared.values)
            held = len(reader.seen)
            args = [reader.read(arg) for arg in args_json]
            kwargs = {name: reader.read(arg) for name, arg in kwargs_json.items()}
        except Exception as error:
            raise self.malformed(error) from None
        before = _dumps([args_json, kwargs_json]) if len(reader.seen) > held else None
        try:
            kind, result = "ok", self.perform(operation, args, kwargs)
        except EndedError:
            raise
        except BaseException as error:  # all of them are for the other end
            kind, result = "no", error
        try:
            writer = Writer(self.foreign, reader.seen)
            changes = self._changes(writer, before, args, kwargs, held)
            known, exported = len(writer.seen), len(self.exports)
            payload = writer.write(result) if kind == "ok" else self._described(result, writer.write)
            is_live = kind == "ok" and self.is_live(operation, beside_handles=len(self.exports) > exported)
            updates = self.shared.updates()
            more = self.shared.add(writer.seen[known:]) if is_live else 0
            reply = self._bytes([kind, self.printed(), changes, payload, updates, more])
        except (_LargeError, MemoryError) as error:
            reply = _stop("large", str(error) or "the memory is too small for what it hands over")
        except Exception as error:
            reason = str(error) if isinstance(error, UncrossableError) else f"{type(error).__name__} on the way"
            reply = _stop("uncrossable", reason[:_MOST_LETTERS])
        with self._lock:
            self._send(reply)

    def receive(self) -> Any:
        """The next message.

        Raises:
            HungUpError: There is none any more.
        """
        (length,) = _HEAD.unpack(self._read(_HEAD.size))
        try:
            if length > LARGEST:
                raise ValueError("a message is too large")
            message = json.loads(self._read(length))
            if type(message) is not list or len(message) != _PARTS or type(message[0]) is not str:
                raise ValueError("a message has another shape")
        except Exception as error:
            raise self.malformed(error) from None
        return message

    def export(self, value: Any) -> int:
        """The number of an object of this end. It stays alive from now on."""
        key = self._key(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.exports)
            self.exports.append(value)
        return self._numbers[key]

    def is_exported(self, value: Any) -> bool:
        """Whether the other end knows an object of this end."""
        return self._key(value) in self._numbers

    def _key(self, value: Any) -> Any:
        """What makes an object that object. A method is made anew each time that somebody asks for it."""
        if type(value) is types.MethodType:
            return id(value.__self__), id(value.__func__)
        return id(value)

    def _changes(
        self, writer: Writer, before: bytes | None, args: list[Any], kwargs: dict[str, Any], held: int
    ) -> list[Any]:
        """The content of all arguments, if any of it was changed."""
        if before is None:
            return []
        known = list(writer.seen)
        again = Writer(self.foreign, known[:held])
        after = [again.write(arg) for arg in args], {name: again.write(arg) for name, arg in kwargs.items()}
        if _dumps(after) == before:
            return []
        return [[number, writer.content(value)] for number, value in enumerate(known) if number >= held]

    def _settle(self, reply: Any, seen: list[Any]) -> tuple[bool, Any]:
        """Whether it was done, and what came of it, or what is to be raised."""
        kind, printed, changes, payload, updates, more = reply
        if kind == "stop":
            return False, self.stopped(printed, payload)
        self.show(printed)
        reader = Reader(self._handle, seen)
        self.take_changes(changes, reader)
        known = len(reader.seen)
        result = reader.read(payload) if kind == "ok" else self._restored(payload, reader.read)
        self.shared.update(updates)
        self.shared.add(reader.seen[known:][:more])
        return kind == "ok", result

    def _handle(self, tag: str, data: Any) -> Any:
        return self.exports[data] if tag == "g" else self.stand_in(*data)

    def _described(self, error: BaseException, write: Callable[[Any], Any]) -> dict[str, Any]:
        if id(error) in self.received:
            return {"back": self.received[id(error)][1]}
        self.sent.append(error)
        return {"number": len(self.sent) - 1, **describe(error, self.export, write)}

    def _restored(self, data: dict[str, Any], read: Callable[[Any], Any]) -> BaseException:
        if "back" in data:
            sent: BaseException = self.sent[data["back"]]
            return sent
        error = self.restore(data, read)
        self.received[id(error)] = (error, int(data["number"]))
        return error

    def _bytes(self, message: list[Any]) -> bytes:
        data = _dumps(message)
        if len(data) > LARGEST:
            raise _LargeError(f"{len(data) >> 20} MB are too much to hand over: the limit is {LARGEST >> 20} MB")
        return data

    def _send(self, data: bytes) -> None:
        left = memoryview(_HEAD.pack(len(data)) + data)
        try:
            while left:
                left = left[os.write(self._line, left) :]
        except OSError:
            raise HungUpError from None

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = os.read(self._line, min(count, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise HungUpError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class _LargeError(Exception):
    """A message would be too large."""


def _stop(why: str, reason: str) -> bytes:
    return _dumps(["stop", why, [], reason, [], 0])


def _dumps(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":"), check_circular=False).encode()
