"""Rows as JSON Lines, also compressed.

This file knows JSON and two ways to compress it. It knows no columns: rows may differ from one another.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.protocols import Row, Writer
from cot_distill.writers._files import local, replacing
from cot_distill.writers._rows import checked

__all__ = ["jsonl"]

# Legal inside a JSON string, but `str.splitlines()` breaks a line there, and some readers use it.
_LINE_BREAKS = str.maketrans({character: f"\\u{ord(character):04x}" for character in "\u0085\u2028\u2029"})

_encoded = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode  # json.dumps makes one for each row


def jsonl(path: str | os.PathLike[str]) -> Writer[Path]:
    r"""Write one JSON object a line, in UTF-8. The same rows give the same bytes.

    The file appears when it is complete: if anything fails on the way, an existing file stays as it was. No rows
    give an empty file.

    Args:
        path: Where to write. ``.gz`` and ``.zst`` compress. Missing folders are made.

    Returns:
        A writer that returns the path.

    Raises:
        ConfigError: Another compression is asked for, or ``path`` is a URL. The writer raises it when a value
            is not JSON, and names the row (counted from 1) and the column.
        MissingExtraError: ``.zst`` needs the extra "zstd" before Python 3.14.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jsonl(f"{folder}/rows.jsonl")([{"question": "2 + 2?", "answer": "4"}]).read_text()
        '{"question": "2 + 2?", "answer": "4"}\n'
    """
    target = local(path)
    if target.suffix.lower() in (".bz2", ".xz", ".zip", ".lz4", ".br"):
        raise ConfigError(f"{target}: rows are compressed as .gz or .zst, or not at all")

    def write(rows: Iterable[Row], /) -> Path:
        with replacing(target) as file, _compressed(file, target.suffix.lower()) as stream:
            for number, row in enumerate(checked(rows), start=1):
                stream.write(_line(row, number))
        return target

    return write


def _line(row: Row, number: int) -> bytes:
    try:
        return _encode(dict(row)) + b"\n"
    except (TypeError, ValueError, RecursionError):
        for name, value in row.items():
            try:
                _encode({name: value})
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"row {number}, column {name!r}: {_reason(error)}") from error
        raise


def _encode(value: dict[str, Any]) -> bytes:
    text = _encoded(value)
    if not text.isascii():  # which a text knows of itself, while to translate it takes as long as to write it
        text = text.translate(_LINE_BREAKS)
    return text.encode()


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "half a surrogate pair, which is no text in UTF-8; filters.clean drops such samples"
    return f"not a JSON value: {error}"


def _compressed(file: BinaryIO, suffix: str) -> AbstractContextManager[Any]:
    if suffix == ".gz":  # neither name nor time inside: they would make the bytes differ
        return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
    if suffix == ".zst":
        return _zstd(file)
    return nullcontext(file)


def _zstd(file: BinaryIO) -> AbstractContextManager[Any]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdFile(file, "w")
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("Writing .zst files", "zstd") from None
    stream: AbstractContextManager[Any] = zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    return stream
