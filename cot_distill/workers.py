"""A fixed set of workers over a lazy iterator: the only shape of concurrency in the library.

Never a task per item, never a gather: with ten million items, what is in memory is what the workers hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["drive"]

T = TypeVar("T")


async def drive(jobs: AsyncIterator[T], work: Callable[[T], Awaitable[None]], workers: int) -> None:
    """Work off ``jobs`` with a fixed number of workers; pulls a job only when a worker is free.

    Raises:
        Exception: The first one that the iterator or a worker raises, as it is; the other workers are cancelled.
    """
    failed: list[Exception] = []
    turn = anyio.Lock()

    async def worker() -> None:
        try:
            while True:
                async with turn:
                    job = await anext(jobs, None)
                if job is None:
                    return
                await work(job)
        except Exception as error:  # kept and raised plainly below: a group of 64 equal errors helps nobody
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(worker)
    if failed:
        raise failed[0]
