"""Reading the rows of a benchmark: from a file, from a dataset, or from any iterable.

This file knows formats and where a row stands. Which text of a row counts is for the filter, but for tasks: of those
only the question is taken.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from cot_distill.errors import ConfigError, SourceError
from cot_distill.filters._text import question
from cot_distill.types import Task

__all__ = ["Benchmark", "Rows", "open_benchmark", "texts"]

_Given = str | PathLike[str] | Iterable[str | Mapping[str, Any] | Task]

Benchmark = _Given | Mapping[str, _Given]
"""A path, the id of a dataset, a dataset, a source, or rows: texts, dicts or tasks. A dict gives names to several."""

_LONGEST_CELL = 1 << 26  # characters
_REACH_SECONDS = 10.0


class Rows(NamedTuple):
    """A benchmark that is open."""

    name: str
    unit: str
    """What the place of a row is: ``line`` or ``row``."""
    rows: Iterator[tuple[int, object]]
    """Each row with its place, from 1."""


def open_benchmark(benchmark: Benchmark, name: str) -> Iterator[Rows]:
    """Open a benchmark, or several if they have names.

    Args:
        benchmark: What the user gave.
        name: What to call it if it has no name.

    Yields:
        Each of them.

    Raises:
        ConfigError: It is nothing of the kind, or a dataset of several splits none of which is called ``test``.
        SourceError: It cannot be read.
    """
    if isinstance(benchmark, str | PathLike):
        yield _at(benchmark)
    elif hasattr(benchmark, "with_format"):
        yield _dataset(benchmark, name)
    elif isinstance(benchmark, Mapping):
        for own_name, one in benchmark.items():
            for rows in open_benchmark(one, own_name):
                yield rows._replace(name=own_name)
    else:
        yield Rows(str(getattr(benchmark, "name", name)), "row", enumerate(_no_paths(benchmark, name), start=1))


def texts(row: object, fields: tuple[str, ...] | None) -> Iterator[str]:
    """Find the texts of a row.

    Args:
        row: A text, a task, or a mapping.
        fields: The fields of a mapping that are looked at. None: all that hold text, at any depth.

    Yields:
        Each text.

    Raises:
        KeyError: A field is not there.
    """
    if isinstance(row, str):
        yield row
    elif isinstance(row, Task):
        yield question(row)
    elif isinstance(row, Mapping):
        for value in row.values() if fields is None else [row[field] for field in fields]:
            yield from texts(value, None)
    elif isinstance(row, list | tuple):
        for value in row:
            yield from texts(value, None)


def _at(place: str | PathLike[str]) -> Rows:
    path = Path(place).expanduser()
    if path.is_file():
        return _file(path)
    is_id = isinstance(place, str) and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", place)
    if path.is_dir():
        return _load(str(path))
    if is_id and path.suffix not in _FORMATS:
        _reach_hub(str(place))
        return _load(str(place))
    raise SourceError(f"there is no benchmark {str(place)!r}: give the path of a file, or the id of a dataset")


def _no_paths(rows: object, name: str) -> Iterator[object]:
    if not isinstance(rows, Iterable) or isinstance(rows, bytes) or hasattr(rows, "columns"):
        kinds = "a path, the id of a dataset, a dataset, or rows (texts or dicts)"
        raise ConfigError(f"{name}: a benchmark is {kinds}, not {type(rows).__name__}")
    for row in rows:
        if isinstance(row, str) and re.fullmatch(r"\S+/\S+|\S+\.(?:jsonl|json|csv|tsv|parquet|txt)(?:\.gz)?", row):
            raise ConfigError(f"{row!r} stands in a list of texts: pass each path as an argument of its own, *paths")
        yield row


def _file(path: Path) -> Rows:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in _FORMATS:
        raise ConfigError(f"{path}: the format is not known by this name ({', '.join(_FORMATS)} are, also with .gz)")
    unit, read = _FORMATS[suffix]
    return Rows(path.name, unit, _guarded(path, read))


def _guarded(path: Path, read: Callable[[Path], Iterator[tuple[int, object]]]) -> Iterator[tuple[int, object]]:
    place = 0
    try:
        for place, row in read(path):
            yield place, row
    except (ValueError, csv.Error, OSError, EOFError) as error:  # of json and of Unicode, a ValueError
        raise SourceError(f"{path}, after row {place}: {error}") from error


def _text(path: Path, newline: str | None = None) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8-sig", newline=newline))
    return path.open(encoding="utf-8-sig", newline=newline)


def _lines(path: Path) -> Iterator[tuple[int, object]]:
    with _text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\n")


def _jsonl(path: Path) -> Iterator[tuple[int, object]]:
    for number, line in _lines(path):
        try:
            yield number, json.loads(cast("str", line))
        except ValueError as error:
            raise SourceError(f"{path}, line {number}: not JSON: {error}") from error


def _json(path: Path) -> Iterator[tuple[int, object]]:
    with _text(path) as file:
        content = json.load(file)
    lists = (
        [value for value in content.values() if isinstance(value, list)] if isinstance(content, dict) else [content]
    )
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise SourceError(f"{path} is neither a list of rows nor an object with one list inside")
    yield from enumerate(lists[0], start=1)


def _csv(path: Path) -> Iterator[tuple[int, object]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # one for the process, so only ever raised
    with _text(path, newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if ".tsv" in path.suffixes else ",", strict=True)
        for row in reader:
            yield reader.line_num, row


def _parquet(path: Path) -> Iterator[tuple[int, object]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(64):
            for row in batch.to_pylist():
                number += 1
                yield number, row


_FORMATS = {
    ".jsonl": ("line", _jsonl),
    ".ndjson": ("line", _jsonl),
    ".json": ("row", _json),
    ".csv": ("line", _csv),
    ".tsv": ("line", _csv),
    ".parquet": ("row", _parquet),
    ".txt": ("line", _lines),
}


def _reach_hub(name: str) -> None:
    """See at once that there is no way to the Hub: left to itself, `datasets` tries for half a minute.

    Raises:
        SourceError: Nobody answers. Whatever a server answers is left to `datasets`, which has the words for it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.utils import HfHubHTTPError  # type: ignore[attr-defined]

    if HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(name, timeout=_REACH_SECONDS)
    except HfHubHTTPError:
        return
    except Exception as error:  # of the HTTP library that the package happens to use
        raise SourceError(
            f"the Hub cannot be reached for the dataset {name} ({type(error).__name__}: {error}): check the "
            "connection, give the path of a file, or set HF_HUB_OFFLINE=1 if the dataset is in the local cache"
        ) from error


