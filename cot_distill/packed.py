"""Lines in a compressed file that can be read from the middle.

The file is in Zstandard's seekable format: frames that are compressed each on its own, and at the end a table of
their sizes in a frame that other programs skip, so that ``zstdcat`` reads it as well. A line is never spread over two
frames. It knows this format; not what the lines are.
"""

from __future__ import annotations

import os
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cot_distill.errors import MissingExtraError, RunError

__all__ = ["PackedFile", "pack_file", "require_zstd"]

_FRAME_BYTES = 1 << 18
"""Text in a frame, but for a longer line: larger ones pack hardly better, and cost more to read one line from."""
_LEVEL = 3

_SKIPPED = struct.Struct("<II")
_SIZES = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")
_SKIPPED_MAGIC, _TABLE_MAGIC = 0x184D2A5E, 0x8F92EAB1


class _Codec(NamedTuple):
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]
    error: type[Exception]


class PackedFile:
    """A compressed file, open for reading.

    Args:
        path: The file.

    Raises:
        RunError: It is no such file, or cut off.
        MissingExtraError: The package that reads it is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._codec = _codec()
        self._file = path.open("rb")
        try:
            sizes = _table(self._file)
        except (struct.error, OSError, ValueError) as error:
            self._file.close()
            raise self._damaged() from error
        self._packed = [0, *accumulate(packed for packed, _ in sizes)]
        self._starts = [0, *accumulate(plain for _, plain in sizes)]
        self.size = self._starts[-1]
        """Bytes of the text."""

    def frame_at(self, offset: int) -> int:
        """The number of the frame that this byte of the text is in."""
        return min(bisect_right(self._starts, offset) - 1, len(self._starts) - 2)

    def start_of(self, frame: int) -> int:
        """Where the text of a frame starts."""
        return self._starts[frame]

    def frame(self, number: int) -> bytes:
        """The text of a frame.

        Raises:
            RunError: It is damaged.
        """
        start, stop = self._packed[number : number + 2]
        self._file.seek(start)
        try:
            text = self._codec.unpack(self._file.read(stop - start))
        except self._codec.error as error:
            raise self._damaged() from error
        if len(text) != self._starts[number + 1] - self._starts[number]:
            raise self._damaged()
        return text

    def frames(self, first: int = 0) -> Iterator[bytes]:
        """The texts of all frames from ``first`` on."""
        return map(self.frame, range(first, len(self._starts) - 1))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _damaged(self) -> RunError:
        return RunError(f"{self.path} is damaged: it cannot be unpacked. Restore the file from a copy")


def pack_file(plain: Path, target: Path) -> None:
    """Write the compressed form of a file of lines to ``target``, synced, and read it back to compare.

    Raises:
        RunError: What is read back is not what was written.
        OSError: It cannot be written.
        MissingExtraError: The package for it is not installed.
    """
    pack = _codec().pack
    with target.open("wb") as file:
        sizes = [(file.write(pack(text)), len(text)) for text in _pieces(plain)]
        file.write(_SKIPPED.pack(_SKIPPED_MAGIC, _SIZES.size * len(sizes) + _FOOTER.size))
        file.writelines(_SIZES.pack(*pair) for pair in sizes)
        file.write(_FOOTER.pack(len(sizes), 0, _TABLE_MAGIC))
        file.flush()
        os.fsync(file.fileno())
    written = PackedFile(target)
    try:
        if any(one != two for one, two in zip(_pieces(plain), written.frames(), strict=True)):
            raise RunError(f"{target} does not hold what {plain} holds: the disk or the memory is at fault")
    finally:
        written.close()


def require_zstd() -> None:
    """Raise MissingExtraError where the package that reads and writes such files is not installed."""
    _codec()


def _codec() -> _Codec:
    """To pack one frame, with a checksum, and to unpack it."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        options = {zstd.CompressionParameter.compression_level: _LEVEL, zstd.CompressionParameter.checksum_flag: 1}
        return _Codec(lambda text: zstd.compress(text, options=options), zstd.decompress, zstd.ZstdError)
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("A compressed run", "zstd") from None
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    return _Codec(packer.compress, zstandard.ZstdDecompressor().decompress, zstandard.ZstdError)


def _pieces(plain: Path) -> Iterator[bytes]:
    """The text in pieces that are frames: whole lines."""
    with plain.open("rb") as file:
        while text := file.read(_FRAME_BYTES):
            yield text if text.endswith(b"\n") else text + file.readline()


def _table(file: BinaryIO) -> list[tuple[int, int]]:
    """The sizes of the frames, packed and plain, from the end of a file. Raises ValueError where they do not fit."""
    size = file.seek(0, 2)
    file.seek(size - _FOOTER.size)
    count, _, magic = _FOOTER.unpack(file.read())
    length = _SKIPPED.size + count * _SIZES.size + _FOOTER.size
    file.seek(size - length)
    if magic != _TABLE_MAGIC or _SKIPPED.unpack(file.read(_SKIPPED.size)) != (_SKIPPED_MAGIC, length - _SKIPPED.size):
        raise ValueError("no table of frames")
    sizes = list(_SIZES.iter_unpack(file.read(count * _SIZES.size)))
    if not sizes or sum(packed for packed, _ in sizes) != size - length:
        raise ValueError("the table of frames does not fit")
    return [(packed, plain) for packed, plain in sizes]
