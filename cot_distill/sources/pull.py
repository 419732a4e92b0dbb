"""Pulling tasks one at a time, from whatever a user hands over.

This file knows every kind of input by its type, and how to close it. It does not know what a row or a file looks
like. Nothing is read ahead, but for streams that may wait for the network: those are read in a thread, a few at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from hashlib import blake2b
from os import PathLike
from typing import Any, NoReturn

from anyio import to_thread

from cot_distill.errors import ConfigError, SourceError
from cot_distill.protocols import Tasks
from cot_distill.seen import Seen
from cot_distill.sources.columns import BadRow, TaskMaker
from cot_distill.sources.frames import is_frame
from cot_distill.sources.hub import dataset
from cot_distill.sources.paths import read
from cot_distill.sources.source import Source, close, rows
from cot_distill.turns import Turns
from cot_distill.types import Task

__all__ = ["TaskInput", "as_source", "open_tasks"]

TaskInput = (
    Tasks | Iterable[Mapping[str, Any] | str] | AsyncIterable[Mapping[str, Any] | str] | str | PathLike[str] | Source
)
"""What the engine accepts as tasks."""

_Pulled = AsyncGenerator[tuple[int, Task], None]

_AT_ONCE = 32
_PATIENCE = 0.05  # seconds for which rows are gathered before they are handed on
_A_TURN = 0.005  # seconds
_END: Any = object()


def open_tasks(tasks: TaskInput, *, unique: bool = True, done: Sequence[int] = b"") -> _Pulled:
    """Iterate over tasks of any kind, each with its place (from 1). A task is read when it is asked for.

    Close the iterator (``contextlib.aclosing``) to close the generator or file underneath.

    Args:
        tasks: A :class:`Source`, a path, a dataset of the ``datasets`` library, a pandas DataFrame, or any iterable
            or async iterable of tasks, dicts or questions, also an endless one.
        unique: Check that no id comes twice. Takes up to 40 bytes a task: not for endless input.
        done: By the number of the row, from 0: the tasks that are passed over, of a source that has a
            :meth:`~cot_distill.sources.Source.fingerprint`. It may be filled in meanwhile.

    Returns:
        An async iterator of places and tasks.

    Raises:
        ConfigError: This is no collection of tasks.
        SourceError: There is nothing to read, a row is no task, or two tasks have one id.
        Exception: What the user's own iterable raises, as it is.
    """
    if isinstance(tasks, AsyncIterable):
        stream = _Stream()
        pulled = _pull_async(tasks, stream)
        return _without_repeats(pulled, stream) if unique else pulled
    source = _as_source(tasks)
    pulled = _pull_in_thread(source, done) if source.blocking else _pull(source, done)
    return _without_repeats(pulled, source) if unique else pulled


def as_source(tasks: TaskInput) -> Source | None:
    """The source that reads these tasks, where they are one or come from a path; else None.

    Args:
        tasks: As for :func:`open_tasks`.

    Returns:
        A source, or None.

    Raises:
        SourceError: There is nothing to read at a path.
    """
    return _as_source(tasks) if isinstance(tasks, Source | str | PathLike) else None


class _Stream:
    """An async input, as far as messages go: it has neither columns to name nor rows to skip."""

    def describe(self, position: int) -> str:
        return f"input, row {position}"

    def reject(self, position: int, problem: str) -> NoReturn:
        raise SourceError(f"{self.describe(position)}: {problem}") from None


def _as_source(tasks: object) -> Source:
    if isinstance(tasks, Source):
        return tasks
    if isinstance(tasks, str | PathLike):
        return read(tasks)
    if isinstance(tasks, Task):
        raise ConfigError("this is a single Task: pass a list, [task]")
    if isinstance(tasks, _dataset_classes()):
        return dataset(tasks)
    if isinstance(tasks, Mapping):
        raise ConfigError("this is a single dict: pass a list, [{…}]")
    if isinstance(tasks, Iterable) and not isinstance(tasks, bytes | bytearray):
        return rows(tasks, name="DataFrame" if is_frame(tasks) else "input")
    kinds = "a path, a source, a dataset, a DataFrame, or a list or (async) generator of tasks, dicts or questions"
    raise ConfigError(f"tasks must be {kinds}, not {type(tasks).__name__}")


def _dataset_classes() -> tuple[type[Any], ...]:
    """What the ``datasets`` library has, if anybody imported it: an object of it cannot exist otherwise."""
    names = ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict")
    found = (getattr(sys.modules.get("datasets"), name, None) for name in names)
    return tuple(kind for kind in found if isinstance(kind, type))


async def _pull(source: Source, done: Sequence[int]) -> _Pulled:
    located = source.unfinished(done)
    turns = Turns(_A_TURN)
    try:
        while True:
            if time.monotonic() >= turns.due:
                await turns.give()  # before the pull, so that a cancellation here loses no task
            pair = next(located, _END)
            if pair is _END:
                return
            if pair is not None:
                yield pair
    finally:
        close(located)


async def _pull_in_thread(source: Source, done: Sequence[int]) -> _Pulled:
    located = source.unfinished(done)
    reading = False
    try:
        while True:
            reading = True
            taken, error = await to_thread.run_sync(_take, located, abandon_on_cancel=True)
            reading = False
            for pair in taken:
                yield pair
            if error is not None:
                raise error
            if not taken:
                return
    finally:
        # A thread that was abandoned is still inside and cannot be stopped; what it reads is dropped when it is done.
        if not reading:
            close(located)


def _take(located: Iterator[tuple[int, Task] | None]) -> tuple[list[tuple[int, Task]], Exception | None]:
    """A few tasks, and the error that came after them."""
    taken: list[tuple[int, Task]] = []
    until = time.monotonic() + _PATIENCE
    try:
        for pair in filter(None, located):
            taken.append(pair)
            if len(taken) == _AT_ONCE or time.monotonic() > until:
                break
    except Exception as error:
        return taken, error
    return taken, None


async def _pull_async(tasks: AsyncIterable[object], stream: _Stream) -> _Pulled:
    make = TaskMaker({})
    iterator = aiter(tasks)
    position = 0
    try:
        async for row in iterator:
            position += 1
            try:
                task = make(row)
            except BadRow as problem:
                stream.reject(position, str(problem))
            yield position, task
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


async def _without_repeats(pulled: _Pulled, places: Source | _Stream) -> _Pulled:
    seen = Seen()
    async with aclosing(pulled):
        async for position, task in pulled:
            first = seen.first(_fingerprint(task.id), position)
            if first == position:
                yield position, task
            else:
                where = _in_short(places, first, position)
                places.reject(position, _repeated(task, where, options=isinstance(places, Source)))


def _fingerprint(task_id: int | str) -> int:
    """Eight bytes in place of an id: at a million tasks two ids share one with a chance of 1 in 37 million."""
    text = f"{type(task_id).__name__} {task_id}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _in_short(places: Source | _Stream, first: int, position: int) -> str:
    """Where the first one stands, without the name if that is the same."""
    name = places.describe(position).rpartition(", ")[0]
    return places.describe(first).removeprefix(f"{name}, ")


def _repeated(task: Task, first: str, *, options: bool) -> str:
    skip = "read with on_error='skip' to leave repeats out"
    if "id" not in task.model_fields_set:
        way_out = f"remove one, give both an id, or {skip}" if options else "remove one, or give both an id"
        return f"the same task as {first}; {way_out}"
    others = f", name another column with id=…, go by content with id=None, or {skip}" if options else ""
    return f"the same id {task.id!r} as {first}; ids must be unique: change one{others}"
