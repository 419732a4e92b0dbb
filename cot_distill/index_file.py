"""The index of a journal, on disk: looked at in pieces, and never held whole.

It knows the file of entries and in which order they must follow one another; not what is in the segments, and not
what a record means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from cot_distill.errors import RunError
from cot_distill.journal_index import ENTRY_BYTES, KIND_AT, KINDS, Entry, chain_of, entries_of, entry_at

__all__ = ["IndexFile"]

_CHUNK = 1 << 14
"""Entries that are read at once on the way through all of them: about a megabyte."""
_BLOCK = 128
"""Entries that are read at once when one is looked up: its neighbours are wanted next, as tasks come in order."""
_BLOCKS = 64
_IN_MEMORY = 1 << 20


class IndexFile:
    """The entries of the records that were there when the journal was opened, in the order of writing.

    What is written later, by this process or another, is not seen. It starts with the entries of the file; the caller
    says with :meth:`keep` how many of them are right, and gives with :meth:`add` those that are missing. A writer
    puts the file right by that; a reader leaves it alone, and keeps what is missing in an unnamed temporary file.

    Args:
        path: The file. It may be missing.
        writable: Put the file right.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._more: BinaryIO
        if writable:
            path.touch()
            self._file = self._more = path.open("r+b")
        else:
            self._file = path.open("rb") if path.exists() else None
            self._more = SpooledTemporaryFile(_IN_MEMORY)  # type: ignore[assignment]  # noqa: SIM115
        self._writable = writable
        self._size = 0 if self._file is None else self._file.seek(0, 2)
        self._in_file = self._count = self._size // ENTRY_BYTES
        self._block = lru_cache(_BLOCKS)(self._read_block)

    def __len__(self) -> int:
        return self._count

    def count_of_fitting(self, sizes: Sequence[int]) -> int:
        """How many of the entries, from the first one on, lie end to end in segments of these sizes, in bytes."""
        number = segment = end = 0
        room = sizes[0] if sizes else -1
        for _, chunk in self.chunks():
            for kind, at, offset, length in chain_of(chunk):
                while at > segment and end == room and segment + 1 < len(sizes):
                    segment, end, room = segment + 1, 0, sizes[segment + 1]
                if at != segment or offset != end or not length or kind >= len(KINDS):
                    return number
                end += length
                if end > room:
                    return number
                number += 1
        return number

    def keep(self, count: int) -> None:
        """Drop all but the first entries of the file."""
        self._in_file = self._count = count
        self._block.cache_clear()
        if self._writable and self._size != count * ENTRY_BYTES:
            self._more.truncate(count * ENTRY_BYTES)
        self._more.seek(count * ENTRY_BYTES if self._writable else 0)

    def add(self, entry: bytes) -> None:
        """Add the next entry, packed."""
        self._more.write(entry)
        self._count += 1

    def seal(self) -> None:
        """Called after the last :meth:`add`, and before anything is looked up."""
        self._more.flush()
        self._block.cache_clear()
        if self._writable:
            self._in_file = self._count

    def packed(self, number: int) -> bytes:
        """The entry of a record, counted from 0, as it is in the file."""
        at = number % _BLOCK * ENTRY_BYTES
        return self._block(number // _BLOCK)[at : at + ENTRY_BYTES]

    def entry(self, number: int) -> Entry:
        """The entry of a record, counted from 0."""
        return entry_at(self._block(number // _BLOCK), number % _BLOCK)

    def chunks(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """All entries from ``start`` on, in pieces, each with the number of its first record."""
        for number in range(start, self._count, _CHUNK):
            yield number, self._read(number, min(number + _CHUNK, self._count))

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """All entries from ``start`` on, in the order of writing."""
        for _, chunk in self.chunks(start):
            yield from entries_of(chunk)

    def numbers(self, *kinds: str, start: int = 0) -> Iterator[int]:
        """The numbers of the records of these kinds, in the order of writing."""
        wanted = re.compile(b"[" + re.escape(bytes(map(KINDS.index, kinds))) + b"]")
        for number, chunk in self.chunks(start):
            for found in wanted.finditer(chunk[KIND_AT::ENTRY_BYTES]):
                yield number + found.start()

    def close(self) -> None:
        """Close the files."""
        self._block.cache_clear()
        self._more.close()
        if self._file is not None:
            self._file.close()

    def _read_block(self, block: int) -> bytes:
        start = block * _BLOCK
        return self._read(start, min(start + _BLOCK, self._count))

    def _read(self, start: int, stop: int) -> bytes:
        """The entries of a range."""
        found = b""
        if self._file is not None and start < self._in_file:
            self._file.seek(start * ENTRY_BYTES)
            found = self._file.read((min(stop, self._in_file) - start) * ENTRY_BYTES)
        if stop > self._in_file:
            self._more.seek((max(start, self._in_file) - self._in_file) * ENTRY_BYTES)
            found += self._more.read((stop - max(start, self._in_file)) * ENTRY_BYTES)
        if len(found) != (stop - start) * ENTRY_BYTES:
            raise RunError(f"{self._path} was cut off while it was being read: open the run again")
        return found
