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
* What is held in memory does not grow with the number of records.

Layout of the directory::

    journal-00000.jsonl …   the records, in segments of about 1 GiB; compressed on demand: journal-00000.jsonl.zst
    journal.idx             a fixed-size entry per record: put right where it does not fit the segments
    lock, lock.owner        held while a process writes; who holds it
    torn.bin                cut-off tails, kept for inspection
    reserve                 room for the answers in flight when the disk fills up
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zlib import crc32

from pydantic_core import from_json, to_json

from cot_distill import run_lock
from cot_distill.errors import RunError
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import ENTRY_BYTES, Entry, Head, fields_of, head_of, pack
from cot_distill.packed import require_zstd
from cot_distill.segments import Segments, sync_directory

__all__ = ["Journal"]

SEGMENT_BYTES = 1 << 30
RESERVE_BYTES = 16 << 20
_CHECKED_ENTRIES = 64
_ENTRIES = 64
"""Entries that are held before they are written. What a kill takes of them is read from the lines again."""


class Journal:
    """The journal of one directory.

    Args:
        path: The directory; made if it is missing and ``writable``.
        writable: Take the lock, recover a torn tail, allow :meth:`append`. Otherwise nothing on disk is touched,
            and a writer in another process may go on meanwhile.

    Raises:
        RunError: Another process is writing; the directory cannot be written; a record in the middle is broken.
        MissingExtraError: Segments are compressed, and the package that reads them is not installed.
    """

    index: IndexFile
    """What was there when the journal was opened."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self.full: OSError | None = None
        """Set once the disk is full: the caller should stop asking and bring home what is under way."""
        self._lock = self._file = self._index_file = -1
        self._dirty = False
        self._entries = bytearray()
        self.written = 0
        """Records that were appended since it was opened."""
        self._readers = ExitStack()
        try:
            if writable:
                path.mkdir(parents=True, exist_ok=True)
                self._lock = run_lock.take(path)
                for unfinished in path.glob("journal-*.zst.tmp"):
                    unfinished.unlink()
            self._load(repair=writable)
            if writable:
                self._index_file = self._open_to_append(path / "journal.idx")
                self._open_segment(self._segments.live)
                _reserve(path / "reserve")
        except OSError as error:
            self.close()
            if not writable:
                raise
            raise RunError(f"cannot write to {path}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.index)

    def append(self, head: Head, body: Mapping[str, Any]) -> None:
        """Write one record. When this returns, killing the process cannot lose it any more.

        Raises:
            RunError: The disk is full, and so is the reserve.
        """
        line = to_json({**fields_of(head), **body}) + b"\n"
        if self._end and self._end + len(line) > SEGMENT_BYTES:
            self.sync()
            self._open_segment(self._segment + 1)
        entry = pack(Entry(head, self._segment, self._end, len(line), crc32(line)))  # first, since it may be refused
        self._write(line)
        self._end += len(line)
        self.written += 1
        self._dirty = True
        self._entries += entry
        if len(self._entries) >= _ENTRIES * ENTRY_BYTES:
            self._write_entries()

    def read(self, entry: Entry) -> dict[str, Any]:
        """The record of an entry.

        Raises:
            RunError: The line on disk is not the one that was written.
        """
        line = self._segments.read(entry.segment, entry.offset, entry.length)
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

    def compact(self) -> int:
        """Compress all segments, one after the other; what is appended later goes to a new one.

        Being cut off anywhere loses nothing. Whoever reads meanwhile goes on reading.

        Returns:
            The number of bytes that are free now.

        Raises:
            RunError: There is no room for the compressed copy of a segment. What was done before stays.
            MissingExtraError: The package for it is not installed.
        """
        require_zstd()
        self.sync()
        os.close(self._file)  # some systems do not remove what is open
        self._file = -1
        self._segments.close()
        now = Segments(self.path)
        try:
            plain = [number for number, size in enumerate(now.sizes) if size and now.plain(number).exists()]
            return sum(map(now.pack, plain))
        finally:
            now.close()
            self._open_segment(now.live)

    def close(self) -> None:
        """Sync, give up the reserve and the lock. Safe to call twice."""
        try:
            self.sync()
        finally:
            self._write_entries()
            if run_lock.is_ours(self._lock):
                (self.path / "reserve").unlink(missing_ok=True)
                (self.path / "lock.owner").unlink(missing_ok=True)
            run_lock.release(self._lock)
            for descriptor in (self._file, self._index_file):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._index_file = self._lock = -1
            self._readers.close()

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

    def _write_entries(self) -> None:
        """Write the entries that are held, until that fails: they are only a cache of the lines."""
        entries, self._entries = self._entries, bytearray()
        if self._index_file < 0:
            return
        try:
            if os.write(self._index_file, entries) == len(entries):
                return
        except OSError:
            pass
        os.close(self._index_file)
        self._index_file = -1

    def _open_segment(self, number: int) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._segment = number
        self._file = self._open_to_append(self._segments.plain(number))
        self._end = os.fstat(self._file).st_size
        sync_directory(self.path)

    def _open_to_append(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)

    def _load(self, *, repair: bool) -> None:
        """Check the index against the segments, and read the lines that it does not cover."""
        index = self.index = IndexFile(self.path / "journal.idx", writable=repair)
        self._readers.callback(index.close)
        self._segments = Segments(self.path)  # after the index, which then is not ahead of them
        self._readers.callback(self._segments.close)
        index.keep(self._trusted(index.count_of_fitting(self._segments.sizes)))
        last = index.entry(len(index) - 1) if len(index) else None
        segment, offset = (last.segment, last.offset + last.length) if last else (0, 0)
        for number in range(segment, len(self._segments)):
            self._scan(number, offset if number == segment else 0, repair=repair)
        index.seal()

    def _trusted(self, count: int) -> int:
        """How many entries to trust of those that fit: all, if the last ones match their lines."""
        for number in range(max(0, count - _CHECKED_ENTRIES), count):
            entry = self.index.entry(number)
            line = self._segments.read(entry.segment, entry.offset, entry.length)
            if crc32(line) == entry.checksum:
                continue
            if head_of(line) == entry.head:  # the index is right, and the record was changed behind our back
                raise self._corrupt(entry.segment, entry.offset)
            return 0
        return count

    def _scan(self, number: int, offset: int, *, repair: bool) -> None:
        """Add entries for the lines of a segment from ``offset`` on; cut off a torn tail."""
        torn: int | None = None
        for line in self._segments.lines(number, offset):
            head = head_of(line)
            if head is None:
                torn = offset if torn is None else torn
            elif torn is not None:
                raise self._corrupt(number, torn)
            else:
                self.index.add(pack(Entry(head, number, offset, len(line), crc32(line))))
            offset += len(line)
        if torn is not None and number != self._segments.live:
            raise self._corrupt(number, torn)
        if torn is not None and repair:
            with self._segments.plain(number).open("r+b") as file, (self.path / "torn.bin").open("ab") as kept:
                file.seek(torn)
                kept.write(file.read())
                kept.flush()
                os.fsync(kept.fileno())
                file.truncate(torn)

    def _corrupt(self, segment: int, offset: int) -> RunError:
        return RunError(
            f"{self._segments.where(segment)} is damaged at byte {offset}: the record there is not what was written. "
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
