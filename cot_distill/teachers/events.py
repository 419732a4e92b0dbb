"""Events in a stream of bytes: server-sent events, and lines of JSON.

It does no input or output and knows no provider: bytes go in, cut wherever the network cut them, and whole events
come out, the same ones for every cut. Lines are told apart while they are still bytes. In UTF-8 no byte of a longer
character looks like a line break, so no character is ever torn, and what ``str.splitlines`` takes for a line break
besides (U+2028, U+0085) stays where it is. Format: WHATWG's HTML standard, the section on parsing an event stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

__all__ = ["LONGEST", "Event", "Events", "JSONLines", "ServerSentEvents"]

LONGEST = 64 * 2**20
"""Bytes that one line, or the data of one event, may have: some formats repeat a whole answer in their last event."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BREAK = re.compile(rb"\r\n|\n|\r")


class Event(NamedTuple):
    """One event."""

    data: bytes
    """As it came, which may be no JSON and no Unicode."""
    name: str = ""
    """What the field ``event`` says; empty where there is none."""


class Events(Protocol):
    """Takes bytes and gives events."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole by now. Raises a ValueError if one is too long."""

    def end(self) -> list[Event]:
        """What is left when no more bytes come: an event that nobody ended."""


class ServerSentEvents:
    r"""Server-sent events. Comments, ``id``, ``retry`` and fields that nobody knows are left out.

    Example:
        >>> events = ServerSentEvents()
        >>> events.feed(b'event: ping\r\ndata: {}\r'), events.feed(b'\n: keep-alive\n\n')
        ([], [Event(data=b'{}', name='ping')])
    """

    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes.

        Args:
            data: Whatever came.

        Returns:
            The events that are whole by now.

        Raises:
            ValueError: A line or an event is longer than :data:`LONGEST`.
        """
        return [event for line in self._lines.feed(data) for event in self._take(line)]

    def end(self) -> list[Event]:
        """Take the end.

        Returns:
            The event that was under way, if there is one. The standard would drop it; but servers forget the empty
            line at the end, and whether the event is whole shows when it is read.
        """
        line = self._lines.end()
        return [*self._take(line), *self._take(b"")]

    def _take(self, line: bytes) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(b"\n".join(self._data), self._name)
            self._data, self._size, self._name = [], 0, ""
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value)
            if self._size > LONGEST:
                raise ValueError(f"an event is longer than {LONGEST:,} bytes")
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")


class JSONLines:
    r"""One JSON value a line, as Ollama streams (NDJSON). Empty lines are left out.

    Example:
        >>> lines = JSONLines()
        >>> lines.feed(b'{"a": 1}\n{"a"'), lines.feed(b': 2}'), lines.end()
        ([Event(data=b'{"a": 1}', name='')], [], [Event(data=b'{"a": 2}', name='')])
    """

    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes.

        Args:
            data: Whatever came.

        Returns:
            The lines that are whole by now.

        Raises:
            ValueError: A line is longer than :data:`LONGEST`.
        """
        return [Event(line) for line in self._lines.feed(data) if line.strip()]

    def end(self) -> list[Event]:
        """Take the end.

        Returns:
            The last line, where it has no line break; it may be cut.
        """
        line = self._lines.end()
        return [Event(line)] if line.strip() else []


class _Lines:
    """Cuts bytes at line breaks, and keeps a line that has none yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_first = True
        self._after_return = False

    def feed(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        # A line ends at its CR, at once; an LF that comes next, maybe with the next bytes, belongs to that.
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = data.endswith(b"\r")
        head, *rest = _BREAK.split(data)
        self._keep(head)
        found = []
        for piece in rest:
            found.append(self.end())
            self._keep(piece)
        return found

    def end(self) -> bytes:
        line = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > LONGEST:
            raise ValueError(f"a line is longer than {LONGEST:,} bytes")
        if piece:
            self._pieces.append(piece)
