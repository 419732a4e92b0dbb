"""The segments of a journal: files of lines, the closed ones perhaps compressed.

It knows their names and how to read a line from the middle of one, wherever it is now. What a line means is the
business of others, and appending to the last segment that of :mod:`cot_distill.journal`.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from cot_distill.errors import RunError
from cot_distill.packed import PackedFile, pack_file, require_zstd

__all__ = ["Segments", "sync_directory"]

_SEGMENT = re.compile(r"journal-(\d{5})\.jsonl(?:\.zst)?")
_OPEN_FILES = 32
_UNPACKED_BYTES = 16 << 20
"""Text of compressed segments that is kept: answers come out of order by as many as were in flight."""


class Segments:
    """The segments of one directory, as they are when this is made: what is appended later is not seen.

    Where a segment is there twice, compressed and plain, the plain one counts: a process was killed while it
    compressed, or the plain one is being written to again.

    Args:
        path: The directory.

    Raises:
        RunError: A segment is missing, or a compressed one damaged.
        MissingExtraError: There are compressed segments, and no package that reads them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: OrderedDict[int, BinaryIO | PackedFile] = OrderedDict()
        self._frames: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._unpacked = 0
        found = [_SEGMENT.fullmatch(file.name) for file in path.glob("journal-*")]
        numbers = {int(match[1]) for match in found if match is not None}
        missing = min(set(range(len(numbers))) - numbers, default=None)
        if missing is not None:
            raise RunError(f"{self.plain(missing)} is missing: restore it, and every record in it is there again")
        self.sizes: list[int] = []
        """Bytes of the text of each."""
        try:
            self.sizes += map(self._size, range(len(numbers)))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def live(self) -> int:
        """The number of the segment to append to: the last one, unless that is compressed."""
        last = max(0, len(self.sizes) - 1)
        return last if not self.packed(last).exists() or self.plain(last).exists() else last + 1

    def plain(self, number: int) -> Path:
        """The path of a segment that is not compressed."""
        return self._path / f"journal-{number:05}.jsonl"

    def packed(self, number: int) -> Path:
        """The path of a compressed segment."""
        return self._path / f"journal-{number:05}.jsonl.zst"

    def where(self, number: int) -> Path:
        """The path that a segment has now."""
        return self.plain(number) if self.plain(number).exists() else self.packed(number)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Bytes of the text of a segment; fewer where it ends."""
        file = self._open(number)
        if isinstance(file, PackedFile):
            frame = file.frame_at(offset)
            start = offset - file.start_of(frame)
            return self._frame(number, file, frame)[start : start + length]
        file.seek(offset)
        return file.read(length)

    def lines(self, number: int, offset: int) -> Iterator[bytes]:
        """The lines of a segment from ``offset`` on; the last one may be cut off."""
        file = self._open(number)
        if not isinstance(file, PackedFile):
            file.seek(offset)
            end = self.sizes[number]  # a writer may be at work: what comes later is not for us
            for line in file:
                offset += len(line)
                if offset > end:
                    return
                yield line
            return
        first = file.frame_at(offset)
        skip = offset - file.start_of(first)
        for text in file.frames(first):
            yield from BytesIO(text[skip:])
            skip = 0

    def pack(self, number: int) -> int:
        """Compress a segment that nobody appends to. Whenever this is cut off, the text is there whole.

        Returns:
            The number of bytes that are free now.

        Raises:
            RunError: It cannot be done; the segment is as it was.
            MissingExtraError: The package for it is not installed.
        """
        plain, packed = self.plain(number), self.packed(number)
        new = packed.with_name(f"{packed.name}.tmp")
        try:
            pack_file(plain, new)
            freed = plain.stat().st_size - new.stat().st_size
            new.replace(packed)
            sync_directory(self._path)
            self._close(number)  # some systems do not remove what is open
            plain.unlink()
            sync_directory(self._path)
        except OSError as error:
            raise RunError(f"cannot compress {plain}: {error.strerror or error}. It is kept as it is") from error
        finally:
            new.unlink(missing_ok=True)
        return freed

    def close(self) -> None:
        """Close the files."""
        for number in list(self._files):
            self._close(number)
        self._frames.clear()
        self._unpacked = 0

    def _open(self, number: int) -> BinaryIO | PackedFile:
        file = self._files.get(number)
        if file is None:
            while len(self._files) >= _OPEN_FILES:
                self._close(next(iter(self._files)))
            file = self._files[number] = self._opened(number)
        self._files.move_to_end(number)
        return file

    def _opened(self, number: int) -> BinaryIO | PackedFile:
        try:
            return self.plain(number).open("rb")
        except FileNotFoundError:  # perhaps it was compressed since we looked
            return PackedFile(self.packed(number))

    def _size(self, number: int) -> int:
        try:
            return self.plain(number).stat().st_size
        except FileNotFoundError:
            require_zstd()
            file = self._open(number)
            assert isinstance(file, PackedFile)  # noqa: S101 - plain ones do not come back
            return file.size

    def _frame(self, number: int, file: PackedFile, frame: int) -> bytes:
        text = self._frames.get((number, frame))
        if text is None:
            text = self._frames[number, frame] = file.frame(frame)
            self._unpacked += len(text)
            while self._unpacked > _UNPACKED_BYTES and len(self._frames) > 1:
                self._unpacked -= len(self._frames.popitem(last=False)[1])
        else:
            self._frames.move_to_end((number, frame))
        return text

    def _close(self, number: int) -> None:
        file = self._files.pop(number, None)
        if file is not None:
            file.close()


def sync_directory(path: Path) -> None:
    """Make new and removed names survive a power loss, where the system needs that."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
