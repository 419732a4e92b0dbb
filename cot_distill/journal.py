"""The journal: an append-only file of lines on disk, with an index that is only a cache.

It knows bytes, offsets, locks and disks. What a record means is the business of :mod:`cot_distill.ledger`.

Promises:

* A record is one ``write`` of one whole line on an ``O_APPEND`` descriptor, so that killing the process cannot lose
  a record that :meth:`Journal.append` returned from. ``fsync``, against power loss, is the caller's to time.
* A torn last line is cut off on the next start and kept in ``torn.bin``. A broken line that is followed by whole
  ones is not a torn tail: that raises, with the place.
* Only one process writes: the second one is refused.
* A full disk does not lose what is under way: a reserve file is given up to make room for it, and
  :attr:`Journal.full` asks the caller to stop.

Layout of the directory::

    journal-00000.jsonl …   the records, in segments of about 1 GiB
    journal.idx             a fixed-size entry per record: rebuilt when it does not fit the segments
    lock, lock.owner        held while a process writes; who holds it
    torn.bin                cut-off tails, kept for inspection
    reserve                 room for the answers in flight when the disk fills up
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from pydantic_core import from_json, to_json

from cot_distill import run_lock
from cot_distill.errors import RunError
from cot_distill.journal_index import ENTRY_BYTES, Entry, Head, entries_of, entry_at, fields_of, head_of, pack

__all__ = ["Journal"]

SEGMENT_BYTES = 1 << 30
RESERVE_BYTES = 16 << 20
_CHECKED_ENTRIES = 64


class Journal:
    """The journal of one directory.

    Args:
        path: The directory; made if it is missing and ``writable``.
        writable: Take the lock, recover a torn tail, allow :meth:`append`. Otherwise nothing on disk is touched,
            and a writer in another process may go on meanwhile.

    Raises:
        RunError: Another process is writing; the directory cannot be written; a record in the middle is broken.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self.full: OSError | None = None
        """Set once the disk is full: the caller should stop asking and bring home what is under way."""
        self._readers: dict[int, BinaryIO] = {}
        self._lock = -1
        self._file = self._index = -1
        self._dirty = False
        if not writable:
            self._entries = self._load(repair=False)
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = run_lock.take(path)
            self._entries = self._load(repair=True)
            self._segment = max(0, len(self._segments()) - 1)
            self._open_segment()
            _reserve(path / "reserve")
        except OSError as error:
            self.close()
            raise RunError(f"cannot write to {path}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._entries) // ENTRY_BYTES

    def append(self, head: Head, body: Mapping[str, Any]) -> None:
        """Write one record. When this returns, killing the process cannot lose it any more.

        Raises:
            RunError: The disk is full, and so is the reserve.
        """
        line = to_json({**fields_of(head), **body}) + b"\n"
        if self._end and self._end + len(line) > SEGMENT_BYTES:
            self.sync()
            self._segment += 1
            self._open_segment()
        entry = pack(Entry(head, self._segment, self._end, len(line), crc32(line)))  # first, since it may be refused
        self._write(line)
        self._end += len(line)
        self._dirty = True
        with contextlib.suppress(OSError):  # only a cache: without it the next start reads the lines instead
            os.write(self._index, entry)

    def entry(self, number: int) -> Entry:
        """The entry of a record that was there when the journal was opened, counted from 0."""
        return entry_at(self._entries, number)

    def entries(self) -> Iterator[Entry]:
        """All entries that were there when the journal was opened, in the order of writing."""
        return entries_of(self._entries)

    def read(self, entry: Entry) -> dict[str, Any]:
        """The record of an entry.

        Raises:
            RunError: The line on disk is not the one that was written.
        """
        file = self._readers.get(entry.segment)
        if file is None:
            file = self._readers[entry.segment] = self._segment_path(entry.segment).open("rb")
        file.seek(entry.offset)
        line = file.read(entry.length)
        if crc32(line) != entry.checksum:
            raise self._corrupt(entry.segment, entry.offset)
        record: dict[str, Any] = from_json(line)
        return record

    def sync(self) -> None:
        """Make everything so far survive a power loss. Blocks for milliseconds: call it in a thread.

        Raises:
            RunError: The disk did not take it.
        """
        if self._dirty and self._file >= 0:
            self._dirty = False
            try:
                os.fsync(self._file)
            except OSError as error:
                raise RunError(f"cannot write to {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Sync, give up the reserve and the lock. Safe to call twice."""
        try:
            self.sync()
        finally:
            if run_lock.is_ours(self._lock):
                (self.path / "reserve").unlink(missing_ok=True)
                (self.path / "lock.owner").unlink(missing_ok=True)
            run_lock.release(self._lock)
            for descriptor in (self._file, self._index):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._index = self._lock = -1
            for file in self._readers.values():
                file.close()
            self._readers.clear()

    def _write(self, line: bytes) -> None:
        try:
            self._write_whole(line)
        except OSError as error:
            self.full = error
            (self.path / "reserve").unlink(missing_ok=True)
            try:
                self._write_whole(line)
            except OSError as again:
                raise RunError(
                    f"cannot write to {self.path}: {again.strerror}; an answer of {len(line)} bytes is lost. "
                    "Make room and run again: all that is in the journal is kept"
                ) from again

    def _write_whole(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written < len(line):  # a disk that fills up takes a part: take that back before anything else follows
            os.ftruncate(self._file, self._end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open_segment(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        if self._file >= 0:
            os.close(self._file)
        else:
            self._index = os.open(self.path / "journal.idx", flags, 0o644)
        self._file = os.open(self._segment_path(self._segment), flags, 0o644)
        self._end = os.fstat(self._file).st_size
        _sync_directory(self.path)

    def _segment_path(self, number: int) -> Path:
        return self.path / f"journal-{number:05}.jsonl"

    def _segments(self) -> list[Path]:
        return sorted(self.path.glob("journal-?????.jsonl"))

    def _load(self, *, repair: bool) -> bytes:
        """Read the index, check it against the segments, and read the lines that it does not cover."""
        index = self.path / "journal.idx"
        known = index.read_bytes() if index.exists() else b""
        known = self._covered(known[: len(known) - len(known) % ENTRY_BYTES])
        missing: list[bytes] = []
        last = entry_at(known[-ENTRY_BYTES:], 0) if known else None
        start = (last.segment, last.offset + last.length) if last else (0, 0)
        for number in range(start[0], len(self._segments())):
            missing += self._scan(number, start[1] if number == start[0] else 0, repair=repair)
        entries = known + b"".join(missing)
        if repair and (len(entries) != len(known) or not index.exists() or index.stat().st_size != len(known)):
            index.write_bytes(entries)
        return entries

    def _covered(self, index: bytes) -> bytes:
        """The index, if its entries lie end to end within the segments and the last ones match; else nothing."""
        sizes = [path.stat().st_size for path in self._segments()]
        segment = end = 0
        for head, number, offset, length, _ in entries_of(index):
            if number == segment + 1:
                segment, end = number, 0
            if number != segment or offset != end or number >= len(sizes) or not length or not head.kind:
                return b""
            end += length
            if end > sizes[number]:
                return b""
        for entry in entries_of(index[-_CHECKED_ENTRIES * ENTRY_BYTES :]):
            with self._segment_path(entry.segment).open("rb") as file:
                file.seek(entry.offset)
                line = file.read(entry.length)
            if crc32(line) == entry.checksum:
                continue
            if head_of(line) == entry.head:  # the index is right, and the record was changed behind our back
                raise self._corrupt(entry.segment, entry.offset)
            return b""
        return index

    def _scan(self, number: int, offset: int, *, repair: bool) -> list[bytes]:
        """Entries for the lines of a segment from ``offset`` on; cuts off a torn tail."""
        entries: list[bytes] = []
        torn: int | None = None
        with self._segment_path(number).open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # a writer may be at work: what comes later is not for us
            file.seek(offset)
            for line in file:
                if offset + len(line) > size:
                    break
                head = head_of(line)
                if head is None:
                    torn = offset if torn is None else torn
                elif torn is not None:
                    raise self._corrupt(number, torn)
                else:
                    entries.append(pack(Entry(head, number, offset, len(line), crc32(line))))
                offset += len(line)
        if torn is not None and number != len(self._segments()) - 1:
            raise self._corrupt(number, torn)
        if torn is not None and repair:
            with self._segment_path(number).open("r+b") as file, (self.path / "torn.bin").open("ab") as kept:
                file.seek(torn)
                kept.write(file.read())
                kept.flush()
                os.fsync(kept.fileno())
                file.truncate(torn)
        return entries

    def _corrupt(self, segment: int, offset: int) -> RunError:
        return RunError(
            f"{self._segment_path(segment)} is damaged at byte {offset}: the record there is not what was written. "
            "Restore the file from a copy, or cut that line out; the answers in it will be asked for again"
        )


def _reserve(path: Path) -> None:
    """Occupy some room on the disk, to be given up when it fills."""
    if path.exists() and path.stat().st_size == RESERVE_BYTES:
        return
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        else:  # pragma: no cover - macOS, Windows
            file.write(b"\0" * RESERVE_BYTES)


def _sync_directory(path: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
