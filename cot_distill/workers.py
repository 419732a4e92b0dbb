"""Workers over a lazy iterator: the only shape of concurrency in the library.

Never a task per item, never a gather: with ten million items, what is in memory is what the workers hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio

from cot_distill.cancelling import EscapedCancellationError, is_escaped

__all__ = ["drive"]

T = TypeVar("T")


async def drive(
    jobs: AsyncIterator[T],
    work: Callable[[T], Awaitable[None]],
    workers: int,
    *,
    room: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Work off ``jobs`` with so many workers at most; pulls a job only when a worker is free and there is room.

    Workers are started as they are needed: no more of them than jobs were in hand at once.

    Args:
        jobs: What there is to do.
        work: Does one job.
        workers: How many jobs may be in hand at once.
        room: Returns when another job may be pulled. Default: at once.

    Raises:
        Exception: The first one that the iterator or a worker raises, as it is; the other workers are cancelled.
    """
    failed: list[Exception] = []
    turn = anyio.Lock()
    free = started = 0

    async def worker() -> None:
        nonlocal free, started
        try:
            while True:
                async with turn:
                    if room is not None:
                        await room()
                    job = await anext(jobs, None)
                if job is None:
                    return
                free -= 1
                if not free and started < workers:
                    start()
                await work(job)
                free += 1
        except BaseException as error:  # kept and raised plainly below: a group of 64 equal errors helps nobody
            if not isinstance(error, Exception):
                if not is_escaped(error):
                    raise
                what = EscapedCancellationError("a source, a template or another part of the run")
                what.__cause__ = error
                error = what
            failed.append(error)
            group.cancel_scope.cancel()

    def start() -> None:
        nonlocal free, started
        started += 1
        free += 1
        group.start_soon(worker)

    async with anyio.create_task_group() as group:
        start()
    if failed:
        raise failed[0]
