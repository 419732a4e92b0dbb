"""From a path to a source: which format, one file or many, and what to say when there is nothing to read.

This file knows the names of files and directories, not what is in them.
"""

from __future__ import annotations

import glob
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from stat import S_ISDIR
from typing import Unpack

from cot_distill.errors import SourceError
from cot_distill.sources.columns import Columns
from cot_distill.sources.files import csv, format_of, json, jsonl, parquet
from cot_distill.sources.source import Located, OnError, Source

__all__ = ["read"]

_BUILDERS = {
    ".jsonl": jsonl,
    ".ndjson": jsonl,
    ".json": json,
    ".csv": csv,
    ".tsv": csv,
    ".parquet": parquet,
}
_KNOWN = ", ".join(_BUILDERS)


def read(path: str | PathLike[str], *, on_error: OnError = "raise", **columns: Unpack[Columns]) -> Source:
    """Read a file in the format that its name tells, or all data files of a directory or pattern, ordered by name.

    Args:
        path: A ``.jsonl``, ``.ndjson``, ``.json``, ``.csv`` or ``.tsv`` file (also with ``.gz`` or ``.zst`` after
            that), a ``.parquet`` file, a directory that holds files of one such format, or a pattern of file names
            such as ``"shards/*.jsonl"``.
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source: its tasks can be read again and again.

    Raises:
        SourceError: There is nothing to read at this path, or the format is not known.
    """
    place = Path(path).expanduser()
    try:
        if S_ISDIR(place.stat().st_mode):
            return _shards(place.resolve().name, _data_files(place), on_error, columns)
    except (OSError, ValueError) as error:  # a question that was taken for a path may be too long for one
        if files := _matching(str(place)):
            return _shards(place.name, files, on_error, columns)
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot read {str(path)[:80]!r}: {reason}{_way_out(str(path))}") from error
    builder = _BUILDERS.get(format_of(place))
    if builder is None:
        raise SourceError(
            f"{path}: the format is not known by this name ({_KNOWN} are); rename it, or name the format yourself: "
            "sources.jsonl(path), sources.csv(path)…"
        )
    return builder(place, on_error=on_error, **columns)


def _matching(pattern: str) -> list[Path]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob raises for texts that are no pattern
    return [file for file in map(Path, sorted(names)) if file.is_file()]


def _data_files(directory: Path) -> list[Path]:
    if (directory / "dataset_info.json").exists() or (directory / "dataset_dict.json").exists():
        raise SourceError(f"{directory} was written by save_to_disk: pass datasets.load_from_disk(…) instead")
    found = sorted(file for file in directory.iterdir() if file.is_file() and format_of(file) in _BUILDERS)
    formats = sorted({format_of(file) for file in found})
    if len(formats) > 1:
        raise SourceError(
            f"{directory} holds {' and '.join(formats)} files: choose with a pattern such as "
            f"{directory}/*{formats[0]}"
        )
    if not found:
        raise SourceError(f"there is no data file in {directory} ({_KNOWN})")
    return found


def _shards(name: str, files: Sequence[Path], on_error: OnError, columns: Columns) -> Source:
    """Many files as one source. A place is a line or row number that goes on from file to file."""
    parts = [read(file, on_error=on_error, **columns) for file in files]
    if len(parts) == 1:
        return parts[0]
    starts: list[int] = []

    def open_rows() -> Iterator[Located]:
        start = position = 0
        for number, part in enumerate(parts):
            starts[number : number + 1] = [start]
            for position, row in part.open_rows():
                yield start + position, row
            start, position = start + position, 0

    def describe(place: int) -> str:
        number = bisect_left(starts, place) - 1
        if number < 0:  # not read yet
            return f"{name}, row {place}"
        return parts[number].describe(place - starts[number])

    return Source(
        name,
        open_rows,
        describe=describe,
        columns=columns,
        on_error=on_error,
        may_be_empty=False,
        files=[file for part in parts for file in part.files],
    )


def _way_out(path: str) -> str:
    if any(space in path.strip() for space in " \n"):
        return "; to ask a question, put it in a list: ['…']"
    if "://" in path:
        return "; only local files are read here, and sources.hub(name) from the Hugging Face Hub"
    if format_of(Path(path)) not in _BUILDERS and re.fullmatch(r"([\w-][\w.-]*/)?[\w-][\w.-]*", path):
        return f"; to read the data set of that name on the Hugging Face Hub: sources.hub({path!r})"
    return ""
