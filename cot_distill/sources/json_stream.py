"""Reading the objects of a JSON array one by one, so that a file of any size fits.

This file knows JSON text and file objects, neither rows nor tasks. It cuts out the text of an element by counting
brackets and leaves decoding to others: a broken element can so be left behind, and the next one be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["JSONStructureError", "array_elements"]

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]]', re.DOTALL)
"""A whole string, a bracket, or a quote whose string goes on beyond what has been read."""
_SCALAR_END = re.compile(rb"[,\]}\s]")
_NO_SPACE = re.compile(rb"[^ \t\r\n]")
_DEPTH = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
_CHUNK = 1 << 16
_CUT = "the file ends too early: it is cut"


class JSONStructureError(ValueError):
    """The text is no array of objects, or is damaged in such a way that what follows cannot be found."""


def array_elements(file: BinaryIO) -> Iterator[bytes]:
    r"""Yield the text of each element of an array, or of the one array of objects inside an object.

    Args:
        file: JSON in UTF-8, also with a byte order mark.

    Yields:
        The bytes of one element, as they stand in the file.

    Raises:
        JSONStructureError: There is no such array or more than one, or the text is cut or goes on after it.

    Example:
        >>> import io
        >>> list(array_elements(io.BytesIO(b'{"version": [1], "data": [{"a": 1}, {"a": 2}]}')))
        [b'{"a": 1}', b'{"a": 2}']
    """
    text = _Text(file)
    if not text.peek():
        return
    if text.take(b"[{") == b"[":
        yield from _elements(text)
    else:
        yield from _inside_object(text)
    if text.peek():
        raise JSONStructureError("there is more text after the end")


def _elements(text: _Text) -> Iterator[bytes]:
    """The elements of an array that is open already."""
    if text.peek() == b"]":
        text.take(b"]")
        return
    while True:
        yield text.value()
        if text.take(b",]") == b"]":
            return


def _inside_object(text: _Text) -> Iterator[bytes]:
    found = None
    while text.peek() == b'"':
        key = text.value().decode(errors="replace")
        text.take(b":")
        if text.peek() == b"[":
            text.take(b"[")
            wanted = text.peek() == b"{"
            if wanted and found:
                raise JSONStructureError(f"two arrays of objects, {found} and {key}: split the file")
            found = key if wanted else found
            for element in _elements(text):
                if wanted:
                    yield element
        else:
            text.value()
        if text.take(b",}") == b"}":
            break
    if found is None:
        raise JSONStructureError("an object without an array of objects inside")


class _Text:
    """A file of which only the value at hand is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = file.read(_CHUNK).removeprefix(b"\xef\xbb\xbf")
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is no white space, or nothing at the end."""
        while (found := _NO_SPACE.search(self._held, self._at)) is None:
            self._at = len(self._held)
            if not self._more():
                return b""
        self._at = found.start()
        return found.group()

    def take(self, allowed: bytes) -> bytes:
        """Step over one of the allowed bytes."""
        byte = self.peek()
        if not byte:
            raise JSONStructureError(_CUT)
        if byte not in allowed:
            wanted = " or ".join(repr(chr(each)) for each in allowed)
            raise JSONStructureError(f"expected {wanted}, found {byte.decode(errors='replace')!r}")
        self._at += 1
        return byte

    def value(self) -> bytes:
        """Step over a whole value and return its text."""
        if not (first := self.peek()):
            raise JSONStructureError(_CUT)
        end = self._nested() if first in b'{["' else self._scalar()
        text = self._held[self._at : self._at + end]
        self._at += end
        return text

    def _nested(self) -> int:
        """Length of the string, object or array that begins here."""
        depth = end = 0
        while True:
            token = _TOKEN.search(self._held, self._at + end)
            if token is None or token.group() == b'"':
                end = (len(self._held) if token is None else token.start()) - self._at
                if not self._more():
                    raise JSONStructureError("a string or a bracket is never closed, or the file is cut")
                continue
            end = token.end() - self._at
            depth += _DEPTH.get(token.group(), 0)
            if depth == 0:
                return end

    def _scalar(self) -> int:
        """Length of the number, true, false or null that begins here."""
        while (found := _SCALAR_END.search(self._held, self._at)) is None:
            if not self._more():
                return len(self._held) - self._at
        if found.start() == self._at:
            raise JSONStructureError(f"expected a value, found {found.group().decode()!r}")
        return found.start() - self._at

    def _more(self) -> bool:
        # As much again as is held: a long value is so looked through a few times only.
        chunk = self._file.read(max(_CHUNK, len(self._held) - self._at))
        self._held = self._held[self._at :] + chunk
        self._at = 0
        return bool(chunk)