def _load(name: str) -> Rows:
    from datasets import load_dataset

    try:
        rows = _dataset(load_dataset(name, streaming=True), name)
    except ConfigError:
        raise
    except Exception as error:
        # No code of the user runs in here, and what may go wrong (network, name, configuration) has no common base.
        raise SourceError(
            f"the dataset {name} cannot be loaded: {error}; to choose a configuration, pass the dataset itself: "
            "datasets.load_dataset(name, config, split=…, streaming=True)"
        ) from error
    return rows._replace(rows=_fetched(rows))


def _fetched(rows: Rows) -> Iterator[tuple[int, object]]:
    place = 0
    try:
        for place, row in rows.rows:
            yield place, row
    except Exception as error:  # as above: the network again
        raise SourceError(f"the dataset {rows.name} cannot be read after row {place}: {error}") from error


def _dataset(data: Any, name: str) -> Rows:
    """One split. Of several the test split: the training split of a benchmark may well be what one distils from."""
    if isinstance(data, Mapping):
        split = "test" if "test" in data else next(iter(data)) if len(data) == 1 else None
        if split is None:
            raise ConfigError(f"{name} has the splits {', '.join(data)}: pass one of them, split='…'")
        return _dataset(data[split], f"{name} ({split})")
    if name.startswith("benchmark ") and data.info.dataset_name:
        name = f"{data.info.dataset_name} ({data.split})"
    return Rows(name, "row", enumerate(data.with_format(None), start=1))
