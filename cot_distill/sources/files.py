"""Tasks from files: JSON Lines, JSON, CSV, TSV and Parquet; the text formats may be compressed.

This file knows file formats and where in a file a row stands; what a row means is for
:mod:`cot_distill.sources.columns`. A row that cannot be read is yielded as ``Broken``, so that reading can go on. A
file that is damaged (cut short, not what it says it is) always raises: what is missing cannot be counted.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from os import PathLike
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO, Unpack, cast

from pydantic_core import from_json

from cot_distill.errors import SourceError
from cot_distill.sources.columns import Columns, kind
from cot_distill.sources.csv_stream import csv_rows
from cot_distill.sources.json_stream import JSONStructureError, array_elements
from cot_distill.sources.source import Broken, File, Located, OnError, Source
from cot_distill.sources.text import BOM, not_utf8

__all__ = ["csv", "format_of", "json", "jsonl", "parquet"]

_SNIFF = 1 << 20  # bytes of a first line that may be read to tell JSON Lines from JSON
_BLANK = 1 << 12  # bytes of white space after it that do not matter
_ROWS_AT_ONCE = 64
_PACKED = (".gz", ".zst")


def jsonl(path: str | PathLike[str], *, on_error: OnError = "raise", **columns: Unpack[Columns]) -> Source:
    """Read JSON Lines: one object a line. Blank lines are fine.

    Args:
        path: A file, also compressed (``.gz``, ``.zst``).
        on_error: Raise at a line that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source. A place in it is the number of a line.

    Raises:
        SourceError: There is no such file.

    Example:
        ``jsonl("problems.jsonl", instruction="problem", answer="solution")``
    """
    return _text_source(path, _jsonl_rows, "line", on_error, columns)


def json(path: str | PathLike[str], *, on_error: OnError = "raise", **columns: Unpack[Columns]) -> Source:
    """Read a JSON file: an array of objects, or an object with one such array inside.

    It is streamed, so its size does not matter. JSON Lines under the name ``.json`` are read as what they are.

    Args:
        path: A file, also compressed (``.gz``, ``.zst``).
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source. A place in it is the number of a row.

    Raises:
        SourceError: There is no such file.
    """
    if _is_json_lines(path):
        return jsonl(path, on_error=on_error, **columns)
    return _text_source(path, _json_rows, "row", on_error, columns)


def csv(path: str | PathLike[str], *, on_error: OnError = "raise", **columns: Unpack[Columns]) -> Source:
    """Read CSV, or TSV if the name says so. The first line names the columns; an empty cell holds nothing.

    Cells stand between commas, tabs, semicolons or bars: whichever of them the first line has most of, outside of
    quotes. A cell may be long and may have many lines, in quotes; a quote inside it is written twice.

    Args:
        path: A file, also compressed (``.gz``, ``.zst``).
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source. A place in it is the number of the line that a record begins at.

    Raises:
        SourceError: There is no such file.
    """
    return _text_source(path, _tsv_rows if format_of(Path(path)) == ".tsv" else csv_rows, "line", on_error, columns)


def parquet(path: str | PathLike[str], *, on_error: OnError = "raise", **columns: Unpack[Columns]) -> Source:
    """Read Parquet, a few rows at a time.

    Args:
        path: A file.
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source. A place in it is the number of a row.

    Raises:
        SourceError: There is no such file.
    """
    file = _existing(path)
    return Source(
        file.name,
        lambda: _parquet_rows(file),
        columns=columns,
        on_error=on_error,
        may_be_empty=False,
        files=[File(file, "parquet")],
    )


def format_of(path: Path) -> str:
    """The suffix that tells the format, without regard to compression.

    Args:
        path: The path of a file, which need not exist.

    Returns:
        The suffix in lower case, with its dot; empty if there is none.

    Example:
        >>> format_of(Path("a/Tasks.JSONL.gz"))
        '.jsonl'
    """
    name = path.name.lower()
    return Path(name.removesuffix(".gz").removesuffix(".zst")).suffix


def _text_source(
    path: str | PathLike[str],
    rows: Callable[[BinaryIO], Iterator[Located]],
    unit: str,
    on_error: OnError,
    columns: Columns,
) -> Source:
    file = _existing(path)
    packed = file.suffix.lower() if file.suffix.lower() in _PACKED else ""

    def open_rows() -> Iterator[Located]:
        with _opened(file) as content:
            yield from rows(content)

    return Source(
        file.name,
        open_rows,
        describe=lambda position: f"{file.name}, {unit} {position}",
        columns=columns,
        on_error=on_error,
        may_be_empty=False,
        files=[File(file, f"{rows.__name__} {packed}", grows=rows is _jsonl_rows and not packed)],
    )


def _existing(path: str | PathLike[str]) -> Path:
    file = Path(path).expanduser()
    try:
        is_directory = S_ISDIR(file.stat().st_mode)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if is_directory:
        raise SourceError(f"{path} is a directory: sources.read() reads the data files in it")
    return file


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with _open(path) as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read to its end: {error}") from error


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path))
    if path.suffix.lower() == ".zst":
        import pyarrow

        # It is there anyway, since datasets needs it, and it notices when a file is cut.
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _jsonl_rows(file: BinaryIO) -> Iterator[Located]:
    for number, line in enumerate(file, start=1):
        text = line.removeprefix(BOM) if number == 1 else line
        if text.strip():
            yield number, _decoded(text.rstrip(b"\r\n"))


def _is_json_lines(path: str | PathLike[str]) -> bool:
    """Whether the first line is a whole object and another one begins after it."""
    with _opened(_existing(path)) as file:
        first = file.readline(_SNIFF)
        if not first.endswith(b"\n") or not isinstance(_decoded(first.removeprefix(BOM)), dict):
            return False
        return file.read(_BLANK).lstrip()[:1] == b"{"


def _json_rows(file: BinaryIO) -> Iterator[Located]:
    number = 0
    try:
        for number, text in enumerate(array_elements(file), start=1):
            yield number, _decoded(text)
    except JSONStructureError as error:
        yield number + 1, Broken(str(error), last=True)


def _decoded(text: bytes) -> object:
    try:
        row = from_json(text, cache_strings="keys")
    except ValueError as error:
        problem = f"not JSON: {error}".replace(" at line 1 column", " at column")
        return Broken(not_utf8(text) or problem)
    return row if isinstance(row, dict) else Broken(f"not an object but {kind(row)}")


def _tsv_rows(file: BinaryIO) -> Iterator[Located]:
    return csv_rows(file, delimiter="\t")


def _parquet_rows(path: Path) -> Iterator[Located]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(_ROWS_AT_ONCE))
            yield from enumerate(chain.from_iterable(batches), start=1)
    except (OSError, pyarrow.ArrowException) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {error}") from error
