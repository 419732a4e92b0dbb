"""What every source is: tasks with a place, readable again and again.

This file knows rows, problems and places. It does not know any file format: the builders in
:mod:`cot_distill.sources` bring a function that opens an input and yields its rows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack

from cot_distill.errors import ConfigError, SourceError
from cot_distill.sources.columns import BadInput, BadRow, Columns, TaskMaker
from cot_distill.sources.frames import Rows, is_frame
from cot_distill.types import Task

__all__ = ["Broken", "File", "FileState", "Located", "OnError", "Source", "close", "rows"]

log = logging.getLogger("cot_distill")

_AT_ONCE = 1 << 20
_A_TURN = 512
"""Rows that are passed over before others get a turn: below a millisecond."""

OnError = Literal["raise", "skip"]
"""What to do with a row that is no task: stop there, or leave it out and count it."""

Located = tuple[int, object]
"""Where a row stands (from 1), and the row: a mapping, a text, a Task, or :class:`Broken`."""


class Broken(NamedTuple):
    """Stands for a row that cannot even be read."""

    problem: str
    last: bool = False
    """What follows cannot be found, so going on would hide how much is missing: raised in any case."""


FileState = tuple[tuple[int, int, int, int] | None, ...]
"""What :meth:`Source.state` says."""


class File(NamedTuple):
    """A file of rows."""

    path: Path
    reader: str
    """How it is read: the same bytes can be rows in several ways."""
    grows: bool = False
    """Lines can be appended to it, and then those before them stay what they were."""


class Source:
    """Tasks from one input. Iterating opens the input anew each time, and holds one row at a time.

    Made by the functions of :mod:`cot_distill.sources`. To read a format of your own, yield dicts from a generator
    function and pass what it returns to the engine, or to :func:`cot_distill.sources.rows`.

    Args:
        name: What the input is called in messages.
        open_rows: Opens the input and yields its rows, each with its place.
        describe: Says where a row stands; by default the name and ``row 17``.
        columns: The columns that the user names.
        on_error: Raise at a row that is no task, or skip it.
        blocking: Reading a row may wait for the network: :func:`~cot_distill.sources.open_tasks` then reads in a
            thread.
        may_be_empty: Whether an input without a single row is fine.
        files: Where all rows come from files: these.
    """

    def __init__(
        self,
        name: str,
        open_rows: Callable[[], Iterator[Located]],
        *,
        describe: Callable[[int], str] | None = None,
        columns: Columns | None = None,
        on_error: OnError = "raise",
        blocking: bool = False,
        may_be_empty: bool = True,
        files: Sequence[File] = (),
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise ConfigError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
        self.name = name
        self.skipped = 0
        """Rows left out in the latest iteration, up to now."""
        self.on_error = on_error
        self.blocking = blocking
        self.may_be_empty = may_be_empty
        self.open_rows = open_rows
        self.files = tuple(files)
        self._describe = describe
        self._columns: Columns = columns or {}
        TaskMaker(self._columns)  # a wrong setting shows here, not in the middle of a run

    def __iter__(self) -> Iterator[Task]:
        for _, task in self.located():
            yield task

    def __repr__(self) -> str:
        return f"<Source {self.name}>"

    def located(self) -> Iterator[tuple[int, Task]]:
        """Iterate over the tasks, each with its place: the line or the row number, from 1.

        Returns:
            Places and tasks, each read when it is asked for.

        Raises:
            SourceError: A row is no task (with ``on_error="raise"``), no row will be one, or the input is damaged.
        """
        return filter(None, self.unfinished(b""))

    def unfinished(self, done: Sequence[int]) -> Iterator[tuple[int, Task] | None]:
        """As :meth:`located`, without the tasks that are marked as done: those are not made.

        Args:
            done: By the number of the row, from 0: whether to pass it over. It is looked at row by row, and may be
                filled in meanwhile.

        Returns:
            Places and tasks, and None now and then where many rows in a row are passed over: to give others a turn.
        """
        self.skipped = 0
        make = TaskMaker(self._columns)
        position = 0
        rows = self.open_rows()
        try:
            for number, (position, row) in enumerate(rows):
                try:
                    if isinstance(row, Broken):
                        raise (BadInput if row.last else BadRow)(row.problem)
                    if number < len(done) and done[number]:
                        make.look_at(row)
                        if number % _A_TURN == 0:
                            yield None
                        continue
                    task = make(row)
                except BadRow as problem:
                    if isinstance(problem, BadInput):
                        raise SourceError(f"{self.describe(position)}: {problem}") from None
                    self.reject(position, str(problem))
                    continue
                yield position, task
        finally:
            close(rows)
        if not position and not self.may_be_empty:
            raise SourceError(f"{self.name}: there is nothing in it")
        if self.skipped:
            log.warning("%s: skipped %d rows that are no tasks", self.name, self.skipped)

    def fingerprint(self, size: int | None = None) -> str | None:
        """Tell whether an input is still the same: a digest of all its bytes and of how they are read.

        Args:
            size: Look at the first so many bytes only: what it would be if the input ended there.

        Returns:
            Hexadecimal digits; None where that cannot be told, or would not say which task stands where: for rows
            that are in memory, or come through a pipe or the network, and for an input that is read with
            ``on_error="skip"``. With ``size`` also where the input is not one file of plain JSON Lines, or does not
            consist of whole lines then.

        Raises:
            SourceError: A file cannot be read.
        """
        # What a pipe holds can be read only once.
        if not self.files or self.on_error == "skip" or not all(file.path.is_file() for file in self.files):
            return None
        if size is not None and self.size() is None:
            return None
        found: list[object] = [dict(sorted(self._columns.items()))]
        for file in self.files:
            digest = _digest(file.path, size)
            if digest is None:
                return None
            found.append((file.reader, digest))
        return blake2b(repr(found).encode(), digest_size=16).hexdigest()

    def size(self) -> int | None:
        """The bytes of an input that may grow, that is, of one file of plain JSON Lines; None for any other."""
        if len(self.files) != 1 or not self.files[0].grows:
            return None
        state = self.state()[0]
        return None if state is None else state[2]

    def state(self) -> FileState:
        """What shows whether a file was touched: device, number, size and time; None for one that is gone."""
        found: list[tuple[int, int, int, int] | None] = []
        for file in self.files:
            try:
                stat = file.path.stat()
                found.append((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)

    def describe(self, position: int) -> str:
        """Say where a row stands, such as ``tasks.jsonl, line 17``.

        Args:
            position: The place, as :meth:`located` gives it.

        Returns:
            The words for a message.
        """
        return f"{self.name}, row {position}" if self._describe is None else self._describe(position)

    def reject(self, position: int, problem: str) -> None:
        """Leave a row out and count it.

        Args:
            position: The place.
            problem: What is wrong with the row.

        Raises:
            SourceError: Where the source was made with ``on_error="raise"``.
        """
        text = f"{self.describe(position)}: {problem}"
        if self.on_error == "raise":
            raise SourceError(text) from None
        self.skipped += 1
        log.debug("skipped %s", text)


def rows(
    items: Iterable[Mapping[str, Any] | str | Task],
    *,
    name: str = "input",
    on_error: OnError = "raise",
    **columns: Unpack[Columns],
) -> Source:
    """Make a source of rows that are in memory or come from a generator: mappings of columns, or plain questions.

    Args:
        items: The rows, or a pandas DataFrame. A generator can be read once only, and is closed when reading stops.
        name: What the input is called in messages.
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source.

    Raises:
        ConfigError: A setting that is none, or a data frame of another library than pandas.
        SourceError: A data frame has two columns of one name.

    Example:
        >>> [task.answer for task in rows([{"question": "What is 2 + 2?", "answer": 4}])]
        ['4']
    """
    if is_frame(items):
        items = Rows(items)
    used = False

    def open_rows() -> Iterator[Located]:
        nonlocal used
        if used and isinstance(items, Iterator):
            raise SourceError(f"{name}: a generator can be read once only, and this one was: pass a list")
        used = True
        iterator = iter(items)
        try:
            yield from enumerate(iterator, start=1)
        finally:
            close(iterator)

    return Source(name, open_rows, columns=columns, on_error=on_error)


def _digest(path: Path, size: int | None) -> str | None:
    """Of a file, or of its first so many bytes; None where these do not end with a line."""
    found, left, piece = blake2b(), math.inf if size is None else size, b""
    try:
        with path.open("rb") as file:
            while left and (piece := file.read(int(min(left, _AT_ONCE)))):
                found.update(piece)
                left -= len(piece)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    return found.hexdigest() if size is None or (not left and piece.endswith(b"\n")) else None


def close(iterator: Iterator[object]) -> None:
    """Close a generator now rather than when it is collected; any other iterator is left alone.

    Args:
        iterator: Any iterator.
    """
    if isinstance(iterator, Generator):
        iterator.close()
